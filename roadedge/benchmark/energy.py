"""Watts and joules, from what the machine's own sensors show. They are no wall meter, and that is said."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Protocol

from roadedge.errors import EnvironmentFault
from roadedge.latency.clock import Clock
from roadedge.latency.machine_trend import energy_per_frame

POWER = "power_w"
IDLE_S = 5.0
CAVEAT = "the machine's own sensors, no wall meter; a run at a fixed rate is the fair one for power"


class Watch(Protocol):
    """Reads the machine once a second on its own thread."""

    def mean(self, key: str, begin_s: float = 0.0, end_s: float = float("inf")) -> float | None:
        """Mean of a value between two times of the watch; None where it was not seen then."""


def idle_watts(watch: Watch, clock: Clock, watch_began_ns: int, idle_s: float = IDLE_S) -> float:
    """Mean watts while this program waits.

    Raises:
        EnvironmentFault: no sensor shows watts here.
    """
    begin_s = (clock.now_ns() - watch_began_ns) / 1e9
    clock.sleep_until_ns(clock.now_ns() + round(idle_s * 1e9))
    watts = watch.mean(POWER, begin_s)
    if watts is None:
        raise EnvironmentFault(
            "--power needs a sensor that shows watts, and none is readable here "
            "(NVML or RAPL on a desktop, INA3221 rails on a Jetson); leave --power out"
        )
    return watts


def energy(
    watch: Watch | None, begin_s: float, end_s: float, images: int, idle_w: float | None = None
) -> dict[str, Any] | None:
    """Joules of an image between two times of the watch, as JSON values; None where no watts were read then."""
    mean_w = None if watch is None else watch.mean(POWER, begin_s, end_s)
    if mean_w is None or images < 1 or not end_s > begin_s:
        return None
    return {**asdict(energy_per_frame(mean_w, end_s - begin_s, images, idle_w)), "note": CAVEAT}
