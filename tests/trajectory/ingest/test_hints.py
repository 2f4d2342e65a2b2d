"""What looks wrong about points is said, in one sentence, before anybody maps with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from roadedge.errors import PointsError
from roadedge.trajectory.ingest.options import IngestOptions
from roadedge.trajectory.ingest.run import ingest
from roadedge.trajectory.point_store import PointStore


def hints(folder: Path, lon: list[float], lat: list[float], **options: object) -> list[str]:
    """Of points at these places, ten each."""
    names = "x,y" if "crs" in options else "lon,lat"
    rows = [f"{a + i / 1e5},{b}" for a, b in zip(lon, lat, strict=True) for i in range(10)]
    (folder / "p.csv").write_text("\n".join([names, *rows]))
    info = ingest([folder / "p.csv"], folder / "s.parquet", IngestOptions(**options), overwrite=True)  # type: ignore[arg-type]
    found: list[str] = info["hints"]
    return found


def test_ordinary_points_have_none(tmp_path: Path) -> None:
    assert hints(tmp_path, [-87.6, -87.7], [41.8, 41.9]) == []
    assert hints(tmp_path, [0.1, -0.1, 0.2], [51.5, 51.5, 51.5]) == []  # London lies on both sides of Greenwich
    assert hints(tmp_path, [32.5, 32.6], [0.2, -0.2]) == []  # and Kampala about the equator
    assert hints(tmp_path, [445_000], [4_636_000], crs="EPSG:32616") == []


def test_swapped_axes_that_cannot_be_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(PointsError, match=r"swapped, such as 39\.9, 116.*--swap-xy"):
        hints(tmp_path, [39.9], [116.4])
    assert hints(tmp_path, [39.9], [116.4], swap_xy=True) == []
    with PointStore.open(tmp_path / "s.parquet") as store:
        assert store.bounds[0] == pytest.approx(116.4)


def test_swapped_axes_that_could_be_are_a_hint(tmp_path: Path) -> None:
    assert "swapped" in hints(tmp_path, [41.8, 41.9], [-87.6, -87.7])[0]
    found = hints(tmp_path, [4_636_000], [445_000], crs="EPSG:32616")
    assert "outside the area of EPSG:32616" in found[0]
    assert "--swap-xy" in found[0]


def test_a_crs_of_another_continent_is_a_hint(tmp_path: Path) -> None:
    assert "is the --crs the right one" in hints(tmp_path, [530_000], [180_000], crs="EPSG:2154")[0]


@pytest.mark.parametrize(
    ("lon", "lat", "what"), [(87.6, 41.8, "longitude"), (-87.6, -41.8, "latitude"), (87.6, -41.8, "longitude and")]
)
def test_points_of_the_wrong_hemisphere_are_a_hint(tmp_path: Path, lon: float, lat: float, what: str) -> None:
    found = hints(tmp_path, [-87.6, -87.61, -87.62, lon], [41.8, 41.81, 41.82, lat])
    assert len(found) == 1
    assert found[0].startswith("10 of 40 points lie where")
    assert f"other sign of {what}" in found[0]


def test_the_antimeridian_is_a_hint_and_longitudes_beyond_180_are_brought_back(tmp_path: Path) -> None:
    assert "antimeridian" in hints(tmp_path, [179.5, -179.5], [-17.0, -17.0])[0]
    assert "antimeridian" in hints(tmp_path, [179.5, 180.5], [-17.0, -17.0])[0]
    with PointStore.open(tmp_path / "s.parquet") as store:
        assert store.info["noted"] == {"longitude_beyond_180": 10}
        assert len(store.read(179.0, -18.0, -179.0, -16.0)) == 20


def test_metres_in_columns_of_degrees_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(PointsError, match="are no degrees"):
        hints(tmp_path, [445_000], [4_636_000])


def test_times_that_cannot_be_read_are_a_hint(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("lon,lat,t\n8,50,noon\n8,51,later\n")
    info = ingest([tmp_path / "p.csv"], tmp_path / "s.parquet")
    assert "no row has a time" in info["hints"][0]
    assert np.isinf(info["bounds"]).sum() == 0
