from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from roadedge.errors import DataError
from roadedge.georeference.exif import read_tags
from roadedge.georeference.photo import read_photo
from roadedge.imagery import write_jpeg


def photo(folder: Path, xmp: str = "", exif: bytes = b"", name: str = "DJI_1.JPG") -> Path:
    """A JPEG of 64 x 48 pixels with these tags."""
    path = folder / name
    write_jpeg(path, np.zeros((48, 64, 3), np.uint8))
    content, segments = path.read_bytes(), b""
    for body in (b"Exif\0\0" + exif if exif else b"", b"http://ns.adobe.com/xap/1.0/\0" + xmp.encode() if xmp else b""):
        if body:
            segments += b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
    path.write_bytes(content[:2] + segments + content[2:])
    return path


def xmp(**tags: str) -> str:
    return "<rdf:Description " + " ".join(f'drone-dji:{name}="{value}"' for name, value in tags.items()) + "/>"


POSITION = {"GpsLatitude": "45.1", "GpsLongitude": "7.2"}


def test_a_real_photo_and_its_half(real_data: Path) -> None:
    whole = read_photo(real_data / "drone" / "photos" / "DJI_0018.JPG")
    half = read_photo(real_data / "drone" / "photos_half" / "DJI_0018.JPG")
    assert whole.pose == half.pose
    assert (whole.pose.lon_deg, whole.pose.lat_deg) == pytest.approx((-91.9945599, 46.8426071))
    assert (whole.pose.height_m, whole.pose.yaw_deg, whole.pose.yaw_from) == (39.8, 45.0, "gimbal")
    assert (whole.size, half.size) == ((2250, 4000), (1125, 2000))
    assert whole.notices == ()
    assert "has 2000 x 1125 pixels, its tags say 4000 x 2250; the pixels count" in half.notices[0]
    assert whole.lens.focal(whole.size).px == 2 * half.lens.focal(half.size).px == pytest.approx(2310.4)


def test_the_gimbal_counts_before_the_aircraft(tmp_path: Path) -> None:
    both = read_photo(photo(tmp_path, xmp(**POSITION, GimbalYawDegree="+10.0", FlightYawDegree="+99.0")))
    assert (both.pose.yaw_deg, both.pose.yaw_from) == (10.0, "gimbal")
    flight = read_photo(photo(tmp_path, xmp(**POSITION, FlightYawDegree="+99.0")))
    assert (flight.pose.yaw_deg, flight.pose.yaw_from) == (99.0, "flight")


def test_tags_as_elements_and_the_known_misspelling(tmp_path: Path) -> None:
    text = (
        "<drone-dji:GpsLatitude>45.1</drone-dji:GpsLatitude><drone-dji:GpsLongtitude>7.2</drone-dji:GpsLongtitude>"
        "<drone-dji:RelativeAltitude>+80.5</drone-dji:RelativeAltitude>"
    )
    pose = read_photo(photo(tmp_path, text)).pose
    assert (pose.lon_deg, pose.lat_deg, pose.height_m) == (7.2, 45.1, 80.5)


def test_a_photo_without_position_says_why_that_may_be(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no position .* stripped"):
        read_photo(photo(tmp_path))
    with pytest.raises(DataError, match="holds no position"):
        read_photo(photo(tmp_path, xmp(GpsLatitude="0.0", GpsLongitude="0.0")))


@pytest.mark.parametrize("value", ["nan", "inf", "", "north", "+-3"])
def test_a_tag_that_is_no_number_is_as_if_it_were_not_there(tmp_path: Path, value: str) -> None:
    pose = read_photo(photo(tmp_path, xmp(**POSITION, RelativeAltitude=value, GimbalYawDegree=value))).pose
    assert (pose.height_m, pose.yaw_deg) == (None, None)


def test_what_is_no_jpeg_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8\xff\xe1\x00\x08Exif\0\0")
    with pytest.raises(DataError, match="no JPEG"):
        read_photo(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="no picture"):
        read_photo(tmp_path / "b.jpg")
    with pytest.raises(DataError, match="cannot read the photo"):
        read_photo(tmp_path / "c.jpg")


def test_broken_exif_never_breaks_the_reading(tmp_path: Path) -> None:
    entry = struct.pack("<HHII", 0x8769, 4, 1, 8)  # a directory that is its own child
    circle = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 1) + entry + struct.pack("<I", 0)
    assert read_tags(photo(tmp_path, exif=circle)).size == (48, 64)
    random = np.random.default_rng(3)
    for _ in range(200):
        noise = b"II*\0\x08\0\0\0" + random.integers(0, 256, 120).astype(np.uint8).tobytes()
        assert read_tags(photo(tmp_path, exif=noise)).size == (48, 64)
