from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("av", reason="PyAV is not installed (extra video)")
pytest.importorskip("pyproj", reason="pyproj is not installed (extra geo)")
pytest.importorskip("gpxpy", reason="gpxpy is not installed (extra points)")

from benchmarks import forward


def test_a_forward_view_with_a_gpx_is_laid_on_the_ground_where_it_is(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label = "all digits, ten fixes a second"
    monkeypatch.setattr(forward, "DRIVES", {label: forward.DRIVES[label]})
    found = forward.run(real_data, tmp_path, 2.0)[label]
    assert found["frames"] == 20
    for row in found["rows"].values():
        assert row["points"] > 500
        assert row["median_m"] < 0.1
        assert row["max_m"] < 1.0
    assert found["picture_shift_median_m"] < forward.GSD_M / 2  # by the pictures themselves, whatever the poses say
    assert found["stated_uncertainty_m"] > max(row["max_m"] for row in found["rows"].values())
