"""On a hand-moved clock the age of each result, each drop and each stage are exact."""

from __future__ import annotations

import numpy as np
import pytest

from roadedge.errors import DataError
from roadedge.latency.clock import STAGES
from roadedge.latency.profile import profile_of
from roadedge.preprocess import Feeds
from roadedge.sample import Sample
from roadedge.spec import ModelSpec
from roadedge.stream.pipeline import Pipeline, Plan, Run
from roadedge.stream.sinks import Result, Sink
from roadedge.stream.sources import Frame, Source
from tests.latency.hand_clock import HandClock
from tests.stream.fakes import FakeRunner, FakeSource


class Kept(Sink):
    """Keeps results; takes `encode_ms` of the clock for each."""

    def __init__(self, clock: HandClock, encode_ms: float = 0.0) -> None:
        self.results: list[Result] = []
        self._clock, self._encode_ms = clock, encode_ms

    def write(self, result: Result) -> None:
        self._clock.pass_ms(self._encode_ms)
        self.results.append(result)


def stream(count: int, rate_hz: float | None, service_ms: tuple[float, ...], plan: Plan) -> Run:
    clock = HandClock()
    return Pipeline(FakeSource(clock, count, rate_hz), FakeRunner(clock, service_ms), [], plan, clock).go()


def ages(run: Run) -> list[float | None]:
    return [None if r.age_ms is None else round(r.age_ms, 6) for r in run.records]


def test_while_we_keep_up_the_age_is_the_time_of_the_work() -> None:
    run = stream(5, 10.0, (40.0,), Plan())
    assert ages(run) == [40.0] * 5
    assert [r.capture_s for r in run.records] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    assert {r.clock for r in run.records} == {"schedule"}


def test_latest_drops_frames_that_fell_due_meanwhile_and_keeps_the_age_bounded() -> None:
    run = stream(8, 10.0, (250.0,), Plan("latest"))
    # frame 0 ends at 250 ms: 2 is the newest that is due, 1 is dropped; 2 ends at 500 ms: 5 is due at that very moment
    assert ages(run) == [250.0, None, 300.0, None, None, 250.0, None, 300.0]
    assert [r.dropped_by for r in run.records] == ["", "policy", "", "policy", "policy", "", "policy", ""]


def test_all_answers_every_frame_at_a_growing_age() -> None:
    run = stream(4, 10.0, (250.0,), Plan("all"))
    assert ages(run) == [250.0, 400.0, 550.0, 700.0]
    assert not any(r.dropped_by for r in run.records)


def test_a_stall_is_seen_in_the_age_and_not_only_in_the_call() -> None:
    run = stream(6, 10.0, (20.0, 350.0, 20.0), Plan("all"))
    assert ages(run) == [20.0, 350.0, 270.0, 190.0, 110.0, 30.0]
    infer = STAGES.index("infer")
    assert [r.stage_ms[infer] for r in run.records] == [20.0, 350.0, 20.0, 20.0, 20.0, 20.0]


def test_without_a_rate_frames_follow_each_other_and_the_age_is_end_to_end() -> None:
    clock = HandClock()
    sink = Kept(clock, 3.0)
    run = Pipeline(FakeSource(clock, 3, decode_ms=2.0), FakeRunner(clock, (7.0,)), [sink], Plan(), clock).go()
    assert ages(run) == [12.0] * 3
    assert dict(zip(STAGES, run.records[0].stage_ms, strict=True)) == {
        "decode": 2.0, "heatmap": 0.0, "preprocess": 0.0, "infer": 7.0, "postprocess": 0.0, "encode": 3.0
    }  # fmt: skip
    assert [r.clock for r in run.records] == ["run"] * 3
    assert [r.frame.name for r in sink.results] == ["000000", "000001", "000002"]
    assert run.duration_s == pytest.approx(0.036)


def test_a_rate_can_be_put_on_a_source_that_has_none() -> None:
    assert ages(stream(3, None, (250.0,), Plan(rate_hz=10.0))) == [250.0, None, 300.0]


def test_frames_and_seconds_limit_a_run_and_no_frame_is_dropped_beyond_the_end() -> None:
    assert len(stream(100, 10.0, (20.0,), Plan(max_frames=7)).records) == 7
    timed = stream(100, 10.0, (20.0,), Plan(duration_s=0.5))
    assert len(timed.records) == 5
    assert timed.duration_s == pytest.approx(0.5)  # the last frame's period is waited for
    late = stream(100, 10.0, (2000.0,), Plan(duration_s=0.5))
    assert (len(late.records), late.answered) == (5, 1)  # 4 fell due while the first was worked on
    assert len(stream(100, 10.0, (2000.0,), Plan(max_frames=3)).records) == 3
    assert len(stream(100, None, (200.0,), Plan(duration_s=0.5)).records) == 3


def test_ctrl_c_ends_a_run_in_order_with_what_there_is() -> None:
    clock = HandClock()

    class Stopped(FakeRunner):
        def infer(self, feeds: Feeds, logits: bool = False) -> Feeds:
            if len(self.feeds) == 3:
                raise KeyboardInterrupt
            return super().infer(feeds, logits)

    run = Pipeline(FakeSource(clock, 9), Stopped(clock, (1.0,)), [], Plan(), clock).go()
    assert run.interrupted
    assert run.answered == 3


class OneBad(FakeSource):
    """Its second frame is bad."""

    def read(self) -> Frame | None:
        if self.index == 1:
            self.index += 1
            raise DataError("frame 1 is bad")
        return super().read()


def test_a_bad_file_among_many_is_kept_as_a_failure_and_the_rest_goes_on() -> None:
    clock = HandClock()
    source = OneBad(clock, 3)
    source.moving = False
    run = Pipeline(source, FakeRunner(), [], Plan(), clock).go()
    assert [str(e) for e in run.failures] == ["frame 1 is bad"]
    assert [r.dropped_by for r in run.records] == ["", "error", ""]


@pytest.mark.parametrize(("moving", "strict"), [(True, False), (False, True)])
def test_a_bad_frame_ends_a_film_and_a_strict_run(moving: bool, strict: bool) -> None:
    clock = HandClock()
    source = OneBad(clock, 3)
    source.moving = moving
    pipeline = Pipeline(source, FakeRunner(), [], Plan(strict=strict), clock)
    with pytest.raises(DataError, match="frame 1 is bad"):
        pipeline.go()
    assert pipeline.run.answered == 1
    assert pipeline.run.records[-1].dropped_by == "error"


class OneImage(Source):
    """A single grey image of 48 x 40 pixels at .9 m, with its truth and three points."""

    name = "one"

    def __init__(self) -> None:
        self.left = 1

    def read(self) -> Frame | None:
        if not self.left:
            return None
        self.left = 0
        points = np.array([[1.0, 1.0], [2.0, 2.0], [-1.0, 0.0]])
        image = np.full((48, 40, 3), 200, np.uint8)
        return Frame("one", Sample(image, points, gsd_m=0.9), truth=np.full((48, 40), 255, np.uint8))

    def skip(self, count: int) -> int:
        return 0


def test_the_band_of_ground_sample_distances_is_watched_once_per_distance() -> None:
    spec = ModelSpec("fake", gsd_m=0.45, gsd_band_m=(0.3, 0.7))
    run = Pipeline(OneImage(), FakeRunner(spec=spec), [], Plan(), HandClock()).go()
    assert run.outside_band == 1
    assert "0.9 m per pixel" in run.notices[0]
    strict = Pipeline(OneImage(), FakeRunner(spec=spec), [], Plan(strict=True), HandClock())
    with pytest.raises(DataError, match=r"0\.9 m per pixel"):
        strict.go()


def test_a_frame_walks_from_points_to_mask_and_is_scored_where_the_truth_is_known() -> None:
    runner = FakeRunner()
    run = Pipeline(OneImage(), runner, [], Plan(), HandClock()).go()
    assert runner.feeds[0]["trajectory"].shape == (1, 64, 64, 1)  # padded to the stride
    assert runner.feeds[0]["trajectory"].max() > 0
    assert run.records[0].points == 2  # the third lies outside
    assert run.last is not None
    assert run.last.mask.mask.shape == (48, 40)
    assert run.counts[0].iou == 1.0


def test_a_network_of_images_alone_is_fed_no_second_modality() -> None:
    runner = FakeRunner(spec=ModelSpec("fake", ("image",), gsd_m=None, gsd_band_m=None))
    run = Pipeline(OneImage(), runner, [], Plan(), HandClock()).go()
    assert list(runner.feeds[0]) == ["image"]
    assert run.records[0].points is None


def test_the_threshold_of_the_plan_wins_over_the_networks() -> None:
    run = Pipeline(OneImage(), FakeRunner(), [], Plan(threshold=0.9), HandClock()).go()
    assert run.last is not None
    assert not run.last.mask.mask.any()  # 200 of 255 is below .9


def test_the_profile_of_an_overload_tells_drops_and_load() -> None:
    run = stream(100, 10.0, (250.0,), Plan("latest"))
    profile = profile_of(run.records, 10.0, "latest", 0.0, run.duration_s)
    assert profile.load == pytest.approx(2.5)
    assert profile.answered + profile.dropped_by["policy"] == 100
    assert profile.age.maximum == pytest.approx(300.0)
