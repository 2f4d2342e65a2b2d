"""The progress of an engine build on a terminal, and Ctrl-C during it."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self


class Progress:
    """One bar for each phase that runs; nothing at all where `shown` is False or stderr is no terminal.

    A builder reports from several threads at once, which rich takes.
    """

    def __init__(self, shown: bool = True) -> None:
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}
        self._shown = shown and sys.stderr.isatty()

    def __enter__(self) -> Self:
        """Begin to draw."""
        if self._shown:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bars

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self._bars = Bars(*columns, console=Console(stderr=True), transient=True)
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def start(self, phase: str, steps: int) -> None:
        """A phase of `steps` steps begins."""
        if self._bars is not None:
            self._tasks[phase] = self._bars.add_task(phase[:48], total=steps)

    def step(self, phase: str, step: int) -> None:
        """Step number `step`, from 0, of a phase is done."""
        if self._bars is not None and phase in self._tasks:
            self._bars.update(self._tasks[phase], completed=step + 1)

    def finish(self, phase: str) -> None:
        """A phase is over."""
        if self._bars is not None and phase in self._tasks:
            self._bars.remove_task(self._tasks.pop(phase))


@contextlib.contextmanager
def stoppable() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets, instead of an exception: one that is raised in a callback would end the process."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # signals belong to the main thread
        yield stop
        return

    def note(number: int, frame: FrameType | None) -> None:
        stop.set()

    before = signal.signal(signal.SIGINT, note)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
