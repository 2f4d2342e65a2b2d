"""A store of points gives back what went in, box by box, whatever the boxes."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from roadedge.errors import PointsError, ShapeError, UsageError
from roadedge.trajectory.point_store import LONLAT, PointStore
from roadedge.trajectory.store_writer import write_store
from roadedge.trajectory.tile_order import hilbert, tile_keys

UTM = "EPSG:32616"
coordinate = st.floats(-3000, 3000)


def columns_of(x: NDArray[np.float64], y: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    """All columns, such that each row tells itself from the others by its time."""
    number = np.arange(len(x))
    return {
        "x": x,
        "y": y,
        "t_s": number.astype(np.float64),
        "vid": number // 7,
        "speed_ms": (number / 10).astype(np.float32),
        "heading_deg": (number % 360).astype(np.float32),
    }


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, NDArray[Any]]]:
    """5,000 points on a diagonal and around it, some thirty row groups."""
    rng = np.random.default_rng(1)
    along = rng.uniform(-2000, 2000, 5000)
    columns = columns_of(along + rng.normal(0, 300, 5000), along + rng.normal(0, 300, 5000))
    path = tmp_path_factory.mktemp("store") / "town.parquet"
    write_store(path, columns, UTM, tile=100.0, row_group=160)
    return path, columns


@settings(max_examples=60, deadline=None)
@given(x=st.tuples(coordinate, coordinate), y=st.tuples(coordinate, coordinate))
def test_a_box_reads_what_a_look_at_all_points_finds(
    town: tuple[Path, dict[str, NDArray[Any]]], x: tuple[float, float], y: tuple[float, float]
) -> None:
    path, columns = town
    (x0, x1), (y0, y1) = sorted(x), sorted(y)
    inside = (columns["x"] >= x0) & (columns["x"] <= x1) & (columns["y"] >= y0) & (columns["y"] <= y1)
    with PointStore.open(path) as store:
        read = store.read(x0, y0, x1, y1)
    order = np.argsort(read.t_s)
    for name, column in columns.items():
        np.testing.assert_array_equal(getattr(read, name)[order], column[inside])


def test_the_bounds_hold_every_point(town: tuple[Path, dict[str, NDArray[Any]]]) -> None:
    with PointStore.open(town[0]) as store:
        assert store.rows == 5000
        assert len(store.read(*store.bounds)) == 5000
        assert sum(len(part) for part in store.parts()) == 5000


def test_a_small_box_touches_few_row_groups(town: tuple[Path, dict[str, NDArray[Any]]]) -> None:
    with PointStore.open(town[0]) as store:
        touched = [store.groups_of(a, a, a + 50.0, a + 50.0) for a in range(-2000, 2000, 100)]
        assert store.row_groups > 30
    assert np.mean(touched) < 4


def test_columns_not_asked_for_are_unknown(town: tuple[Path, dict[str, NDArray[Any]]]) -> None:
    with PointStore.open(town[0]) as store:
        read = store.read(*store.bounds, columns=["vid"])
    assert read.vid.min() == 0
    assert np.isnan(read.t_s).all()
    assert np.isnan(read.heading_deg).all()


def test_a_store_travels_to_another_process_by_its_path(town: tuple[Path, dict[str, NDArray[Any]]]) -> None:
    with PointStore.open(town[0]) as store, pickle.loads(pickle.dumps(store)) as again:
        assert again.rows == store.rows


def test_what_no_row_knows_is_no_attribute(tmp_path: Path) -> None:
    path = tmp_path / "bare.parquet"
    write_store(path, {"x": np.array([1.0, 2.0]), "y": np.array([3.0, 4.0]), "vid": np.array([-1, 4])}, UTM)
    with PointStore.open(path) as store:
        assert store.attributes == ("vid",)
        assert sorted(store.read(0, 0, 9, 9).vid.tolist()) == [-1, 4]


def test_an_empty_store_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "empty.parquet"
    write_store(path, {"x": np.zeros(0), "y": np.zeros(0)}, LONLAT)
    with PointStore.open(path) as store:
        assert store.rows == len(store.read(-180, -90, 180, 90)) == 0
        assert np.isnan(store.bounds).all()


def test_a_box_of_longitudes_may_cross_the_antimeridian(tmp_path: Path) -> None:
    path = tmp_path / "fiji.parquet"
    x = np.array([179.9, -179.9, 0.0])
    write_store(path, {"x": x, "y": np.array([-17.0, -17.0, -17.0])}, LONLAT)
    with PointStore.open(path) as store:
        assert sorted(store.read(179.0, -18.0, -179.0, -16.0).x.tolist()) == [-179.9, 179.9]


def test_a_projected_box_does_not_wrap(town: tuple[Path, dict[str, NDArray[Any]]]) -> None:
    with PointStore.open(town[0]) as store:
        with pytest.raises(UsageError, match="x0 <= x1"):
            store.read(10.0, 0.0, -10.0, 5.0)
        with pytest.raises(UsageError, match="x0 <= x1"):
            store.read(float("nan"), 0.0, 10.0, 5.0)


@pytest.mark.parametrize("keep", [0.02, 0.5, 0.98])
def test_a_store_that_was_cut_short_is_one_sentence(
    town: tuple[Path, dict[str, NDArray[Any]]], tmp_path: Path, keep: float
) -> None:
    content = town[0].read_bytes()
    path = tmp_path / "short.parquet"
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(PointsError, match="cut short") as raised:
        PointStore.open(path)
    assert "\n" not in str(raised.value)


def test_a_byte_that_changed_on_the_way_is_found(town: tuple[Path, dict[str, NDArray[Any]]], tmp_path: Path) -> None:
    content = bytearray(town[0].read_bytes())
    content[400] ^= 0xFF
    path = tmp_path / "damaged.parquet"
    path.write_bytes(content)
    with PointStore.open(path) as store, pytest.raises(PointsError, match="damaged in row group 0"):
        list(store.parts())


def test_a_table_that_is_no_store_says_how_to_make_one(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    path = tmp_path / "table.parquet"
    parquet.write_table(pa.table({"x": [1.0], "y": [2.0]}), path)
    with pytest.raises(PointsError, match="roadedge points ingest"):
        PointStore.open(path)
    with pytest.raises(PointsError, match="there is no file"):
        PointStore.open(tmp_path / "absent.parquet")


def test_a_store_is_not_replaced_unasked(tmp_path: Path) -> None:
    path = tmp_path / "store.parquet"
    one = {"x": np.array([1.0]), "y": np.array([2.0])}
    write_store(path, one, UTM)
    with pytest.raises(UsageError, match="--overwrite"):
        write_store(path, one, UTM)
    write_store(path, one, UTM, overwrite=True)


def test_rows_without_a_position_are_refused(tmp_path: Path) -> None:
    for bad in (np.nan, np.inf, 1e300):
        with pytest.raises(ShapeError, match="finite"):
            write_store(tmp_path / "bad.parquet", {"x": np.array([bad]), "y": np.array([0.0])}, UTM)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("bits", [1, 2, 5])
def test_the_curve_visits_each_cell_once_and_steps_to_neighbours(bits: int) -> None:
    side = 1 << bits
    flat = np.arange(side * side)
    code = hilbert(flat % side, flat // side, bits)
    order = np.argsort(code)
    assert np.array_equal(np.sort(code), flat)
    assert (np.abs(np.diff(order % side)) + np.abs(np.diff(order // side)) == 1).all()


def test_keys_are_the_same_for_few_points_far_apart_and_many_near_ones() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.uniform(-1e7, 1e7, 50), rng.uniform(-1e7, 1e7, 50)
    apart = tile_keys(x, y, 512.0)
    alone = [tile_keys(x[i : i + 1], y[i : i + 1], 512.0)[0] for i in range(50)]
    assert apart.tolist() == [int(key) for key in alone]


def test_points_of_one_tile_stand_together() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.uniform(-500, 500, 3000), rng.uniform(-500, 500, 3000)
    order = np.argsort(tile_keys(x, y, 100.0), kind="stable")
    tile = (np.floor(x / 100) * 1000 + np.floor(y / 100))[order]
    assert np.count_nonzero(np.diff(tile)) == len(np.unique(tile)) - 1
