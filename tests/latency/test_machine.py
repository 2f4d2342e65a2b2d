"""The watch: what it keeps of readers that work, fail, hang or say nonsense."""

from __future__ import annotations

import json
import math
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from roadedge.errors import UsageError
from roadedge.latency import machine
from roadedge.latency.clock import HostClock
from roadedge.latency.machine import MachineWatch, power_from, total_power_w
from roadedge.latency.machine_readers import READERS, default_readers
from roadedge.latency.machine_reading import Reading
from roadedge.latency.machine_trend import Summary, energy_per_frame, mean_between, slope_per_min
from tests.latency.hand_clock import HandClock


class Scripted:
    """Gives one reading after the other; an exception among them is raised."""

    def __init__(self, *script: Reading | Exception, name: str = "scripted", sees_throttle: bool = False) -> None:
        self.name, self.sees_throttle = name, sees_throttle
        self.script, self.closed, self.looks = script, 0, 0

    def read(self, at_s: float) -> Reading:
        step = self.script[min(self.looks, len(self.script) - 1)]
        self.looks += 1
        if isinstance(step, Exception):
            raise step
        return step

    def close(self) -> None:
        self.closed += 1


def watch_of(*readers: Any, looks: int = 1) -> MachineWatch:
    """A watch that looked once a second by a hand-moved clock."""
    clock = HandClock()
    watch = MachineWatch(clock, readers=readers)
    for _ in range(looks):
        watch.sample()
        clock.pass_ms(1000)
    return watch


def test_samples_carry_the_seconds_of_the_run() -> None:
    watch = watch_of(Scripted(Reading({"cpu_load": 0.5}), Reading({"cpu_load": 0.7})), looks=3)
    assert [one.t_s for one in watch.samples] == [0.0, 1.0, 2.0]
    assert watch.newest() == watch.samples[-1]
    summary = watch.to_dict()["summary"]["cpu_load"]
    assert summary["mean"] == pytest.approx(1.9 / 3)
    assert (summary["n"], summary["min"], summary["max"], summary["first"], summary["last"]) == (3, 0.5, 0.7, 0.5, 0.7)


def test_a_reader_that_fails_once_is_listed_and_asked_again() -> None:
    flaky = Scripted(Reading({"temp_c": 40}), OSError(5, "Input/output error"), Reading({"temp_c": 42}), name="flaky")
    watch = watch_of(flaky, Scripted(Reading({"cpu_load": 0.1})), looks=3)
    told = watch.to_dict()
    assert told["unreadable"] == {"flaky": {"reason": "Input/output error", "times": 1}}
    assert told["series"]["temp_c"] == [40, None, 42]
    assert told["series"]["cpu_load"] == [0.1, 0.1, 0.1]


def test_a_value_that_is_not_finite_is_listed_and_the_summary_stays_json() -> None:
    told = watch_of(Scripted(Reading({"gpu_mhz": math.nan, "cpu_load": 0.2}))).to_dict()
    json.dumps(told, allow_nan=False)
    assert "gpu_mhz" not in told["summary"]
    assert told["unreadable"]["gpu_mhz"]["reason"] == "nan is no measurement"


def test_the_first_reader_that_knows_a_value_is_believed() -> None:
    sysfs, tegrastats = Scripted(Reading({"gpu_mhz": 918.0})), Scripted(Reading({"gpu_mhz": 900.0, "emc_util": 0.18}))
    assert watch_of(sysfs, tegrastats).samples[0].values == {"gpu_mhz": 918.0, "emc_util": 0.18}


def test_throttling_is_unknown_where_nothing_would_show_it() -> None:
    assert watch_of(Scripted(Reading())).throttled() is None
    assert watch_of(Scripted(Reading(), sees_throttle=True)).throttled() == ()


def test_what_throttled_is_kept_with_its_times() -> None:
    hot = Reading(throttle=("GPU too hot (hardware)",))
    watch = watch_of(Scripted(Reading(), hot, hot, Reading(), sees_throttle=True), looks=5)
    assert watch.throttled() == ("GPU too hot (hardware)",)
    assert watch.to_dict()["throttle"]["events"] == {
        "GPU too hot (hardware)": {"samples": 2, "first_s": 1.0, "last_s": 2.0}
    }
    assert [one.throttle for one in watch.samples][3:] == [(), ()]


def test_a_containers_throttle_is_reported_even_where_the_hardware_is_not_seen() -> None:
    watch = watch_of(Scripted(Reading(throttle=("container's processor quota",))))
    assert watch.throttled() == ("container's processor quota",)


def test_power_is_the_modules_input_or_the_sum_of_what_is_measured() -> None:
    assert total_power_w({"module_power_w": 14.2, "gpu_power_w": 5.0}) == 14.2
    assert total_power_w({"gpu_power_w": 200.0, "cpu_power_w": 50.0}) == 250.0
    assert total_power_w({"cpu_load": 0.5}) is None
    assert power_from({"gpu_power_w", "cpu_power_w"}) == "GPU board and CPU package"
    assert power_from({"cpu_load"}) is None


def test_a_long_run_keeps_its_samples_bounded_and_its_summary_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "MOST_SAMPLES", 64)
    watch = watch_of(Scripted(*(Reading({"rss_mb": float(i)}) for i in range(1000))), looks=1000)
    assert len(watch.samples) <= 64
    steps = {round(b.t_s - a.t_s) for a, b in zip(watch.samples, watch.samples[1:], strict=False)}
    assert len(steps) == 1  # evenly spaced
    told = watch.to_dict()
    assert (told["looks"], told["summary"]["rss_mb"]["n"], told["summary"]["rss_mb"]["max"]) == (1000, 1000, 999)
    assert told["rss_slope_mb_per_min"] == pytest.approx(60.0)


def test_the_thread_samples_and_its_readers_are_closed() -> None:
    reader = Scripted(Reading({"cpu_load": 0.5}))
    with MachineWatch(HostClock(), every_s=0.02, readers=[reader]) as watch:
        deadline = time.monotonic() + 5
        while len(watch.samples) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert len(watch.samples) >= 5  # the last one at the end of the block
    assert reader.closed == 1


def test_a_sensor_that_hangs_does_not_hang_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    class Hanging(Scripted):
        def read(self, at_s: float) -> Reading:
            if threading.current_thread().name == "machine-watch":
                release.wait(20)
            return Reading()

    monkeypatch.setattr(machine, "PATIENCE_S", 0.05)
    begin = time.monotonic()
    with MachineWatch(HostClock(), every_s=0.01, readers=[Hanging(Reading())]) as watch:
        time.sleep(0.05)
    told = watch.to_dict()
    release.set()
    assert time.monotonic() - begin < 5
    assert "did not answer" in told["unreadable"]["watch"]["reason"]


def test_a_sensor_that_cannot_be_closed_does_not_cost_the_results() -> None:
    class Stuck(Scripted):
        def close(self) -> None:
            raise RuntimeError("Driver/library version mismatch")

    after = Scripted(Reading())
    with MachineWatch(HostClock(), readers=[Stuck(Reading(), name="stuck"), after]) as watch:
        pass
    assert watch.to_dict()["unreadable"]["stuck"]["reason"] == "Driver/library version mismatch"
    assert after.closed == 1


def test_a_driver_that_breaks_when_it_is_opened_is_absent_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(root: Path) -> Any:
        raise SystemError("undefined symbol: nvmlInit_v2")

    monkeypatch.setitem(READERS, "nvml", broken)
    assert default_readers(Path("/"))[1]["nvml"] == "undefined symbol: nvmlInit_v2"


def test_this_machine_can_be_watched() -> None:
    with MachineWatch(HostClock(), every_s=0.25) as watch:
        time.sleep(0.6)
    values = watch.samples[-1].values | watch.samples[1].values
    assert 0 <= values["cpu_load"] <= 1
    assert values["rss_mb"] > 10
    assert values["process_cpu"] >= 0
    told = watch.to_dict()
    json.dumps(told, allow_nan=False)
    assert set(told["read"]) | set(told["absent"]) == set(READERS)


def test_nothing_of_the_tree_is_written(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/stat").write_text("cpu  10 0 10 80 0 0 0 0 0 0\n")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    watch = MachineWatch(HandClock(), root=tmp_path)
    watch.sample()
    watch.to_dict()
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_memory_that_grows_after_the_first_minute_has_a_slope() -> None:
    growing = [(float(t), 100.0 + (50 if t < 60 else 0) + t / 60 * 2.5) for t in range(300)]
    assert slope_per_min(growing) == pytest.approx(2.5)


def test_the_first_fifth_of_a_short_run_is_left_out() -> None:
    short = [(float(t), 500.0 if t < 20 else 100.0) for t in range(101)]
    assert slope_per_min(short) == pytest.approx(0.0)


@pytest.mark.parametrize("samples", [[], [(0.0, 1.0)], [(5.0, 1.0)] * 50, [(float(t), math.nan) for t in range(50)]])
def test_too_little_has_no_slope(samples: list[tuple[float, float]]) -> None:
    assert slope_per_min(samples) is None


def test_a_mean_is_weighted_by_time() -> None:
    samples = [(0.0, 10.0), (1.0, 10.0), (2.0, 30.0), (12.0, 30.0)]
    assert mean_between(samples, 0, 12) == pytest.approx((10 + 20 + 300) / 12)
    assert mean_between(samples, 11, 20) == 30.0
    assert mean_between(samples, 20, 30) is None


def test_a_frames_energy_has_the_idle_power_beside_it() -> None:
    energy = energy_per_frame(mean_w=15.0, seconds=60.0, frames=900, idle_w=6.0)
    assert energy.j_per_frame == pytest.approx(1.0)
    assert energy.above_idle_j_per_frame == pytest.approx(0.6)
    assert energy_per_frame(15.0, 60.0, 900).above_idle_j_per_frame is None


@pytest.mark.parametrize(
    ("watts", "seconds", "frames"), [(10, 60, 0), (10, 0, 5), (math.nan, 60, 5), (10, math.inf, 5)]
)
def test_energy_of_nothing_is_refused(watts: float, seconds: float, frames: int) -> None:
    with pytest.raises(UsageError, match="needs frames, seconds and watts"):
        energy_per_frame(watts, seconds, frames)


def test_an_empty_summary_is_all_none_but_its_count() -> None:
    empty = Summary()
    empty.add(math.inf)
    assert empty.to_dict() == {"n": 0, "mean": None, "min": None, "max": None, "first": None, "last": None}
