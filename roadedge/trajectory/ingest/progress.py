"""How far a long piece of work is: one line that is written anew on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

ON_TERMINAL_S = 0.2
ELSEWHERE_S = 5.0


class Progress:
    """Says phase, share, rows (or another unit) per second and time left; `tell` None says nothing."""

    def __init__(
        self, tell: Callable[[str], None] | None, unit: str = "rows", clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Report through `tell`, counting in `unit`; on a terminal the line on stderr is drawn directly."""
        self._unit = unit
        self._tell, self._clock = tell, clock
        self._live = tell is not None and sys.stderr.isatty()
        self._phase, self._began, self._said = "", clock(), clock()

    def phase(self, name: str) -> None:
        """A new phase begins: its rates are its own."""
        self._phase, self._began = name, self._clock()

    def at(self, count: int, share: float) -> None:
        """So many rows, or another unit, of the phase are done, a share in [0, 1] of it."""
        if self._tell is None:
            return
        now = self._clock()
        if now - self._said < (ON_TERMINAL_S if self._live else ELSEWHERE_S):
            return
        self._said = now
        spent = max(now - self._began, 1e-6)
        rate = count / spent
        text = f"{self._phase}: {count:,} {self._unit}, {rate:,.{0 if rate >= 10 else 1}f} {self._unit}/s"
        if 0.01 < share <= 1:
            text += f", {100 * share:.0f} %, {duration_text(spent * (1 - share) / share)} left"
        if self._live:
            print(f"\r{text}\033[K", end="", file=sys.stderr, flush=True)
        else:
            self._tell(text)

    def done(self) -> None:
        """Take the line off a terminal."""
        if self._live:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def duration_text(seconds: float) -> str:
    """`42 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
