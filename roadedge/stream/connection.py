"""One connection to a source that delivers on its own: a thread reads it, so that nobody has to wait for a dead one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import SourceError

DEPTH = 2  # decoded pictures that wait to be taken; with more, a consumer that is slow gets older ones


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded picture: `image` (H, W, 3) uint8 RGB.

    `pts_s` is its presentation time in seconds of the sender's clock, None where the sender states none; `arrived_ns`
    when its data was here, by `perf_counter_ns`; `decode_ms` how long decoding took; `broken` how many pictures before
    it, and after the last good one, could not be decoded.
    """

    image: NDArray[np.uint8]
    pts_s: float | None
    arrived_ns: int
    decode_ms: float
    broken: int = 0


class ConnectionLost(SourceError):
    """A connection that failed; `for_good` where trying again cannot help, such as a wrong password."""

    def __init__(self, reason: str, for_good: bool = False) -> None:
        super().__init__(reason)
        self.for_good = for_good


Stopping = Callable[[], bool]  # whether nobody wants more pictures
Dial = Callable[[Stopping], Generator[Picture, None, None]]  # opens, yields, closes at the end; raises ConnectionLost


class Connection:
    """Pictures of one connection, from a thread of its own that blocks while `DEPTH` of them wait.

    The thread also opens and closes what it reads. A library that blocks inside a dead connection holds up that thread
    alone, until the library's own time limit.
    """

    def __init__(self, dial: Dial) -> None:
        """Start to connect."""
        self._changed = threading.Condition()
        self._ready: deque[Picture] = deque()
        self._stopping = False
        self._done = False
        self._error: BaseException | None = None
        self.delivered = False  # whether a picture has come
        self._thread = threading.Thread(target=self._work, args=(dial,), name="source", daemon=True)
        self._thread.start()

    def take(self, wait_s: float) -> Picture | None:
        """The next picture; None at the end of the stream, or soon after `stop`.

        Raises:
            ConnectionLost: the connection failed, or nothing came within `wait_s` seconds.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._done or self._stopping, wait_s)
            if self._stopping:
                return None
            if self._ready:
                picture = self._ready.popleft()
                self._changed.notify_all()
                self.delivered = True
                return picture
            if self._error is not None:
                raise self._error
            if self._done:
                return None
        raise ConnectionLost(f"no picture came for {wait_s:.3g} s")

    def stop(self) -> None:
        """Let the thread end, without waiting for it; for any thread, twice is no error."""
        with self._changed:
            self._stopping = True
            self._ready.clear()
            self._changed.notify_all()

    def join(self, wait_s: float) -> bool:
        """Wait for the thread; whether it has ended."""
        self._thread.join(wait_s)
        return not self._thread.is_alive()

    def _work(self, dial: Dial) -> None:
        try:
            with closing(dial(self._is_stopping)) as pictures:
                for picture in pictures:
                    if not self._put(picture):
                        break
        except BaseException as error:  # whatever it is, the reading thread must see it
            self._error = error
        finally:
            with self._changed:
                self._done = True
                self._changed.notify_all()

    def _put(self, picture: Picture) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or len(self._ready) < DEPTH)
            if not self._stopping:
                self._ready.append(picture)
                self._changed.notify_all()
            return not self._stopping

    def _is_stopping(self) -> bool:
        return self._stopping
