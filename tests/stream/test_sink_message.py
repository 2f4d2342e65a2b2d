"""The message of a frame: what it says, and that it fits where it can."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadedge.place import Place
from roadedge.stream.road_lines import RoadLine
from roadedge.stream.sink_message import COORDINATES, SCHEMA, TOLERANCES_PX, message_of
from roadedge.stream.sources import Second
from roadedge.trajectory.plane import LocalPlane
from tests.stream.results import PLANE, nadir, result

STRAIGHT = RoadLine(np.array([[0.0, 48.0], [64.0, 48.3], [128.0, 48.0]]), 0.8)


def said(place: Place | None = None, lines: list[RoadLine] | None = None, **options: Any) -> dict[str, Any]:
    message = message_of(result(3, place), [STRAIGHT] if lines is None else lines, 2, 0, **options)
    told: dict[str, Any] = json.loads(message.leaving(0, 0.0))
    return told


def test_a_message_says_all_that_is_known_of_the_frame() -> None:
    told = said(nadir(), epoch_s=1_700_000_000.0)
    lines = told.pop("lines")
    assert told == {
        "schema": SCHEMA, "number": 2, "frame": "000003", "capture_s": 0.3, "clock": "pts",
        "time": "2023-11-14T22:13:20.300Z", "width": 128, "height": 96, "gsd_m": 0.5, "road_fraction": 0.125,
        "points": 7, "skew_ms": 12.5, "ground": "lonlat", "truncated": False, "left_out": 0, "tolerance_px": 1.0,
        "age_ms": 20.0, "sent_s": 0.0,
    }  # fmt: skip
    assert lines[0]["px"] == [[0.0, 48.0], [128.0, 48.0]]  # the vertex between lies within the tolerance
    assert PLANE.from_lonlat(lines[0]["lonlat"]) == pytest.approx(np.array([[-32, 0], [32, 0]]), abs=0.02)
    assert (lines[0]["length_m"], lines[0]["confidence"]) == (64.0, 0.8)


@pytest.mark.parametrize(
    ("place", "ground", "given"),
    [
        (nadir(), "lonlat", {"px", "lonlat", "length_m", "confidence"}),
        (nadir("local"), "plane", {"px", "metres", "length_m", "confidence"}),
        (None, None, {"px", "confidence"}),
    ],
)
def test_a_line_has_the_coordinates_that_are_known(place: Place | None, ground: str | None, given: set[str]) -> None:
    told = said(place)
    assert told["ground"] == ground
    assert set(told["lines"][0]) == given


def test_only_the_coordinates_that_were_asked_for_are_given() -> None:
    assert "px" not in said(nadir(), kinds=("lonlat",))["lines"][0]
    assert "lonlat" not in said(nadir(), kinds=("px",))["lines"][0]


def test_the_age_goes_on_until_the_message_leaves() -> None:
    message = message_of(result(0, age_ms=20.0), [], 0, 1_000_000)
    assert json.loads(message.leaving(31_500_000, 5.0))["age_ms"] == 50.5
    assert json.loads(message_of(result(0, age_ms=None), [], 0, 0).leaving(9, 5.0))["age_ms"] is None


def test_what_is_no_number_is_null() -> None:
    odd = replace(
        result(age_ms=float("nan")), time_s=float("inf"), second=Second(np.zeros((2, 2), np.uint8), 0, np.inf)
    )
    told = json.loads(message_of(odd, [RoadLine(STRAIGHT.pixels, float("nan"))], 0, 0).leaving(0, 0.0))
    assert [told[name] for name in ("age_ms", "capture_s", "skew_ms")] == [None, None, None]
    assert told["lines"][0]["confidence"] is None


def crooked(count: int, vertices: int, seed: int) -> list[RoadLine]:
    rng = np.random.default_rng(seed)
    return [RoadLine(rng.uniform(0, 1, (vertices, 2)) * [128, 96], float(rng.random())) for _ in range(count)]


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 60),
    st.integers(2, 40),
    st.integers(0, 9),
    st.sampled_from([600, 1400, 9000]),
    st.sampled_from([COORDINATES, ("px",), ("lonlat",)]),
    st.sampled_from([nadir(), nadir("local"), None]),
)
def test_a_message_keeps_its_limit_and_says_what_it_left_out(
    count: int, vertices: int, seed: int, limit: int, kinds: tuple[str, ...], place: Place | None
) -> None:
    lines = crooked(count, vertices, seed)
    message = message_of(result(999_999, place, age_ms=123_456.0), lines, 10**9, 0, kinds, limit)
    content = message.leaving(10**12, 1.7e9)
    assert len(content) <= limit
    told = json.loads(content)
    assert told["left_out"] == count - len(told["lines"])
    assert told["truncated"] == message.truncated == (told["left_out"] > 0)
    if told["truncated"]:
        assert told["tolerance_px"] == TOLERANCES_PX[-1]


def test_what_is_left_out_are_the_shortest() -> None:
    long, short = np.array([[0.0, 0], [128, 96]]), np.array([[5.0, 5], [9, 9]])
    told = said(lines=[RoadLine(short)] * 40 + [RoadLine(long)], limit=600)
    assert told["truncated"]
    assert told["lines"][0]["px"] == [[0, 0], [128, 96]]


def test_without_a_limit_nothing_is_left_out() -> None:
    told = said(nadir(), crooked(200, 30, 0))
    assert len(told["lines"]) == 200
    assert not told["truncated"]


def test_a_ring_keeps_its_shape() -> None:
    angles = np.linspace(0, 2 * np.pi, 60)
    ring = np.stack([60 + 30 * np.cos(angles), 48 + 30 * np.sin(angles)], 1)
    ring[-1] = ring[0]
    told = said(lines=[RoadLine(ring)])["lines"][0]["px"]
    assert told[0] == told[-1]
    assert 8 <= len(told) < 60


def test_the_name_of_a_file_may_be_anything() -> None:
    named = result()
    name = 'a "b" \\ \udcff ü\n'
    message = message_of(replace(named, frame=replace(named.frame, name=name)), [STRAIGHT], 0, 0, end=b"\n")
    content = message.leaving(0, 0.0)
    assert content.count(b"\n") == 1
    assert json.loads(content)["frame"] == name


def test_longitudes_over_the_antimeridian_are_wrapped() -> None:
    lons = [lon for lon, _ in said(nadir(LocalPlane(180.0, -17.0).crs))["lines"][0]["lonlat"]]
    assert lons[0] > 179.9
    assert lons[-1] < -179.9
