"""The tags of a JPEG file that say where it was taken: EXIF and XMP, read without a library."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from roadedge.errors import DataError

_FORMATS = {1: "B", 2: "s", 3: "H", 4: "I", 5: "II", 6: "b", 7: "s", 8: "h", 9: "i", 10: "ii", 11: "f", 12: "d"}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_XMP = re.compile(rb"drone-dji:(\w+)\s*(?:=\s*[\"']([^\"']*)[\"']|>([^<]*)<)")
_FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))  # markers that hold a size


@dataclass(frozen=True, slots=True)
class JpegTags:
    """`size` (H, W) of the pixels; EXIF tags by number, of the picture and of its GPS; `xmp` of DJI by name."""

    size: tuple[int, int]
    exif: dict[int, Any]
    gps: dict[int, Any]
    xmp: dict[str, str]


def read_tags(path: str | Path) -> JpegTags:
    """Read a JPEG's tags; what is broken in them is as if it were not there.

    Raises:
        DataError: the file cannot be read or is no JPEG with a picture.
    """
    size: tuple[int, int] | None = None
    exif: dict[int, Any] = {}
    gps: dict[int, Any] = {}
    xmp: dict[str, str] = {}
    try:
        with Path(path).open("rb") as file:
            head = file.read(2)
            if head != b"\xff\xd8":
                raise DataError(f"{path} is no JPEG (it begins {head!r}); give the photo as the camera wrote it")
            for marker, body in _segments(file):
                if marker == 0xE1 and body.startswith(b"Exif\0\0") and not exif:
                    exif, gps = _exif(body[6:])
                elif marker == 0xE1 and b"drone-dji:" in body:
                    for name, attribute, element in _XMP.findall(body):
                        xmp.setdefault(name.decode(), (attribute or element).decode("utf-8", "replace").strip())
                elif marker in _FRAMES and len(body) >= 5:
                    size = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    except OSError as error:
        raise DataError(f"cannot read the photo {path}: {error.strerror or error}") from error
    if size is None or min(size) < 1:
        raise DataError(f"{path} holds no picture; was it copied whole?")
    return JpegTags(size, exif, gps, xmp)


def number(value: Any) -> float | None:
    """A tag as a finite number; None where it is none: cameras write 0/0 for what they do not know."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if abs(found) < float("inf") else None  # NaN compares false


def text(value: Any) -> str:
    """A tag as text without the zeros that pad it."""
    return value.split(b"\0")[0].decode("ascii", "replace").strip() if isinstance(value, bytes) else ""


def _segments(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Marker and body of each segment before the picture, which is never read: photos are large."""
    while True:
        head = file.read(2)
        while head == b"\xff\xff":  # padding
            head = b"\xff" + file.read(1)
        length = int.from_bytes(file.read(2), "big")
        if len(head) < 2 or head[0] != 0xFF or head[1] == 0xDA or length < 2:
            return
        yield head[1], file.read(length - 2)


def _exif(tiff: bytes) -> tuple[dict[int, Any], dict[int, Any]]:
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return {}, {}
    main = _directory(tiff, order, struct.unpack_from(f"{order}I", tiff, 4)[0])
    inner = _directory(tiff, order, main.get(_EXIF_IFD))
    return main | inner, _directory(tiff, order, main.get(_GPS_IFD))


def _directory(tiff: bytes, order: str, at: Any) -> dict[int, Any]:
    """The entries of one directory: numbers, tuples of them, or bytes."""
    found: dict[int, Any] = {}
    if not isinstance(at, int) or at + 2 > len(tiff):
        return found
    (count,) = struct.unpack_from(f"{order}H", tiff, at)
    for entry in range(at + 2, min(at + 2 + 12 * count, len(tiff) - 11), 12):
        tag, kind, length = struct.unpack_from(f"{order}HHI", tiff, entry)
        size = _SIZES.get(kind, 0) * length
        if not size:
            continue
        start = entry + 8 if size <= 4 else struct.unpack_from(f"{order}I", tiff, entry + 8)[0]
        if start + size <= len(tiff):
            found[tag] = _value(tiff[start : start + size], order, kind, length)
    return found


def _value(raw: bytes, order: str, kind: int, length: int) -> Any:
    if _FORMATS[kind] == "s":
        return raw
    values = [part for (*part,) in struct.iter_unpack(order + _FORMATS[kind], raw)]
    numbers = [part[0] if len(part) == 1 else part[0] / part[1] if part[1] else float("nan") for part in values]
    return numbers[0] if length == 1 else tuple(numbers)
