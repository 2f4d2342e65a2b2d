"""A bar on stderr for work of known length."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def steps_bar(title: str, steps: int, enabled: bool) -> Iterator[Callable[[], None]]:
    """Yield a function that moves the bar by a step; without a terminal, or not `enabled`, it does nothing."""
    if not (enabled and sys.stderr.isatty()):
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=steps)
        yield lambda: bar.advance(task)
