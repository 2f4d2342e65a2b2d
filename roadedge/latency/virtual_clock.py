"""A clock that jumps: simulations of a whole pipeline, threads and queues included, exact and without waiting.

Its threads run one at a time and hand the turn on when they wait or sleep; when none can run, the clock jumps to the
moment at which the first sleeper wakes. So work that takes no processor time takes none of the clock, sleeping stands
for work, and the same simulation gives the same times on every machine: it has as many processors as it has threads.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from roadedge.latency.clock import Signal

START_NS = 5_000_000_000  # not zero: nothing may rely on the origin


@dataclass(eq=False, slots=True)
class _Turn:
    """One thread's place in the order of running; `wake` counts its waits, so that a stale alarm is known as such."""

    go: threading.Event = field(default_factory=threading.Event)
    wake: int = 0


class VirtualSignal:
    """Needs no lock, since its threads run one at a time and keep the turn while they hold it."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.waiting: list[_Turn] = []

    def __enter__(self) -> None:
        """Hold it."""

    def __exit__(self, *error: Any) -> None:
        """Let go of it."""

    def notify_all(self) -> None:
        """Make all that wait ready to run, in the order in which they came."""
        waiting, self.waiting = self.waiting, []
        self._clock.make_ready(waiting)


class VirtualClock:
    """Time that passes only while every thread of it waits. The thread that makes it has the first turn."""

    def __init__(self) -> None:
        self.ns = START_NS
        self._turns = threading.local()
        self._turns.own = _Turn()
        self._ready: deque[_Turn] = deque()
        self._alarms: list[tuple[int, int, int, _Turn]] = []  # moment, order, the wait it belongs to, whose
        self._order = itertools.count()

    def now_ns(self) -> int:
        """Nanoseconds since an arbitrary moment."""
        return self.ns

    def pass_ms(self, duration_ms: float) -> None:
        """Work for that long."""
        self.sleep_until_ns(self.ns + round(duration_ms * 1e6))

    def sleep_until_ns(self, moment_ns: int) -> None:
        """Let the others run until `moment_ns`."""
        if moment_ns > self.ns:
            self._alarm(moment_ns)
            self._give_up_the_turn()

    def signal(self) -> VirtualSignal:
        """A new signal."""
        return VirtualSignal(self)

    def wait(self, signal: Signal, until_ns: int | None = None) -> None:
        """Let the others run until the signal is notified or the moment has come."""
        assert isinstance(signal, VirtualSignal)
        own = self._turns.own
        signal.waiting.append(own)
        if until_ns is not None:
            self._alarm(max(until_ns, self.ns))
        self._give_up_the_turn()
        if own in signal.waiting:
            signal.waiting.remove(own)

    def start(self, work: Callable[[], None], name: str) -> Callable[[], None]:
        """Run `work` on a thread that takes turns with the others."""
        turn, ended, over = _Turn(), self.signal(), threading.Event()

        def run() -> None:
            self._turns.own = turn
            turn.go.wait()
            try:
                work()
            finally:
                over.set()
                ended.notify_all()
                self._hand_on()

        def join() -> None:
            while not over.is_set():
                self.wait(ended)

        threading.Thread(target=run, name=name, daemon=True).start()
        self._ready.append(turn)
        return join

    def make_ready(self, turns: list[_Turn]) -> None:
        """Let threads run when their turn comes; what they waited for has happened."""
        for turn in turns:
            turn.wake += 1
            self._ready.append(turn)

    def _alarm(self, moment_ns: int) -> None:
        own = self._turns.own
        heapq.heappush(self._alarms, (moment_ns, next(self._order), own.wake, own))

    def _give_up_the_turn(self) -> None:
        own = self._turns.own
        own.go.clear()
        if not self._hand_on():
            raise RuntimeError("every thread of the virtual clock waits, and nothing will wake one of them")
        own.go.wait()

    def _hand_on(self) -> bool:
        """Give the turn to the next that can run, moving the clock where nobody can; False where nobody ever will."""
        while not self._ready:
            if not self._alarms:
                return False
            moment_ns, _, wake, turn = heapq.heappop(self._alarms)
            if turn.wake == wake:  # else it was notified before
                self.ns = max(self.ns, moment_ns)
                turn.wake += 1
                self._ready.append(turn)
        self._ready.popleft().go.set()
        return True
