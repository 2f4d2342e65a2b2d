"""LAS and LAZ files: what their headers say, and their points chunk by chunk."""

from __future__ import annotations

import contextlib
import struct
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError, MissingExtraError, UsageError

SUFFIXES = (".las", ".laz")
CHUNK = 1_000_000  # points decoded at a time, about 100 MB with what is computed of them
NOISE = (7, 18)  # classes of points that lie nowhere: low and high noise
GROUND = 2
LONGEST_FOOT_M = 0.305
MOST_PER_BYTE = 1000  # points of LAZ; equal ones take a few bits each


@dataclass(frozen=True, slots=True)
class Cloud:
    """A file by its header: `bounds` (x0, y0, x1, y1) in `crs`, and `z_m`, the metres of a unit of height."""

    path: Path
    points: int
    crs: str
    z_m: float
    bounds: tuple[float, float, float, float]

    @property
    def in_feet(self) -> bool:
        """Whether heights are in feet, international or of a survey."""
        return 0.3 < self.z_m < LONGEST_FOOT_M


@dataclass(frozen=True, slots=True, eq=False)
class PointChunk:
    """Points of a cloud, without noise: x, y in its CRS, z in metres; each (N,)."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    z: NDArray[np.float64]
    intensity: NDArray[np.uint16]
    is_first: NDArray[np.bool_]  # the first return of its pulse
    is_ground: NDArray[np.bool_]  # classified as such


def is_cloud(path: Path) -> bool:
    """Whether a path is a point cloud by its name, or a folder that holds one."""
    if path.is_dir():
        return any(is_cloud(inner) for inner in path.iterdir() if inner.is_file())
    return path.suffix.lower() in SUFFIXES


def look_at_clouds(paths: Sequence[Path], crs: str | None = None) -> tuple[Cloud, ...]:
    """Read the headers of files, or of all those in folders.

    Args:
        paths: of LAS and LAZ files, or folders of them.
        crs: of files that do not say their own.

    Raises:
        MissingExtraError: laspy, its decoder of LAZ, or pyproj is not installed.
        DataError: no file, one that cannot be read, without CRS, or none with a point.
        UsageError: `crs` is none.
    """
    files: list[Path] = []
    for path in paths:
        inner = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
        if not inner:
            raise DataError(f"the folder {path} holds no point cloud; expected files that end in .las or .laz")
        files += [file for file in inner if file not in files]
    found = tuple(_look_at(file, crs) for file in files)
    if not any(cloud.points for cloud in found):
        raise DataError(f"{', '.join(file.name for file in files[:4])}: no point at all; was the cloud filtered away?")
    return found


def read_points(cloud: Cloud, rows: int = CHUNK) -> Iterator[PointChunk]:
    """The points of a cloud, `rows` at a time; withheld ones and noise are left out.

    Raises:
        DataError: the file ends early or cannot be decoded.
    """
    read = 0
    with _opened(cloud.path) as file, _told(cloud.path):
        for record in file.chunk_iterator(rows):
            read += len(record)
            yield _chunk(record, cloud.z_m)
    if read != cloud.points:
        raise DataError(f"{cloud.path} holds {read} of the {cloud.points} points that its header says; copy it again")


def _chunk(record: Any, z_m: float) -> PointChunk:
    kinds = np.asarray(record.classification)
    x, y, z = (np.asarray(axis, np.float64) for axis in (record.x, record.y, record.z))
    kept = ~np.isin(kinds, NOISE) & ~np.asarray(record.withheld, np.bool_)
    kept &= np.isfinite(x) & np.isfinite(y) & np.isfinite(z)
    first = np.asarray(record.return_number) <= 1  # 0 where a program did not fill it in
    intensity = np.asarray(record.intensity, np.uint16)
    return PointChunk(x[kept], y[kept], z[kept] * z_m, intensity[kept], first[kept], (kinds == GROUND)[kept])


def _look_at(path: Path, crs: str | None) -> Cloud:
    if not path.is_file():
        raise DataError(f"there is no point cloud {path}; expected a file that ends in .las or .laz")
    with _opened(path) as file:
        header = file.header
        with _told(path), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # keys that are not understood are said below, as an absent CRS
            stated = _horizontal(header, path)
        if stated is None and crs is None and header.point_count:
            raise DataError(f"{path} does not say its CRS; name it: --crs EPSG:…")
        x0, y0, _ = (float(value) for value in header.mins)
        x1, y1, _ = (float(value) for value in header.maxs)
        if header.point_count and not np.isfinite([x0, y0, x1, y1]).all():
            raise DataError(f"{path} says by its header that it lies at {x0}, {y0} to {x1}, {y1}; was it copied whole?")
        known = stated if stated is not None else _parsed(crs or "EPSG:4326")
        return Cloud(path.resolve(), int(header.point_count), _name(known), _metres(known), (x0, y0, x1, y1))


def _horizontal(header: Any, path: Path) -> Any:
    try:
        import pyproj
    except ImportError as error:
        raise MissingExtraError("pyproj", "geo", f"reading the CRS of {path.name}") from error
    try:
        return header.parse_crs()
    except pyproj.exceptions.CRSError as error:
        raise DataError(f"{path} states a CRS that is none ({str(error)[:80]}); write it again") from error


def _parsed(crs: str) -> Any:
    import pyproj

    try:
        return pyproj.CRS.from_user_input(crs)
    except pyproj.exceptions.CRSError as error:
        raise UsageError(f"no coordinate reference system {crs[:60]!r} is known; give one as EPSG:2992") from error


def _name(crs: Any) -> str:
    plane = crs.sub_crs_list[0] if crs.is_compound else crs
    code = plane.to_epsg()
    return f"EPSG:{code}" if code is not None else str(plane.to_wkt())


def _metres(crs: Any) -> float:
    """Metres of a unit of z: of the vertical CRS where one is stated, else that of the plane; metres of degrees."""
    if len(crs.axis_info) > 2:
        return float(crs.axis_info[2].unit_conversion_factor)
    return 1.0 if crs.is_geographic else float(crs.axis_info[0].unit_conversion_factor)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        import laspy
    except ImportError as error:
        raise MissingExtraError("laspy", "lidar", f"reading {path.name}") from error
    if path.suffix.lower() == ".laz" and not laspy.LazBackend.detect_available():
        raise MissingExtraError("lazrs", "lidar", f"decoding {path.name}")
    with _told(path):
        _check_counts(path)
        file = laspy.open(path)
    try:
        yield file
    finally:
        file.close()


def _check_counts(path: Path) -> None:
    """What a header counts must fit into the file: laspy takes a broken count at its word, for hours.

    Offsets by the LAS 1.4 specification; raises DataError.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(375)
    if head[:4] != b"LASF" or len(head) < 227:
        raise DataError(f"{path} cannot be read as a point cloud: it has no LAS header; was it copied whole?")
    start, records = struct.unpack_from("<II", head, 96)
    kind, length, points = struct.unpack_from("<BHI", head, 104)
    extended = 0
    if head[25] >= 4 and len(head) >= 255:
        extended = struct.unpack_from("<I", head, 243)[0]
        points = max(points, struct.unpack_from("<Q", head, 247)[0])
    stored = points * length if kind < 128 else 0  # bit 7 marks LAZ, whose points take less
    if start + stored + 60 * extended > size or 54 * records > size or points > MOST_PER_BYTE * size:
        raise DataError(f"{path} is shorter than its header says ({points} points in {size} bytes); copy it again")


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """What reading fails with, as one sentence."""
    import laspy.errors

    kinds: tuple[type[Exception], ...] = (OSError, EOFError, ValueError, RuntimeError, IndexError, OverflowError)
    kinds += (laspy.errors.LaspyException, struct.error)
    with contextlib.suppress(ImportError):
        import lazrs

        kinds += (lazrs.LazrsError,)
    try:
        yield
    except DataError:
        raise
    except kinds as error:
        raise DataError(f"{path} cannot be read as a point cloud ({error}); was it copied whole?") from error
