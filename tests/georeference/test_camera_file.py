from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from roadedge.errors import DataError, UsageError
from roadedge.georeference.camera import Undistort
from roadedge.georeference.camera_file import read_camera

WHOLE = """
[image]
width = 1920
height = 1080
[lens]
fx = 1400.0
fy = 1410.0
cx = 950.5
cy = 539.5
distortion = [-0.2, 0.05, 0.0, 0.0, 0.0]
[mount]
height_m = 1.4
pitch_deg = -12.0
[place]
lon = 7.0
lat = 45.0
[rectify]
gsd_m = 0.1
near_m = 4
far_m = 40
width_m = 20
"""


def camera_file(folder: Path, text: str) -> Path:
    path = folder / "cam.toml"
    path.write_text(text)
    return path


def test_a_whole_file(tmp_path: Path) -> None:
    camera = read_camera(camera_file(tmp_path, WHOLE))
    (fx, fy), (cx, cy), error = camera.intrinsics((1080, 1920))
    assert (fx, fy) == pytest.approx((1400, 1410))
    assert (cx, cy) == (951.0, 540.0)  # OpenCV's pixel centres → corner coordinates
    assert error < 0.01
    assert camera.lonlat == (7.0, 45.0)
    assert camera.rectify is not None
    assert camera.rectify.size == (360, 200)
    assert camera.mount.pitch_deg == -12


def test_frames_of_another_size_are_scaled_and_of_another_shape_refused(tmp_path: Path) -> None:
    camera = read_camera(camera_file(tmp_path, WHOLE))
    assert camera.intrinsics((540, 960))[0][0] == pytest.approx(700)
    assert camera.intrinsics((540, 960))[1] == (475.5, 270.0)
    with pytest.raises(DataError, match="not the same shape"):
        camera.intrinsics((960, 960))


def test_the_field_of_view_stands_for_the_focal_length(tmp_path: Path) -> None:
    camera = read_camera(camera_file(tmp_path, "[lens]\nhorizontal_fov_deg = 90\n"))
    assert camera.intrinsics((480, 640))[0][0] == pytest.approx(320)
    assert camera.intrinsics((480, 640))[1] == (320, 240)


def test_the_distortion_is_taken_out_by_maps_made_once(tmp_path: Path) -> None:
    import cv2

    text = "[image]\nwidth=320\nheight=240\n[lens]\nfx=200\ndistortion=[-0.3, 0.1, 0.0, 0.0]\n"
    camera = read_camera(camera_file(tmp_path, text))
    straight = np.zeros((240, 320, 3), np.uint8)
    straight[:, 258:262] = 255  # a straight line far from the middle
    ys, xs = np.mgrid[0:240, 0:320].astype(np.float32)
    matrix = np.array([[200, 0, 159.5], [0, 200, 119.5], [0, 0, 1]])
    where = cv2.undistortPoints(np.stack([xs, ys], -1).reshape(-1, 1, 2), matrix, np.array([-0.3, 0.1, 0, 0]), P=matrix)
    bend_x, bend_y = np.moveaxis(where.reshape(240, 320, 2), 2, 0)
    seen = np.asarray(cv2.remap(straight, bend_x, bend_y, cv2.INTER_LINEAR), np.uint8)  # as the lens bends it
    undistort = Undistort(camera)
    made = undistort(seen)
    columns = [float(np.average(np.arange(320), weights=made[row, :, 0])) for row in (40, 120, 200)]
    bent = [float(np.average(np.arange(320), weights=seen[row, :, 0])) for row in (40, 120, 200)]
    assert np.ptp(bent) > 1.5
    assert np.ptp(columns) < 0.4
    assert columns[1] == pytest.approx(259.5, abs=0.4)
    assert undistort._maps == (maps := undistort._maps)
    undistort(seen)
    assert undistort._maps is maps


def test_a_lens_without_distortion_gives_the_image_itself(tmp_path: Path) -> None:
    image = np.zeros((240, 320, 3), np.uint8)
    assert Undistort(read_camera(camera_file(tmp_path, "[lens]\nequivalent_mm = 24\n")))(image) is image


def test_a_fisheye_takes_its_own_four_numbers(tmp_path: Path) -> None:
    text = '[image]\nwidth=320\nheight=240\n[lens]\nfx=150\nmodel="fisheye"\ndistortion=[0.01, 0, 0, 0]\n'
    image = np.full((240, 320, 3), 99, np.uint8)
    assert Undistort(read_camera(camera_file(tmp_path, text)))(image)[120, 160, 0] == 99


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[lens", "is no TOML"),
        ("[optics]\nfx = 3\n", "unknown section 'optics'"),
        ("[lens]\nfocal = 3\n", r"unknown key of \[lens\] 'focal'"),
        ("lens = 3\n", r"\[lens\] must be a table"),
        ("[lens]\nfx = 1400\n", "width and height are needed"),
        ("[lens]\nfx = true\n", "fx must be a number"),
        ("[lens]\nequivalent_mm = nan\n", "equivalent_mm must be a number"),
        ("[lens]\nequivalent_mm = -24\n", "positive number"),
        ("[lens]\nhorizontal_fov_deg = 200\n", "between 0 and 180"),
        ('[lens]\nmodel = "omni"\n', "model must be one of pinhole, fisheye"),
        ("[lens]\ndistortion = [1, 2]\n", "has 4 or 5 or 8 numbers"),
        ('[lens]\ndistortion = "none"\n', "distortion is a list"),
        ("[lens]\ncx = 3\n", "cx and cy go together"),
        ("[lens]\nfy = 3\n", "fy goes with fx"),
        ("[lens]\ndistortion = [0.1, 0, 0, 0]\n", "need a focal length"),
        ("[image]\nwidth = 3\n", "needs width and height"),
        ("[mount]\nheight_m = 0\n", "height_m is metres above the ground"),
        ("[mount]\npitch_deg = 120\n", "pitch_deg is 0 at the horizon"),
        ("[place]\nlon = 7\n", r"\[place\] needs lon"),
        ("[place]\nlon = 7\nlat = 91\n", r"\[place\] needs lon"),
        ("[rectify]\ngsd_m = 0.1\n", "lacks near_m, far_m, width_m"),
        ("[rectify]\ngsd_m = 0.1\nnear_m = 9\nfar_m = 4\nwidth_m = 3\n", "far_m > near_m"),
        ("[rectify]\ngsd_m = 0.0001\nnear_m = 1\nfar_m = 40\nwidth_m = 3\n", "between 8 and 8192 a side"),
        ("[rectify]\ngsd_m = 0\nnear_m = 1\nfar_m = 40\nwidth_m = 3\n", "gsd_m > 0"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said) as raised:
        read_camera(camera_file(tmp_path, text))
    assert str(raised.value).count("cam.toml") == 1


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the camera file"):
        read_camera(tmp_path / "nowhere.toml")
