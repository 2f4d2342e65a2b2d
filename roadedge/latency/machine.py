"""The machine's state through a run, sampled each second on a thread of its own. Nothing of it is ever changed."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from roadedge.latency.clock import Clock
from roadedge.latency.machine_clocks import clock_state
from roadedge.latency.machine_readers import default_readers
from roadedge.latency.machine_reading import Reader, Reading, reason
from roadedge.latency.machine_trend import Summary, mean_between, slope_per_min

if TYPE_CHECKING:
    from typing_extensions import Self

MOST_SAMPLES = 3600  # an hour at one a second; a longer run keeps every second one, then every fourth, and so on
PATIENCE_S = 5.0  # how long the end of a run waits for a sensor that does not answer
POWER_NOTE = "from sensors on the board, not from a wall meter"


@dataclass(frozen=True, slots=True)
class MachineSample:
    """One look at the machine: seconds since the watch began, numbers by name, and what slows it down right now."""

    t_s: float
    values: dict[str, float]
    throttle: tuple[str, ...]


class MachineWatch:
    """Samples the machine while its `with` block runs.

    A reader that fails is listed with its reason and asked again the next time; it ends neither the watch nor the run.
    Names of values (docs/machine-state.md lists them): `cpu_load` and `gpu_util` in [0, 1], `process_cpu` in
    processors, `cpu_mhz`, `gpu_mhz`, `rss_mb`, `power_w`, `temp_c` and more, as far as this machine shows them.
    """

    def __init__(
        self, clock: Clock, every_s: float = 1.0, readers: Sequence[Reader] | None = None, root: Path = Path("/")
    ) -> None:
        """Find out what can be read here; nothing is sampled yet.

        Args:
            clock: of the run; times count from `__enter__`.
            every_s: seconds between two looks.
            readers: what to look at; None for all that this machine has.
            root: where /proc and /sys lie.
        """
        self._clock, self._every_s, self._root = clock, every_s, root
        found, self._absent = (list(readers), {}) if readers is not None else default_readers(root)
        self._readers: list[Reader] = list(found)
        self._begin_ns = clock.now_ns()
        self._samples: list[MachineSample] = []
        self._stride, self._looks = 1, 0
        self._summaries: dict[str, Summary] = {}
        self._throttle: dict[str, dict[str, float]] = {}
        self._facts: dict[str, str] = {}
        self._unreadable: dict[str, dict[str, Any]] = {}
        self._newest: MachineSample | None = None
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Take the first sample and go on each `every_s`."""
        self._begin_ns = self._clock.now_ns()
        self.sample()
        self._thread = threading.Thread(target=self._run, name="machine-watch", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the last sample and stop."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=PATIENCE_S)
            if self._thread.is_alive():  # a sensor that hangs must not hang the run; its thread is a daemon
                self._note("watch", f"a reader did not answer within {PATIENCE_S:g} s and was left behind")
                return
        self.sample()
        for reader in self._readers:
            try:
                reader.close()
            except Exception as fault:  # a sensor that cannot be closed must not cost the results of the run
                self._note(reader.name, reason(fault))

    @property
    def samples(self) -> Sequence[MachineSample]:
        """What was sampled so far, oldest first; of a run beyond an hour every second, fourth … sample."""
        with self._lock:
            return tuple(self._samples)

    def newest(self) -> MachineSample | None:
        """The latest sample, None before the first."""
        return self._newest

    def throttled(self) -> tuple[str, ...] | None:
        """What slowed the machine down at any time; None where nothing here would show it."""
        with self._lock:
            if self._throttle:
                return tuple(sorted(self._throttle))
        return () if any(reader.sees_throttle for reader in self._readers) else None

    def mean(self, key: str, begin_s: float = 0.0, end_s: float = float("inf")) -> float | None:
        """Mean of a value between two times of the watch, weighted by time; None where it was not seen then."""
        return mean_between([(one.t_s, one.values[key]) for one in self.samples if key in one.values], begin_s, end_s)

    def sample(self) -> MachineSample:
        """Look now; the thread does so by itself."""
        at_s = (self._clock.now_ns() - self._begin_ns) / 1e9
        values: dict[str, float] = {}
        throttle: list[str] = []
        for reader in self._readers:
            reading = self._ask(reader, at_s)
            values = reading.values | values  # the first who knows a value is believed
            throttle += reading.throttle
            with self._lock:
                self._facts.update(reading.facts)
            for what, why in reading.failed.items():
                self._note(what, why)
        for key in [key for key, value in values.items() if not math.isfinite(value)]:
            self._note(key, f"{values.pop(key)} is no measurement")
        if (power_w := total_power_w(values)) is not None:
            values["power_w"] = power_w
        one = MachineSample(at_s, values, tuple(dict.fromkeys(throttle)))
        self._keep(one)
        return one

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values: summary and series of each value, throttling, what could not be read, commands."""
        samples = self.samples
        clocks = clock_state(self._root)
        with self._lock:
            keys = sorted(self._summaries)
            rss = [(one.t_s, one.values["rss_mb"]) for one in samples if "rss_mb" in one.values]
            slope = slope_per_min(rss)
            return {
                "every_s": self._every_s,
                "looks": self._looks,
                "seconds": samples[-1].t_s - samples[0].t_s if samples else 0.0,
                "summary": {key: self._summaries[key].to_dict() for key in keys},
                "series": {
                    "t_s": [round(one.t_s, 3) for one in samples],
                    **{key: [_short(one.values.get(key)) for one in samples] for key in keys},
                },
                "throttle": {
                    "seen_by": [reader.name for reader in self._readers if reader.sees_throttle],
                    "events": {name: dict(event) for name, event in sorted(self._throttle.items())},
                },
                "facts": dict(sorted(self._facts.items())),
                "read": [reader.name for reader in self._readers],
                "absent": dict(self._absent),
                "unreadable": {name: dict(one) for name, one in sorted(self._unreadable.items())},
                "power_from": power_from(self._summaries),
                "power_note": POWER_NOTE,
                "clocks_locked": clocks.locked,
                "clocks": clocks.told,
                "lock_commands": list(clocks.commands),
                "rss_slope_mb_per_min": slope,
            }

    def _run(self) -> None:
        due = 1
        while not self._stop.wait(max(0.0, due * self._every_s - (self._clock.now_ns() - self._begin_ns) / 1e9)):
            self.sample()
            # After a long look or a suspended machine the missed looks are not made up for.
            due = max(due + 1, int((self._clock.now_ns() - self._begin_ns) / 1e9 / self._every_s) + 1)

    def _ask(self, reader: Reader, at_s: float) -> Reading:
        try:
            return reader.read(at_s)
        except Exception as error:  # whatever a sensor does, the run goes on and the report says what failed
            self._note(reader.name, reason(error))
            return Reading()

    def _note(self, what: str, why: str) -> None:
        with self._lock:
            entry = self._unreadable.setdefault(what, {"reason": why, "times": 0})
            entry["reason"], entry["times"] = why, entry["times"] + 1

    def _keep(self, one: MachineSample) -> None:
        with self._lock:
            for key, value in one.values.items():
                self._summaries.setdefault(key, Summary()).add(value)
            for name in one.throttle:
                event = self._throttle.setdefault(name, {"samples": 0, "first_s": one.t_s, "last_s": one.t_s})
                event["samples"], event["last_s"] = event["samples"] + 1, one.t_s
            if self._looks % self._stride == 0:
                self._samples.append(one)
            self._looks += 1
            if len(self._samples) > MOST_SAMPLES:
                self._samples, self._stride = self._samples[::2], self._stride * 2
            self._newest = one


def total_power_w(values: dict[str, float]) -> float | None:
    """Watts of the whole: a module's input where it is measured, else GPU board and processor package together."""
    if "module_power_w" in values:
        return values["module_power_w"]
    parts = [values[key] for key in ("gpu_power_w", "cpu_power_w") if key in values]
    return sum(parts) if parts else None


def power_from(names: object) -> str | None:
    """What `power_w` is the power of, given the names of the values that were seen."""
    seen = {name: name in names for name in ("module_power_w", "gpu_power_w", "cpu_power_w")}  # type: ignore[operator]
    if seen["module_power_w"]:
        return "the module's input"
    parts = [text for name, text in (("gpu_power_w", "GPU board"), ("cpu_power_w", "CPU package")) if seen[name]]
    return " and ".join(parts) or None


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
