"""When a frame of a live stream was captured, by the host's clock."""

from __future__ import annotations

BACKWARD_S = 1.0  # presentation times that go back by more than this begin anew
DRIFT = 1e-4  # seconds a second by which a sender's quartz may be slower than ours: 100 ppm, a cheap one's worst
SAME_CLOCK_S = 5.0  # a kernel's time of capture lies at most this long before the arrival


class CaptureClock:
    """From presentation times of one connection to the host's `perf_counter_ns`.

    The sender's clock has an unknown zero. The smallest `arrival - pts` so far stands for it: a frame that waited on
    its way is older than it looks, and one constant delay of all frames stays unseen. The two clocks drift apart, so
    the smallest difference is let grow by `DRIFT`: else all frames of a slow sender would look older with each hour, by
    0.2 s. Where the sender is this machine's kernel, which stamps with the same monotonic clock, the stamps are taken
    as they are.
    """

    def __init__(self, same_clock: bool = False) -> None:
        self._same_clock = same_clock
        self._offset_ns: int | None = None
        self._last_pts_s = 0.0
        self._last_arrived_ns = 0

    def captured_ns(self, pts_s: float | None, arrived_ns: int) -> int:
        """When the picture was captured; its arrival where it has no presentation time."""
        if pts_s is None:
            return arrived_ns
        pts_ns = round(pts_s * 1e9)
        if self._same_clock and 0 <= arrived_ns - pts_ns < SAME_CLOCK_S * 1e9:
            return pts_ns
        offset_ns = arrived_ns - pts_ns
        went_back = pts_s < self._last_pts_s - BACKWARD_S
        if self._offset_ns is None or went_back:
            self._offset_ns = offset_ns
        else:
            since_ns = max(0, arrived_ns - self._last_arrived_ns)
            self._offset_ns = min(offset_ns, self._offset_ns + round(since_ns * DRIFT))
        self._last_pts_s, self._last_arrived_ns = pts_s, arrived_ns
        return pts_ns + self._offset_ns
