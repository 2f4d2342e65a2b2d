"""A clock that moves when it is told to."""

from __future__ import annotations


class HandClock:
    """Stands still until `pass_ms`; waiting moves it to the moment waited for."""

    def __init__(self) -> None:
        self.ns = 5_000_000_000  # not zero: nothing may rely on the origin

    def now_ns(self) -> int:
        return self.ns

    def sleep_until_ns(self, moment_ns: int) -> None:
        self.ns = max(self.ns, moment_ns)

    def pass_ms(self, duration_ms: float) -> None:
        self.ns += round(duration_ms * 1e6)
