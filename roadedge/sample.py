"""The two ends of the flow: `Sample`, what is seen, and `RoadMask`, what is said about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import ShapeError
from roadedge.place import Place


def check_shape(name: str, array: NDArray[Any], want: tuple[int | None, ...]) -> None:
    """Raise ShapeError unless `array` has the shape `want`, where None stands for any length."""
    check_array(name, array)
    if array.ndim != len(want) or any(w not in (None, n) for w, n in zip(want, array.shape, strict=True)):
        wanted = "(" + ", ".join("any" if w is None else str(w) for w in want) + ")"
        raise ShapeError(f"{name} must have shape {wanted}, got {array.shape}")


def check_array(name: str, value: Any) -> None:
    """Raise ShapeError unless `value` is a NumPy array: a list or a tensor says nothing of its type and layout."""
    if not isinstance(value, np.ndarray):
        raise ShapeError(f"{name} must be a NumPy array, got a {type(value).__name__}; convert it with numpy.asarray")


@dataclass(frozen=True, slots=True, eq=False)  # arrays have no single truth: samples compare by identity
class Sample:
    """One image and the second modality that falls on it. At least one of the two is present.

    `image` is (H, W, 3) uint8 RGB, or None when the camera gave nothing.
    `second` is points, (N, >= 2) floating: x, y in pixels of the image (x right, y down; (0, 0) is the upper left
    corner of the upper left pixel), then t in seconds where known; or a raster (H, W) uint8; or None.
    `size` is (H, W) in pixels. `t_s` is the capture time in seconds of the source's clock.
    """

    image: NDArray[np.uint8] | None
    second: NDArray[Any] | None = None
    size: tuple[int, int] = (0, 0)
    place: Place | None = None
    gsd_m: float | None = None
    t_s: float | None = None
    id: str = ""

    def __post_init__(self) -> None:
        if self.image is not None:
            check_shape("image", self.image, (None, None, 3))
            if self.image.dtype != np.uint8:
                raise ShapeError(f"image must be uint8 RGB, got {self.image.dtype}; read it with read_image")
            height, width = self.image.shape[:2]
            if self.size not in ((0, 0), (height, width)):
                raise ShapeError(f"size {self.size} does not agree with the image, {height} x {width} pixels")
            object.__setattr__(self, "size", (height, width))
        if min(self.size) < 1:
            raise ShapeError(f"a sample needs an image or a size of at least 1 x 1 pixel, got size {self.size}")
        if self.second is not None:
            self._check_second(self.second)
        if self.gsd_m is None and self.place is not None:
            object.__setattr__(self, "gsd_m", self.place.gsd_m(self.size))
        if self.gsd_m is not None and not 0 < self.gsd_m < 1e4:
            raise ShapeError(f"the ground sample distance must be positive metres per pixel, got {self.gsd_m}")

    def _check_second(self, second: NDArray[Any]) -> None:
        check_array("second", second)
        if second.dtype == np.uint8:
            if second.ndim != 2:
                raise ShapeError(f"a second raster must have shape (H, W), got {second.shape}; points must be floating")
            if second.shape != self.size:
                raise ShapeError(
                    f"the second raster is {second.shape[0]} x {second.shape[1]} pixels and the image "
                    f"{self.size[0]} x {self.size[1]}; both must cover the same ground on the same grid"
                )
        elif second.ndim != 2 or second.shape[1] < 2 or not np.issubdtype(second.dtype, np.floating):
            raise ShapeError(
                "second must be points (N, >= 2) of floating x, y in pixels, or a raster (H, W) of uint8; "
                f"got {second.dtype} of shape {second.shape}"
            )

    @property
    def has_points(self) -> bool:
        """Whether the second modality is points, not a raster."""
        return self.second is not None and self.second.dtype != np.uint8


@dataclass(frozen=True, slots=True, eq=False)
class RoadMask:
    """Where the road is, on the grid of the sample's image.

    `probability` is (H, W) uint8, 255 = certain; `mask` is (H, W) bool, probability at or above the threshold.
    """

    probability: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    place: Place | None = None
    t_s: float | None = None
    id: str = ""

    def __post_init__(self) -> None:
        check_shape("probability", self.probability, (None, None))
        check_shape("mask", self.mask, self.probability.shape)
        if self.probability.dtype != np.uint8 or self.mask.dtype != np.bool_:
            raise ShapeError(f"a RoadMask holds uint8 and bool, got {self.probability.dtype} and {self.mask.dtype}")

    @property
    def road_fraction(self) -> float:
        """Share of the pixels that are road, in [0, 1]."""
        return float(self.mask.mean())
