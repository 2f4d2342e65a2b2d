from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("laspy", reason="extra lidar")
pytest.importorskip("pyproj", reason="extra geo")

from roadedge.errors import DataError, UsageError
from roadedge.lidar import raster
from roadedge.lidar.cloud import look_at_clouds
from roadedge.lidar.raster import Drawing, LidarGrid, drawn_strips, study
from roadedge.spec import LidarSpec
from tests.lidar.cloud_files import CRS, X0, Y0, plain_of, write_cloud

GRID = LidarGrid((X0, 0.5, 0.0, Y0 + 40, 0.0, -0.5), CRS, (80, 80), 0.5)
INTENSITY = Drawing({"intensity": LidarSpec("intensity", 0.0, 254.0)}, fill_m=0.0)
HEIGHT = Drawing({"height": LidarSpec("height", 0.0, 25.4)}, fill_m=0.0)


def drawn(paths: list[Path], drawing: Drawing, grid: LidarGrid = GRID) -> NDArray[np.uint8]:
    """The one raster of a drawing."""
    clouds = look_at_clouds(paths)
    (name,) = drawing.ranges
    strips = [(row, planes[name]) for row, planes in drawn_strips(clouds, grid, drawing, study(clouds, grid, drawing))]
    assert [row for row, _ in strips] == list(np.cumsum([0] + [len(plane) for _, plane in strips[:-1]]))
    return np.concatenate([plane for _, plane in strips])


def test_a_point_lands_in_its_cell_and_empty_cells_are_0(tmp_path: Path) -> None:
    path = write_cloud(tmp_path / "a.las", [[X0 + 1.2, Y0 + 39.9, 5.0]], intensity=99)
    plane = drawn([path], INTENSITY)
    assert np.argwhere(plane).tolist() == [[0, 2]]
    assert plane[0, 2] == 100  # 1 is `low`


def test_intensity_is_the_mean_of_first_returns(tmp_path: Path) -> None:
    points = np.tile([[X0 + 0.1, Y0 + 0.1, 5.0]], (3, 1))
    path = write_cloud(tmp_path / "a.las", points, intensity=[100, 200, 9], return_number=[1, 1, 2])
    assert drawn([path], INTENSITY)[79, 0] == 151


def test_tiles_that_overlap_count_alike_in_any_order(tmp_path: Path) -> None:
    one = write_cloud(tmp_path / "a.las", plain_of(), intensity=100)
    two = write_cloud(tmp_path / "b.laz", plain_of(20.0), intensity=50)
    plane = drawn([one, two], INTENSITY)
    assert np.array_equal(plane, drawn([two, one], INTENSITY))
    assert plane[79, 0] == 76
    assert plane[0, 0] == 101


def test_strips_make_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    points = rng.uniform([X0, Y0, 50], [X0 + 40, Y0 + 40, 60], (900, 3))
    path = write_cloud(tmp_path / "a.las", points, intensity=rng.integers(0, 254, 900))
    for quantity in (INTENSITY, HEIGHT):
        drawing = Drawing(quantity.ranges, fill_m=2.0)
        monkeypatch.setattr(raster, "STRIP_PIXELS", 6_000_000)
        whole = drawn([path], drawing)
        monkeypatch.setattr(raster, "STRIP_PIXELS", 80 * 7)
        assert np.array_equal(drawn([path], drawing), whole)


def test_gaps_are_filled_no_farther_than_asked(tmp_path: Path) -> None:
    path = write_cloud(tmp_path / "a.las", [[X0 + 20.25, Y0 + 20.25, 5.0]], intensity=99)
    plane = drawn([path], Drawing(INTENSITY.ranges, fill_m=2.0))
    y, x = np.nonzero(plane)
    assert set(plane[y, x]) == {100}
    assert (np.hypot(y - 39, x - 40) * 0.5).max() == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_height_is_above_the_ground_also_on_a_slope(tmp_path: Path, slope: float) -> None:
    points = plain_of()
    points[:, 2] += slope * (points[:, 0] - X0)
    house = (np.abs(points[:, 0] - X0 - 20) < 6) & (np.abs(points[:, 1] - Y0 - 20) < 6)
    points[house, 2] += 10
    plane = drawn([write_cloud(tmp_path / "a.las", points)], HEIGHT).astype(float)
    assert np.median(plane[30:50, 30:50]) == pytest.approx(101, abs=3 + 4 * slope / 0.1)
    assert np.median(plane[:15]) == pytest.approx(1, abs=2 + 4 * slope / 0.1)


def test_points_of_ground_are_believed(tmp_path: Path) -> None:
    points = plain_of()
    kinds = np.where(points[:, 0] < X0 + 20, 2, 6)  # the eastern half is a roof
    points[kinds == 6, 2] += 5
    plane = drawn([write_cloud(tmp_path / "a.las", points, classification=kinds)], HEIGHT)
    assert plane[:, 60:].tolist() == np.full((80, 20), 51).tolist()


def test_stray_echoes_below_the_ground_do_not_lift_it(tmp_path: Path) -> None:
    points = plain_of()
    points[3000, 2] -= 30
    plane = drawn([write_cloud(tmp_path / "a.las", points)], HEIGHT)
    assert int((plane > 25).sum()) <= 100


def test_feet_and_metres_draw_one_height(tmp_path: Path) -> None:
    import pyproj

    points = plain_of()
    points[(points[:, 0] - X0 - 20) ** 2 + (points[:, 1] - Y0 - 20) ** 2 < 16, 2] += 7.0
    feet = points.copy()
    feet[:, 2] /= 0.3048
    crs = pyproj.crs.CompoundCRS("feet", ["EPSG:32610", "EPSG:8228"])  # NAVD88 height in feet
    there = drawn([write_cloud(tmp_path / "a.las", points)], HEIGHT)
    again = drawn([write_cloud(tmp_path / "b.las", feet, crs=crs.to_wkt())], HEIGHT)
    assert np.abs(there.astype(int) - again).max() <= 1
    assert there[40, 40] == 71


def test_a_cloud_of_another_crs_lands_on_the_grid(tmp_path: Path) -> None:
    from roadedge.georeference.raster_place import from_lonlat, to_lonlat

    points = plain_of()
    points[:, :2] = from_lonlat(to_lonlat(points[:, :2], CRS), "EPSG:32611")
    plane = drawn([write_cloud(tmp_path / "a.laz", points, crs="EPSG:32611")], INTENSITY)
    assert (plane == 101).mean() > 0.98


def test_the_middle_98_percent_is_the_range_where_none_is_given(tmp_path: Path) -> None:
    values: NDArray[Any] = np.arange(6400) % 1000 + 1
    clouds = look_at_clouds([write_cloud(tmp_path / "a.las", plain_of(), intensity=values)])
    spec = study(clouds, GRID, Drawing({"intensity": None})).ranges["intensity"]
    assert (spec.low, spec.high) == pytest.approx((10, 990), abs=10)


def test_a_cloud_elsewhere_is_said_with_both_places(tmp_path: Path) -> None:
    path = write_cloud(tmp_path / "a.las", plain_of() + np.array([9000, 0, 0]))
    with pytest.raises(DataError, match=r"none of 6400 points lies on the scene: a\.las is about -12\d"):
        drawn([path], INTENSITY)


def test_impossible_drawings_are_refused() -> None:
    bads: tuple[dict[str, Any], ...] = (
        {"fill_m": -1.0},
        {"fill_m": float("nan")},
        {"ranges": {}},
        {"ranges": {"height": None}},
    )
    for bad in bads:
        with pytest.raises(UsageError):
            Drawing(**bad)


@pytest.mark.skipif("ROADEDGE_DATA" not in os.environ, reason="ROADEDGE_DATA is not set")
def test_the_thinned_cloud_of_autzen_looks_like_the_dense_one() -> None:
    from roadedge.imagery import read_raster

    folder = Path(os.environ["ROADEDGE_DATA"]) / "autzen" / "full"
    clouds = look_at_clouds([folder / "autzen_thin16.laz"], "EPSG:2992")
    grid = LidarGrid((635_613, 2, 0, 853_365, 0, -2), "EPSG:2992", (2192, 1624), 0.6096)
    drawing = Drawing({"intensity": LidarSpec("intensity", 0.0, 255.0), "height": LidarSpec.height()})
    strips = [planes for _, planes in drawn_strips(clouds, grid, drawing, study(clouds, grid, drawing))]
    for name, least in (("intensity", 0.65), ("height", 0.6)):
        plane, dense = np.concatenate([s[name] for s in strips]), read_raster(folder / f"{name}_2ft.png")
        there = (plane > 0) & (dense > 0)
        assert np.corrcoef(plane[there], dense[there])[0, 1] > least
        assert (plane > 0).mean() > 0.9
