"""The stall simulation through our own pipeline and statistics: within 5 % of the reference's figures."""

from __future__ import annotations

import pytest

from benchmarks.stalls import OVERLOAD, ROWS, SECONDS, deviations, simulate

WITHIN = 0.05


@pytest.mark.parametrize("name", ["closed loop", "age, all", "age, latest", "overload: closed loop"])
def test_a_network_that_stalls_is_seen_as_the_reference_saw_it(name: str) -> None:
    assert max(deviations(simulate(name))) < WITHIN


def test_in_an_overload_latest_bounds_the_age_and_pays_with_drops() -> None:
    assert max(deviations(simulate("overload: age, latest", 120.0))) < WITHIN


def test_in_an_overload_all_grows_as_old_as_the_reference_by_time() -> None:
    row, seconds = simulate("overload: age, all", 60.0), 60.0
    share = seconds / SECONDS  # the age grows in proportion to the time, but for the call itself
    call_ms = OVERLOAD.mean_ms
    for found, want in zip(row.figures()[:4], ROWS[row.name][2][:4], strict=True):
        assert found is not None
        assert found - call_ms == pytest.approx((want - call_ms) * share, rel=WITHIN)
    assert row.dropped == 0.0


def test_the_call_hides_what_the_age_shows() -> None:
    call, age = simulate("closed loop", 60.0), simulate("age, all", 60.0)
    assert (call.times.percentiles[99.0] or 0) < 30.0
    assert (age.times.percentiles[99.0] or 0) > 300.0
