from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from roadedge.errors import DataError, UsageError
from roadedge.georeference.camera_file import read_camera
from roadedge.georeference.lens import Lens
from roadedge.georeference.pose import PoseTrack
from roadedge.place import Place
from roadedge.sample import Sample
from roadedge.stream.locate import FixedLocator, of_photos, of_rasters, placed
from roadedge.stream.locate_camera import CameraLocator, beside_video
from roadedge.stream.sources import Frame
from roadedge.trajectory.plane import LocalPlane

SIZE = (300, 400)
STEP = 1 / 111_320  # degrees of latitude in a metre
LENS = Lens(focal_px=400.0, of_width=400)
CAMERA = """
[image]
width = 400
height = 300
[lens]
fx = 300.0
[mount]
height_m = 1.5
pitch_deg = -20.0
"""
RECTIFY = "[rectify]\ngsd_m = 0.2\nnear_m = 3\nfar_m = 23\nwidth_m = 10\n"


def frame(t_s: float | None, name: str = "000000", shade: int = 90) -> Frame:
    image = np.full((*SIZE, 3), shade, np.uint8)
    return Frame(name, Sample(image, t_s=t_s, id=name), t_s, "pts")


def northward(seconds: int = 10, **columns: float) -> PoseTrack:
    t = np.arange(seconds + 1.0)
    known = {name: np.full(len(t), value) for name, value in columns.items()}
    table = {"t_s": t, "lat_deg": 45 + 10 * t * STEP, "lon_deg": np.full(len(t), 7.0)} | known
    return PoseTrack.checked(table, "track", yaw_from="gimbal" if "yaw_deg" in columns else "")


def camera_file(folder: Path, text: str) -> Path:
    path = folder / "cam.toml"
    path.write_text(text)
    return path


def middle(found: Frame) -> list[float]:
    assert found.sample.place is not None
    height, width = found.sample.size
    east, north = found.sample.place.to_ground([[width / 2, height / 2]])[0].tolist()
    return [east, north]


def test_telemetry_places_a_frame_at_its_time_plus_the_offset() -> None:
    locate = CameraLocator(northward(height_m=80, yaw_deg=0), LENS, plane=LocalPlane(7, 45), offset_s=0.5)
    found = locate(frame(2.0))
    assert middle(found) == pytest.approx([0, 25], abs=0.1)
    assert found.sample.gsd_m == pytest.approx(0.2)
    assert found.sample.place is not None
    assert found.sample.place.crs == LocalPlane(7, 45).crs
    assert locate.describe()["located"] == 1


def test_telemetry_that_stopped_leaves_frames_as_they_are_and_says_so_once() -> None:
    locate = CameraLocator(northward(height_m=80, yaw_deg=0), LENS)
    first, second = locate(frame(12.0)), locate(frame(12.1))
    assert first.sample.place is None
    assert "no telemetry within 1 s of 12.00 s" in first.notice
    assert second.notice == ""
    assert locate(frame(None)).sample.place is None
    assert dict(locate.misses) == {"no telemetry": 2, "no time": 1}


def test_on_the_ground_before_take_off_there_is_no_place() -> None:
    height = np.array([0, 0, 0, 20, 40, 60, 80, 80, 80, 80, 80.0])
    track = dataclasses.replace(northward(yaw_deg=0), height_m=height)
    locate = CameraLocator(track, LENS)
    assert locate(frame(1.0)).sample.place is None
    assert locate(frame(8.0)).sample.place is not None
    assert dict(locate.misses) == {"height or heading unknown": 1}


def test_without_yaw_the_direction_of_travel_stands_for_it() -> None:
    locate = CameraLocator(northward(height_m=80), LENS)
    place = locate(frame(5.0)).sample.place
    assert place is not None
    top, bottom = place.to_ground([[200, 0], [200, 300]])
    assert top[1] - bottom[1] == pytest.approx(60, abs=0.5)
    assert "direction of travel" in locate.notices[0]
    assert locate.describe()["yaw_from"] == "course"


def test_what_no_frame_could_do_without_is_refused_at_once() -> None:
    with pytest.raises(DataError, match="focal length"):
        CameraLocator(northward(height_m=80, yaw_deg=0))
    with pytest.raises(DataError, match="height above ground is not known"):
        CameraLocator(northward(yaw_deg=0), LENS)
    still = dataclasses.replace(northward(height_m=80), lat_deg=np.full(11, 45.0))
    with pytest.raises(DataError, match="no heading is known"):
        CameraLocator(still, LENS)
    with pytest.raises(UsageError, match=r"needs lon and lat in \[place\]"):
        CameraLocator(None, LENS)


def test_a_vehicle_camera_looks_along_the_course_from_beside_the_antenna(tmp_path: Path) -> None:
    camera = read_camera(camera_file(tmp_path, CAMERA + "forward_m = 2.0\nright_m = 0.5\n"))
    locate = CameraLocator(northward(), camera=camera, plane=LocalPlane(7, 45))
    east, north = middle(locate(frame(5.0)))
    assert (east, north) == pytest.approx((0.5, 52 + 1.5 / np.tan(np.radians(20))), abs=0.1)


def test_a_camera_to_the_right_looks_to_the_right(tmp_path: Path) -> None:
    camera = read_camera(camera_file(tmp_path, CAMERA + "yaw_deg = 90.0\n"))
    east, north = middle(CameraLocator(northward(), camera=camera, plane=LocalPlane(7, 45))(frame(5.0)))
    assert (east, north) == pytest.approx((1.5 / np.tan(np.radians(20)), 50), abs=0.1)


def test_rectified_frames_are_from_above_with_a_nadir_place(tmp_path: Path) -> None:
    camera = read_camera(camera_file(tmp_path, CAMERA + RECTIFY))
    locate = CameraLocator(northward(), camera=camera, plane=LocalPlane(7, 45))
    found = locate(frame(5.0))
    assert found.sample.size == (100, 50)
    assert found.sample.gsd_m == pytest.approx(0.2)
    assert middle(found) == pytest.approx([0, 63], abs=0.1)
    place = found.sample.place
    assert place is not None
    assert place.homography[2, :2].tolist() == [0, 0]
    assert place.uncertainty_m > 3.5


def test_a_mast_camera_needs_no_track(tmp_path: Path) -> None:
    text = CAMERA + "yaw_deg = 180.0\n[place]\nlon = 7.0\nlat = 45.0\n"
    locate = CameraLocator(None, camera=read_camera(camera_file(tmp_path, text)))
    assert middle(locate(frame(None))) == pytest.approx([0, -1.5 / np.tan(np.radians(20))], abs=0.01)


def test_a_rectangle_out_of_view_is_an_error_and_no_miss(tmp_path: Path) -> None:
    camera = read_camera(camera_file(tmp_path, CAMERA.replace("-20", "60") + RECTIFY))
    with pytest.raises(DataError, match="of the rectangle"):
        CameraLocator(northward(), camera=camera)(frame(5.0))


def test_a_gimbal_that_looks_away_costs_its_frames_alone(tmp_path: Path) -> None:
    camera = read_camera(camera_file(tmp_path, "[lens]\nhorizontal_fov_deg = 70\n" + RECTIFY))
    pitch = np.array([-60, -60, -60, -60, -60, 40, 40, 40, 40, 40, 40.0])
    track = dataclasses.replace(northward(height_m=20, yaw_deg=0, pitch_deg=0), pitch_deg=pitch)
    locate = CameraLocator(track, camera=camera)
    assert locate(frame(2.0)).sample.size == (100, 50)
    away = locate(frame(8.0))
    assert away.sample.place is None
    assert "of the rectangle" in away.notice
    assert dict(locate.misses) == {"rectangle out of view": 1}


def test_a_rectangle_that_is_half_in_view_is_said_once(tmp_path: Path) -> None:
    wide = RECTIFY.replace("width_m = 10", "width_m = 60")
    locate = CameraLocator(northward(), camera=read_camera(camera_file(tmp_path, CAMERA + wide)))
    for t_s in (4.0, 5.0):
        locate(frame(t_s))
    said = [notice for notice in locate.notices if "rectify" in notice]
    assert len(said) == 1
    assert "of the rectangle of [rectify]; the rest is blank" in said[0]


def test_points_in_pixels_do_not_go_with_an_image_that_is_replaced() -> None:
    sample = Sample(np.zeros((*SIZE, 3), np.uint8), np.zeros((1, 2), np.float32))
    with pytest.raises(DataError, match="in pixels do not go with a camera file"):
        placed(Frame("0", sample), Place(np.eye(3)), np.zeros((10, 10, 3), np.uint8))


def test_a_fixed_place_replaces_a_stated_gsd() -> None:
    plane = LocalPlane(7, 45)
    locate = FixedLocator(lambda size: Place.nadir((0, 0), 0.5, size, crs=plane.crs), plane)
    stated = Frame("0", Sample(np.zeros((*SIZE, 3), np.uint8), gsd_m=3.0))
    assert locate(stated).sample.gsd_m == pytest.approx(0.5)


def test_subtitles_beside_a_video(tmp_path: Path) -> None:
    assert beside_video(tmp_path / "DJI_1.MP4") is None
    said = "[focal_len: 24.00] [latitude: {}] [longitude: 7.0] [rel_alt: 80]"
    rows = [f"{i}\n00:00:0{i},000 --> 00:00:0{i},900\n{said.format(45 + i * 1e-4)}\n" for i in range(5)]
    (tmp_path / "dji_1.srt").write_text("\n".join(rows))
    locate = beside_video(tmp_path / "DJI_1.MP4")
    assert locate is not None
    assert locate(frame(2.0)).sample.place is not None
    assert "direction of travel" in locate.notices[0]


def test_real_subtitles_place_frames_of_a_phantom(real_data: Path, tmp_path: Path) -> None:
    camera = read_camera(camera_file(tmp_path, "[lens]\nfocal_mm = 8.8\nsensor_width_mm = 13.2\n"))
    locate = beside_video(real_data / "drone" / "srt" / "p4_rtk.MP4", camera)
    assert locate is not None
    found = locate(frame(10.0))
    assert found.sample.place is not None
    lower, upper = found.sample.place.to_ground([[200, 300], [200, 150]])
    below = 24.4 + np.degrees(np.arctan(150 / (8.8 / 13.2 * 400)))  # of the horizon
    expected = 85.9 * (1 / np.tan(np.radians(24.4)) - 1 / np.tan(np.radians(below)))
    assert np.hypot(*(upper - lower)) == pytest.approx(expected, rel=0.01)


def test_photos_by_their_tags(real_data: Path, tmp_path: Path) -> None:
    paths = [*sorted((real_data / "drone" / "photos_half").glob("*.JPG"))[:2], tmp_path / "none.jpg"]
    locate = of_photos(paths, ["a", "b", "c"])
    assert locate is not None
    blank = Frame("a", Sample(np.zeros((1125, 2000, 3), np.uint8)))
    assert locate(blank).sample.gsd_m == pytest.approx(39.8 / 1155.2, rel=1e-3)
    assert locate(dataclasses.replace(blank, name="c")).sample.place is None
    assert of_photos([tmp_path / "none.jpg"], ["c"]) is None


def test_georeferenced_images_by_their_tags(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio", reason="rasterio is not installed (extra geo)")
    path = tmp_path / "a.tif"
    transform = rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 4_649_776)
    with rasterio.open(
        path, "w", driver="GTiff", width=400, height=300, count=3, dtype="uint8", crs="EPSG:32616", transform=transform
    ) as file:
        file.write(np.zeros((3, *SIZE), np.uint8))
    locate = of_rasters([path], ["a"])
    found = locate(frame(None, "a"))
    assert found.sample.gsd_m == pytest.approx(0.5, rel=1e-3)  # UTM's scale is 0.9996 there
    assert middle(found) == pytest.approx([0, 0], abs=1e-3)
    assert locate(frame(None, "b")).sample.place is None
    with pytest.raises(DataError, match="no image is georeferenced"):
        of_rasters([tmp_path / "none.tif"], ["a"])
