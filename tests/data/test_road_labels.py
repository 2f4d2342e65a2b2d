"""Labels of connectivity and orientation say what a person would, at every scale and after every turn."""

from __future__ import annotations

import ast
import importlib
import inspect
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from roadedge.data import traced_roads
from roadedge.data.folder import FolderDataset
from roadedge.data.road_labels import connectivity, moved_roads, orientation
from roadedge.data.traced_roads import cache_path, drawn_roads, roads_of
from roadedge.downloads import cache_folder
from roadedge.errors import DataError, OutputError, UsageError
from roadedge.imagery import write_png
from roadedge.roadgraph import RoadGraph, TraceOptions, write_geojson

SIDE = 96
BLANK = np.zeros((SIDE, SIDE), np.uint8)


def graph(*lines: list[tuple[float, float]]) -> RoadGraph:
    """Lines that meet where their ends coincide."""
    ends = [point for line in lines for point in (line[0], line[-1])]
    nodes = list(dict.fromkeys(ends))
    u, v = (np.array([nodes.index(line[k]) for line in lines]) for k in (0, -1))
    return RoadGraph(np.array(nodes), u, v, tuple(np.array(line) for line in lines))


CROSSING = graph(*([(48.5, 48.5), far] for far in [(48.5, 0.5), (48.5, 95.5), (0.5, 48.5), (80.5, 48.5)]))


def test_ways_are_counted_at_dead_ends_stretches_and_crossings() -> None:
    classes = connectivity(CROSSING, BLANK)
    assert classes[48, 48] == 4
    assert classes[48, 80] == 1
    assert classes[48, 64] == classes[20, 48] == 2
    assert classes[0, 48] == classes[48, 0] == 2  # goes on beyond the border
    assert classes[10, 10] == 0
    assert connectivity(graph([(48.5, 48.5), (90.5, 90.5)], [(48.5, 48.5), (48.5, 5.5)]), BLANK)[48, 48] == 2


def test_a_junction_of_three_is_three() -> None:
    assert connectivity(CROSSING.kept(np.array([0, 2, 3])), BLANK)[48, 48] == 3


def test_a_quarter_is_drawn_anew_and_not_resampled() -> None:
    small = connectivity(CROSSING, BLANK, scale=4)
    assert small.shape == (24, 24)
    assert small[12, 12] == 4
    assert small[12, 20] == 1
    assert set(np.unique(small)) == {0, 1, 2, 4}


def test_what_is_ignored_stays_ignored_and_ends_no_road() -> None:
    mask = BLANK.copy()
    mask[:, 78:] = 128
    for labels in (connectivity(CROSSING, mask), orientation(CROSSING, mask)):
        assert (labels[:, 78:] == 255).all()
        assert (labels[:, :78] != 255).all()
    ended = graph([(10.5, 48.5), (76.5, 48.5)])
    assert connectivity(ended, mask)[48, 76] == 2
    assert connectivity(ended, mask)[48, 10] == 1


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ([(10.5, 48.5), (80.5, 48.5)], 18),  # from its farther end, on the right, towards the left
        ([(48.5, 10.5), (48.5, 80.5)], 27),
        ([(10.5, 80.5), (80.5, 20.5)], 13),  # down to the left, 139 degrees
        ([(80.5, 80.5), (20.5, 20.5)], 22),
    ],
)
def test_the_angle_is_that_of_the_line_from_its_farther_end(line: list[tuple[float, float]], expected: int) -> None:
    classes = orientation(graph(line), BLANK)
    assert set(np.unique(classes)) == {expected, 36}
    assert (orientation(graph(line[::-1]), BLANK) == classes).all()


def test_the_strip_reaches_ten_pixels_to_each_side_at_every_scale() -> None:
    road = graph([(10.5, 48.5), (80.5, 48.5)])
    assert np.flatnonzero(orientation(road, BLANK)[:, 48] != 36).tolist() == list(range(38, 59))
    quarter = orientation(road, BLANK, scale=4)[:, 12]
    assert np.count_nonzero(quarter != 36) == 20


def test_angles_turn_with_the_crop() -> None:
    quarter = np.array([[0.0, -1.0, SIDE], [1.0, 0.0, 0.0]])
    turned = moved_roads(graph([(10.5, 48.5), (80.5, 48.5)]), quarter, SIDE)
    assert set(np.unique(orientation(turned, BLANK))) == {27, 36}


def test_roads_beside_the_crop_are_left_out_but_count_at_their_nodes() -> None:
    into = np.array([[1.0, 0.0, -20.0], [0.0, 1.0, -40.0]])
    lines = ([(48.5, 48.5), (60.5, 60.5)], [(48.5, 48.5), (48.5, 20.5)], [(48.5, 48.5), (20.5, 48.5)])
    far = [(400.0, 400.0), (420.0, 400.0)]
    moved = moved_roads(graph(*lines, far), into, 40)
    assert len(moved.lines) == 3
    assert connectivity(moved, BLANK[:40, :40])[8, 28] == 3
    assert not moved_roads(graph(far), into, 40).lines


def test_no_roads_are_a_label_without_roads() -> None:
    assert not connectivity(RoadGraph.empty(), BLANK).any()
    assert (orientation(RoadGraph.empty(), BLANK) == 36).all()


@pytest.fixture
def street() -> NDArray[np.uint8]:
    mask = BLANK.copy()
    mask[44:54] = 255
    mask[:, 60:68] = 255
    return mask


def test_a_mask_is_traced_once(street: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("skimage", reason="roads are traced by scikit-image (extra graph)")
    first = roads_of(street, 0.5, folder=tmp_path)
    assert connectivity(first, street)[48, 64] == 4

    def traced(*_: object) -> RoadGraph:
        raise AssertionError("traced again")

    with monkeypatch.context() as patch:
        patch.setattr(traced_roads, "trace", traced)
        again = roads_of(street, 0.5, folder=tmp_path)
    assert all(np.array_equal(a, b) for a, b in zip(first.lines, again.lines, strict=True))
    (kept,) = tmp_path.rglob("*.geojson")
    kept.write_text("{cut")
    assert len(roads_of(street, 0.5, folder=tmp_path).lines) == len(first.lines)


def test_the_key_tells_masks_settings_and_versions_apart(
    street: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = TraceOptions()
    paths = {
        cache_path(street, 0.5, options, tmp_path),
        cache_path(street[:, :90], 0.5, options, tmp_path),
        cache_path(street, None, options, tmp_path),
        cache_path(street, 0.5, TraceOptions(spur_m=3), tmp_path),
    }
    monkeypatch.setattr(traced_roads, "VERSION", 99)
    assert len(paths | {cache_path(street, 0.5, options, tmp_path)}) == 5


def test_another_tracing_traces_anew(
    street: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = cache_path(street, 0.5, TraceOptions(), tmp_path)
    assert {f"roadedge.roadgraph.{name}" for name in traced_roads.TRACING} >= _imported("roadedge.roadgraph.trace")
    monkeypatch.setattr(traced_roads, "code_digest", lambda: "changed")
    assert cache_path(street, 0.5, TraceOptions(), tmp_path) != before


def _imported(module: str) -> set[str]:
    """The modules of roadgraph that one of them needs, itself among them."""
    found, new = set(), {module}
    while new:
        name = new.pop()
        found.add(name)
        tree = ast.parse(inspect.getsource(importlib.import_module(name)))
        nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        names = {node.module for node in nodes if node.module and node.module.startswith("roadedge.roadgraph.")}
        new |= names - found
    return found


def test_what_was_killed_while_it_was_written_is_traced_anew(
    street: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("skimage", reason="roads are traced by scikit-image (extra graph)")
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", _killed)
        with pytest.raises(KeyboardInterrupt):
            roads_of(street, 0.5, folder=tmp_path)
    path = cache_path(street, 0.5, TraceOptions(), tmp_path)
    assert not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(f".{path.stem}.1-2.part.geojson").write_text("{half")  # as kill -9 leaves it
    with ThreadPoolExecutor(4) as several:
        found = list(several.map(lambda _: roads_of(street, 0.5, folder=tmp_path), range(8)))
    assert all(np.array_equal(a, b) for one in found for a, b in zip(one.lines, found[0].lines, strict=True))
    assert [file.name for file in path.parent.glob("[!.]*")] == [path.name]


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_masks_without_roads_are_kept_too(tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="roads are traced by scikit-image (extra graph)")
    for mask in (BLANK, np.full_like(BLANK, 128)):
        for _ in range(2):
            assert not roads_of(mask, 0.5, folder=tmp_path).lines
    assert len(list(tmp_path.rglob("*.geojson"))) == 2


def test_a_cache_that_cannot_be_written_says_where_to_put_it(street: NDArray[np.uint8], tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="roads are traced by scikit-image (extra graph)")
    (tmp_path / "roads").write_text("a file")
    with pytest.raises(OutputError, match="name another folder in ROADEDGE_CACHE"):
        roads_of(street, 0.5, folder=tmp_path)


def test_centre_lines_are_taken_instead_of_the_mask(tmp_path: Path) -> None:
    for name in ("image", "mask"):
        write_png(tmp_path / name / "a_b.png", np.repeat(BLANK[..., None], 3, 2) if name == "image" else BLANK)
    write_geojson(tmp_path / "roads" / "a_b.geojson", CROSSING)
    item = FolderDataset(tmp_path)[0]
    assert item.roads == tmp_path / "roads" / "a_b.geojson"
    assert np.array_equal(connectivity(drawn_roads(item.roads), item.mask), connectivity(CROSSING, BLANK))
    (tmp_path / "split.csv").write_text("image,mask,split,roads\nimage/a_b.png,mask/a_b.png,train,\n")
    assert FolderDataset(tmp_path)[0].roads is None
    (tmp_path / "split.csv").write_text("image,mask,split\nimage/a_b.png,mask/a_b.png,train\n")
    assert FolderDataset(tmp_path)[0].roads == item.roads
    item.roads.write_text('{"type": "FeatureCollection", "features": []}')
    with pytest.raises(DataError, match="expected x, y in pixels of the image"):
        drawn_roads(item.roads)


def test_the_cache_lies_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("ROADEDGE_CACHE", raising=False)
    assert cache_folder() == tmp_path / "xdg" / "roadedge"
    monkeypatch.setenv("ROADEDGE_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    for name in ("ROADEDGE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(Path, "home", _homeless)
    with pytest.raises(UsageError, match="no home folder"):
        cache_folder()


def _homeless() -> Path:
    raise RuntimeError("Could not determine home directory.")
