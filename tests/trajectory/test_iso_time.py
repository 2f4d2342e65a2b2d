"""ISO times as devices write them, also under Python 3.10."""

from __future__ import annotations

import pytest

from roadedge.trajectory.iso_time import iso_seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:01:00Z", 60.0),
        ("1970-01-01T00:01:00", 60.0),
        ("1970-01-01 00:01:00.5Z", 60.5),
        ("1970-01-01T00:01:00,25+00:00", 60.25),
        ("1970-01-01T02:01:00.123456789+02:00", 60.123456),
    ],
)
def test_fractions_of_any_length_and_zones(text: str, seconds: float) -> None:
    assert iso_seconds(text) == pytest.approx(seconds, abs=1e-9)


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01T00:00:00Z", "12:00"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        iso_seconds(text)
