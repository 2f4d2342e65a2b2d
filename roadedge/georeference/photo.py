"""A drone's photo: pose and lens from its own tags."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from roadedge.errors import DataError
from roadedge.georeference.exif import JpegTags, number, read_tags, text
from roadedge.georeference.lens import Lens
from roadedge.georeference.pose import Pose

JPEG_SUFFIXES = (".jpg", ".jpeg")
_MODEL, _TAKEN, _OFFSET, _FOCAL_MM, _EQUIVALENT = 0x0110, 0x9003, 0x9011, 0x920A, 0xA405
_WIDTH, _HEIGHT, _ZOOM = 0xA002, 0xA003, 0xA404
_ABSURD_EQUIVALENT_MM = 1200.0


@dataclass(frozen=True, slots=True)
class Photo:
    """Pose and lens of a photo, `size` (H, W) of its pixels, and what should be said about its tags."""

    pose: Pose
    lens: Lens
    size: tuple[int, int]
    notices: tuple[str, ...] = ()


def read_photo(path: str | Path) -> Photo:
    """Read a JPEG's tags: DJI's XMP before EXIF, the gimbal's yaw before the aircraft's.

    Sizes come from the pixels: edited photos keep the tags of the original. A photo that was made smaller as a whole
    keeps its lens, since that is told by the sensor's width; one of another shape was cut, which a notice says.

    Raises:
        DataError: no JPEG, or its tags hold no position.
    """
    tags = read_tags(path)
    lonlat = _position(tags)
    if lonlat is None:
        raise DataError(
            f"{path} holds no position in its tags (XMP drone-dji or EXIF GPS); editing or messengers may have "
            "stripped them: take the file as the camera wrote it, or give --centre LON,LAT and --gsd"
        )
    angles: dict[str, Any] = {name: number(tags.xmp.get(tag)) for name, tag in _GIMBAL.items()}
    yaw_from = "gimbal" if angles["yaw_deg"] is not None else ""
    if not yaw_from:
        angles["yaw_deg"] = number(tags.xmp.get("FlightYawDegree"))
        yaw_from = "flight" if angles["yaw_deg"] is not None else ""
    utc_s = _utc_s(tags)
    pose = Pose(
        lon_deg=lonlat[0],
        lat_deg=lonlat[1],
        height_m=number(tags.xmp.get("RelativeAltitude")),
        yaw_from=yaw_from,
        utc_s=utc_s,
        **angles,
    )
    notice = _size_notice(path, tags)
    return Photo(pose, _lens(tags), tags.size, (notice,) if notice else ())


_GIMBAL = {"yaw_deg": "GimbalYawDegree", "pitch_deg": "GimbalPitchDegree", "roll_deg": "GimbalRollDegree"}


def _position(tags: JpegTags) -> tuple[float, float] | None:
    lon = next((v for k in ("GpsLongitude", "GpsLongtitude") if (v := number(tags.xmp.get(k))) is not None), None)
    lat = number(tags.xmp.get("GpsLatitude"))
    if lon is None or lat is None or (lon == 0 and lat == 0):
        lon, lat = _degrees(tags.gps, 4, 3, b"W"), _degrees(tags.gps, 2, 1, b"S")
    if lon is None or lat is None or (lon == 0 and lat == 0):
        return None
    return lon, lat


def _degrees(gps: dict[int, Any], value: int, reference: int, negative: bytes) -> float | None:
    """Degrees, minutes, seconds → degrees."""
    parts = gps.get(value)
    if not isinstance(parts, tuple) or len(parts) != 3 or not np.isfinite(parts).all():
        return None
    degrees = float(parts[0] + parts[1] / 60 + parts[2] / 3600)
    return -degrees if gps.get(reference, b"")[:1] == negative else degrees


def _lens(tags: JpegTags) -> Lens:
    width = tags.exif.get(_WIDTH)
    calibrated = _positive(tags.xmp.get("CalibratedFocalLength"))
    equivalent = _positive(tags.exif.get(_EQUIVALENT))
    return Lens(
        focal_px=calibrated if isinstance(width, int) and width > 0 else None,
        of_width=width if isinstance(width, int) and width > 0 and calibrated else None,
        focal_mm=_positive(tags.exif.get(_FOCAL_MM)),
        equivalent_mm=equivalent if equivalent is not None and equivalent < _ABSURD_EQUIVALENT_MM else None,
        model=text(tags.exif.get(_MODEL)),
        zoom=_positive(tags.exif.get(_ZOOM)) or 1.0,
    )


def _positive(value: Any) -> float | None:
    found = number(value)
    return found if found is not None and found > 0 else None


def _utc_s(tags: JpegTags) -> float | None:
    """Seconds since 1970 where the photo says UTC: by GPS, or by its own clock with a zone; else None."""
    date, clock = text(tags.gps.get(0x1D)), tags.gps.get(7)
    try:
        if date and isinstance(clock, tuple):
            day = datetime.strptime(date, "%Y:%m:%d").replace(tzinfo=timezone.utc)
            return day.timestamp() + float(clock[0] * 3600 + clock[1] * 60 + clock[2])
        zone = text(tags.exif.get(_OFFSET))
        if zone:
            return datetime.strptime(f"{text(tags.exif.get(_TAKEN))}{zone}", "%Y:%m:%d %H:%M:%S%z").timestamp()
    except (ValueError, IndexError):  # a clock that was never set
        return None
    return None


def _size_notice(path: str | Path, tags: JpegTags) -> str:
    width, height = tags.exif.get(_WIDTH), tags.exif.get(_HEIGHT)
    if not (isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0):
        return ""
    if (height, width) == tags.size:
        return ""
    said = f"{path} has {tags.size[1]} x {tags.size[0]} pixels, its tags say {width} x {height}; the pixels count"
    if abs(tags.size[1] / tags.size[0] - width / height) > 0.01 * width / height:
        said += ", and since the shape differs too it was cut: its place is off by what was cut away"
    return said
