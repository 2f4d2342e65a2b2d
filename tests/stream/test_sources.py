"""Image files as a source, and which file of points belongs to which image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from roadedge.errors import DataError, SourceError, UsageError
from roadedge.imagery import write_png
from roadedge.stream.inputs import SourceOptions, parse_centre
from roadedge.stream.joining import open_pairing
from roadedge.stream.opening import open_source, scheme_of
from roadedge.stream.pairing import pair
from roadedge.stream.sources import output_names
from tests.stream.fakes import SPEC

POINTS = "vid,x,y,t\n1,3.5,4.5,0\n1,10,2,1\n2,-4,2,5\n"
OPTIONS = SourceOptions()


def image(path: Path, value: int = 90, size: tuple[int, int] = (32, 40)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, np.full((*size, 3), value, np.uint8))
    return path


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    """Three tiles of two places, points of one of them."""
    for name in ("a_google", "a_bing", "b"):
        image(tmp_path / "image" / f"{name}.png")
    (tmp_path / "points").mkdir()
    (tmp_path / "points" / "a.csv").write_text(POINTS)
    return tmp_path


def test_a_folder_gives_its_images_by_name_with_their_points(tiles: Path) -> None:
    with open_source(str(tiles / "image"), SourceOptions((str(tiles / "points"),), gsd_m=0.5)) as source:
        frames = [source.read() for _ in range(4)]
    assert [f.name for f in frames if f] == ["a_bing", "a_google", "b"]
    assert frames[3] is None
    first, last = frames[0], frames[2]
    assert first is not None
    assert last is not None
    assert first.sample.gsd_m == 0.5
    second = source.second(first, SPEC)
    assert second.points == 2  # the third lies outside
    assert second.raster.any()
    assert source.second(last, SPEC).points == 0  # a tile without points is image only
    assert source.name == "image"


def test_a_glob_and_a_single_file(tiles: Path) -> None:
    assert open_source(str(tiles / "image" / "a_*.png"), OPTIONS).count == 2
    one = open_source(str(tiles / "image" / "b.png"), SourceOptions((str(tiles / "points" / "a.csv"),)))
    assert (one.count, one.name) == (1, "b")
    frame = one.read()
    assert frame is not None
    assert frame.sample.has_points


def test_a_raster_serves_as_the_second_modality(tiles: Path) -> None:
    write_png(tiles / "heat.png", np.full((32, 40), 77, np.uint8))
    source = open_source(str(tiles / "image" / "b.png"), SourceOptions((str(tiles / "heat.png"),)))
    frame = source.read()
    assert frame is not None
    second = source.second(frame, SPEC)
    assert second.points is None
    assert (second.raster == 77).all()


def test_a_raster_of_another_size_is_one_sentence(tiles: Path) -> None:
    write_png(tiles / "heat.png", np.zeros((30, 40), np.uint8))
    source = open_source(str(tiles / "image" / "b.png"), SourceOptions((str(tiles / "heat.png"),)))
    with pytest.raises(DataError, match="same grid"):
        source.read()


def test_a_bad_file_is_passed_over_by_the_next_read(tiles: Path) -> None:
    (tiles / "image" / "a_bing.png").write_bytes(b"\x89PNG\r\n\x1a\n cut")
    source = open_source(str(tiles / "image"), OPTIONS)
    with pytest.raises(DataError, match="a_bing"):
        source.read()
    frame = source.read()
    assert frame is not None
    assert frame.name == "a_google"
    assert source.skip(5) == 1
    assert source.read() is None


def test_files_that_share_a_stem_keep_their_suffix() -> None:
    assert output_names([Path("x/a.png"), Path("x/a.jpg"), Path("x/b.png")]) == ["a.png", "a.jpg", "b"]


@pytest.mark.parametrize(
    ("source", "kind", "words"),
    [
        ("nothing.png", SourceError, "there is no nothing.png"),
        ("no_*.png", SourceError, "no image matches"),
        ("empty", DataError, "holds no images"),
        ("notes.txt", DataError, "neither an image nor a video"),
        ("nothing.mp4", SourceError, "there is no video"),
        ("broken.mp4", DataError, "not a video that can be read"),
        ("webrtc://camera/1", UsageError, "no source that this version reads"),
        ("synth:512@10", UsageError, "synth:WIDTHxHEIGHT@RATE"),
        ("synth:8x8@10", UsageError, "32 to 4096"),
        ("synth:64x64@0", UsageError, "up to 1000 a second"),
    ],
)
def test_a_source_that_cannot_be_opened_is_one_sentence(
    source: str, kind: type[Exception], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "broken.mp4").write_bytes(bytes(500))
    with pytest.raises(kind, match=words):
        open_source(source, OPTIONS)


def test_a_data_set_folder_is_answered_with_its_image_folder(tiles: Path) -> None:
    with pytest.raises(DataError, match=r"image/ may be meant"):
        open_source(str(tiles), OPTIONS)


def test_the_longest_name_wins_and_points_win_over_rasters(tmp_path: Path) -> None:
    for name in ("t.csv", "t_1.csv.gz", "t_1.png"):
        (tmp_path / name).write_bytes(b"")
    paths = [Path("t_1_google.jpg"), Path("t_2.jpg"), Path("t_1.jpg"), Path("u.jpg")]
    assert pair(paths, tmp_path) == {
        paths[0]: tmp_path / "t_1.csv.gz",
        paths[1]: tmp_path / "t.csv",
        paths[2]: tmp_path / "t_1.csv.gz",
    }


def test_trajectories_that_do_not_go_with_the_images_are_refused(tiles: Path) -> None:
    images = sorted((tiles / "image").iterdir())
    with pytest.raises(UsageError, match="cannot lie on 3 images"):
        pair(images, tiles / "points" / "a.csv")
    with pytest.raises(SourceError, match="there is no trajectory"):
        pair(images, tiles / "nothing")
    (tiles / "other").mkdir()
    (tiles / "other" / "z.csv").write_text(POINTS)
    with pytest.raises(DataError, match="is named after one of the 3 images"):
        pair(images, tiles / "other")


def test_points_on_the_globe_need_an_image_with_a_place(tiles: Path) -> None:
    (tiles / "globe.csv").write_text("lon,lat\n117.7,39.0\n")
    text, options = str(tiles / "image" / "b.png"), SourceOptions((str(tiles / "globe.csv"),))
    with pytest.raises(DataError, match="where the frames lie on the ground is not known"):
        open_pairing(text, open_source(text, options), options, print)


def test_a_film_takes_no_trajectory_yet(tiles: Path) -> None:
    with pytest.raises(UsageError, match="brings its own points"):
        open_source("synth:64x64@5", SourceOptions((str(tiles / "points"),)))


GPX = """<?xml version="1.0"?><gpx version="1.1" creator="t" xmlns="http://www.topografix.com/GPX/1/1"><trk><trkseg>
<trkpt lat="44.0560" lon="-123.0690"><time>2026-01-01T00:00:00Z</time></trkpt>
<trkpt lat="{north:.7f}" lon="-123.0690"><time>2026-01-01T00:00:05Z</time></trkpt>
<trkpt lat="44.0560" lon="{east:.7f}"><time>2026-01-01T00:00:09Z</time></trkpt></trkseg></trk></gpx>"""


def test_a_gps_track_falls_on_an_image_whose_centre_is_known(tmp_path: Path) -> None:
    pytest.importorskip("gpxpy")
    picture = image(tmp_path / "a.png", size=(100, 200))
    metres_per_degree = 111_132.95 - 559.85 * np.cos(np.radians(2 * 44.056))  # of latitude, WGS 84 series
    east = metres_per_degree * np.cos(np.radians(44.056)) * 1.00286  # of longitude, by the ratio of the two radii there
    track = GPX.format(north=44.056 + 10 / metres_per_degree, east=-123.069 + 20 / east)
    (tmp_path / "a.gpx").write_text(track)
    options = SourceOptions((str(tmp_path / "a.gpx"),), gsd_m=0.5, centre=(-123.069, 44.056))
    frame = open_source(str(picture), options).read()
    assert frame is not None
    assert frame.sample.second is not None
    assert frame.sample.place is not None
    expected = [[100, 50], [100, 30], [140, 50]]  # the centre; 10 m north is 20 pixels up; 20 m east 40 to the right
    assert np.allclose(frame.sample.second[:, :2], expected, atol=0.2)


def test_the_image_turns_with_its_heading(tmp_path: Path) -> None:
    pytest.importorskip("gpxpy")
    picture = image(tmp_path / "a.png", size=(100, 200))
    (tmp_path / "a.gpx").write_text(GPX.format(north=44.056 + 10 / 111_114.9, east=-123.069))
    options = SourceOptions((str(tmp_path / "a.gpx"),), gsd_m=0.5, centre=(-123.069, 44.056), heading_deg=90)
    frame = open_source(str(picture), options).read()
    assert frame is not None
    assert frame.sample.second is not None
    assert np.allclose(frame.sample.second[1, :2], [80, 50], atol=0.2)  # up is east, so north lies to the left


def test_a_centre_needs_a_distance_and_one_image(tiles: Path) -> None:
    with pytest.raises(UsageError, match="only together with --gsd"):
        open_source(str(tiles / "image" / "b.png"), SourceOptions(centre=(2.0, 48.0)))
    with pytest.raises(UsageError, match="holds 3"):
        open_source(str(tiles / "image"), SourceOptions(gsd_m=0.5, centre=(2.0, 48.0)))


@pytest.mark.parametrize("text", ["2.3", "a,b", "200,10", "2,3,4", "1,90"])
def test_a_centre_is_two_degrees(text: str) -> None:
    with pytest.raises(UsageError, match="LON,LAT"):
        parse_centre(text)


def test_a_centre_is_read() -> None:
    assert parse_centre("2.3522,48.8566") == (2.3522, 48.8566)
    assert parse_centre(None) is None


def test_a_pipeline_longer_than_the_name_of_a_file_is_a_pipeline_all_the_same() -> None:
    assert scheme_of("gst:" + "videotestsrc ! identity ! " * 30) == "gst"
    assert scheme_of("x" * 5000) == ""
