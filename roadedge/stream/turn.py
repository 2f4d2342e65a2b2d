"""Whose turn it is on a machine whose processors are all the network's: the network's, or that of the others."""

from __future__ import annotations

from roadedge.latency.clock import Clock

PATIENCE = 0.5  # of the time that the network took for a frame: how long it waits for the sinks
OVERDUE = 2.0  # of the same: after which nobody waits for the network any more


class Turn:
    """Keeps the stages beside the network out of its time, and the network out of that of the sinks.

    A network that computes on all processors at once waits, layer after layer, for the one that another stage has just
    taken: the two together last longer than one after the other, a queue forms, and with it each frame meets the sinks
    of the one before. So the network waits until its last result has left the sinks; where they take longer than half
    its own time they are waiting for something else than a processor, a disk or a receiver, and it does not. Points are
    drawn while the network rests, for the newest frame there is then, not for all those that it will never see.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock, self._signal = clock, clock.signal()
        self._awaited: int | None = None  # the frame that the sinks are to have ended
        self._begun_ns: int | None = None  # since when the network computes; None while it rests
        self._network_ns = 0  # how long it last took
        self._after_ns = 0.0  # how long the sinks last took

    def work(self, index: int) -> None:
        """The network begins with frame `index`."""
        with self._signal:
            self._awaited, self._begun_ns = index, self._clock.now_ns()

    def rest(self) -> None:
        """The network has handed its frame on: return when that has landed, or when it takes too long."""
        with self._signal:
            now_ns = self._clock.now_ns()
            if self._begun_ns is not None:
                self._network_ns, self._begun_ns = now_ns - self._begun_ns, None
                self._signal.notify_all()
            patience_ns = round(PATIENCE * self._network_ns)
            while self._after_ns <= patience_ns and self._awaited is not None:
                if self._clock.now_ns() >= now_ns + patience_ns:
                    return
                self._clock.wait(self._signal, now_ns + patience_ns)

    def wait_for_rest(self) -> None:
        """Return when the network rests, or takes longer than it ever should."""
        with self._signal:
            while self._begun_ns is not None:
                until_ns = self._begun_ns + round(OVERDUE * self._network_ns)
                if self._clock.now_ns() >= until_ns:
                    return
                self._clock.wait(self._signal, until_ns)

    def landed(self, index: int, after_ms: float | None = None) -> None:
        """Frame `index` has ended its way: answered, `after_ms` of it after the network, or dropped."""
        with self._signal:
            if after_ms is not None:
                self._after_ns = after_ms * 1e6
            if self._awaited == index:
                self._awaited = None
                self._signal.notify_all()
