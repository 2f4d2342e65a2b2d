from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av", reason="PyAV is not installed (extra video)")
pytest.importorskip("pyproj", reason="pyproj is not installed (extra geo)")

from benchmarks import flight
from roadedge.georeference.dji_srt import read_srt
from roadedge.georeference.footprint import View
from roadedge.stream.heading import check_video
from roadedge.stream.locate_camera import beside_video
from roadedge.stream.video import VideoFile


def test_the_truth_and_the_footprint_are_one_camera_by_two_ways() -> None:
    pose = flight.Pose(0.0, 12.0, -7.0, 90.0, 33.0, -55.0, 4.0)
    focal, middle = (flight.FOCAL_PX, flight.FOCAL_PX), (flight.SIZE[1] / 2, flight.SIZE[0] / 2)
    ours = View(12.0, -7.0, 90.0, 33.0, -55.0, 4.0, focal, middle).homography()
    assert pose.homography() == pytest.approx(ours / ours[2, 2], abs=1e-9)


def test_points_on_the_road_stay_on_their_road_through_a_generated_flight(real_data: Path, tmp_path: Path) -> None:
    flights = flight.run(real_data, tmp_path, 2.0, (-60.0,))
    found = flights["-60"]
    assert found["frames"] == 20
    exact, written = found["rows"]["all digits"], found["rows"][flight.AS_WRITTEN]
    assert exact["max_m"] < 1e-3
    assert exact["on_their_road"] == 1
    assert written["median_m"] < 0.15
    assert written["max_m"] < 0.6
    assert written["max_px"] < 1.5
    assert written["on_their_road"] > 0.99
    assert found["picture_shift_median_m"] < 0.3  # by the pictures themselves, whatever the poses say
    assert written["stated_uncertainty_m"] > written["max_m"]


def test_the_road_is_followed_from_end_to_end(real_data: Path) -> None:
    poses = flight.flown(flight.Scene.read(real_data), -90.0, 1000.0)
    steps = np.diff([[pose.east_m, pose.north_m] for pose in poses], axis=0)
    assert np.hypot(*steps.T) == pytest.approx(flight.SPEED_MPS / flight.RATE_HZ, rel=0.02)
    assert len(poses) > 500


def test_a_reversed_yaw_in_the_subtitles_is_found_in_the_pictures(real_data: Path, tmp_path: Path) -> None:
    scene = flight.Scene.read(real_data)
    poses = flight.flown(scene, -80.0, 12.0)[::10]  # one frame a second: 15 m
    flight.write_video(tmp_path / "a.mp4", scene, poses)
    for turned_deg, verdict in ((0.0, "ok"), (180.0, "reversed")):
        tagged = [
            dataclasses.replace(pose, t_s=index / flight.RATE_HZ, yaw_deg=pose.yaw_deg + turned_deg)
            for index, pose in enumerate(poses)
        ]
        flight.write_srt(tmp_path / "a.srt", scene, tagged, flight.ROUNDING[flight.AS_WRITTEN])
        track = read_srt(tmp_path / "a.srt").track
        assert len(track) == 12
        locate = beside_video(tmp_path / "a.mp4")
        assert locate is not None
        with VideoFile(tmp_path / "a.mp4") as source:
            report = check_video(source, locate, 6)
        assert {image.verdict for image in report.images} == {verdict}
        assert report.scale == pytest.approx(1, abs=0.03)
