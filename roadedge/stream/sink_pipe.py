"""Each frame's roads as one line of JSON into a pipe, which a consumer may read slowly, or not at all."""

from __future__ import annotations

import errno
import os
import select
import threading
import time
from collections import deque

from roadedge.errors import OutputError
from roadedge.stream.sink_message import Message
from roadedge.stream.sink_sender import SendSink, Way
from roadedge.stream.sinks import Result

WAITING = 8  # messages that may wait for a consumer; then the oldest gives way
PATIENCE_S = 1.0  # for a consumer that does not read, at the end of the run
CHUNK = 4096  # bytes that a pipe takes at once where it takes any (PIPE_BUF of Linux)
LOOK_MS = 50


class PipeSink(SendSink):
    """One line a frame into a pipe (or file, or terminal), written by a thread of its own.

    Of what the consumer has not taken, the newest WAITING messages are kept. A line that was begun is written to its
    end. A consumer that closes its end of the pipe ends the run: the next `write` raises OutputError.
    """

    def __init__(self, file: int, to: str, way: Way) -> None:
        """Prepare; the thread starts with the first result. `file` is a descriptor, of which a copy is written to."""
        super().__init__(to, way, None, b"\n")
        self._file, self._to = file, to
        self._thread: threading.Thread | None = None
        self._waiting: deque[Message] = deque()
        self._signal = threading.Condition()
        self._closed = False
        self._give_up_at: float | None = None
        self._failure: OSError | None = None

    def write(self, result: Result) -> None:
        """Hand a message to the thread.

        Raises:
            OutputError: the consumer has closed its end, or the disk behind it is full.
        """
        if self._failure is not None:
            raise self._said(self._failure) from self._failure
        message = self._message(result)
        if self._thread is None:
            self._start()
        with self._signal:
            if len(self._waiting) >= WAITING:
                self._waiting.popleft()
                self.dropped["consumer too slow"] += 1
            self._waiting.append(message)
            self._signal.notify()

    def close(self) -> None:
        """Wait a second for the consumer to take what is left."""
        if self._thread is None or self._closed:
            return
        with self._signal:
            self._closed = True
            self._give_up_at = time.monotonic() + PATIENCE_S
            self._signal.notify()
        self._thread.join(PATIENCE_S + 1.0)
        if self._waiting:
            self.dropped["consumer gone" if self._failure else "consumer too slow"] += len(self._waiting)
            self._waiting.clear()
        if not self._thread.is_alive():  # else it still holds the descriptor, in a write that does not return
            os.close(self._file)

    def _start(self) -> None:
        try:
            self._file = os.dup(self._file)  # its own: what else is done with stdout does not close it
        except OSError as error:
            raise self._said(error) from error
        self._thread = threading.Thread(target=self._run, name="send", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while (message := self._next()) is not None:
                content = self._leaving(message)
                if not self._deliver(content):
                    self.dropped["consumer too slow"] += 1
                    return
                self._count(len(content))
        except OSError as error:
            self.dropped["consumer gone" if error.errno == errno.EPIPE else "not written"] += 1
            self._failure = error

    def _next(self) -> Message | None:
        with self._signal:
            while not self._waiting:
                if self._closed:
                    return None
                self._signal.wait()
            return self._waiting.popleft()

    def _deliver(self, content: bytes) -> bool:
        """Write a line as the consumer takes it; False where the run ended before it did."""
        rest = memoryview(content)
        poll = select.poll()
        poll.register(self._file, select.POLLOUT)
        while rest:
            if self._give_up_at is not None and time.monotonic() > self._give_up_at:
                return False
            if not poll.poll(LOOK_MS):
                continue
            try:
                rest = rest[os.write(self._file, rest[:CHUNK]) :]
            except BlockingIOError:  # another process that holds the same pipe may have made it so
                time.sleep(LOOK_MS / 1e3)
        return True

    def _said(self, error: OSError) -> OutputError:
        if error.errno == errno.EPIPE:
            return OutputError(f"the consumer of {self._to} closed its end after {self.frames} messages; the run ends")
        return OutputError.from_os(self._to, error)
