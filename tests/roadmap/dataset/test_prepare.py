"""A scene and vectors become a data set whose masks lie where the roads are, and which trains."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rasterio", reason="rasterio is not installed")
pytest.importorskip("pyogrio", reason="pyogrio is not installed")

from roadedge import cli
from roadedge.data.folder import FolderDataset
from roadedge.errors import DataError, SpecMismatchError, UsageError
from roadedge.roadmap.dataset import prepare as module
from roadedge.roadmap.dataset.options import PrepareOptions, PrepareOrder
from roadedge.roadmap.dataset.prepare import PrepareResult, prepare
from roadedge.roadmap.dataset.shapes import width_in_m
from roadedge.roadmap.dataset.tile_lidar import parse_lidar
from roadedge.roadmap.dataset.tiles import choose_validation, lay_tiles
from roadedge.roadmap.survey import MapGrid
from tests.roadmap.dataset.scenes import (
    UTM,
    road_at,
    square,
    write_in_degrees,
    write_points_on,
    write_scene,
    write_vectors,
)


def prepared(folder: Path, order: dict[str, Any] | None = None, **options: Any) -> PrepareResult:
    """The scene, with a road 10 m wide at row 100, as tiles of 64 pixels."""
    scene = folder / "scene.tif"
    if not scene.exists():
        write_scene(scene)
    if not (folder / "roads.gpkg").exists():
        write_vectors(folder / "roads.gpkg", [road_at(100)], width=["10"])
    given = {"scene": scene, "roads": folder / "roads.gpkg", "output": folder / "set"} | (order or {})
    settings: dict[str, Any] = {"size": 64, "width_attribute": "width"} | options
    return prepare(PrepareOrder(**given), PrepareOptions(**settings))


def whole_mask(folder: Path, rows: int = 4, columns: int = 5, size: int = 64) -> np.ndarray[Any, Any]:
    """The masks of all tiles laid side by side; 77 where there is none."""
    from roadedge.imagery import read_mask

    sheet = np.full((rows * size, columns * size), 77, np.uint8)
    for path in (folder / "mask").iterdir():
        row, column = int(path.stem[1:5]), int(path.stem[7:11])
        sheet[row * size : (row + 1) * size, column * size : (column + 1) * size] = read_mask(path)
    return sheet


def test_masks_lie_where_the_roads_are_and_are_as_wide(tmp_path: Path) -> None:
    result = prepared(tmp_path)
    expected = np.zeros((256, 320), np.uint8)
    expected[90:110] = 255  # 10 m at 0.5 m about row 100
    np.testing.assert_array_equal(whole_mask(result.folder), expected)
    assert result.manifest["tiles"] == 20
    assert result.manifest["road_fraction"] == pytest.approx(20 / 256, abs=1e-4)
    assert result.manifest["roads"]["widths_by_attribute"] == 1


def test_images_are_the_scene_untouched_on_its_own_grid(tmp_path: Path) -> None:
    result = prepared(tmp_path)
    import rasterio

    with rasterio.open(tmp_path / "scene.tif") as raster:
        scene = raster.read().transpose(1, 2, 0)
    samples = {item.id: item.sample.image for item in FolderDataset(result.folder)}
    np.testing.assert_array_equal(samples["r0001_c0002"], scene[64:128, 128:192])
    assert not result.manifest["grid"]["resampled"]


def test_zones_are_ignored_and_areas_are_road(tmp_path: Path) -> None:
    ignore = write_vectors(tmp_path / "ignore.gpkg", [square(0, 80, 64)])
    areas = write_vectors(tmp_path / "areas.gpkg", [square(200, 150, 40)])
    sheet = whole_mask(prepared(tmp_path, {"ignore": ignore, "areas": areas}).folder)
    assert (sheet[80:144, :64] == 128).all()
    assert (sheet[150:190, 200:240] == 255).all()
    assert (sheet == 255).sum() == 20 * 320 - 20 * 64 + 40 * 40


def test_polygons_alone_make_a_data_set(tmp_path: Path) -> None:
    areas = write_vectors(tmp_path / "areas.gpkg", [square(10, 10, 50)])
    result = prepared(tmp_path, {"roads": None, "areas": areas})
    assert (whole_mask(result.folder) == 255).sum() == 2500
    with pytest.raises(UsageError, match="--roads"):
        PrepareOrder(tmp_path, None, tmp_path)


def test_points_lie_on_their_tiles_in_pixels(tmp_path: Path) -> None:
    pixels = np.array([[10.25, 100.5], [70.0, 100.0], [319.9, 255.9], [-5.0, 3.0], [64.5, 64.25]])
    for crs, name in ((UTM, "same"), ("OGC:CRS84", "degrees")):
        store = write_points_on(tmp_path / f"{name}.parquet", pixels, crs=crs)
        order = {"points": store, "output": tmp_path / name}
        result = prepared(tmp_path, order, points_format="parquet" if crs == UTM else "csv.gz")
        found: dict[str, Any] = {item.id: item.sample.second for item in FolderDataset(result.folder)}
        np.testing.assert_allclose(found["r0001_c0000"], [[10.25, 36.5, 0.0]], atol=0.02)
        np.testing.assert_allclose(found["r0001_c0001"], [[6.0, 36.0, 1.0], [0.5, 0.25, 4.0]], atol=0.02)
        assert (result.manifest["points"], len(found["r0000_c0000"])) == (4, 0)


def test_rasters_of_lidar_lie_beside_their_tiles(tmp_path: Path) -> None:
    import rasterio

    write_scene(tmp_path / "height.tif", height=128, width=320, gsd_m=1.0, bands=1)  # coarser, and wider to the right
    order = {"lidar": parse_lidar([f"height={tmp_path / 'height.tif'}"])}
    result = prepared(tmp_path, order)
    item = FolderDataset(result.folder, second="lidar_height")[1]
    with rasterio.open(tmp_path / "height.tif") as raster:
        band = raster.read(1)
    assert item.sample.second is not None
    np.testing.assert_allclose(item.sample.second[20, ::2].mean(), band[10, 32:64].mean(), atol=1.5)
    far = write_scene(tmp_path / "far.tif", crs="EPSG:32633", bands=1)
    with pytest.raises(DataError, match="no place in common"):
        prepared(tmp_path, {"lidar": parse_lidar([str(far)]), "output": tmp_path / "other"})
    for bad, match in (("height=a.laz", "point cloud"), ("a/b=c.tif", "letters and digits")):
        with pytest.raises(UsageError, match=match):
            parse_lidar([bad])
    with pytest.raises(UsageError, match="not both"):
        PrepareOrder(far, far, far, points=far, lidar=parse_lidar([str(far)]))


def test_points_of_another_place_are_explained(tmp_path: Path) -> None:
    from roadedge.trajectory.store_writer import write_store

    for name, x, y, match in (
        ("swapped", 41.8, -87.7, "--swap-xy"),
        ("east", 87.7, 41.8, "sign of their longitude"),
        ("far", 8.0, 50.0, "check"),
    ):
        columns = {"x": np.array([x]), "y": np.array([y])}
        write_store(tmp_path / f"{name}.parquet", columns, "OGC:CRS84")
        with pytest.raises(DataError, match=match):
            prepared(tmp_path, {"points": tmp_path / f"{name}.parquet"})
    assert not (tmp_path / "set").exists()


def test_tiles_without_image_are_left_out_and_counted(tmp_path: Path) -> None:
    write_scene(tmp_path / "scene.tif", nodata=0, hole=np.s_[:70, :140])
    result = prepared(tmp_path)
    assert result.manifest["left_out"] == {"nodata": 2}
    sheet = whole_mask(result.folder)
    assert (sheet[:64, :128] == 77).all()
    assert (sheet[64:70, :140] == 128).all()
    assert (sheet[:64, 128:140] == 128).all()


def test_no_tile_left_is_said(tmp_path: Path) -> None:
    write_scene(tmp_path / "scene.tif", nodata=0, hole=np.s_[:, :])
    with pytest.raises(DataError, match="no tile of the scene is left"):
        prepared(tmp_path)
    ignore = write_vectors(tmp_path / "ignore.gpkg", [square(-10, -10, 500)])
    write_scene(tmp_path / "scene.tif")
    with pytest.raises(DataError, match="ignored 20"):
        prepared(tmp_path, {"ignore": ignore}, block_m=64.0)


@pytest.mark.parametrize("kind", ["resampled", "rotated", "16 bits, four bands", "degrees"])
def test_scenes_of_any_kind_have_their_road_where_it_is(tmp_path: Path, kind: str) -> None:
    options: dict[str, Any] = {}
    if kind == "resampled":
        options = {"gsd_m": 1.0}
    elif kind == "rotated":
        write_scene(tmp_path / "scene.tif", rotation_deg=20, height=320)
    elif kind == "16 bits, four bands":
        write_scene(tmp_path / "scene.tif", bands=4, dtype="uint16")
    else:
        write_in_degrees(write_scene(tmp_path / "metres.tif"), tmp_path / "scene.tif")
    result = prepared(tmp_path, **options)
    grid = result.manifest["grid"]
    size = grid["size"]
    rows, columns = -(-size[0] // 64), -(-size[1] // 64)
    sheet = whole_mask(result.folder, rows, columns)
    road = np.argwhere(sheet == 255) + 0.5
    north = grid["transform"][3] + road[:, 0] * grid["transform"][5]
    assert grid["crs"] == UTM
    assert north.mean() == pytest.approx(4_630_000 - 50.0, abs=0.6)
    assert np.ptp(north) <= 10.0
    assert len(road) * grid["gsd_m"] ** 2 == pytest.approx(1600, rel=0.15 if kind == "rotated" else 0.05)
    assert grid["white"] == (4095 if "16" in kind else 255)
    assert len(FolderDataset(result.folder)) == result.manifest["tiles"]


def test_a_scene_without_a_crs_needs_to_be_told(tmp_path: Path) -> None:
    write_scene(tmp_path / "scene.tif", crs=None)
    with pytest.raises(DataError, match="CRS"):
        prepared(tmp_path)
    assert prepared(tmp_path, crs=UTM).manifest["tiles"] == 20


def test_a_scene_smaller_than_a_tile_is_one_tile_filled_up(tmp_path: Path) -> None:
    write_scene(tmp_path / "scene.tif", height=40, width=50)
    write_vectors(tmp_path / "roads.gpkg", [road_at(20)], width=["5"])
    result = prepared(tmp_path)
    assert (result.manifest["tiles"], result.manifest["split"]) == (1, {"train": 1})
    sheet = whole_mask(result.folder, 1, 1)
    assert (sheet[40:] == 128).all()
    assert (sheet[:40, :50] == 255).sum() == 500


def test_widths_are_read_as_people_write_them(tmp_path: Path) -> None:
    written = ["7", 7.5, "12 m", "24 ft", "6,5", "wide", "", None, "-3", "0", "900", float("nan")]
    read = [width_in_m(value) for value in written]
    assert read[:3] == [7.0, 7.5, 12.0]
    assert read[3:5] == pytest.approx([7.3152, 6.5])
    assert np.isnan(read[5:]).all()
    write_vectors(tmp_path / "roads.gpkg", [road_at(30), road_at(100)], width=["10", "wide"])
    manifest = prepared(tmp_path, width_m=4.0).manifest
    assert (manifest["roads"]["widths_by_attribute"], manifest["roads"]["widths_by_default"]) == (1, 1)
    assert manifest["road_fraction"] == pytest.approx(28 / 256, abs=1e-3)
    with pytest.raises(DataError, match=r"no attribute 'lanes'; it has width"):
        prepared(tmp_path, {"output": tmp_path / "other"}, width_attribute="lanes")


def test_roads_of_another_place_or_kind_are_refused(tmp_path: Path) -> None:
    far = write_vectors(tmp_path / "far.gpkg", [road_at(-90_000)])
    with pytest.raises(SpecMismatchError, match="no place in common"):
        prepared(tmp_path, {"roads": far}, width_attribute=None)
    near = write_vectors(tmp_path / "near.gpkg", [road_at(-200)])
    with pytest.raises(DataError, match="no road"):
        prepared(tmp_path, {"roads": near}, width_attribute=None)
    with pytest.raises(DataError, match="expected zones to ignore as polygons"):
        prepared(tmp_path, {"ignore": near})
    assert [p.name for p in tmp_path.iterdir() if "set" in p.name] == []


@pytest.mark.parametrize("what", ["scene", "roads", "areas", "ignore", "points", "lidar"])
def test_an_input_that_is_not_there_is_named(tmp_path: Path, what: str) -> None:
    absent = tmp_path / "absent.tif"
    with pytest.raises(DataError, match=r"absent\.tif"):
        prepared(tmp_path, {what: (("lidar_x", absent),) if what == "lidar" else absent})
    assert not [path for path in tmp_path.iterdir() if "set" in path.name]


def test_the_split_is_by_blocks_and_the_same_each_time(tmp_path: Path) -> None:
    first = prepared(tmp_path, block_m=64.0)
    with (first.folder / "split.csv").open() as file:
        rows = list(csv.DictReader(file))
    sides: dict[str, set[str]] = {}
    for row in rows:
        sides.setdefault(row["group"], set()).add(row["split"])
    assert all(len(side) == 1 for side in sides.values())
    assert {row["split"] for row in rows} == {"train", "val"}
    again = prepared(tmp_path, {"output": tmp_path / "again"}, block_m=64.0)
    assert (again.folder / "split.csv").read_bytes() == (first.folder / "split.csv").read_bytes()
    assert again.manifest["files"] == first.manifest["files"]
    with pytest.raises(UsageError, match="--block 1000"):
        prepared(tmp_path, {"output": tmp_path / "third"}, block_m=1000.0)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.2, 0.5])
def test_the_share_set_aside_is_about_what_was_asked(share: float) -> None:
    blocks = {f"b{i}": 4 for i in range(50)}
    chosen = choose_validation(blocks, share, 0)
    assert len(chosen) == round(50 * share)
    assert share in (0.0, 0.5) or chosen != choose_validation(blocks, share, 1)
    assert len(choose_validation({"a": 1, "b": 9}, 0.2, 0)) == 1


@pytest.mark.parametrize(("height", "width"), [(1, 1), (64, 64), (65, 64), (1000, 333)])
def test_tiles_cover_each_pixel_once(height: int, width: int) -> None:
    seen = np.zeros((height, width), np.int64)
    for tile in lay_tiles(MapGrid(UTM, 0, 0, 0.5, height, width, True), 64, None).tiles:
        seen[tile.y0 : tile.y1, tile.x0 : tile.x1] += 1
    assert (seen == 1).all()


def test_a_run_that_was_stopped_goes_on_and_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = prepared(tmp_path, {"output": tmp_path / "whole"}, block_m=64.0)
    made: list[str] = []
    make = module._make_tile

    def stops(work: Any, tile: Any) -> dict[str, Any]:
        if len(made) == 7:
            raise KeyboardInterrupt
        made.append(tile.id)
        return make(work, tile)

    monkeypatch.setattr(module, "_make_tile", stops)
    with pytest.raises(KeyboardInterrupt, match="7 of 20 tiles are done"):
        prepared(tmp_path, block_m=64.0)
    assert not (tmp_path / "set").exists()

    def counts(work: Any, tile: Any) -> dict[str, Any]:
        made.append(tile.id)
        return make(work, tile)

    monkeypatch.setattr(module, "_make_tile", counts)
    with pytest.raises(UsageError, match="--resume"):
        prepared(tmp_path, block_m=64.0)
    order = PrepareOrder(tmp_path / "scene.tif", tmp_path / "roads.gpkg", tmp_path / "set")
    with pytest.raises(UsageError, match=r"had width_m = 8\.0"):
        prepare(order, PrepareOptions(size=64, width_attribute="width", block_m=64.0, width_m=5.0), resume=True)
    journal = tmp_path / ".set.unfinished" / "tiles.jsonl"
    journal.write_text(journal.read_text()[:-20])  # the last line was cut by the kill
    options = PrepareOptions(size=64, width_attribute="width", block_m=64.0)
    result = prepare(order, options, resume=True)
    assert len(made) == 7 + 14
    assert result.manifest["files"] == whole.manifest["files"]
    assert (tmp_path / "set" / "split.csv").read_bytes() == (tmp_path / "whole" / "split.csv").read_bytes()
    assert prepare(order, options, resume=True).manifest == result.manifest  # finished: nothing is made again
    assert len(made) == 7 + 14
    with pytest.raises(UsageError, match=r"had width_m = 8\.0"):
        prepare(order, PrepareOptions(size=64, width_attribute="width", block_m=64.0, width_m=5.0), resume=True)
    assert sorted(p.name for p in (tmp_path / "set").iterdir()) == [
        "image", "manifest.json", "mask", "overview.jpg", "split.csv",
    ]  # fmt: skip


def test_an_output_is_replaced_only_if_it_is_a_prepared_one(tmp_path: Path) -> None:
    prepared(tmp_path)
    with pytest.raises(UsageError, match="--overwrite"):
        prepared(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    order = PrepareOrder(tmp_path / "scene.tif", tmp_path / "roads.gpkg", other)
    with pytest.raises(UsageError, match="no data set that roadedge prepared"):
        prepare(order, PrepareOptions(size=64), overwrite=True)
    assert (other / "thesis.txt").exists()


def test_two_runs_do_not_share_an_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def meets_another(work: Any, tile: Any) -> dict[str, Any]:
        order = PrepareOrder(tmp_path / "scene.tif", tmp_path / "roads.gpkg", tmp_path / "set")
        prepare(order, PrepareOptions(size=64), overwrite=True)
        raise AssertionError("the second run was let in")

    monkeypatch.setattr(module, "_make_tile", meets_another)
    with pytest.raises(UsageError, match="another run is at work"):
        prepared(tmp_path)


def test_the_result_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    rng = np.random.default_rng(0)
    pixels = np.column_stack([rng.uniform(0, 320, 500), rng.normal(100, 5, 500)])
    store = write_points_on(tmp_path / "points.parquet", pixels)
    monkeypatch.chdir(tmp_path)
    write_scene(tmp_path / "scene.tif")
    write_vectors(tmp_path / "roads.gpkg", [road_at(100)], width=["10"])
    options = ["--size", "64", "--width-attribute", "width", "--points", str(store), "--json", "-q"]
    code = cli.main(["data", "prepare", "scene.tif", "--roads", "roads.gpkg", "-o", "set", *options])
    said = capsys.readouterr()
    assert code == 0, said.err
    assert json.loads(said.out)["tiles"] == 20
    training = ["--model", "roadedge-n", "--steps", "2", "--batch", "2", "--crop", "64", "--precision", "fp32"]
    assert cli.main(["train", "set", *training, "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 2
