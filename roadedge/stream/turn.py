"""Whose turn it is on a machine whose processors are all the network's: the network's, or that of the sinks."""

from __future__ import annotations

from roadedge.latency.clock import Clock

PATIENCE = 0.5  # of the time that the network took for a frame


class Turn:
    """Lets a result reach its sinks before the network begins with the next frame.

    A network that computes on all processors at once waits, layer after layer, for the one that a sink has just taken:
    the two together last longer than one after the other, a queue forms, and with it each frame meets the sinks of the
    one before. So the network waits for them; where they take longer than half its own time they are waiting for
    something else than a processor, a disk or a receiver, and it does not.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock, self._signal = clock, clock.signal()
        self._awaited: int | None = None
        self._after_ms = 0.0  # how long the sinks last took

    def give(self, index: int, infer_ms: float) -> None:
        """Called by the network's thread that has handed frame `index` on: return when it has landed."""
        patience_ms = PATIENCE * infer_ms
        begin_ns = self._clock.now_ns()
        with self._signal:
            if self._after_ms > patience_ms:
                return
            until_ns = begin_ns + round(patience_ms * 1e6)
            while self._awaited == index and self._clock.now_ns() < until_ns:
                self._clock.wait(self._signal, until_ns)

    def begin(self, index: int) -> None:
        """Frame `index` is about to be handed on."""
        with self._signal:
            self._awaited = index

    def landed(self, index: int, after_ms: float) -> None:
        """Frame `index` went all its way, `after_ms` of it after the network."""
        with self._signal:
            self._after_ms = after_ms
            if self._awaited == index:
                self._awaited = None
                self._signal.notify_all()
