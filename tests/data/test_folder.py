"""The folder data set: what is listed, how it is split, and which file is to blame."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from roadedge.data.folder import Entry, FolderDataset, hold_out, read_entry
from roadedge.errors import DataError
from roadedge.imagery import encode_png, write_jpeg, write_png

SIZE = (24, 32)
MASK = np.where(np.arange(SIZE[1]) % 4 == 0, 255, 0).astype(np.uint8) * np.ones((SIZE[0], 1), np.uint8)

IMAGE_PNG, MASK_PNG = encode_png(np.repeat(MASK[..., None], 3, 2)), encode_png(MASK)
POINTS = "vid,x,y,t,speed,interval\n1,4.5,3.5,10,8,10\n1,8.5,3.5,20,8,10\n"


def write_sample(root: Path, name: str, provider: str = "", points: bool = True) -> Mapping[str, str]:
    """One sample in the folders; its row for split.csv."""
    for folder in ("image", "mask"):
        (root / folder).mkdir(exist_ok=True)
    (root / "image" / f"{name}{provider}.png").write_bytes(IMAGE_PNG)
    (root / "mask" / f"{name}.png").write_bytes(MASK_PNG)
    row = {"image": f"image/{name}{provider}.png", "mask": f"mask/{name}.png"}
    if points:
        (root / "trajectory").mkdir(exist_ok=True)
        (root / "trajectory" / f"{name}.csv").write_text(POINTS)
        row["trajectory"] = f"trajectory/{name}.csv"
    return row


def write_table(root: Path, rows: list[Mapping[str, str]], ends: str = "\n", encoding: str = "utf-8") -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with (root / "split.csv").open("w", newline="", encoding=encoding) as file:
        table = csv.DictWriter(file, names, lineterminator=ends)
        table.writeheader()
        table.writerows(rows)


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """Two places, one with two providers, and their table."""
    rows = [write_sample(tmp_path, "a", provider) for provider in ("_google", "_yahoo")]
    rows.append(write_sample(tmp_path, "b"))
    splits = ("train", "train", "val")
    write_table(tmp_path, [{**row, "split": s, "gsd_m": "0.464"} for row, s in zip(rows, splits, strict=True)])
    return tmp_path


@pytest.fixture
def loose(tmp_path: Path) -> Path:
    """Sixty places without a table."""
    for number in range(60):
        write_sample(tmp_path, f"tile_{number}", points=False)
    return tmp_path


def test_a_listed_sample_is_read_whole(listed: Path) -> None:
    item = FolderDataset(listed, "val")[0]
    assert (item.id, item.group, item.split) == ("b", "b", "val")
    assert item.sample.gsd_m == 0.464
    assert item.sample.image is not None
    assert (item.sample.image[..., 0] == MASK).all()
    assert (item.mask == MASK).all()
    assert item.sample.second is not None
    assert item.sample.second.tolist() == [[4.5, 3.5, 10.0], [8.5, 3.5, 20.0]]


def test_a_data_set_is_counted_and_walked_through(listed: Path) -> None:
    dataset = FolderDataset(listed)
    assert len(dataset) == 3
    assert [item.id for item in dataset] == ["a_google", "a_yahoo", "b"]
    assert [entry.group for entry in dataset.entries] == ["a", "a", "b"]
    assert len(FolderDataset(listed, "train")) == 2


@pytest.mark.parametrize(("ends", "encoding"), [("\r\n", "utf-8"), ("\n", "utf-8-sig"), ("\r\n", "utf-8-sig")])
def test_tables_of_other_systems_are_read(tmp_path: Path, ends: str, encoding: str) -> None:
    write_table(tmp_path, [{**write_sample(tmp_path, "straße"), "split": "train"}], ends, encoding)
    item = FolderDataset(tmp_path, "train")[0]
    assert item.id == "straße"
    assert item.sample.gsd_m is None
    assert item.sample.has_points


def test_a_table_that_lacks_columns_says_which(tmp_path: Path) -> None:
    write_table(tmp_path, [{"image": "image/a.png", "label": "mask/a.png"}])
    with pytest.raises(DataError, match=r"lacks the columns \['mask', 'split'\]; it has \['image', 'label'\]"):
        FolderDataset(tmp_path)


@pytest.mark.parametrize("content", [b"", b"image,mask,split\n"])
def test_an_empty_table_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "split.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"lacks the columns|no samples at all"):
        FolderDataset(tmp_path)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00\x01\x80", b"image,mask,split\n\x80\xff,a,b\n"])
def test_a_table_that_is_no_text_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "split.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"split\.csv cannot be read as a table .*; expected CSV in UTF-8"):
        FolderDataset(tmp_path)


@pytest.mark.parametrize("line", ["image/a.png", ",mask/a.png,train", "image/a.png,mask/a.png,"])
def test_a_row_with_a_hole_is_named_by_its_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "split.csv").write_text(f"image,mask,split\nimage/b.png,mask/b.png,val\n{line}\n")
    with pytest.raises(DataError, match=r"split\.csv has no image, mask or split in line 3"):
        FolderDataset(tmp_path)


@pytest.mark.parametrize("gsd_m", ["0,464", "fine", "-0.5", "0", "nan", "inf", "50000"])
def test_a_wrong_ground_sample_distance_in_the_table_is_named(tmp_path: Path, gsd_m: str) -> None:
    write_table(tmp_path, [{**write_sample(tmp_path, "a"), "split": "train", "gsd_m": gsd_m}])
    with pytest.raises(DataError, match=r"split\.csv has the gsd_m .*; expected .*metres per pixel"):
        FolderDataset(tmp_path)


@pytest.mark.parametrize("column", ["image", "mask", "trajectory"])
def test_a_missing_file_of_a_row_is_named(listed: Path, column: str) -> None:
    (listed / column / ("b.csv" if column == "trajectory" else "b.png")).unlink()
    with pytest.raises(DataError, match=f"{column}/b"):
        FolderDataset(listed, "val")[0]


@pytest.mark.parametrize("folder", ["image", "mask"])
def test_a_broken_file_of_a_row_is_named(listed: Path, folder: str) -> None:
    path = listed / folder / "b.png"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=rf"{folder}/b\.png is cut off"):
        FolderDataset(listed, "val")[0]


def test_an_unknown_split_names_those_that_are(listed: Path) -> None:
    with pytest.raises(DataError, match=r"holds no samples of the split 'test'; it has \['train', 'val'\]"):
        FolderDataset(listed, "test")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no data set folder .*gone"):
        FolderDataset(tmp_path / "gone")


def test_an_empty_folder_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"needs image/<id>.* and mask/<id>\.png with the same ids"):
        FolderDataset(tmp_path)


@pytest.mark.parametrize("folder", ["mask", "heatmap"])
def test_planes_of_another_size_are_named(tmp_path: Path, folder: str) -> None:
    write_sample(tmp_path, "a", points=False)
    write_png(tmp_path / folder / "a.png", MASK[:20])
    with pytest.raises(DataError, match=rf"{folder}/a\.png is 20 x 32 pixels and its image a\.png 24 x 32; both must"):
        FolderDataset(tmp_path)[0]


def test_points_in_degrees_are_no_points_of_an_image(tmp_path: Path) -> None:
    write_sample(tmp_path, "a")
    (tmp_path / "trajectory" / "a.csv").write_text("lon,lat\n117.6,38.9\n")
    with pytest.raises(DataError, match=r"a\.csv holds points in 'lonlat'; expected x, y in pixels"):
        FolderDataset(tmp_path)[0]


def test_points_win_over_a_stored_heat_map(listed: Path) -> None:
    write_png(listed / "heatmap" / "b.png", MASK)
    assert FolderDataset(listed, "val")[0].sample.has_points
    (listed / "split.csv").unlink()
    assert {entry.id: entry.points is not None for entry in FolderDataset(listed).entries}["b"]


def test_a_stored_heat_map_stands_in_where_there_are_no_points(tmp_path: Path) -> None:
    write_sample(tmp_path, "a", points=False)
    write_png(tmp_path / "heatmap" / "a.png", MASK)
    second = FolderDataset(tmp_path)[0].sample.second
    assert second is not None
    assert (second == MASK).all()


def test_points_may_be_packed(tmp_path: Path) -> None:
    write_sample(tmp_path, "a")
    plain = tmp_path / "trajectory" / "a.csv"
    (tmp_path / "trajectory" / "a.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    assert FolderDataset(tmp_path)[0].sample.has_points


def test_a_modality_that_the_table_does_not_list_is_found_in_its_folder(tmp_path: Path) -> None:
    rows = [write_sample(tmp_path, "a", provider) for provider in ("_google", "_yahoo")]
    write_table(tmp_path, [{"image": row["image"], "mask": row["mask"], "split": "val"} for row in rows])
    assert [entry.points for entry in FolderDataset(tmp_path).entries] == [tmp_path / "trajectory" / "a.csv"] * 2


def test_another_second_modality_is_read_by_its_name(tmp_path: Path) -> None:
    write_sample(tmp_path, "a")
    write_png(tmp_path / "lidar_height" / "a.png", MASK)
    second = FolderDataset(tmp_path, second="lidar_height")[0].sample.second
    assert second is not None
    assert (second == MASK).all()


@pytest.mark.parametrize("table", [True, False])
def test_a_misspelt_modality_is_an_error_and_not_a_blank(tmp_path: Path, table: bool) -> None:
    row = write_sample(tmp_path, "a")
    if table:
        write_table(tmp_path, [{**row, "split": "train"}])
    with pytest.raises(DataError, match=r"has no folder 'lidar_hight'; it has \['image', 'mask', 'trajectory'\]"):
        FolderDataset(tmp_path, second="lidar_hight")


def test_without_a_table_the_split_is_the_same_each_time(loose: Path) -> None:
    first = {entry.id: entry.split for entry in FolderDataset(loose).entries}
    assert first == {entry.id: entry.split for entry in FolderDataset(loose).entries}
    assert Counter(first.values())["val"] == pytest.approx(12, abs=7)
    assert set(first.values()) == {"train", "val"}


def test_a_new_sample_moves_no_other_to_the_other_side(loose: Path) -> None:
    before = {entry.id: entry.split for entry in FolderDataset(loose).entries}
    write_sample(loose, "another", points=False)
    after = {entry.id: entry.split for entry in FolderDataset(loose).entries}
    assert {name: after[name] for name in before} == before


def test_without_a_table_the_providers_of_a_place_stay_on_one_side(tmp_path: Path) -> None:
    for number in range(20):
        for provider in ("_google", "_yahoo"):
            write_sample(tmp_path, f"{number}_100-18", provider)
    entries = FolderDataset(tmp_path).entries
    assert len(entries) == 40
    assert all(entry.points is not None for entry in entries)
    sides: dict[str, set[str]] = {}
    for entry in entries:
        sides.setdefault(entry.group, set()).add(entry.split)
    assert len(sides) == 20
    assert all(len(side) == 1 for side in sides.values())
    assert {next(iter(side)) for side in sides.values()} == {"train", "val"}


def test_a_tile_number_is_no_provider(tmp_path: Path) -> None:
    write_sample(tmp_path, "tile_1", points=False)
    write_png(tmp_path / "image" / "tile_1_2.png", np.zeros((*SIZE, 3), np.uint8))  # its mask is missing
    assert [entry.id for entry in FolderDataset(tmp_path).entries] == ["tile_1"]


def test_files_that_a_system_hides_are_no_samples(tmp_path: Path) -> None:
    write_sample(tmp_path, "a", points=False)
    for folder in ("image", "mask"):
        (tmp_path / folder / "._a.png").write_bytes(b"resource fork")
    assert [entry.id for entry in FolderDataset(tmp_path).entries] == ["a"]


def test_two_images_of_one_name_are_an_error(tmp_path: Path) -> None:
    write_sample(tmp_path, "a", points=False)
    write_jpeg(tmp_path / "image" / "a.JPG", np.zeros((*SIZE, 3), np.uint8))
    with pytest.raises(DataError, match=r"holds both a\.JPG and a\.png; keep one"):
        FolderDataset(tmp_path)


def entries_of(places: int, each: int = 3) -> list[Entry]:
    return [Entry(f"{p}_{i}", f"place {p}", "train", Path("i"), Path("m")) for p in range(places) for i in range(each)]


def test_places_are_set_aside_whole_and_the_same_each_time() -> None:
    entries = entries_of(60)
    rest, aside = hold_out(entries, 12)
    assert (len(rest), len(aside)) == (144, 36)
    assert not {e.group for e in rest} & {e.group for e in aside}
    assert hold_out(entries[::-1], 12)[1] == aside[::-1]


def test_setting_more_aside_keeps_those_that_were() -> None:
    few, more = (set(e.group for e in hold_out(entries_of(60), n)[1]) for n in (5, 12))
    assert few < more


def test_nothing_is_set_aside_unless_asked() -> None:
    entries = entries_of(3)
    assert hold_out(entries, 0) == (entries, [])
    assert hold_out([], 0) == ([], [])


@pytest.mark.parametrize("groups", [3, 4, -1])
def test_setting_all_or_less_than_nothing_aside_is_refused(groups: int) -> None:
    with pytest.raises(DataError, match=f"cannot set {groups} of 3 places aside"):
        hold_out(entries_of(3), groups)


@pytest.mark.parametrize(
    ("name", "size", "gsd_m", "samples", "places"),
    [
        ("tianjin", (512, 512), 0.464, 225, 75),
        ("epfl", (400, 400), 0.4, 75, 75),
        ("sandiego", (512, 512), 0.501, 24, 24),
    ],
)
def test_real_images_with_trajectories(
    real_data: Path, name: str, size: tuple[int, int], gsd_m: float, samples: int, places: int
) -> None:
    dataset = FolderDataset(real_data / name)
    assert len(dataset) == samples
    assert len({entry.group for entry in dataset.entries}) == places
    sides: dict[str, set[str]] = {}
    for entry in dataset.entries:
        sides.setdefault(entry.group, set()).add(entry.split)
    assert all(len(side) == 1 for side in sides.values())
    item = read_entry(dataset.entries[0])
    assert item.sample.size == item.mask.shape == size
    assert item.sample.gsd_m == gsd_m
    assert set(np.unique(item.mask)) == {0, 255}
    points = item.sample.second
    assert points is not None
    assert item.sample.has_points
    assert points.shape[1] == 3
    assert ((points[:, :2] >= 0) & (points[:, :2] <= size[::-1])).all()
    inside = points[(points[:, :2] < size[::-1]).all(1)]  # the files hold tenths: a few lie on the far border
    assert len(inside) > 0.99 * len(points)
    columns, rows = np.floor(inside[:, :2]).astype(int).T
    assert (item.mask[rows, columns] == 255).mean() > 2 * (item.mask == 255).mean()  # they fall on the roads


def test_real_lidar_with_ignored_pixels(real_data: Path) -> None:
    dataset = FolderDataset(real_data / "autzen", second="lidar_intensity")
    assert len(dataset) == 9
    values = set()
    for item in dataset:
        assert item.sample.gsd_m == 0.6096
        assert item.sample.second is not None
        assert not item.sample.has_points
        assert item.sample.second.shape == item.mask.shape == (512, 512)
        values |= set(np.unique(item.mask).tolist())
    assert values == {0, 128, 255}
    assert {entry.id[:7] == "az_742_" for entry in FolderDataset(real_data / "autzen", "val").entries} == {True}
