"""What `roadedge data prepare` can be told."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from roadedge.errors import UnknownNameError, UsageError

IMAGE_FORMATS = ("png", "jpg")
POINT_FORMATS = ("parquet", "csv.gz")
WIDTH_M = 8.0  # of roads whose width is not known: two lanes


@dataclass(frozen=True, slots=True)
class PrepareOrder:
    """What a data set is made of: `roads` are lines, `areas` carriageways as polygons, one of them at least.

    `lidar` are rasters by the name of their folder, such as ("lidar_intensity", path).
    """

    scene: Path
    roads: Path | None
    output: Path
    areas: Path | None = None
    ignore: Path | None = None
    points: Path | None = None
    lidar: tuple[tuple[str, Path], ...] = ()

    def __post_init__(self) -> None:
        if self.roads is None and self.areas is None:
            raise UsageError("a data set needs roads: --roads FILE of lines, or --areas FILE of polygons")
        if self.points is not None and self.lidar:
            raise UsageError("a sample has one second modality: give --points or --lidar, not both")


@dataclass(frozen=True, slots=True)
class PrepareOptions:
    """How it is made.

    `size` pixels is the side of the tiles, `gsd_m` metres per pixel (None: the scene's own), `crs` that of a scene that
    does not say its own. Roads are as wide as `width_attribute` says, in metres, else `width_m`. Of the tiles, in
    blocks of `block_m` metres (None: chosen by the scene's size), `val_share` are set aside, other ones by another
    `seed`. Tiles of which less than `min_valid` is image are left out.
    """

    size: int = 512
    gsd_m: float | None = None
    crs: str | None = None
    layer: str | None = None
    width_attribute: str | None = None
    width_m: float = WIDTH_M
    val_share: float = 0.2
    block_m: float | None = None
    seed: int = 0
    min_valid: float = 0.25
    image_format: str = "png"
    points_format: str = "parquet"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("format of images", self.image_format, IMAGE_FORMATS),
            ("format of points", self.points_format, POINT_FORMATS),
        ):
            if value not in known:
                raise UnknownNameError(name, value, known)
        if not 32 <= self.size <= 8192:
            raise UsageError(f"--size must lie in 32 ... 8192 pixels, got {self.size}")
        for name, number in (("--gsd", self.gsd_m), ("--width", self.width_m), ("--block", self.block_m)):
            if number is not None and not 0 < number < math.inf:
                raise UsageError(f"{name} must be above 0 metres, got {number}")
        if not 0 <= self.val_share < 1:
            raise UsageError(f"--val-share must be at least 0 and less than 1, got {self.val_share}")
        if not 0 < self.min_valid <= 1:
            raise UsageError(f"--min-valid must be above 0 and at most 1, got {self.min_valid}")
