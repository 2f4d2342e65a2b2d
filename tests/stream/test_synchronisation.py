"""Feeds and frames on one clock: the skew is exact, and what has no common time is a blank and counted."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadedge.errors import SpecMismatchError, UsageError
from roadedge.spec import ModelSpec
from roadedge.stream.feeds import Feed
from roadedge.stream.feeds_file import PriorFeed, ReplayFeed
from roadedge.stream.sources import Frame, Second, Source
from roadedge.stream.synchronisation import FeedPairing, SourcePairing
from tests.stream.feed_fakes import (
    PLANE,
    SPEC,
    UTC_S,
    Frames,
    Host,
    LiveFeed,
    frame,
    north_up,
    recorded,
    scattered,
)


def test_skew_is_the_distance_to_the_nearest_point_before_or_after() -> None:
    pairing = FeedPairing([ReplayFeed("r", recorded([0.0, 10.0, 20.0]))], Frames(), tolerance_s=3.0)
    wanted = {0.0: 0.0, 2.5: 2500.0, 4.0: 4000.0, 6.0: 4000.0, 8.0: 2000.0, 12.5: 2500.0, 24.0: 4000.0}
    for moment, skew_ms in wanted.items():
        second = pairing.second(frame(moment, north_up()), SPEC)
        assert second.skew_ms == skew_ms
        assert second.paired is (skew_ms <= 3000)
        assert bool(second.points) is second.paired
        assert second.raster.any() == second.paired
    facts = pairing.describe()
    assert facts["frames"] == Counter(seen=7, paired=4, unpaired=3, no_time=0, no_place=0)
    assert facts["paired_share"] == 4 / 7
    assert facts["feeds"][0]["frames_with"] == 4


@given(st.lists(st.floats(0, 50), min_size=1, max_size=30), st.lists(st.floats(0, 60), min_size=1, max_size=15))
def test_skew_is_exact_for_any_times(t_s: list[float], moments: list[float]) -> None:
    feed = ReplayFeed("r", recorded(t_s))
    pairing = FeedPairing([feed], Frames(), tolerance_s=math.inf)
    for moment in sorted(moments):
        second = pairing.second(frame(moment, north_up()), SPEC)
        assert second.skew_ms == pytest.approx(1e3 * min(abs(min(t_s) + moment - t) for t in t_s), abs=1e-6)
        assert second.paired


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 60))
def test_the_order_of_arrival_changes_nothing(order: object, count: int) -> None:
    xy, t_s = scattered(7, count, 20.0), np.random.default_rng(8).uniform(0, 9, count)
    rows = list(range(count))
    order.shuffle(rows)  # type: ignore[attr-defined]
    results = []
    for sequence in (list(range(count)), rows):
        feed = LiveFeed()
        for row in sequence:
            feed.arrive([UTC_S + t_s[row]], xy[row : row + 1])
        pairing = FeedPairing([feed], Frames(UTC_S), host=Host())
        for _ in sequence:
            second = pairing.second(frame(9.0, north_up(-10.0, 10.0)), SPEC)
        results.append(second)
    assert np.array_equal(results[0].raster, results[1].raster)
    assert (results[0].points, results[0].skew_ms) == (results[1].points, results[1].skew_ms)


def test_a_feed_that_stops_leaves_blanks_and_comes_back() -> None:
    feed = LiveFeed()
    pairing = FeedPairing([feed], Frames(UTC_S), host=Host())
    paired = []
    for second in range(10):
        if not 3 < second < 7:
            feed.arrive([UTC_S + second])
        paired.append(pairing.second(frame(float(second), north_up()), SPEC).paired)
    assert paired == [True] * 5 + [False] * 2 + [True] * 3  # a second after the last one it still counts


def test_late_and_early_points_are_left_out_and_counted() -> None:
    feed = LiveFeed()
    pairing = FeedPairing([feed], Frames(UTC_S), host=Host(), tolerance_s=math.inf)
    feed.arrive([UTC_S + t for t in (-10.1, -9.9, 0.0, 5.0, 59.0, 60.1, 1e9)])
    assert pairing.second(frame(0.0, north_up()), SPEC).points == 2
    assert pairing.second(frame(5.0, north_up()), SPEC).points == 2
    assert pairing.describe()["feeds"][0]["dropped"] == {"late": 1, "early": 2}


def test_rows_of_a_file_that_no_frame_is_near_are_told_apart_from_late_ones() -> None:
    pairing = FeedPairing([ReplayFeed("r", recorded([0.0, 5.0, 100.0]))], Frames())
    assert pairing.second(frame(100.0, north_up()), SPEC).points == 1
    facts = pairing.describe()["feeds"][0]
    assert (facts["dropped"], facts["noticed"]) == ({}, {"between_frames": 2})


def test_the_rule_of_alignment_is_told() -> None:
    replay = [UTC_S + 100, UTC_S + 101]

    def rule(feed: Feed, source: Source, one: Frame, offset_s: float = 0.0) -> tuple[str, float | None]:
        pairing = FeedPairing([feed], source, host=Host(), offset_s=offset_s, tolerance_s=math.inf)
        second = pairing.second(one, SPEC)
        return pairing.describe()["feeds"][0]["alignment"], second.skew_ms

    def live() -> LiveFeed:
        feed = LiveFeed()
        feed.arrive([UTC_S + 7.0])
        return feed

    place = north_up()
    assert rule(ReplayFeed("r", recorded(replay)), Frames(UTC_S), frame(100.0, place)) == ("utc", 0.0)
    assert rule(ReplayFeed("r", recorded(replay)), Frames(), frame(0.25, place)) == ("start", 250.0)
    assert rule(ReplayFeed("r", recorded(replay)), Frames(UTC_S, True), frame(0.25, place)) == ("start", 250.0)
    assert rule(ReplayFeed("r", recorded([3.0])), Frames(UTC_S), frame(0.5, place)) == ("start", 500.0)
    assert rule(live(), Frames(UTC_S), frame(6.0, place)) == ("utc", 1000.0)
    assert rule(live(), Frames(), frame(0.5, place, ns=4 * 10**9)) == ("host", 3000.0)
    assert rule(live(), Frames(), frame(123.0, place)) == ("first-frame", 7000.0)
    assert rule(PriorFeed("p", recorded(replay)), Frames(), frame(0.0, place)) == ("none", None)
    assert rule(live(), Frames(UTC_S), frame(6.0, place), offset_s=-1.0) == ("utc", 0.0)  # the points' clock was ahead
    assert rule(live(), Frames(UTC_S), frame(None, place)) == ("", None)


def test_recordings_that_do_not_meet_are_told_with_their_dates() -> None:
    pairing = FeedPairing([ReplayFeed("r", recorded([1.3e9, 1.3e9 + 60]))], Frames(1.7e9))
    assert pairing.second(frame(0.0, north_up()), SPEC).paired is False
    (notice,) = pairing.describe()["feeds"][0]["notices"]
    assert "2011-03-13 07:06:40" in notice
    assert "2023-11-14 22:13:20" in notice
    assert "--time-offset" in notice


def test_a_feed_without_a_part_in_any_frame_says_how_far_away_it_was() -> None:
    feed = LiveFeed()
    feed.arrive([UTC_S - 7200.0])
    pairing = FeedPairing([feed], Frames(UTC_S), host=Host())
    assert pairing.second(frame(0.0, north_up()), SPEC).paired is False
    facts = pairing.describe()["feeds"][0]
    assert facts["dropped"] == {"late": 1}
    assert "7200.0 s away" in facts["notices"][0]
    assert "time=arrival" in facts["notices"][0]


def test_a_film_that_is_read_faster_than_it_was_filmed_is_told() -> None:
    feed = LiveFeed()
    feed.arrive([UTC_S])
    pairing = FeedPairing([feed], Frames(), host=Host())
    paired = [pairing.second(frame(float(t), north_up()), SPEC).paired for t in range(4)]
    assert paired == [True, True, False, False]
    assert "ahead of live by up to 3.0 s" in pairing.describe()["feeds"][0]["notices"][0]


def test_feeds_are_closed_where_the_pairing_cannot_be_made() -> None:
    closed = []

    class Closes(LiveFeed):
        def close(self) -> None:
            closed.append(self)

    with pytest.raises(SpecMismatchError):
        FeedPairing([Closes(), PriorFeed("p", recorded([0.0]))], Frames(), plane=PLANE)
    assert len(closed) == 1


@pytest.mark.parametrize("capture_s", [None, float("nan"), float("inf")])
def test_a_frame_without_a_time_gets_priors_alone(capture_s: float | None) -> None:
    feeds = [ReplayFeed("r", recorded([0.0])), PriorFeed("p", recorded([0.0]))]
    pairing = FeedPairing(feeds, Frames())
    second = pairing.second(frame(capture_s, north_up()), SPEC)
    assert "give images a --rate" in pairing.describe()["feeds"][0]["notices"][0]
    assert not pairing.describe()["feeds"][1]["notices"]
    assert (second.points, second.skew_ms, second.paired) == (1, None, False)


def test_frames_that_go_back_in_time_break_nothing() -> None:
    pairing = FeedPairing([ReplayFeed("r", recorded([0.0, 1.0, 2.0, 3.0]))], Frames())
    seen = [pairing.second(frame(t, north_up()), SPEC) for t in (3.0, 1.0, 2.9, 4.0)]
    assert [second.skew_ms for second in seen] == [0.0, 2000.0, pytest.approx(100.0), 1000.0]
    assert [second.paired for second in seen] == [True, False, True, True]


def test_values_out_of_range_are_refused() -> None:
    for wrong in ({"tolerance_s": -1.0}, {"tolerance_s": math.nan}, {"offset_s": math.inf}, {"window_s": 0.0}):
        with pytest.raises(UsageError, match="tolerance"):
            FeedPairing([], Frames(), **wrong)  # type: ignore[arg-type]


def test_no_feeds_give_blanks_and_the_default_asks_the_source() -> None:
    second = FeedPairing([], Frames()).second(frame(0.0, None), SPEC)
    assert (second.points, second.skew_ms, second.paired) == (0, None, None)
    assert not second.raster.any()

    class Draws(Frames):
        def second(self, frame: Frame, spec: ModelSpec) -> Second:
            return Second(np.full((2, 2), 7, np.uint8), 5)

    default, one = SourcePairing(Draws()), frame(0.0, None)
    assert default.place(one) is one
    assert default.second(one, SPEC).points == 5
    assert default.describe() == {"feeds": []}


def test_locate_gives_the_place() -> None:
    def locate(one: Frame) -> Frame:
        return dataclasses.replace(one, sample=dataclasses.replace(one.sample, place=north_up()))

    pairing = FeedPairing([PriorFeed("p", recorded([0.0]))], Frames(), locate)
    assert pairing.second(pairing.place(frame(0.0, None)), SPEC).points == 1
