"""Sources that deliver on their own: when each frame was captured, and what happens when the stream is lost.

A lost stream is dialled again with growing pauses. The time without frames is recorded as a `Gap`, and no frame is
made up for it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, replace

from roadedge.errors import SourceError, UsageError
from roadedge.sample import Sample
from roadedge.stream.capture_clock import CaptureClock
from roadedge.stream.connection import Connection, ConnectionLost, Dial, Picture
from roadedge.stream.sources import Frame, Gap, Source

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 5.0  # between the tries to connect again: doubled each time
LEAVE_S = 1.0  # how long `close` waits for a connection to end


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """How long to wait for a source that delivers on its own, and what is known of its pictures.

    A stream without a picture for `timeout_s` seconds is lost; until the first picture of a connection `open_s` seconds
    may pass. A lost stream is given up after `attempts` tries to connect (None: any number), and in any case when
    `give_up_s` seconds have passed since it was lost. `gsd_m` is metres per pixel, None where unknown.
    """

    timeout_s: float = 5.0
    open_s: float = 10.0
    attempts: int | None = None
    give_up_s: float = 60.0
    gsd_m: float | None = None

    def __post_init__(self) -> None:
        for name in ("timeout_s", "open_s", "give_up_s"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} of a live source must be more than 0 seconds, got {getattr(self, name)}")
        if self.attempts is not None and self.attempts < 0:
            raise UsageError(f"attempts to connect again must be 0 or more, got {self.attempts}")


class LiveSource(Source):
    """A camera or network stream; `dial` opens one connection to it.

    Zero of the stream's clock is the moment at which the source was made, and `epoch_s` is that moment by the host's
    calendar clock. A frame's `clock` is "pts", or "arrival" where the sender states no time.
    """

    moving = True
    live = True
    delivers = True

    def __init__(self, name: str, label: str, dial: Dial, options: LiveOptions, same_clock: bool = False) -> None:
        """Nothing is opened yet.

        Args:
            name: of the run.
            label: the address as messages may show it.
            dial: opens one connection.
            options: how long to wait.
            same_clock: whether presentation times may be of this machine's monotonic clock.
        """
        self.name, self.label, self.options = name, label, options
        self._dial, self._same_clock = dial, same_clock
        self._zero_ns, self.epoch_s = time.perf_counter_ns(), time.time()
        self.gaps: list[Gap] = []
        self.broken = 0  # pictures that could not be decoded
        self._connection: Connection | None = None
        self._clock = CaptureClock()
        self._held: Picture | None = None  # taken by `prepare`
        self._stop = threading.Event()
        self._ended = False
        self._next = 0
        self._last_ns: int | None = None  # capture of the last frame
        self._last_s = 0.0
        self._size: tuple[int, int] | None = None

    def prepare(self) -> None:
        """Connect and wait for the first picture.

        Raises:
            SourceError: there is no such source, or it delivers nothing.
        """
        if self._connection is None and not self._over():
            self._held = self._first()

    def read(self) -> Frame | None:
        """The next frame; None at the end and after `interrupt`.

        Raises:
            SourceError: the source cannot be opened, or was lost and given up.
        """
        if self._over():
            return None
        picture, notice = self._picture()
        if picture is None:
            self._ended = True
            self._drop()
            return None
        return self._frame(picture, notice)

    def skip(self, count: int) -> int:
        """Take frames and forget them."""
        for passed in range(count):
            if self.read() is None:
                return passed
        return count

    def interrupt(self) -> None:
        """End a `read` that waits, and all later ones."""
        self._stop.set()
        connection = self._connection
        if connection is not None:
            connection.stop()

    def close(self) -> None:
        """Leave the connection; one that hangs is left to its own time limit."""
        self.interrupt()
        self._drop(LEAVE_S)

    def _over(self) -> bool:
        return self._ended or self._stop.is_set()

    def _picture(self) -> tuple[Picture | None, str]:
        """The next picture, None at the end, and what must be said about it."""
        held, self._held = self._held, None
        if held is not None:
            return held, ""
        return (self._first(), "") if self._connection is None else self._later(self._connection)

    def _first(self) -> Picture | None:
        """The first picture of all. It is not tried twice: an address with a slip of the pen must be told at once."""
        try:
            picture = self._take(self._connect(), self.options.open_s)
            if picture is None and not self._stop.is_set():
                raise ConnectionLost("it ended before its first picture")
            return picture
        except ConnectionLost as lost:
            self._ended = True
            self._drop()
            raise SourceError(f"{self.label} cannot be read: {lost}") from None

    def _later(self, connection: Connection) -> tuple[Picture | None, str]:
        try:
            return self._take(connection, self.options.timeout_s), ""
        except ConnectionLost as lost:
            self._drop()
            return self._again(str(lost))

    def _again(self, reason: str) -> tuple[Picture | None, str]:
        """Connect again until a picture comes; with it a sentence about the gap.

        Raises:
            SourceError: the source is given up.
        """
        begin_ns = self._last_ns if self._last_ns is not None else time.perf_counter_ns()
        lost_ns = time.perf_counter_ns()
        gap = Gap(begin_ns, None, reason, 0)
        self.gaps.append(gap)
        pause_s, latest = FIRST_PAUSE_S, reason
        while True:
            left_s = self.options.give_up_s - (time.perf_counter_ns() - lost_ns) / 1e9
            if left_s <= pause_s or (self.options.attempts is not None and gap.attempts >= self.options.attempts):
                self._give_up(gap, latest)
            if self._stop.wait(pause_s):
                return None, ""
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            gap = self.gaps[-1] = replace(gap, attempts=gap.attempts + 1)
            try:
                picture = self._take(self._connect(), min(self.options.open_s, left_s))
            except ConnectionLost as lost:
                self._drop()
                latest = str(lost)
                if lost.for_good:
                    self._give_up(gap, latest)
                continue
            return picture, "" if picture is None else self._came_back(gap, picture)

    def _came_back(self, gap: Gap, picture: Picture) -> str:
        gap = self.gaps[-1] = replace(gap, end_ns=picture.arrived_ns)
        seconds = (picture.arrived_ns - gap.begin_ns) / 1e9
        tries = f"{gap.attempts} {'try' if gap.attempts == 1 else 'tries'}"
        return f"{self.label} was lost for {seconds:.1f} s ({gap.reason}); it came back after {tries} to connect"

    def _give_up(self, gap: Gap, latest: str) -> None:
        self._ended = True
        also = f"; last: {latest}" if latest != gap.reason else ""
        raise SourceError(
            f"{self.label} was lost ({gap.reason}) and given up after {gap.attempts} attempts to connect again{also}"
        ) from None

    def _connect(self) -> Connection:
        self._clock = CaptureClock(self._same_clock)
        self._connection = connection = Connection(self._dial)
        if self._stop.is_set():  # interrupted while it was made
            connection.stop()
        return connection

    def _take(self, connection: Connection, wait_s: float) -> Picture | None:
        picture = connection.take(wait_s)
        if picture is not None:
            self.broken += picture.broken
        return picture

    def _drop(self, wait_s: float = 0.0) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.stop()
            with contextlib.suppress(RuntimeError):  # closed from within its own thread
                connection.join(wait_s)

    def _frame(self, picture: Picture, notice: str) -> Frame:
        captured_ns = self._clock.captured_ns(picture.pts_s, picture.arrived_ns)
        capture_s = (captured_ns - self._zero_ns) / 1e9
        if self._last_ns is not None:  # a better guess of the sender's zero must not turn time back
            capture_s = max(capture_s, self._last_s + 1e-6)
        name = self.name_of(self._next)
        size = picture.image.shape[0], picture.image.shape[1]
        notices = [notice] if notice else []
        if self._size is not None and self._size != size:
            notices.append(f"{self.label} now sends frames of {size[1]} x {size[0]} pixels")
        if picture.broken and picture.broken == self.broken:
            notices.append(f"{self.label} sends pictures that cannot be decoded; they are left out and counted")
        self._next, self._last_ns, self._last_s, self._size = self._next + 1, captured_ns, capture_s, size
        sample = Sample(picture.image, gsd_m=self.options.gsd_m, t_s=capture_s, id=name)
        return Frame(
            name, sample, capture_s, "arrival" if picture.pts_s is None else "pts", notice="; ".join(notices),
            captured_ns=captured_ns, decode_ms=picture.decode_ms,
        )  # fmt: skip
