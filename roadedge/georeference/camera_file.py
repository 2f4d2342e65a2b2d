"""`--camera cam.toml`: reads a camera file, refusing what it does not know."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roadedge.errors import DataError, UsageError
from roadedge.georeference.camera import MODELS, Camera, Mount, Rectify
from roadedge.georeference.lens import Lens

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_KEYS = {
    "image": ("width", "height"),
    "lens": (
        *("fx", "fy", "cx", "cy", "horizontal_fov_deg", "focal_mm", "sensor_width_mm", "equivalent_mm"),
        *("distortion", "model"),
    ),
    "mount": ("height_m", "pitch_deg", "roll_deg", "yaw_deg", "forward_m", "right_m"),
    "place": ("lon", "lat"),
    "rectify": ("gsd_m", "near_m", "far_m", "width_m"),
}


def read_camera(path: str | Path) -> Camera:
    """Read a camera file.

    Raises:
        UsageError: there is no such file.
        DataError: it is no TOML, or a key or value of it is wrong; names which.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the camera file {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"the camera file {path} is no TOML ({error})") from error
    try:
        return _camera(content, path)
    except DataError as error:
        raise DataError(str(error) if str(path) in str(error) else f"{path}: {error}") from error


def _camera(content: Mapping[str, Any], path: Path) -> Camera:
    _refuse_unknown(content, _KEYS, "section")
    tables = {name: _table(content, name) for name in _KEYS}
    image, lens, mount = tables["image"], tables["lens"], tables["mount"]
    width, height = _real(image, "width"), _real(image, "height")
    if (width is None) != (height is None) or (width or 1.0) < 1 or (height or 1.0) < 1:
        raise DataError(f"[image] needs width and height in pixels, got {dict(image)}")
    size = None if width is None or height is None else (round(height), round(width))
    fx = _real(lens, "fx")
    field = _real(lens, "horizontal_fov_deg")
    if fx is None and field is not None:
        if not 0 < field < 180:
            raise DataError(f"horizontal_fov_deg must lie between 0 and 180, got {field:g}")
        of_width = size[1] if size else 1
        fx = of_width / 2 / math.tan(math.radians(field) / 2)
    elif fx is not None and size is None:
        raise DataError("fx is in pixels of an image, so [image] width and height are needed")
    cx, cy, fy = _real(lens, "cx"), _real(lens, "cy"), _real(lens, "fy")
    if (cx is None) != (cy is None) or (cx is not None and size is None):
        raise DataError("cx and cy go together, with [image] width and height")
    model = lens.get("model", "pinhole")
    if model not in MODELS:
        raise DataError(f"model must be one of {', '.join(MODELS)}, got {model!r}")
    if fy is not None and (fx is None or not fy > 0):
        raise DataError(f"fy goes with fx and is positive, got {fy:g}")
    known = Lens(
        focal_px=fx,
        of_width=(size[1] if size else 1) if fx is not None else None,
        focal_mm=_real(lens, "focal_mm"),
        sensor_width_mm=_real(lens, "sensor_width_mm"),
        equivalent_mm=_real(lens, "equivalent_mm"),
    )
    distortion = _distortion(lens.get("distortion", []), model)
    if known == Lens() and (distortion or cx is not None):
        raise DataError("distortion, cx and cy need a focal length beside them: fx, or what stands for it")
    return Camera(
        str(path),
        size,
        known,
        1.0 if fy is None or fx is None else fy / fx,
        None if cx is None or cy is None else (cx + 0.5, cy + 0.5),
        distortion,
        model,
        _mount(mount),
        _lonlat(tables["place"]),
        _rectify(tables["rectify"]) if "rectify" in content else None,
    )


def _mount(table: Mapping[str, Any]) -> Mount:
    values = {key: value for key in _KEYS["mount"] if (value := _real(table, key)) is not None}
    mount = Mount(**values)
    if mount.height_m is not None and not mount.height_m > 0:
        raise DataError(f"height_m is metres above the ground and positive, got {mount.height_m:g}")
    if mount.pitch_deg is not None and not -90 <= mount.pitch_deg <= 90:
        raise DataError(f"pitch_deg is 0 at the horizon and -90 straight down, got {mount.pitch_deg:g}")
    return mount


def _lonlat(table: Mapping[str, Any]) -> tuple[float, float] | None:
    lon, lat = _real(table, "lon"), _real(table, "lat")
    if lon is None and lat is None:
        return None
    if lon is None or lat is None or not (-180 <= lon <= 180 and -90 < lat < 90):
        raise DataError(f"[place] needs lon in [-180, 180] and lat in (-90, 90) degrees, got {dict(table)}")
    return lon, lat


def _rectify(table: Mapping[str, Any]) -> Rectify:
    values = {key: _real(table, key) for key in _KEYS["rectify"]}
    missing = [key for key, value in values.items() if value is None]
    if missing:
        raise DataError(f"[rectify] lacks {', '.join(missing)}; it needs {', '.join(values)}, in metres")
    return Rectify(**{key: value or 0.0 for key, value in values.items()})


def _distortion(value: Any, model: str) -> tuple[float, ...]:
    if not isinstance(value, list) or not all(_is_real(part) for part in value):
        raise DataError(f"distortion is a list of numbers, got {value!r}")
    if value and len(value) not in MODELS[model]:
        wanted = " or ".join(map(str, MODELS[model]))
        raise DataError(f"distortion of the model {model} has {wanted} numbers (OpenCV's order), got {len(value)}")
    return tuple(float(part) for part in value)


def _table(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = content.get(name, {})
    if not isinstance(table, dict):
        raise DataError(f"[{name}] must be a table, got {table!r}")
    _refuse_unknown(table, _KEYS[name], f"key of [{name}]")
    return table


def _refuse_unknown(found: Mapping[str, Any], known: Any, what: str) -> None:
    unknown = [name for name in found if name not in known]
    if unknown:
        raise DataError(f"unknown {what} {unknown[0]!r}; known are {', '.join(known)}")


def _real(table: Mapping[str, Any], key: str) -> float | None:
    value = table.get(key)
    if value is None:
        return None
    if not _is_real(value):
        raise DataError(f"{key} must be a number, got {value!r}")
    return float(value)


def _is_real(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
