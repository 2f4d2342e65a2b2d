"""Image files in and out: any bit depth and channel count to RGB uint8, masks, PNGs written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.atomic import write_bytes
from roadedge.errors import DataError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
JPEG_QUALITY = 92


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Read a file as (H, W, 3) uint8 RGB.

    Grey is repeated, alpha dropped, 16 bits are scaled by the file's own range: 65535 where any value lies above 4095,
    else 4095 where any lies above 1023, else 1023 (satellite products store 11 or 12 bits in 16).

    Raises:
        DataError: missing, empty, truncated, or not an image.
    """
    raw = _decode(path)
    try:
        return to_rgb8(raw)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def read_mask(path: str | Path) -> NDArray[np.uint8]:
    """Read a label as (H, W) uint8: 255 road, 0 not, 128 ignored.

    Raises:
        DataError: unreadable, in colours, or with other values (a mask stored as 0 and 1 is named as such).
    """
    plane = _decode_grey(path)
    values = np.unique(plane)
    if not np.isin(values, (0, 128, 255)).all():
        hint = "; it seems to hold 0 and 1, multiply it by 255" if values.max() <= 1 else ""
        raise DataError(f"{path} must hold 255 (road), 0 and 128 (ignored) only, got {values[:6].tolist()}{hint}")
    return np.ascontiguousarray(plane, np.uint8)


def read_grey(path: str | Path) -> NDArray[Any]:
    """Read one plane of a file as it is stored, (H, W) of any depth; raises DataError as `read_mask` does."""
    return _decode_grey(path)


def read_raster(path: str | Path) -> NDArray[np.uint8]:
    """Read a second modality (heat-map, LiDAR) as (H, W) uint8.

    Raises:
        DataError: unreadable, or in colours.
    """
    plane = _decode_grey(path)
    try:
        return _to_uint8(plane)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def to_rgb8(raw: NDArray[Any]) -> NDArray[np.uint8]:
    """(H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA of 8 or 16 bits → (H, W, 3) uint8.

    Raises:
        DataError: another shape or type.
    """
    if raw.ndim == 2:
        raw = raw[..., None]
    if raw.ndim != 3 or raw.shape[2] not in (1, 2, 3, 4):
        raise DataError(f"an image has 1 to 4 channels, got an array of shape {raw.shape}")
    colour = raw[..., :1] if raw.shape[2] < 3 else raw[..., :3]
    planes = _to_uint8(colour)
    return np.ascontiguousarray(np.repeat(planes, 3, 2) if planes.shape[2] == 1 else planes)


def encode_png(array: NDArray[np.uint8]) -> bytes:
    """(H, W) or (H, W, 3) RGB uint8 → the bytes of a PNG file."""
    return _encode(".png", array, [])


def write_png(path: str | Path, array: NDArray[np.uint8], durable: bool = True) -> None:
    """Write (H, W) or (H, W, 3) RGB uint8 as PNG; raises OutputError, leaving nothing half-written."""
    write_bytes(path, encode_png(array), durable)


def write_jpeg(path: str | Path, array: NDArray[np.uint8], quality: int = JPEG_QUALITY, durable: bool = True) -> None:
    """Write (H, W, 3) RGB uint8 as JPEG; raises OutputError, leaving nothing half-written."""
    import cv2

    write_bytes(path, _encode(".jpg", array, [cv2.IMWRITE_JPEG_QUALITY, quality]), durable)


def _decode(path: str | Path) -> NDArray[Any]:
    import cv2

    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise DataError(f"cannot read the image {path}: {error.strerror or error}") from error
    if _is_truncated(content):
        raise DataError(f"{path} is cut off in the middle ({content.size} bytes); copy the file again")
    try:
        raw = cv2.imdecode(content, cv2.IMREAD_UNCHANGED) if content.size else None
    except cv2.error:
        raw = None
    if raw is None:
        raise DataError(
            f"{path} is not an image that can be read ({content.size} bytes); expected PNG, JPEG, TIFF or BMP"
        )
    if raw.ndim == 3 and raw.shape[2] >= 3:
        raw = cv2.cvtColor(raw, cv2.COLOR_BGR2RGB if raw.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
    return np.asarray(raw)


def _decode_grey(path: str | Path) -> NDArray[Any]:
    """(H, W) of a file with one plane, or with equal colour planes; red alone of a coloured picture would mislead."""
    raw = _decode(path)
    if raw.ndim == 2:
        return raw
    if raw.shape[2] >= 3 and not (raw[..., 0:1] == raw[..., 1:3]).all():
        raise DataError(f"{path} is a picture in colours; expected one grey plane, convert it first")
    return np.ascontiguousarray(raw[..., 0])


def _is_truncated(content: NDArray[np.uint8]) -> bool:
    """A PNG without its last chunk or a JPEG without its end mark: decoders return half a picture without a word."""
    head = content[:8].tobytes()
    if head.startswith(b"\x89PNG"):
        return b"IEND" not in content[-64 * 1024 :].tobytes()
    if not head.startswith(b"\xff\xd8"):
        return False
    raw = content.tobytes()
    return raw.find(b"\xff\xd9", _jpeg_scan(raw)) < 0


def _jpeg_scan(raw: bytes) -> int:
    """Where a JPEG's own picture begins: past the segments, in which a camera's preview has an end mark of its own."""
    at = 2
    while at + 4 <= len(raw) and raw[at] == 0xFF and raw[at + 1] != 0xDA:
        at += 1 if raw[at + 1] == 0xFF else 2 + int.from_bytes(raw[at + 2 : at + 4], "big")
    return at


def _to_uint8(plane: NDArray[Any]) -> NDArray[np.uint8]:
    if plane.dtype == np.uint8:
        return np.asarray(plane, np.uint8)
    if plane.dtype == np.bool_:
        return np.asarray(plane, np.uint8) * np.uint8(255)
    if plane.dtype != np.uint16:
        raise DataError(f"an image has 8 or 16 bits of unsigned integers, got {plane.dtype}; convert it first")
    top = int(plane.max(initial=0))
    full = 65535 if top > 4095 else 4095 if top > 1023 else 1023
    return np.asarray(np.rint(plane.astype(np.float32) * (255.0 / full)), np.uint8)


def _encode(suffix: str, array: NDArray[np.uint8], options: list[int]) -> bytes:
    import cv2

    refused = f"cannot encode an array of shape {array.shape} and type {array.dtype} as {suffix}"
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3):
        raise DataError(f"{refused}; expected (H, W) or (H, W, 3) of uint8")
    try:
        ordered = cv2.cvtColor(array, cv2.COLOR_RGB2BGR) if array.ndim == 3 else array
        ok, content = cv2.imencode(suffix, ordered, options)
    except cv2.error as error:  # no pixels, or more than the format holds (a JPEG's side ends at 65535)
        raise DataError(refused) from error
    if not ok:
        raise DataError(refused)
    return bytes(content.tobytes())
