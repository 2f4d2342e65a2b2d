"""A map from end to end on small scenes: by any executor, order and shard, and after any stop, the same to the bit."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from roadedge.errors import DataError, OutputError, SourceError, SpecMismatchError, UsageError
from roadedge.preprocess import OutsideBandWarning
from roadedge.roadmap import make_map as module
from roadedge.roadmap.executors import EXECUTORS
from roadedge.roadmap.make_map import make_map
from roadedge.roadmap.map_folder import WORK, locked
from roadedge.roadmap.map_order import MapOrder, MapResult
from roadedge.roadmap.settings import MapSettings, Shard
from tests.roadmap.scenes import CORNER, read_band, smooth, write_points, write_scene

pytest.importorskip("openvino")
pytest.importorskip("rasterio")
MODEL = "roadedge-s:int8"
SIZE = (300, 420)
SETTINGS = MapSettings(MODEL, tile=128, overlap=32, executor="serial")


def settings(**changes: Any) -> MapSettings:
    return MapSettings(**{"model": MODEL, "tile": 128, "overlap": 32, "executor": "serial", **changes})


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene(tmp_path_factory.mktemp("scene") / "scene.tif", smooth(*SIZE))


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(1)
    xy = np.array(CORNER) + rng.uniform(0, 1, (4000, 2)) * [SIZE[1] * 0.46, -SIZE[0] * 0.46]
    return write_points(tmp_path_factory.mktemp("points") / "points.parquet", xy)


@pytest.fixture(scope="module")
def whole(scene: Path, points: Path, tmp_path_factory: pytest.TempPathFactory) -> MapResult:
    return run(scene, tmp_path_factory.mktemp("whole") / "out", points)


def run(scene: Path, output: Path, points: Path | None = None, how: MapSettings = SETTINGS, **order: Any) -> MapResult:
    return make_map(MapOrder(scene, output, points, **order), how, lambda line: None)


def files_of(result: MapResult) -> dict[str, bytes]:
    names = ("probability.tif", "density.tif", "backdrop.jpg")
    return {name: (result.folder / name).read_bytes() for name in names}


def test_a_map_lies_where_its_scene_lies(whole: MapResult) -> None:
    import rasterio

    with rasterio.open(whole.folder / "probability.tif") as raster:
        assert (raster.height, raster.width) == SIZE
        assert raster.crs.to_epsg() == 32633
        assert raster.transform[2] == CORNER[0]
        assert raster.transform[5] == CORNER[1]
        assert raster.dtypes == ("uint8",)
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert raster.read(1).max() > 0
    about = json.loads((whole.folder / "map.json").read_text())
    assert about["points"]["on_scene"] == 4000
    assert about["tiles"]["count"] == about["tiles"]["computed"] > 4
    assert not (whole.folder / WORK).exists()


def test_the_backdrop_says_where_it_lies(whole: MapResult) -> None:
    import rasterio

    with rasterio.open(whole.folder / "backdrop.jpg") as raster:
        assert raster.crs.to_epsg() == 32633
        assert raster.transform[2] == CORNER[0]


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_executors_do_not_change_a_bit(
    scene: Path, points: Path, whole: MapResult, tmp_path: Path, executor: str
) -> None:
    how = settings(executor=executor, workers=2, threads=1)
    assert files_of(run(scene, tmp_path / "out", points, how)) == files_of(whole)


def test_the_order_of_tiles_does_not_change_a_bit(
    scene: Path, points: Path, whole: MapResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def backwards(job: Any, batches: Any, *more: Any) -> None:
        from roadedge.roadmap.executors import run_serial

        run_serial(job, batches[::-1], *more)

    monkeypatch.setitem(EXECUTORS, "backwards", backwards)
    result = run(scene, tmp_path / "out", points, settings(executor="backwards", batch=2))
    assert files_of(result) == files_of(whole)


def test_a_killed_worker_is_replaced_and_its_tile_done_again(
    scene: Path, points: Path, whole: MapResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import multiprocessing

    from roadedge.roadmap.map_progress import Progress

    said: list[str] = []
    plain = Progress.add

    def killing(self: Progress, done: Any) -> None:
        plain(self, done)
        if self.finished == 2:
            victim = multiprocessing.active_children()[0]
            assert victim.pid
            os.kill(victim.pid, signal.SIGKILL)

    monkeypatch.setattr(Progress, "add", killing)
    how = settings(executor="processes", workers=1, threads=1)
    result = make_map(MapOrder(scene, tmp_path / "out", points), how, said.append)
    assert files_of(result) == files_of(whole)
    assert any("SIGKILL" in line for line in said)


def test_shards_make_the_same_map_and_the_last_one_joins(
    scene: Path, points: Path, whole: MapResult, tmp_path: Path
) -> None:
    first = run(scene, tmp_path / "out", points, shard=Shard(1, 2))
    assert first.missing
    assert not first.metrics
    assert files_of(run(scene, tmp_path / "out", points, shard=Shard(2, 2))) == files_of(whole)


def test_a_run_that_is_killed_goes_on(scene: Path, points: Path, whole: MapResult, tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "roadedge.cli", "map", str(scene), "-o", str(tmp_path / "out"), "--points", str(points),
        "--model", MODEL, "--tile", "128", "--overlap", "32", "--executor", "serial", "--roads", "none",
    ]  # fmt: skip
    work = tmp_path / "out" / WORK
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 300
        while len(list(work.glob("*/[!.]*.tile"))) < 3 and time.monotonic() < until:
            time.sleep(0.002)
    finally:
        process.kill()
        process.wait()
    done = len(list(work.glob("*/[!.]*.tile")))
    assert done >= 3
    with pytest.raises(UsageError, match="--resume"):
        run(scene, tmp_path / "out", points)
    result = run(scene, tmp_path / "out", points, resume=True)
    assert result.metrics["tiles"]["resumed"] >= 3
    assert files_of(result) == files_of(whole)


def test_a_tile_that_was_cut_short_is_done_again(
    scene: Path, points: Path, whole: MapResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "write_cog", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run(scene, tmp_path / "out", points)
    monkeypatch.undo()
    tile = sorted((tmp_path / "out" / WORK).glob("*/*.tile"))[2]
    tile.write_bytes(tile.read_bytes()[:-300])
    result = run(scene, tmp_path / "out", points, resume=True)
    assert result.metrics["tiles"]["computed"] == 1
    assert files_of(result) == files_of(whole)


def test_tiles_of_another_map_are_refused(scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "write_cog", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run(scene, tmp_path / "out")
    with pytest.raises(UsageError, match="windows differ"):
        run(scene, tmp_path / "out", how=settings(overlap=64), resume=True)


def test_two_runs_do_not_share_a_folder(scene: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with locked(tmp_path / "out"), pytest.raises(UsageError, match="another run is at work"):
        run(scene, tmp_path / "out")


def test_a_finished_map_is_not_overwritten_by_accident(whole: MapResult, scene: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="finished map"):
        run(scene, whole.folder)
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="not empty"):
        run(scene, tmp_path)


def test_what_has_no_image_is_masked(tmp_path: Path) -> None:
    pixels = smooth(200, 300)
    pixels[pixels == 0] = 1
    pixels[:, 200:] = 0
    result = run(write_scene(tmp_path / "holes.tif", pixels, nodata=0), tmp_path / "out")
    road, mask = read_band(result.folder / "probability.tif")
    assert (mask[:, :200] == 255).all()
    assert (mask[:, 200:] == 0).all()
    assert (road[:, 200:] == 0).all()


def test_a_scene_without_any_image_is_all_masked(tmp_path: Path) -> None:
    result = run(write_scene(tmp_path / "blank.tif", np.zeros((150, 90, 3), np.uint8), nodata=0), tmp_path / "out")
    assert (read_band(result.folder / "probability.tif")[1] == 0).all()


def test_a_scene_smaller_than_a_stride_is_mapped(tmp_path: Path) -> None:
    result = run(write_scene(tmp_path / "tiny.tif", smooth(7, 5)), tmp_path / "out")
    assert read_band(result.folder / "probability.tif")[0].shape == (7, 5)


def test_points_elsewhere_are_an_error_that_says_where(scene: Path, tmp_path: Path) -> None:
    south = write_points(tmp_path / "south.parquet", np.array([[14.1, -52.4], [14.2, -52.5]]), "OGC:CRS84")
    with pytest.raises(DataError, match=r"none of the 2 points .* 14\.15.*, -52\.45"):
        run(scene, tmp_path / "out", south)
    assert not (tmp_path / "out").exists()


def test_lidar_for_a_network_without_is_refused(scene: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecMismatchError, match="takes no LiDAR"):
        run(scene, tmp_path / "out", lidar=(scene,))


def test_a_scene_far_from_the_networks_pixels(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="10 m per pixel"):
        run(write_scene(tmp_path / "coarse.tif", smooth(40, 40), gsd=10.0), tmp_path / "out")
    scene = write_scene(tmp_path / "fine.tif", smooth(60, 60), gsd=0.3)
    with pytest.raises(DataError, match="not to be trusted"):
        run(scene, tmp_path / "out", how=settings(gsd_m=0.3, strict=True))
    with pytest.warns(OutsideBandWarning):
        assert run(scene, tmp_path / "out", how=settings(gsd_m=0.3)).metrics["size"] == [60, 60]


def test_a_scene_that_is_cut_short_says_so(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "cut.tif", np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8))
    path.write_bytes(path.read_bytes()[:120_000])
    with pytest.raises(SourceError, match="can no longer be read"):
        run(path, tmp_path / "out")


@pytest.mark.parametrize(("text", "good"), [("1/4", True), ("4/4", True), ("0/4", False), ("5/4", False), ("a", False)])
def test_shards_are_i_of_n(text: str, good: bool) -> None:
    if good:
        assert Shard.parse(text).count == 4
    else:
        with pytest.raises(UsageError):
            Shard.parse(text)


def test_shards_share_out_the_tiles() -> None:
    tiles = [tile for i in range(1, 8) for tile in Shard(i, 7).of(23)]
    assert tiles == list(range(23))


def test_a_full_disk_says_so_and_the_run_goes_on_later(
    scene: Path, points: Path, whole: MapResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, count = Path.write_bytes, [0]

    def filling(path: Path, content: Any) -> int:
        count[0] += path.suffix == ".tile"
        if count[0] == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return plain(path, content)

    monkeypatch.setattr(Path, "write_bytes", filling)
    with pytest.raises(OutputError, match="the disk is full"):
        run(scene, tmp_path / "out", points)
    monkeypatch.undo()
    result = run(scene, tmp_path / "out", points, resume=True)
    assert result.metrics["tiles"]["resumed"] == 2
    assert files_of(result) == files_of(whole)


def test_a_disk_without_room_is_said_at_once(scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(OutputError, match="the disk is full"):
        run(scene, tmp_path / "out")


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore")
def test_ray_actors_do_not_change_a_bit_and_a_killed_one_is_replaced(
    scene: Path, points: Path, whole: MapResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="ray is not installed: pip install 'roadedge[ray]'")
    from roadedge.roadmap.map_progress import Progress

    said: list[str] = []
    plain = Progress.add

    def killing(self: Progress, done: Any) -> None:
        plain(self, done)
        if self.finished == 1:
            os.kill(done.process, signal.SIGKILL)

    monkeypatch.setattr(Progress, "add", killing)
    how = settings(executor="ray", workers=2, threads=1)
    result = make_map(MapOrder(scene, tmp_path / "out", points), how, said.append)
    assert files_of(result) == files_of(whole)
    assert any("an actor was lost" in line for line in said)
