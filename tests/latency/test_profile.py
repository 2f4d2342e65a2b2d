"""What a run shows is a plain function of its frames' records."""

from __future__ import annotations

import tracemalloc

import pytest

from roadedge.latency.profile import CSV_COLUMNS, FrameRecord, Profile, find_warmup, profile_of, worst_frame


def record(
    index: int, age_ms: float = 30.0, infer_ms: float = 20.0, period_s: float = 0.1, points: int = 5
) -> FrameRecord:
    stages = (2.0, 1.0, 1.0, infer_ms, 1.0, 4.0)
    due_s = index * period_s
    return FrameRecord(
        f"{index:06d}", due_s, "schedule", due_s + age_ms / 1e3, age_ms, stages, 12.0, points,
        late_ms=max(0.0, age_ms - sum(stages) - 1.0),
    )  # fmt: skip


def dropped(index: int, period_s: float = 0.1) -> FrameRecord:
    return FrameRecord(f"{index:06d}", index * period_s, "schedule", dropped_by="latest:infer")


def profile(records: list[FrameRecord], rate_hz: float | None = 10.0) -> Profile:
    return profile_of(records, rate_hz, "latest", 123.0, 20.0)


def test_the_columns_are_those_of_the_contract() -> None:
    assert ",".join(CSV_COLUMNS) == (
        "frame,capture_s,clock,age_ms,decode_ms,heatmap_ms,preprocess_ms,infer_ms,postprocess_ms,encode_ms,"
        "skew_ms,points,dropped_by,done_s,late_ms,wait_ms,paired,h2d_ms,gpu_ms,d2h_ms,enqueue_ms"
    )
    assert record(3).csv_row() == [
        "000003",
        "0.300000",
        "schedule",
        "30.000",
        "2.000",
        "1.000",
        "1.000",
        "20.000",
        "1.000",
        "4.000",
        "12.000",
        "5",
        "",
        "0.330000",
        "0.000",
        "0.000",
        *[""] * 5,
    ]
    row = dropped(4).csv_row()
    assert row == ["000004", "0.400000", "schedule", *[""] * 9, "latest:infer", "0.000000", *[""] * 7]
    assert len(row) == len(CSV_COLUMNS)


def test_warm_up_ends_after_3_s_and_two_like_medians() -> None:
    slow_then_steady = [record(i, infer_ms=40.0 if i < 20 else 20.0) for i in range(200)]
    warmup = find_warmup(slow_then_steady)
    assert warmup.settled
    assert warmup.frames == 100  # 100 frames of .1 s; both medians of 50 are 20 ms
    assert warmup.first_infer_ms == 40.0


def test_a_slow_network_leaves_out_half_a_minute_and_no_more() -> None:
    warmup = find_warmup([record(i, infer_ms=400.0, period_s=0.5) for i in range(200)])
    assert (warmup.frames, warmup.settled) == (61, False)  # a hundred frames would be 50 s


def test_warm_up_waits_while_the_medians_differ() -> None:
    records = [record(i, infer_ms=40.0 if i < 70 else 20.0) for i in range(200)]
    assert find_warmup(records).frames == 146  # frames 46 to 95 are the first 50 before with a median of 20


def test_a_run_too_short_for_the_rule_leaves_out_its_first_frame_and_says_so() -> None:
    warmup = find_warmup([record(i) for i in range(40)])
    assert (warmup.frames, warmup.settled) == (1, False)


def test_times_that_never_settle_are_flagged_after_30_s() -> None:
    records = [record(i, infer_ms=20.0 * 1.05 ** (i / 10)) for i in range(400)]
    warmup = find_warmup(records)
    assert not warmup.settled
    assert records[warmup.frames - 1].done_s == pytest.approx(30.03)


def test_a_single_frame_is_not_left_out() -> None:
    shown = profile([record(0)], rate_hz=None)
    assert shown.warmup.frames == 0
    assert shown.age.maximum == 30.0
    assert shown.headline == "end to end"
    assert shown.scenario == "single"


def test_age_drops_gap_misses_and_load_come_from_the_records() -> None:
    records = [record(0), record(1), dropped(2), record(3, age_ms=130.0), record(4)]
    shown = profile(records)
    assert (shown.due, shown.answered, shown.dropped_by) == (5, 4, {"latest:infer": 1})
    assert shown.age.maximum == 130.0
    assert shown.misses == 1  # older than one period of 100 ms
    assert shown.max_gap_ms == pytest.approx(1e3 * (20.0 - 0.43))  # the run went on without an answer
    assert profile_of(records, 10.0, "latest", 0.0, 0.5).max_gap_ms == pytest.approx(300.0)  # answers at .13 and .43 s
    assert shown.load == pytest.approx(10 * 0.020)
    assert shown.residual == pytest.approx(1 / 30)
    assert worst_frame(records, shown) is records[3]


def test_no_answer_at_all_gives_a_profile_without_figures() -> None:
    shown = profile([dropped(0)])
    assert shown.age.count == 0
    assert shown.max_gap_ms is None
    assert worst_frame([dropped(0)], shown) is None
    assert shown.to_dict()["answered"] == 0


def test_a_frame_without_points_counts_as_image_only() -> None:
    assert profile([record(0), record(1, points=0)]).image_only == 1


def test_a_million_frames_are_summed_up_without_holding_them_all() -> None:
    tracemalloc.start()
    try:
        profile_of((record(i) for i in range(20_000)), 10.0, "latest", 0.0, 2000.0)
        assert tracemalloc.get_traced_memory()[1] < 20_000 * 300  # bytes a frame
    finally:
        tracemalloc.stop()
