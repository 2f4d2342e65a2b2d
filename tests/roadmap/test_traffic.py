"""Points on roads become trips, speed and direction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from roadedge.errors import UsageError
from roadedge.roadgraph import RoadGraph
from roadedge.roadmap.grid import converted
from roadedge.roadmap.passes import grouped_median
from roadedge.roadmap.point_blocks import points_in_metres
from roadedge.roadmap.road_table import RoadTable
from roadedge.roadmap.traffic import UNKNOWN_ONEWAY, Traffic, TrafficOptions, traffic_of
from roadedge.trajectory.point_store import LONLAT, PointStore
from tests.roadmap.rasters import ORIGIN, UTM

writer = pytest.importorskip("roadedge.trajectory.store_writer")
pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra points)")
pytest.importorskip("pyproj", reason="pyproj is not installed (extra geo)")
Line = NDArray[np.float64]
UNKNOWN = np.float32(np.nan)


def graph_of(*lines: list[tuple[float, float]], width: float = 8.0) -> RoadGraph:
    """Roads of their own nodes, metres from ORIGIN."""
    placed = tuple(np.array(line, np.float64) + ORIGIN for line in lines)
    nodes = np.concatenate([line[[0, -1]] for line in placed])
    u = np.arange(0, len(nodes), 2)
    return RoadGraph(nodes, u, u + 1, placed, width=np.full(len(lines), width), crs=UTM, unit="m")


def drive(
    start: tuple[float, float], end: tuple[float, float], vid: int, begin_s: float = 0.0, speed_ms: float = 10.0
) -> NDArray[np.float64]:
    """(N, 6) x, y, t, vid, speed, heading of a vehicle that goes straight, one point a second."""
    way = np.subtract(end, start)
    count = int(np.linalg.norm(way) / speed_ms) + 1
    at = np.arange(count) * speed_ms / np.linalg.norm(way)
    heading = np.degrees(np.arctan2(way[0], way[1])) % 360
    xy = np.asarray(start) + at[:, None] * way
    return np.column_stack(
        [xy, begin_s + np.arange(count), *np.broadcast_to([[vid], [speed_ms], [heading]], (3, count))]
    )


def stored(path: Path, *drives: NDArray[np.float64], crs: str = UTM) -> PointStore:
    every = np.concatenate(drives)
    xy = every[:, :2] + ORIGIN
    if crs != UTM:
        xy = converted(xy, UTM, crs)
    writer.write_store(
        path,
        {
            "x": xy[:, 0], "y": xy[:, 1], "t_s": every[:, 2], "vid": every[:, 3].astype(np.int64),
            "speed_ms": every[:, 4].astype(np.float32), "heading_deg": every[:, 5].astype(np.float32),
        },
        crs,
    )  # fmt: skip
    return PointStore.open(path)


STREET = graph_of([(0, 0), (500, 0)])
EAST, WEST = ((0.0, -3.0), (500.0, -3.0)), ((500.0, 3.0), (0.0, 3.0))


def driven(folder: Path, graph: RoadGraph, *drives: NDArray[np.float64], crs: str = UTM) -> Traffic:
    with stored(folder / "points.parquet", *drives, crs=crs) as store:
        return traffic_of(graph, store, TrafficOptions())


@pytest.mark.parametrize("crs", [UTM, LONLAT, "EPSG:3857"])
def test_trips_and_speed_of_a_street(tmp_path: Path, crs: str) -> None:
    drives = [drive(*EAST, vid, 1000.0 * vid, 8.0 + vid) for vid in range(5)]
    traffic = driven(tmp_path, STREET, *drives, crs=crs)
    assert traffic.n_trips.tolist() == [5]
    assert traffic.speed_kmh == pytest.approx([36.0])
    assert traffic.oneway.tolist() == [UNKNOWN_ONEWAY]  # five trips do not prove it


def test_one_way_is_said_from_ten_trips_on_and_the_line_runs_with_them(tmp_path: Path) -> None:
    traffic = driven(tmp_path, STREET, *(drive(*WEST, vid) for vid in range(12)))
    assert traffic.oneway.tolist() == [-1]
    table = RoadTable.with_traffic(STREET, np.zeros(1, bool), traffic)
    assert table.edges()["oneway"].tolist() == [1]
    assert (table.graph.lines[0][0] == STREET.lines[0][-1]).all()
    assert (table.graph.u[0], table.graph.v[0]) == (1, 0)
    assert table.edges()["travel_time_s"] == pytest.approx([50.0])


def test_traffic_both_ways_is_not_one_way(tmp_path: Path) -> None:
    drives = [drive(*EAST, vid) for vid in range(9)] + [drive(*WEST, vid) for vid in range(9, 12)]
    traffic = driven(tmp_path, STREET, *drives)
    assert traffic.oneway.tolist() == [0]
    assert traffic.n_trips.tolist() == [12]


def test_a_vehicle_that_comes_back_after_a_gap_passes_twice(tmp_path: Path) -> None:
    traffic = driven(tmp_path, STREET, drive(*EAST, 7, 0.0), drive(*EAST, 7, 3600.0))
    assert traffic.n_trips.tolist() == [2]


def test_a_pass_over_many_blocks_is_one(tmp_path: Path) -> None:
    long = graph_of([(0, 0), (5000, 0)])
    traffic = driven(tmp_path, long, drive((0.0, 0.0), (5000.0, 0.0), 1))
    assert traffic.n_trips.tolist() == [1]
    assert traffic.n_points.tolist() == [501]


def test_points_on_a_crossing_road_follow_their_own(tmp_path: Path) -> None:
    cross = graph_of([(0, 0), (500, 0)], [(250, -250), (250, 250)])
    traffic = driven(tmp_path, cross, drive((250.0, -250.0), (250.0, 250.0), 1))
    assert traffic.n_trips.tolist() == [0, 1]
    assert traffic.n_points.tolist() == [0, 51]


def test_points_beside_all_roads_follow_none(tmp_path: Path) -> None:
    traffic = driven(tmp_path, STREET, drive((0.0, 30.0), (500.0, 30.0), 1))
    assert (traffic.n_trips.tolist(), traffic.followed, traffic.points) == ([0], 0, 51)
    assert np.isnan(traffic.speed_kmh).all()


def test_carriageways_side_by_side_have_each_its_own_traffic(tmp_path: Path) -> None:
    pair = graph_of([(0, 0), (500, 0)], [(0, 14), (500, 14)])
    drives = [drive((0.0, 1.0), (500.0, 1.0), vid) for vid in range(10)]
    drives += [drive((500.0, 13.0), (0.0, 13.0), vid) for vid in range(20, 30)]
    assert driven(tmp_path, pair, *drives).oneway.tolist() == [1, -1]


def test_what_stands_all_the_time_is_no_trip(tmp_path: Path) -> None:
    parked = np.tile([250.0, 2.0, 0.0, 4, 0.1, 90.0], (50, 1))
    parked[:, 2] = np.arange(50)
    traffic = driven(tmp_path, STREET, parked, drive(*EAST, 1))
    assert traffic.n_trips.tolist() == [1]
    assert traffic.speed_kmh == pytest.approx([36.0])


def test_points_of_nobody_have_speeds_but_no_trips(tmp_path: Path) -> None:
    traffic = driven(tmp_path, STREET, drive(*EAST, -1))
    table = RoadTable.with_traffic(STREET, np.zeros(1, bool), traffic).edges()
    assert np.ma.getmaskarray(table["n_trips"]).tolist() == [True]
    assert table["speed_kmh"] == pytest.approx([36.0])


def test_points_without_headings_count_but_have_no_direction(tmp_path: Path) -> None:
    blind = np.concatenate([drive(*EAST, vid) for vid in range(12)])
    blind[:, 4:] = np.nan
    traffic = driven(tmp_path, STREET, blind)
    assert traffic.n_trips.tolist() == [12]
    assert traffic.oneway.tolist() == [UNKNOWN_ONEWAY]
    assert np.isnan(traffic.speed_kmh).all()


def test_a_store_far_away_and_a_graph_without_roads_are_no_error(tmp_path: Path) -> None:
    far = drive((90_000.0, 90_000.0), (90_500.0, 90_000.0), 1)
    assert driven(tmp_path, STREET, far).points == 0
    with PointStore.open(tmp_path / "points.parquet") as store:
        assert traffic_of(RoadGraph.empty(UTM, "m"), store, TrafficOptions()).n_trips.size == 0


def test_grouped_medians_are_those_of_each_group() -> None:
    rng = np.random.default_rng(0)
    group, values = rng.integers(0, 20, 300), rng.normal(size=300)
    group[group == 13] = 12
    found = grouped_median(group, values, 20)
    expected = [np.median(values[group == one]) if (group == one).any() else np.nan for one in range(20)]
    np.testing.assert_allclose(found, expected)


def test_settings_out_of_range_are_refused() -> None:
    for wrong in ({"snap_m": 0}, {"oneway_share": 0.4}, {"gap_s": -1}, {"angle_deg": 91}):
        with pytest.raises(UsageError):
            TrafficOptions(**wrong)


def test_the_plane_of_a_block_is_that_of_the_projection(tmp_path: Path) -> None:
    """Points in degrees are put on the metric plane by a curve of the second degree, block by block."""
    rng = np.random.default_rng(2)
    xy = rng.uniform(0, 1024, (1000, 2)) + np.array([445_440.0, 4_640_768.0])
    lonlat = converted(xy, UTM, LONLAT)
    writer.write_store(tmp_path / "p.parquet", {"x": lonlat[:, 0], "y": lonlat[:, 1], "t_s": np.arange(1000.0)}, LONLAT)
    with PointStore.open(tmp_path / "p.parquet") as store:
        found, points = points_in_metres(store, (445_440.0, 4_640_768.0, 446_464.0, 4_641_792.0), UTM)
    assert len(points) == 1000
    assert np.abs(found - xy[points.t_s.astype(int)]).max() < 0.02
