"""What part of the ground an image shows, as a box, and which points lie in it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadedge.place import Place

FARTHEST_M = 1000.0  # from what the lower edge of a tilted camera sees; beyond, kilometres are one row of pixels
_XY = NDArray[np.float64]  # (N, 2)


class Box(NamedTuple):
    """A part of the plane, metres."""

    left: float
    bottom: float
    right: float
    top: float

    def holds(self, other: Box) -> bool:
        """Whether all of the other lies within."""
        return (
            self.left <= other.left
            and self.bottom <= other.bottom
            and self.right >= other.right
            and self.top >= other.top
        )

    def grown(self, sides: float) -> Box:
        """The box about the same middle, `sides` times as wide and high."""
        x, y = (self.right - self.left) * (sides - 1) / 2, (self.top - self.bottom) * (sides - 1) / 2
        return Box(self.left - x, self.bottom - y, self.right + x, self.top + y) if math.isfinite(x + y) else self


def in_box(xy: _XY, box: Box) -> NDArray[np.bool_]:
    """Which of (N, 2) points lie in the box."""
    x, y = xy[:, 0], xy[:, 1]
    inside: NDArray[np.bool_] = (x >= box.left) & (x <= box.right) & (y >= box.bottom) & (y <= box.top)
    return inside


def view_of(place: Place, size: tuple[int, int]) -> Box:
    """What part of the ground an image of `size` (H, W) shows, of a tilted camera up to FARTHEST_M away."""
    height, width = size
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], np.float64)
    seen = corners @ place.homography.T
    horizon = not (seen[:, 2] > 0).all() and not (seen[:, 2] < 0).all()
    view = Box(-math.inf, -math.inf, math.inf, math.inf)
    if not horizon:
        x, y = seen[:, 0] / seen[:, 2], seen[:, 1] / seen[:, 2]
        view = Box(float(x.min()), float(y.min()), float(x.max()), float(y.max()))
    if not place.homography[2, :2].any():
        return view
    x0, y0 = place.to_ground([[width / 2, height]])[0].tolist()
    near = Box(x0 - FARTHEST_M, y0 - FARTHEST_M, x0 + FARTHEST_M, y0 + FARTHEST_M)
    return Box(
        max(view.left, near.left), max(view.bottom, near.bottom), min(view.right, near.right), min(view.top, near.top)
    )
