"""`Points`: GPS samples in columns, whatever file they came from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from roadedge.errors import PointsError, ShapeError, SpecMismatchError
from roadedge.place import Place
from roadedge.trajectory.plane import LocalPlane

_OPTIONAL = ("t_s", "speed_mps", "interval_s", "vehicle")
_LATEST_S = 1e11  # the year 5138: a larger time is one in milliseconds


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """GPS samples in columns of one length N.

    `crs` says what `x`, `y` are: "pixel" (x right, y down, (0, 0) the upper left corner of the image), "lonlat"
    (degrees, WGS 84), "local" (metres of a plane without a name) or the name of a metric plane ("EPSG:32616").
    `t_s` seconds of the source's clock (since 1970, UTC, where the file says so), NaN where one row lacks it;
    `speed_mps` metres per second; `interval_s` seconds between samples; `vehicle` a number per vehicle or pass.
    `dropped` counts the rows that a reader left out, by reason.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    t_s: NDArray[np.float64] | None = None
    speed_mps: NDArray[np.float64] | None = None
    interval_s: NDArray[np.float64] | None = None
    vehicle: NDArray[np.int64] | None = None
    crs: str = "pixel"
    dropped: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("x", "y", *_OPTIONAL):
            column = getattr(self, name)
            if column is None:
                continue
            array = np.asarray(column, np.int64 if name == "vehicle" else np.float64)
            if array.ndim != 1 or len(array) != len(self.x):
                raise ShapeError(f"columns of points must be of one length; x has {len(self.x)}, {name} {array.shape}")
            object.__setattr__(self, name, array)

    @classmethod
    def checked(cls, columns: Mapping[str, NDArray[Any]], crs: str, dropped: Mapping[str, int] | None = None) -> Points:
        """Points of the good rows of `columns` (named as the fields are); the others are counted by reason.

        Reasons: `nan`, `infinite`, and of longitude and latitude `out_of_range` and `no_fix` (0, 0: what a receiver
        without a fix writes). An infinite time is an unknown one, NaN.

        Raises:
            PointsError: rows came and not one is good, or the times are not in seconds.
        """
        x, y = columns["x"], columns["y"]
        reasons: dict[str, NDArray[np.bool_]] = {
            "nan": np.isnan(x) | np.isnan(y),
            "infinite": np.isinf(x) | np.isinf(y),
        }
        if crs == "lonlat":
            with np.errstate(invalid="ignore"):
                reasons["out_of_range"] = (np.abs(x) > 180) | (np.abs(y) > 90)
            reasons["no_fix"] = (x == 0) & (y == 0)
        count = dict(dropped or {})
        good = np.ones(len(x), np.bool_)
        for reason, bad in reasons.items():
            new = int(np.count_nonzero(bad & good))
            good &= ~bad
            if new:
                count[reason] = count.get(reason, 0) + new
        _check_rows(good, dropped or {}, count)
        columns = dict(columns)
        if "t_s" in columns:
            columns["t_s"] = _known_times(columns["t_s"])
        points = cls(**columns, crs=crs, dropped=count)
        return points if good.all() else points.select(good)

    def __len__(self) -> int:
        return len(self.x)

    def xy(self) -> NDArray[np.float64]:
        """(N, 2) x, y: a copy."""
        return np.stack([self.x, self.y], axis=1)

    def to_array(self) -> NDArray[np.float64]:
        """For `Sample.second`: (N, 3) x, y, t where times are known, else (N, 2); a copy.

        Raises:
            SpecMismatchError: the points are not in pixels.
        """
        if self.crs != "pixel":
            raise SpecMismatchError(
                f"a sample takes points in pixels of its image, these are in {self.crs!r}; "
                "project them with Points.to_pixels and the place of the image"
            )
        return self.xy() if self.t_s is None else np.stack([self.x, self.y, self.t_s], axis=1)

    def select(self, mask: ArrayLike) -> Points:
        """The rows that `mask` (N,) bool picks, or an index array in its order; `dropped` is kept as it is."""
        rows = np.asarray(mask)
        return self._each(lambda column: column[rows])

    def to_plane(self, plane: LocalPlane) -> Points:
        """Longitude and latitude → metres of `plane`.

        Raises:
            SpecMismatchError: the points are not longitude and latitude.
        """
        if self.crs != "lonlat":
            raise SpecMismatchError(f"only points in 'lonlat' go onto a local plane, these are in {self.crs!r}")
        metres = plane.from_lonlat(self.xy())
        return dataclasses.replace(self, x=metres[:, 0], y=metres[:, 1], crs=plane.crs)

    def to_pixels(self, place: Place, size: tuple[int, int]) -> Points:
        """Metres of the place's plane → pixels of an image of `size` (H, W).

        Points outside the image stay (the rasteriser drops them); those behind a tilted camera are counted `behind`.

        Raises:
            SpecMismatchError: the points are in another plane than the place.
        """
        if self.crs != place.crs:
            raise SpecMismatchError(
                f"the points are in {self.crs!r} and the image's place in {place.crs!r}; bring both to one plane"
            )
        pixels, in_front = project_visible(place, self.xy(), size)
        dropped = dict(self.dropped)
        behind = int(np.count_nonzero(~in_front))
        if behind:
            dropped["behind"] = dropped.get("behind", 0) + behind
        moved = dataclasses.replace(self, x=pixels[:, 0], y=pixels[:, 1], crs="pixel", dropped=dropped)
        return moved.select(in_front) if behind else moved

    def _each(self, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Points:
        columns: dict[str, Any] = {name: getattr(self, name) for name in ("x", "y", *_OPTIONAL)}
        changed: dict[str, Any] = {name: change(column) for name, column in columns.items() if column is not None}
        return dataclasses.replace(self, **changed)


def project_visible(
    place: Place, ground: NDArray[np.float64], size: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Project ground points and tell which lie in front of the camera.

    A homography also maps what is behind a tilted camera into its image. In front is what lies on the side of the
    ground that the middle of the image's lower edge sees.

    Args:
        place: of the image.
        ground: (N, 2) metres of its plane.
        size: height and width of the image in pixels.

    Returns:
        (N, 2) corner pixel coordinates, NaN for what is not in front, and (N,) bool.
    """
    inverse = np.linalg.inv(place.homography)
    height, width = size
    seen = place.homography @ np.array([width / 2, height, 1.0])
    scaled = ground @ inverse[:, :2].T
    scaled += inverse[:, 2]
    if not inverse[2, :2].any():  # a camera that looks straight down has nothing behind it
        return scaled[:, :2] / inverse[2, 2], np.ones(len(ground), np.bool_)
    in_front = scaled[:, 2] * seen[2] > 0
    pixels = np.full((len(ground), 2), np.nan)
    np.divide(scaled[:, :2], scaled[:, 2:], out=pixels, where=in_front[:, None])
    return pixels, in_front


def _check_rows(good: NDArray[np.bool_], before: Mapping[str, int], dropped: Mapping[str, int]) -> None:
    rows = len(good) + sum(before.values())
    if rows and not good.any():
        reasons = ", ".join(f"{name} {number}" for name, number in dropped.items())
        raise PointsError(
            f"none of the {rows} points is usable (dropped: {reasons}); "
            "longitude must lie in [-180, 180] and latitude in [-90, 90], pixels belong in columns x, y"
        )


def _known_times(t_s: NDArray[np.float64]) -> NDArray[np.float64]:
    infinite = np.isinf(t_s)
    known = np.where(infinite, np.nan, t_s) if infinite.any() else t_s
    if np.any(known > _LATEST_S):
        raise PointsError(
            f"times must be in seconds, the largest is {np.nanmax(known):.0f}, which looks like milliseconds; "
            "divide the column by 1000"
        )
    return known
