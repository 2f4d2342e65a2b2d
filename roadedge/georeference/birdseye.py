"""A forward or oblique camera's image as from above: networks are trained on overhead images."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError
from roadedge.georeference.camera import Rectify
from roadedge.georeference.footprint import View
from roadedge.place import Place

LEAST_SEEN = 0.1  # of the rectangle
FILL_RGB = (105, 101, 94)  # the blank that networks know, where the camera sees nothing
_HALF = np.array([[1.0, 0, 0.5], [0, 1.0, 0.5], [0, 0, 1.0]])  # array indices → corner pixel coordinates


def rectangle(view: View, cut: Rectify, crs: str, uncertainty_m: float = 0.0) -> Place:
    """The place of the image from above: its top is where the camera looks."""
    ahead = (cut.near_m + cut.far_m) / 2
    yaw = math.radians(view.yaw_deg)
    centre = view.east_m + ahead * math.sin(yaw), view.north_m + ahead * math.cos(yaw)
    flat = Place.nadir(centre, cut.gsd_m, cut.size, view.yaw_deg, crs)
    return Place(flat.homography, crs, uncertainty_m)


def grid_in_image(view: View, cut: Rectify) -> NDArray[np.float64]:
    """(25, 2) corner pixel coordinates in the camera's image of a grid over the rectangle.

    Raises:
        DataError: part of the rectangle lies behind the camera.
    """
    rows, columns = cut.size
    grid = np.array([[x * columns, y * rows] for y in np.linspace(0, 1, 5) for x in np.linspace(0, 1, 5)])
    matrix = np.linalg.inv(view.homography()) @ rectangle(view, cut, "local").homography
    seen = np.column_stack([grid, np.ones(len(grid))]) @ matrix.T
    if not (seen[:, 2] > 0).all():
        raise DataError(
            f"part of the rectangle of [rectify] lies behind a camera pitched {view.pitch_deg:g} degrees; "
            f"near_m is {cut.near_m:g}: give more"
        )
    return np.asarray(seen[:, :2] / seen[:, 2:])


def seen_share(view: View, cut: Rectify, size: tuple[int, int]) -> float:
    """Which share of the rectangle images of `size` (H, W) show.

    Raises:
        DataError: next to nothing of it, or part of it lies behind the camera.
    """
    pixels = grid_in_image(view, cut)
    share = float(np.mean(((pixels >= 0) & (pixels <= [size[1], size[0]])).all(axis=1)))
    if share < LEAST_SEEN:
        raise DataError(
            f"the camera sees {share:.0%} of the rectangle of [rectify] ({cut.near_m:g} to {cut.far_m:g} m "
            f"ahead, {cut.width_m:g} m wide); check height_m and pitch_deg (negative is down), or the rectangle"
        )
    return share


def from_above(image: NDArray[np.uint8], view: View, cut: Rectify) -> NDArray[np.uint8]:
    """(H, W, 3) of the camera, without distortion → `cut.size` as from above; what is not seen is `FILL_RGB`.

    Near the camera its pixels are finer than the ground sample distance: drawn up to four times as fine, then averaged.
    """
    import cv2

    rows, columns = cut.size
    matrix = np.linalg.inv(view.homography()) @ rectangle(view, cut, "local").homography
    fine = _finer(view, cut)
    matrix = np.linalg.inv(_HALF) @ matrix @ np.diag([1 / fine, 1 / fine, 1.0]) @ _HALF
    drawn = cv2.warpPerspective(
        image,
        matrix,
        (columns * fine, rows * fine),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=FILL_RGB,
    )
    if fine > 1:
        drawn = cv2.resize(drawn, (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(drawn, np.uint8)


def _finer(view: View, cut: Rectify) -> int:
    """How many of the camera's pixels lie along one pixel from above, at the rectangle's middle; 1 to 4."""
    ahead = (cut.near_m + cut.far_m) / 2
    range_m = math.hypot(ahead, view.height_m)
    return max(1, min(4, round(cut.gsd_m * view.focal_px[0] / range_m)))
