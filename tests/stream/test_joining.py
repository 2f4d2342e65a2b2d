"""What gives frames their places and points, from what stands on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roadedge.errors import DataError, SourceError, UsageError
from roadedge.imagery import write_png
from roadedge.spec import ModelSpec
from roadedge.stream.inputs import SourceOptions, live_options, parse_seconds
from roadedge.stream.joining import open_pairing
from roadedge.stream.opening import open_source
from roadedge.stream.pipeline import Pipeline
from roadedge.stream.plan import Plan
from roadedge.trajectory.plane import LocalPlane
from tests.latency.hand_clock import HandClock
from tests.stream.fakes import FakeRunner

SPEC = ModelSpec("fake", gsd_m=None, gsd_band_m=None)
LON, LAT = -87.65, 41.87


def paired(text: str, options: SourceOptions) -> tuple[Any, Any]:
    source = open_source(text, options)
    return source, open_pairing(text, source, options, lambda line: None)


def lonlat_points(path: Path, metres: list[tuple[float, float]]) -> Path:
    rows = LocalPlane(LON, LAT).to_lonlat(np.array(metres))
    path.write_text("lon,lat,t\n" + "".join(f"{x:.8f},{y:.8f},{i}\n" for i, (x, y) in enumerate(rows)))
    return path


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    write_png(tmp_path / "a.png", np.full((64, 64, 3), 120, np.uint8))
    return tmp_path / "a.png"


def test_points_of_one_image_in_its_own_pixels_need_no_pairing(picture: Path) -> None:
    (picture.parent / "a.csv").write_text("x,y\n1,2\n")
    source, pairing = paired(str(picture), SourceOptions((str(picture.parent / "a.csv"),)))
    assert pairing is None
    frame = source.read()
    assert frame is not None
    assert frame.sample.second.shape == (1, 2)


def test_a_prior_and_a_replay_are_fed_together(picture: Path) -> None:
    here = picture.parent
    (here / "week.csv").write_text("x,y\n10.5,10.5\n20.5,20.5\n")
    (here / "trip.csv").write_text("x,y,t\n30.5,30.5,0\n40.5,40.5,5\n")
    options = SourceOptions((f"prior:{here / 'week.csv'}", f"replay:{here / 'trip.csv'}"))
    source, pairing = paired(str(picture), options)
    frame = source.read()
    second = pairing.second(pairing.place(frame), SPEC)
    assert second.points == 2  # the image has no time, so nobody knows which of the trip's points belong to it
    assert [feed["points"] for feed in pairing.describe()["feeds"]] == [2, 0]
    pairing.close()


def test_points_on_the_globe_fall_on_a_film_whose_camera_stands(tmp_path: Path) -> None:
    pytest.importorskip("av")
    from tests.stream.test_video import write_video

    write_video(tmp_path / "film.mp4")
    points = lonlat_points(tmp_path / "fleet.csv", [(0.25, 0.25), (1.25, -0.75), (500.0, 0.0)])
    options = SourceOptions((str(points),), gsd_m=0.5, centre=(LON, LAT))
    source, pairing = paired(str(tmp_path / "film.mp4"), options)
    with source:
        frame = pairing.place(source.read())
    height, width = frame.sample.size
    second = pairing.second(frame, SPEC)
    assert second.points == 2
    rows, columns = np.nonzero(second.raster == second.raster.max())
    assert (height // 2 - 1, width // 2) in set(zip(rows.tolist(), columns.tolist(), strict=True))
    assert pairing.describe()["place"]["kind"] == "FixedLocator"


def test_points_on_the_globe_without_a_place_are_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("av")
    from tests.stream.test_video import write_video

    write_video(tmp_path / "film.mp4")
    points = lonlat_points(tmp_path / "fleet.csv", [(0.0, 0.0)])
    with pytest.raises(DataError, match="where the frames lie on the ground is not known"):
        paired(str(tmp_path / "film.mp4"), SourceOptions((str(points),)))


def test_a_flight_brings_its_place_and_takes_no_camera(tmp_path: Path) -> None:
    (tmp_path / "cam.toml").write_text("")
    with pytest.raises(UsageError, match="have a place"):
        paired("synth:64x64@5", SourceOptions(camera=tmp_path / "cam.toml"))
    assert paired("synth:64x64@5", SourceOptions())[1] is None


def test_telemetry_that_is_not_there_is_told(tmp_path: Path) -> None:
    pytest.importorskip("av")
    from tests.stream.test_video import write_video

    write_video(tmp_path / "film.mp4")
    with pytest.raises(SourceError, match="there is no telemetry"):
        paired(str(tmp_path / "film.mp4"), SourceOptions(telemetry=tmp_path / "no.srt"))


@pytest.mark.parametrize(
    ("text", "seconds"), [("100ms", 0.1), ("1.5s", 1.5), ("2min", 120.0), ("1h", 3600.0), ("-18", -18.0)]
)
def test_times_are_written_with_their_unit(text: str, seconds: float) -> None:
    assert parse_seconds("--x", text) == pytest.approx(seconds)


def test_a_time_that_is_none_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="--x is a time such as 100ms"):
        parse_seconds("--x", "soon")
    assert parse_seconds("--x", "inf") == float("inf")


def test_reconnecting_can_be_switched_off() -> None:
    assert live_options("2s", "0").attempts == 0
    assert live_options("2s", "1min").give_up_s == 60.0


def test_what_says_twice_how_much_ground_a_pixel_covers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give one of them"):
        SourceOptions(gsd_m=0.5, camera=tmp_path / "cam.toml")
    with pytest.raises(UsageError, match="leave --camera"):
        SourceOptions(gsd_m=0.5, centre=(LON, LAT), telemetry=tmp_path / "a.srt")


def test_subtitles_that_nobody_asked_for_do_not_stop_a_film(real_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("av")
    from tests.stream.test_video import write_video

    write_video(tmp_path / "film.mp4")
    (tmp_path / "film.srt").write_bytes((real_data / "drone" / "srt" / "mavic_mini.SRT").read_bytes())
    told: list[str] = []
    options = SourceOptions()
    source = open_source(str(tmp_path / "film.mp4"), options)
    with source:
        assert open_pairing(str(tmp_path / "film.mp4"), source, options, told.append) is None
    assert "film.srt does not say where the frames lie" in told[0]
    points = lonlat_points(tmp_path / "fleet.csv", [(0.0, 0.0)])
    with pytest.raises(DataError, match="focal length"):
        paired(str(tmp_path / "film.mp4"), SourceOptions((str(points),)))


def test_images_at_a_rate_are_paired_with_a_replay_by_when_they_were_due(tmp_path: Path) -> None:
    for number in range(4):
        write_png(tmp_path / "tiles" / f"{number}.png", np.full((64, 64, 3), 120, np.uint8))
    (tmp_path / "trip.csv").write_text("x,y,t\n10.5,10.5,0\n30.5,30.5,0.25\n")
    options = SourceOptions((f"replay:{tmp_path / 'trip.csv'}",))
    source, pairing = paired(str(tmp_path / "tiles"), options)
    clock = HandClock()
    run = Pipeline(source, FakeRunner(clock, (20.0,)), [], Plan("all", rate_hz=10.0), clock, pairing=pairing).go()
    assert [(r.paired, r.points) for r in run.records] == [(True, 1), (True, 1), (True, 1), (True, 2)]
    assert [r.skew_ms for r in run.records] == pytest.approx([0.0, 100.0, 50.0, 50.0])


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"heading_deg": float("nan")}, "--heading"),
        ({"tolerance_s": -1.0}, "--sync-tolerance must be at least 0"),
        ({"offset_s": float("inf")}, "--time-offset"),
        ({"window_s": 0.0}, "--window must be more than 0"),
        ({"trajectories": ("a.csv", "b.csv", "a.csv")}, "a.csv is given twice"),
    ],
)
def test_times_and_points_that_cannot_be_meant_are_refused_at_once(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        SourceOptions(**wrong)


def test_times_of_a_live_source_that_cannot_be_meant_are_refused() -> None:
    with pytest.raises(UsageError, match="--reconnect is 0"):
        live_options("5s", "-5s")
    for timeout in ("0", "inf", "-1s"):
        with pytest.raises(UsageError, match="--source-timeout must be more than 0 s"):
            live_options(timeout, "1min")


def test_a_folder_or_raster_beside_other_feeds_is_refused(picture: Path) -> None:
    (picture.parent / "a.csv").write_text("x,y\n1,2\n")
    for one in (picture.parent, picture):
        with pytest.raises(UsageError, match="as the one --trajectory"):
            paired(str(picture), SourceOptions((str(one), str(picture.parent / "a.csv"))))
