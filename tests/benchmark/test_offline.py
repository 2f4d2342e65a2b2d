"""The sweep over sizes of batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from roadedge.benchmark.energy import energy, idle_watts
from roadedge.benchmark.frames import prepare_ring
from roadedge.benchmark.measured import run_offline
from roadedge.benchmark.offline import sweep
from roadedge.benchmark.outcome import metrics_of
from roadedge.errors import EnvironmentFault, UsageError
from roadedge.latency.verdict import Verdict
from roadedge.preprocess import Feeds
from tests.benchmark.fakes import TimedRunner, options
from tests.latency.hand_clock import HandClock
from tests.stream.fakes import SPEC, FakeSource

FIXED = replace(SPEC, batch=1, size=(32, 32))


class Batched(TimedRunner):
    """10 ms for a call and 5 ms for each window."""

    def infer(self, feeds: Feeds, logits: bool = False) -> Feeds:
        self.hand.pass_ms(10.0 + 5.0 * len(feeds["image"]))
        return super().infer(feeds, logits)


class Watt:
    """Reads 10 W till the measurement, then 25 W."""

    def __init__(self, watts: float | None = 25.0) -> None:
        self.watts = watts
        self.asked: list[tuple[float, float]] = []

    def mean(self, key: str, begin_s: float = 0.0, end_s: float = float("inf")) -> float | None:
        assert key == "power_w"
        self.asked.append((begin_s, end_s))
        return self.watts


def measured(batches: tuple[int, ...], stop_at: int | None = None) -> Any:
    clock = HandClock()
    runner: Any = Batched(clock, stop_at=stop_at)
    ring = prepare_ring(FakeSource(clock, 16), runner.spec)
    asked = options(scenario="offline", duration_s=16.0)
    return run_offline(batches, ring, runner, asked, clock, 0.0, lambda text: None)


def test_throughput_is_images_over_the_measured_time() -> None:
    found = measured((1, 2, 4, 8))
    assert [one.images_per_s for one in found.sweep] == pytest.approx([66.67, 100.0, 133.33, 160.0], rel=0.01)
    assert [one.call.median for one in found.sweep] == pytest.approx([15.0, 20.0, 30.0, 50.0])
    assert found.throughput_per_s == pytest.approx(160.0, rel=0.01)
    assert found.samples_ms == []
    assert found.batch == "1,2,4,8"


def test_each_batch_has_its_share_of_the_time_after_a_warm_up_of_its_own() -> None:
    found = measured((1, 8))
    assert [one.seconds for one in found.sweep] == pytest.approx([8.0, 8.0], abs=0.1)
    assert [one.loop.warmup_s for one in found.sweep] == pytest.approx([3.0, 5.0])


def test_joules_of_each_batch_come_from_its_own_part_of_the_time() -> None:
    found, watch = measured((1, 8)), Watt()
    metrics = metrics_of(found, Verdict(()), {}, {}, watch, found.sweep[0].begin_ns, 10.0)
    first, second = (row["energy"] for row in metrics["own"]["batches"])
    assert first["j_per_frame"] == pytest.approx(25.0 / 66.67, rel=0.01)
    assert second["above_idle_j_per_frame"] == pytest.approx(15.0 / 160.0, rel=0.01)
    assert watch.asked[0] == pytest.approx((0.0, 8.0), abs=0.1)
    assert watch.asked[1] == pytest.approx((13.0, 21.0), abs=0.1)


def test_where_no_watts_are_read_there_are_no_joules() -> None:
    assert energy(Watt(None), 0.0, 1.0, 10) is None
    assert energy(None, 0.0, 1.0, 10) is None
    assert energy(Watt(), 1.0, 1.0, 10) is None
    assert energy(Watt(), 0.0, 1.0, 0) is None


def test_power_without_a_sensor_is_said_before_measuring() -> None:
    clock = HandClock()
    assert idle_watts(Watt(7.5), clock, clock.ns) == 7.5
    with pytest.raises(EnvironmentFault, match="leave --power out"):
        idle_watts(Watt(None), clock, clock.ns)


def test_a_graph_of_any_batch_takes_the_whole_sweep() -> None:
    assert sweep(None, TimedRunner(HandClock()), "m") == ((1, 2, 4, 8), "")  # type: ignore[arg-type]


def test_a_static_graph_is_measured_at_its_own_batch_and_the_rest_left_out_aloud() -> None:
    batches, note = sweep(None, TimedRunner(HandClock(), spec=FIXED), "weights/a.fp16.onnx")  # type: ignore[arg-type]
    assert batches == (1,)
    assert note.endswith("for more: roadedge export weights/a.pt --size 32x32 --batch 8")


def test_a_batch_that_a_static_graph_does_not_take_is_refused_with_the_command_that_mends_it() -> None:
    with pytest.raises(UsageError, match=r"does not take 2, 4 .* roadedge export roadedge-s --size 32x32 --batch 4"):
        sweep((1, 2, 4), TimedRunner(HandClock(), spec=FIXED), "roadedge-s:fp16")  # type: ignore[arg-type]


def test_a_static_graph_of_four_does_not_take_one() -> None:
    four: Any = TimedRunner(HandClock(), spec=replace(FIXED, batch=4))
    assert sweep(None, four, "m.onnx")[0] == (4,)
    assert sweep(None, TimedRunner(HandClock(), spec=replace(FIXED, batch=3)), "m.onnx")[0] == (3,)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="its batch is fixed at 4"):
        sweep((1,), four, "m.onnx")


def test_ctrl_c_ends_the_sweep_with_what_it_has() -> None:
    found = measured((1, 8), stop_at=5)
    assert found.interrupted
    assert len(found.sweep) == 1
