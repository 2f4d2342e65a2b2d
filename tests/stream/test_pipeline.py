"""On a hand-moved clock the age of each result, each drop and each stage are exact."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from roadedge.errors import DataError, OutputError, SourceError
from roadedge.latency.clock import STAGES
from roadedge.latency.profile import profile_of
from roadedge.preprocess import Feeds
from roadedge.sample import Sample
from roadedge.spec import ModelSpec
from roadedge.stream.pipeline import Pipeline, Run, Watch
from roadedge.stream.plan import Plan
from roadedge.stream.sinks import Result, Sink
from roadedge.stream.sources import Frame, Gap, Source
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
    # frame 0 ends at 250 ms: 2 waits, it took the place of 1; 2 ends at 500 ms, a moment before 5 takes the place of 4
    assert ages(run) == [250.0, None, 300.0, None, 350.0, None, None, 300.0]
    late = "latest:infer"
    assert [r.dropped_by for r in run.records] == ["", late, "", late, "", late, late, ""]
    assert [r.wait_ms for r in run.records if r.age_ms] == [0.0, 50.0, 100.0, 50.0]


def test_max_age_drops_what_is_too_old_to_be_worked_on_before_the_next_stage() -> None:
    run = stream(6, 10.0, (250.0,), Plan("max-age:320"))
    # 0 ends at 250; 1, taken at 250 at the age of 150, ends at 500; 2 is taken at 500 at 300, ends at 750 too old for
    # the sinks; 3 is 450 old at 750, 4 is 350 old; 5 is 250 old and ends at 500
    assert ages(run) == [250.0, None, None, None, None, None]
    old = "max-age:"
    assert [r.dropped_by for r in run.records] == [
        "", f"{old}postprocess", f"{old}postprocess", f"{old}infer", f"{old}infer", f"{old}postprocess"
    ]  # fmt: skip


def test_under_all_no_more_frames_wait_than_the_queues_hold() -> None:
    clock = HandClock()
    source = FakeSource(clock, 1000)
    read_ahead = []

    class Slow(FakeRunner):
        def infer(self, feeds: Feeds, logits: bool = False) -> Feeds:
            read_ahead.append(source.index - len(self.feeds))
            return super().infer(feeds, logits)

    Pipeline(source, Slow(clock, (100.0,)), [], Plan("all", max_frames=200), clock).go()
    assert max(read_ahead) <= 10


def test_a_slow_sink_makes_results_give_way_to_newer_ones() -> None:
    clock = HandClock()
    sink = Kept(clock, 250.0)
    run = Pipeline(FakeSource(clock, 8, 10.0), FakeRunner(clock, (20.0,)), [sink], Plan(), clock).go()
    assert ages(run) == [270.0, None, 320.0, None, 370.0, None, None, 320.0]
    assert {r.dropped_by for r in run.records} == {"", "latest:encode"}


def test_a_source_slower_than_its_rate_leaves_frames_undecoded() -> None:
    clock = HandClock()
    run = Pipeline(FakeSource(clock, 8, 10.0, decode_ms=250.0), FakeRunner(clock, (20.0,)), [], Plan(), clock).go()
    assert ages(run) == [270.0, None, 320.0, None, None, 270.0, None, 320.0]
    assert {r.dropped_by for r in run.records} == {"", "latest:decode"}
    assert [r.late_ms for r in run.records if r.age_ms] == [0.0, 50.0, 0.0, 50.0]


def test_all_answers_every_frame_at_a_growing_age() -> None:
    run = stream(4, 10.0, (250.0,), Plan("all"))
    assert ages(run) == [250.0, 400.0, 550.0, 700.0]
    assert not any(r.dropped_by for r in run.records)


def test_a_stall_is_seen_in_the_age_and_not_only_in_the_call() -> None:
    run = stream(6, 10.0, (20.0, 350.0, 20.0), Plan("all"))
    assert ages(run) == [20.0, 350.0, 270.0, 190.0, 110.0, 30.0]
    infer = STAGES.index("infer")
    assert [r.stage_ms[infer] for r in run.records] == [20.0, 350.0, 20.0, 20.0, 20.0, 20.0]


def test_without_a_rate_frames_follow_each_other_and_the_age_is_end_to_end_with_the_waiting() -> None:
    clock = HandClock()
    sink = Kept(clock, 3.0)
    run = Pipeline(FakeSource(clock, 3, decode_ms=2.0), FakeRunner(clock, (7.0,)), [sink], Plan(), clock).go()
    assert ages(run) == [12.0, 17.0, 22.0]
    assert [r.wait_ms for r in run.records] == [0.0, 5.0, 10.0]
    assert dict(zip(STAGES, run.records[0].stage_ms, strict=True)) == {
        "decode": 2.0, "heatmap": 0.0, "preprocess": 0.0, "infer": 7.0, "postprocess": 0.0, "encode": 3.0
    }  # fmt: skip
    assert [r.clock for r in run.records] == ["run"] * 3
    assert [r.frame.name for r in sink.results] == ["000000", "000001", "000002"]
    assert run.duration_s == pytest.approx(0.026)  # decoding and sinks beside the network, not after it


def test_a_rate_can_be_put_on_a_source_that_has_none() -> None:
    assert ages(stream(3, None, (250.0,), Plan(rate_hz=10.0))) == [250.0, None, 300.0]


def test_frames_and_seconds_limit_a_run_and_no_frame_is_dropped_beyond_the_end() -> None:
    assert len(stream(100, 10.0, (20.0,), Plan(max_frames=7)).records) == 7
    timed = stream(100, 10.0, (20.0,), Plan(duration_s=0.5))
    assert len(timed.records) == 5
    assert timed.duration_s == pytest.approx(0.5)  # the last frame's period is waited for
    late = stream(100, 10.0, (2000.0,), Plan(duration_s=0.5))
    assert (len(late.records), late.answered) == (5, 2)  # 4 fell due while the first was worked on; the newest waited
    assert len(stream(100, 10.0, (2000.0,), Plan(max_frames=3)).records) == 3
    untimed = stream(100, None, (200.0,), Plan(duration_s=0.5))
    assert (len(untimed.records), untimed.answered) == (12, 12)  # what was on its way at the end is answered


def interrupt_after(*moments_s: float) -> Watch:
    """Ctrl-C at these seconds of the run."""
    left = list(moments_s)

    def watch(run: Run, now_s: float) -> None:
        if left and now_s >= left[0]:
            del left[0]
            raise KeyboardInterrupt

    return watch


def test_ctrl_c_ends_a_run_in_order_and_what_is_on_its_way_is_answered() -> None:
    clock = HandClock()
    runner = FakeRunner(clock, (300.0,))
    run = Pipeline(FakeSource(clock, 99, 10.0), runner, [], Plan(), clock, interrupt_after(1.0)).go()
    assert run.interrupted
    assert (len(run.records), run.answered) == (10, 5)
    assert run.records[-1].age_ms == 600.0
    assert run.duration_s == pytest.approx(1.5)


def test_a_second_ctrl_c_gives_up_what_is_on_its_way() -> None:
    clock = HandClock()
    runner = FakeRunner(clock, (3000.0,))
    run = Pipeline(FakeSource(clock, 99, 10.0), runner, [], Plan(), clock, interrupt_after(1.0, 1.25)).go()
    assert run.interrupted
    assert run.answered == 0
    assert {r.dropped_by for r in run.records} == {"latest:infer", "aborted"}
    assert run.duration_s == pytest.approx(3.0)  # a call of the network cannot be cut short


def test_an_error_of_a_sink_ends_the_run_at_once() -> None:
    clock = HandClock()

    class Full(Sink):
        def write(self, result: Result) -> None:
            raise OutputError("the disk is full")

    pipeline = Pipeline(FakeSource(clock, 99, 10.0), FakeRunner(clock, (300.0,)), [Full()], Plan(), clock)
    with pytest.raises(OutputError, match="the disk is full"):
        pipeline.go()
    assert pipeline.run.records[0].dropped_by == "aborted"
    assert pipeline.run.duration_s < 0.7


class Camera(FakeSource):
    """Frames that come on their own every 100 ms, each `delay_ms` after it was captured; it ends when interrupted."""

    delivers = live = True

    def __init__(self, clock: HandClock, delays_ms: tuple[float, ...]) -> None:
        super().__init__(clock, len(delays_ms))
        self.delays_ms, self.stopped = delays_ms, False
        self._start_ns = clock.now_ns()

    def read(self) -> Frame | None:
        if self.stopped or self.index >= len(self.delays_ms):
            return None
        captured_ns = self._start_ns + self.index * 100_000_000
        self._clock.sleep_until_ns(captured_ns + round(self.delays_ms[self.index] * 1e6))
        frame = super().read()
        assert frame is not None
        return dataclasses.replace(frame, captured_ns=captured_ns, clock="pts", decode_ms=4.0, capture_s=7.0)

    def interrupt(self) -> None:
        self.stopped = True


def test_the_age_of_a_camera_counts_from_the_capture_and_not_from_the_arrival() -> None:
    clock = HandClock()
    camera = Camera(clock, (10.0, 10.0, 350.0, 250.0, 150.0))
    pipeline = Pipeline(camera, FakeRunner(clock, (20.0,)), [], Plan("all"), clock)
    run = pipeline.go()
    assert ages(run) == [30.0, 30.0, 370.0, 290.0, 210.0]  # a burst after a hold-up: each waits for the one before
    assert [r.late_ms for r in run.records] == [6.0, 6.0, 346.0, 246.0, 146.0]
    assert {(r.clock, r.capture_s) for r in run.records} == {("pts", 7.0)}
    assert pipeline.scenario == "live"
    assert pipeline.rate_hz == pytest.approx(10.0)


def test_a_camera_is_stopped_when_the_time_is_over() -> None:
    clock = HandClock()
    run = Pipeline(Camera(clock, (10.0,) * 100), FakeRunner(clock, (20.0,)), [], Plan(duration_s=1.0), clock).go()
    assert run.answered == 11
    assert not run.interrupted


class Film(FakeSource):
    """Frames with presentation times of their own, from 5 s on, unevenly."""

    TIMES_S = (5.0, 5.1, 5.15, 5.6)

    def read(self) -> Frame | None:
        frame = super().read()
        return frame and dataclasses.replace(frame, capture_s=self.TIMES_S[self.index - 1], clock="pts")


def test_a_film_in_real_time_is_due_at_its_own_presentation_times() -> None:
    clock = HandClock()
    film = Film(clock, 4, decode_ms=5.0)
    run = Pipeline(film, FakeRunner(clock, (80.0,)), [], Plan("all", realtime=True), clock).go()
    assert ages(run) == [85.0, 85.0, 115.0, 85.0]
    assert [r.capture_s for r in run.records] == list(Film.TIMES_S)
    assert run.duration_s == pytest.approx(0.685)


def test_a_film_that_is_decoded_too_late_says_how_late() -> None:
    clock = HandClock()

    class Stalls(Film):
        def read(self) -> Frame | None:
            self._decode_ms = 400.0 if self.index == 1 else 5.0
            return super().read()

    run = Pipeline(Stalls(clock, 4), FakeRunner(clock, (20.0,)), [], Plan("all", realtime=True), clock).go()
    assert ages(run) == [25.0, 420.0, 390.0, 25.0]  # 15 ms of it in the queue
    assert [r.late_ms for r in run.records] == pytest.approx([0.0, 0.0, 350.0, 0.0])
    assert [r.rest_ms for r in run.records] == pytest.approx([0.0] * 4)


def test_a_film_that_is_stopped_answers_no_frame_before_it_is_due() -> None:
    clock = HandClock()
    film = Film(clock, 4, decode_ms=5.0)
    run = Pipeline(film, FakeRunner(clock, (20.0,)), [], Plan("all", realtime=True, duration_s=0.3), clock).go()
    assert ages(run) == [25.0] * 3  # the fourth is due at 0.6 s
    assert run.duration_s == pytest.approx(0.3)


def test_a_film_without_times_cannot_be_shown_at_its_own_times() -> None:
    clock = HandClock()
    with pytest.raises(SourceError, match="no time of its own; give --rate a number"):
        Pipeline(FakeSource(clock, 4), FakeRunner(clock), [], Plan(realtime=True), clock).go()


def test_the_rate_of_a_camera_leaves_its_gaps_out() -> None:
    clock = HandClock()

    class Returns(Camera):
        def read(self) -> Frame | None:
            frame = super().read()
            assert frame is None or frame.captured_ns is not None
            return frame and dataclasses.replace(
                frame, captured_ns=(frame.captured_ns or 0) + (self.index > 3) * 10_000_000_000
            )

    camera = Returns(clock, (0.0,) * 3 + (10_000.0,) * 3)  # three frames, 10.1 s of nothing, three frames
    begin_ns = clock.now_ns()
    lost = Gap(begin_ns + 200_000_000, begin_ns + 10_300_000_000, "lost", 1)
    camera.gaps = [lost, Gap(begin_ns + 10_500_000_000, None, "lost", 1)]

    pipeline = Pipeline(camera, FakeRunner(clock, (20.0,)), [], Plan("all"), clock)
    pipeline.go()
    assert pipeline.rate_hz == pytest.approx(10.0)


class Deaf(Camera):
    """Gives three frames and then never returns, whatever it is told."""

    def read(self) -> Frame | None:
        if self.index == 3:
            never = self._clock.signal()
            with never:
                self._clock.wait(never)
        return super().read()


def test_a_camera_that_does_not_heed_an_interrupt_is_left_behind() -> None:
    clock = HandClock()
    run = Pipeline(Deaf(clock, (10.0,) * 9), FakeRunner(clock, (20.0,)), [], Plan(duration_s=1.0), clock).go()
    assert (len(run.records), run.answered) == (3, 3)
    assert run.duration_s == pytest.approx(11.0, abs=0.3)
    assert run.notices == ["fake did not end within 10 s and was left behind"]


def test_a_third_ctrl_c_waits_no_longer_for_a_call_that_does_not_return() -> None:
    class Impatient(HandClock):
        def start(self, work: Callable[[], None], name: str) -> Callable[[], None]:
            super().start(work, name)
            return third_ctrl_c

    def third_ctrl_c() -> None:
        raise KeyboardInterrupt

    clock = Impatient()
    runner = FakeRunner(clock, (1e9,))
    run = Pipeline(FakeSource(clock, 99, 10.0), runner, [], Plan("all"), clock, interrupt_after(1.0, 1.25)).go()
    assert run.interrupted
    assert run.duration_s == pytest.approx(1.25)
    assert {r.dropped_by for r in run.records} == {"aborted"}
    assert "a call that did not return was left behind" in run.notices


def test_ctrl_c_while_the_threads_start_ends_those_that_run() -> None:
    class Hasty(HandClock):
        started = 0

        def start(self, work: Callable[[], None], name: str) -> Callable[[], None]:
            self.started += 1
            if self.started == 4:
                raise KeyboardInterrupt
            return super().start(work, name)

    clock = Hasty()
    run = Pipeline(FakeSource(clock, 99, 10.0), FakeRunner(clock), [], Plan(), clock).go()
    assert run.interrupted
    assert len(run.records) == 0


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
    assert run.remarks.outside_band == 1
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
    assert profile.answered + sum(profile.dropped_by.values()) == 100
    assert profile.age.maximum == pytest.approx(350.0)


class Spans:
    """When the network and the sinks were at work, in milliseconds since the start."""

    def __init__(self, service_ms: float, encode_ms: float, turns: bool) -> None:
        clock = HandClock()
        network: list[tuple[float, float]] = []
        sinks: list[tuple[float, float]] = []

        class Timed(FakeRunner):
            def infer(self, feeds: Feeds, logits: bool = False) -> Feeds:
                begin_ns = clock.now_ns()
                outputs = super().infer(feeds, logits)
                network.append((begin_ns / 1e6, clock.now_ns() / 1e6))
                return outputs

        class Busy(Kept):
            def write(self, result: Result) -> None:
                begin_ns = clock.now_ns()
                super().write(result)
                sinks.append((begin_ns / 1e6, clock.now_ns() / 1e6))

        source, runner = FakeSource(clock, 40, 1e3 / service_ms), Timed(clock, (service_ms,))
        pipeline = Pipeline(source, runner, [Busy(clock, encode_ms)], Plan("latest"), clock, turns=turns)
        self.run = pipeline.go()
        self.overlaps = sum(a < d - 1e-6 and c < b - 1e-6 for a, b in network for c, d in sinks)
        self.waits = [round(after[0] - before[1], 6) for before, after in pairwise(network)]


def test_where_they_share_processors_the_network_waits_for_the_sinks_of_the_frame_before() -> None:
    assert Spans(40.0, 10.0, turns=False).overlaps > 30
    taken = Spans(40.0, 10.0, turns=True)
    assert taken.overlaps == 0
    assert len([r for r in taken.run.records if not r.dropped_by]) == 33  # one in 50 ms, the last frame at 1.6 s


def test_the_network_does_not_wait_for_sinks_that_take_long() -> None:
    spans = Spans(40.0, 35.0, turns=True)  # a disk, not a processor
    assert spans.waits[0] == 20.0  # half the network's time, before anybody knew
    assert set(spans.waits[2:]) == {0.0}


def test_on_shared_processors_no_points_are_drawn_for_frames_that_the_network_will_not_see() -> None:
    causes = {}
    for turns in (False, True):
        clock = HandClock()
        source, runner = FakeSource(clock, 80, 100.0), FakeRunner(clock, (40.0,))
        run = Pipeline(source, runner, [Kept(clock, 5.0)], Plan("latest"), clock, turns=turns).go()
        causes[turns] = Counter(r.dropped_by for r in run.records if r.dropped_by)
    assert set(causes[False]) == {"latest:infer"}
    assert causes[True]["latest:heatmap"] > 2 * causes[True]["latest:infer"]  # one in two rests brings a newer frame
