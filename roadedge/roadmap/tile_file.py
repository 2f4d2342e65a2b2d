"""A finished tile on disk: whole or absent, and readable in parts, since its neighbours ask for its rims alone.

A zip archive of raw planes, each with its checksum: `head`, the rows of the tile's cell, `rim`, those below it;
`valid`, a bit for each pixel of the cell, where not all are; `backdrop`, a small JPEG; `density`, the cell's points.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import threading
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import OutputError

LEVEL = 1  # of DEFLATE: a road map is mostly zeros, and shrinks tenfold at once
_DATE = (1980, 1, 1, 0, 0, 0)  # so that equal tiles are equal files


@dataclass(frozen=True, slots=True, eq=False)
class TileFile:
    """A tile: `probability` (H, W) uint8 of its window, whose first `own_rows` rows are its cell's.

    `valid` (h, w) bool of the cell, None where there is an image everywhere; `backdrop` a JPEG; `density` (r, c) uint32
    points. Where there is no image at all, `probability` is None.
    """

    probability: NDArray[np.uint8] | None
    own_rows: int
    valid: NDArray[np.bool_] | None
    backdrop: bytes
    density: NDArray[np.uint32] | None
    pixels: int
    points: int


def write_tile(path: Path, tile: TileFile) -> None:
    """Write a tile, whole or not at all; raises OutputError."""
    buffer = io.BytesIO()
    about: dict[str, Any] = {"pixels": tile.pixels, "points": tile.points, "own_rows": tile.own_rows}
    with zipfile.ZipFile(buffer, "w") as archive:
        if tile.probability is not None:
            about["shape"] = list(tile.probability.shape)
            _add(archive, "head", tile.probability[: tile.own_rows].tobytes())
            _add(archive, "rim", tile.probability[tile.own_rows :].tobytes())
        if tile.valid is not None:
            about["valid"] = list(tile.valid.shape)
            _add(archive, "valid", np.packbits(tile.valid).tobytes())
        if tile.backdrop:
            _add(archive, "backdrop", tile.backdrop)
        if tile.density is not None:
            about["density"] = list(tile.density.shape)
            _add(archive, "density", tile.density.tobytes())
        _add(archive, "about", json.dumps(about).encode())
    _write(path, buffer.getvalue())


class OpenTile:
    """A tile's file, read part by part; each part is kept as long as the tile is."""

    def __init__(self, path: Path) -> None:
        """Open it; raises OSError or ValueError where it is not a whole tile."""
        try:
            self._archive = zipfile.ZipFile(path)
            self.about: dict[str, Any] = json.loads(self._archive.read("about"))
        except (zipfile.BadZipFile, KeyError, zlib.error) as error:
            raise ValueError(f"{path} is not a whole tile ({error})") from error
        self._parts: dict[str, bytes] = {}

    @property
    def is_blank(self) -> bool:
        """Whether there is no image at all."""
        return "shape" not in self.about

    def rows(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Rows [start, stop) of the window's probability."""
        height, width = self.about["shape"]
        own = self.about["own_rows"]
        parts = []
        if start < own:
            parts.append(self._plane("head", (own, width))[start : min(stop, own)])
        if stop > own:
            parts.append(self._plane("rim", (height - own, width))[max(start - own, 0) : stop - own])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def valid(self) -> NDArray[np.bool_] | None:
        """(h, w) of the cell; None where there is an image everywhere."""
        if "valid" not in self.about:
            return None
        height, width = self.about["valid"]
        bits = np.frombuffer(self._read("valid"), np.uint8)
        return np.unpackbits(bits, count=height * width).reshape(height, width).astype(np.bool_)

    def backdrop(self) -> bytes:
        """A JPEG of the cell; empty where there is no image."""
        return self._read("backdrop") if "backdrop" in self._archive.namelist() else b""

    def density(self) -> NDArray[np.uint32] | None:
        """(r, c) points of the cell."""
        if "density" not in self.about:
            return None
        return np.frombuffer(self._read("density"), np.uint32).reshape(self.about["density"])

    def close(self) -> None:
        """Close the file."""
        self._archive.close()

    def _plane(self, name: str, shape: tuple[int, int]) -> NDArray[np.uint8]:
        if name not in self._parts:
            self._parts[name] = self._read(name)
        return np.frombuffer(self._parts[name], np.uint8).reshape(shape)

    def _read(self, name: str) -> bytes:
        try:
            return self._archive.read(name)
        except (zipfile.BadZipFile, KeyError, zlib.error) as error:
            raise ValueError(f"{self._archive.filename} is not a whole tile ({error})") from error


def is_whole(path: Path) -> bool:
    """Whether a tile's file is there and every checksum in it right: one of a machine that went down may not be."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "about" in archive.namelist() and archive.testzip() is None
    except (OSError, zipfile.BadZipFile, zlib.error):
        return False


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, as `roadedge.atomic` does, but without waiting for the disk.

    A killed run leaves whole files all the same; for a machine that goes down there are the checksums.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}-{threading.get_ident():x}.part.tile")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise OutputError.from_os(path, error) from error


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    kind = zipfile.ZIP_STORED if name == "backdrop" else zipfile.ZIP_DEFLATED
    archive.writestr(zipfile.ZipInfo(name, _DATE), content, kind, LEVEL)
