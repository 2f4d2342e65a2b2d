"""Where pixels lie on the ground: a homography from image to a local metric plane.

A pixel's centre has whole coordinates in arrays and half ones in georeferenced space, whose origin is the corner of the
upper left pixel. That half pixel is applied here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from roadedge.errors import ShapeError


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Georeference of an image as a homography, so that a nadir and an oblique camera are one thing.

    `homography` is (3, 3): image corner coordinates (x right, y down, pixels; (0, 0) is the upper left corner of the
    upper left pixel) → metres of the plane `crs` (x east, y north). `uncertainty_m` is one standard deviation.
    """

    homography: NDArray[np.float64]
    crs: str = "local"
    uncertainty_m: float = 0.0

    def __post_init__(self) -> None:
        matrix = np.array(self.homography, np.float64)  # a copy: what the caller does with theirs moves no place
        if matrix.shape != (3, 3) or not _is_invertible(matrix):
            raise ShapeError(f"a place needs an invertible 3 x 3 homography, got {matrix.tolist()}")
        matrix.flags.writeable = False
        object.__setattr__(self, "homography", matrix)

    @classmethod
    def from_geotransform(cls, transform: ArrayLike, crs: str = "local") -> Place:
        """From GDAL's six numbers (x0, dx, rx, y0, ry, dy), which count from the pixel's corner as this class does.

        Raises:
            ShapeError: not six numbers, or such that no pixel has an area.
        """
        numbers = np.asarray(transform, np.float64)
        if numbers.shape != (6,):
            raise ShapeError(f"a geotransform has GDAL's six numbers (x0, dx, rx, y0, ry, dy), got {transform!r}")
        x0, dx, rx, y0, ry, dy = numbers
        return cls(np.array([[dx, rx, x0], [ry, dy, y0], [0.0, 0.0, 1.0]]), crs)

    @classmethod
    def nadir(
        cls,
        centre: tuple[float, float],
        gsd_m: float,
        size: tuple[int, int],
        heading_deg: float = 0.0,
        crs: str = "local",
    ) -> Place:
        """A camera that looks straight down.

        Args:
            centre: metres east and north of the image's centre.
            gsd_m: metres per pixel.
            size: height and width in pixels.
            heading_deg: direction of the image's top, clockwise from north.
            crs: name of the metric plane.
        """
        height, width = size
        angle = np.deg2rad(heading_deg)
        right = gsd_m * np.array([np.cos(angle), -np.sin(angle)])  # ground step of one pixel to the right
        down = gsd_m * np.array([-np.sin(angle), -np.cos(angle)])
        origin = np.asarray(centre) - right * width / 2 - down * height / 2
        return cls(np.array([[right[0], down[0], origin[0]], [right[1], down[1], origin[1]], [0, 0, 1]]), crs)

    def to_ground(self, pixels: ArrayLike) -> NDArray[np.float64]:
        """(N, 2) corner pixel coordinates → (N, 2) metres; infinite or NaN on the horizon of a tilted camera."""
        return _project(self.homography, pixels)

    def to_image(self, ground: ArrayLike) -> NDArray[np.float64]:
        """(N, 2) metres → (N, 2) corner pixel coordinates."""
        return _project(np.linalg.inv(self.homography), ground)

    def centres_to_ground(self, indices: ArrayLike) -> NDArray[np.float64]:
        """(N, 2) array indices (column, row) → (N, 2) metres of those pixels' centres."""
        return self.to_ground(np.asarray(indices, np.float64) + 0.5)

    def gsd_m(self, size: tuple[int, int]) -> float:
        """Metres per pixel at the centre of an image of (H, W) pixels: root of the area that one pixel covers."""
        height, width = size
        x, y = width / 2 - 0.5, height / 2 - 0.5
        origin, right, down = self.to_ground([[x, y], [x + 1, y], [x, y + 1]])
        return float(np.sqrt(abs(np.linalg.det(np.stack([right - origin, down - origin])))))

    def scaled(self, sx: float, sy: float) -> Place:
        """The place of the same ground after the image was resampled by `sx`, `sy` (new pixels per old pixel)."""
        return Place(self.homography @ np.diag([1 / sx, 1 / sy, 1.0]), self.crs, self.uncertainty_m)

    def shifted(self, x: float, y: float) -> Place:
        """The place of a window whose upper left corner lies at (x, y) pixels of this image."""
        move = np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])
        return Place(self.homography @ move, self.crs, self.uncertainty_m)


def _is_invertible(matrix: NDArray[np.float64]) -> bool:
    """Whatever the homography's scale (it has none of its own) and however far its plane's origin lies."""
    lengths = np.linalg.norm(matrix, axis=0)
    if not np.isfinite(matrix).all() or not lengths.all():
        return False
    return bool(abs(np.linalg.det(matrix / lengths)) > 1e-14)


def _project(matrix: NDArray[Any], xy: ArrayLike) -> NDArray[np.float64]:
    points = np.atleast_2d(np.asarray(xy, np.float64))
    if points.ndim != 2 or points.shape[1] != 2:
        raise ShapeError(f"coordinates must have shape (N, 2), got {points.shape}; leave other columns out")
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = points @ matrix[:, :2].T + matrix[:, 2]
        return np.asarray(moved[:, :2] / moved[:, 2:], np.float64)
