"""The queue between two stages: bounded, so that back-pressure and not memory takes up what is too much."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from roadedge.latency.clock import Clock

Item = TypeVar("Item")


class Lane(Generic[Item]):
    """Hands items from one thread to another in their order.

    With `overwritten` given, an item that comes while the lane is full takes the place of the oldest one, which goes to
    `overwritten`: what is taken is always the newest. Without it, `put` waits for room.
    """

    def __init__(self, clock: Clock, capacity: int, overwritten: Callable[[Item], None] | None = None) -> None:
        self._clock, self._signal = clock, clock.signal()
        self._capacity, self._overwritten = capacity, overwritten
        self._items: deque[Item] = deque()
        self._ended = self._aborted = False

    def put(self, item: Item) -> bool:
        """Hand an item over; False where the lane was aborted and nobody will take it."""
        pushed_out = None
        with self._signal:
            while len(self._items) >= self._capacity and not self._aborted:
                if self._overwritten is not None:
                    pushed_out = self._items.popleft()
                else:
                    self._clock.wait(self._signal)
            if self._aborted:
                return False
            self._items.append(item)
            self._signal.notify_all()
        if pushed_out is not None and self._overwritten is not None:
            self._overwritten(pushed_out)
        return True

    def wait(self) -> None:
        """Return when there is something to take, or never will be."""
        with self._signal:
            while not self._items and not self._ended:
                self._clock.wait(self._signal)

    def take(self) -> Item | None:
        """The next item; None where no more will come."""
        with self._signal:
            while not self._items and not self._ended:
                self._clock.wait(self._signal)
            if self._aborted or not self._items:
                return None
            item = self._items.popleft()
            self._signal.notify_all()
            return item

    def end(self) -> None:
        """Nothing more will be put; what is in the lane is still taken."""
        with self._signal:
            self._ended = True
            self._signal.notify_all()

    def abort(self) -> None:
        """Nothing more is put or taken, from now on."""
        with self._signal:
            self._ended = self._aborted = True
            self._signal.notify_all()
