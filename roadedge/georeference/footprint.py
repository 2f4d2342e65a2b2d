"""A pose and a lens → where each pixel lies on flat ground, straight down or oblique."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError
from roadedge.georeference.lens import Lens
from roadedge.georeference.pose import Pose
from roadedge.place import Place
from roadedge.trajectory.plane import LocalPlane

LEAST_DEPRESSION_DEG = 3.0  # of the view's middle: below, one degree of pitch moves the ground by a third of the range
YAW_ERROR_DEG = {"gimbal": 3.0, "flight": 5.0, "course": 10.0}
GRID = np.array([[x, y] for y in (0.1, 0.5, 0.9) for x in (0.1, 0.5, 0.9)])  # where errors are looked at


@dataclass(frozen=True, slots=True)
class PoseErrors:
    """One standard deviation each of what telemetry says.

    `height_m` is mostly that the take-off point is not the ground in view; `tilt_deg` is the gimbal's.
    """

    height_m: float = 1.0
    height_share: float = 0.02
    tilt_deg: float = 0.5


@dataclass(frozen=True, slots=True)
class View:
    """A pinhole camera over the plane: metres east, north and above ground, degrees, pixels; nothing unknown.

    `principal` is where the optical axis meets the image, in corner pixel coordinates.
    """

    east_m: float
    north_m: float
    height_m: float
    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    focal_px: tuple[float, float]
    principal: tuple[float, float]

    def rays(self) -> NDArray[np.float64]:
        """(3, 3): homogeneous corner pixel coordinates → ray in east, north, up; not of unit length."""
        (fx, fy), (cx, cy) = self.focal_px, self.principal
        inverse = np.array([[1 / fx, 0, -cx / fx], [0, 1 / fy, -cy / fy], [0, 0, 1]])
        return np.asarray(axes(self.yaw_deg, self.pitch_deg, self.roll_deg) @ inverse)

    def homography(self) -> NDArray[np.float64]:
        """(3, 3): corner pixel coordinates → metres; the third row is positive where a pixel sees the ground."""
        ground = np.array([[self.height_m, 0, -self.east_m], [0, self.height_m, -self.north_m], [0, 0, -1.0]])
        return np.asarray(ground @ self.rays())


def axes(yaw_deg: float, pitch_deg: float, roll_deg: float) -> NDArray[np.float64]:
    """(3, 3) whose columns are the image's right, its down and the view, in east, north, up."""
    sy, cy = math.sin(math.radians(yaw_deg)), math.cos(math.radians(yaw_deg))
    sp, cp = math.sin(math.radians(pitch_deg)), math.cos(math.radians(pitch_deg))
    sr, cr = math.sin(math.radians(roll_deg)), math.cos(math.radians(roll_deg))
    level, under, view = (cy, -sy, 0.0), (sp * sy, sp * cy, -cp), (cp * sy, cp * cy, sp)  # without roll
    turned = [
        (cr * right + sr * down, cr * down - sr * right, ahead)
        for right, down, ahead in zip(level, under, view, strict=True)
    ]
    return np.array(turned)


def footprint(
    pose: Pose, lens: Lens, size: tuple[int, int], plane: LocalPlane, errors: PoseErrors | None = None
) -> Place:
    """Where an image of `size` (H, W) lies on the ground, `pose.height_m` below the camera.

    Without pitch the camera is taken to look straight down, without roll to be level. `uncertainty_m` is the root mean
    square over the image of what position, height, focal length, tilt and yaw may each be wrong by, as independent.

    Raises:
        DataError: the height or the yaw is not known, the focal length is not, or the view's middle is not on the
            ground.
    """
    focal = lens.focal(size)
    principal = (size[1] / 2, size[0] / 2)
    view = view_of(pose, (focal.px, focal.px), principal, plane)
    yaw_error = YAW_ERROR_DEG.get(pose.yaw_from, 10.0)
    return place_of(view, size, plane.crs, pose.position_m, focal.error, yaw_error, errors or PoseErrors())


def view_of(pose: Pose, focal_px: tuple[float, float], principal: tuple[float, float], plane: LocalPlane) -> View:
    """The camera at `pose`; what `footprint` says of pitch and roll, and raises, goes here too."""
    if pose.height_m is None or not pose.height_m > 0:
        said = "is not known" if pose.height_m is None else f"is {pose.height_m:g} m"
        raise DataError(
            f"the height above ground {said}, so the size of the footprint is not known; "
            "give height_m in a camera file (--camera cam.toml)"
        )
    if pose.yaw_deg is None:
        raise DataError(
            "the telemetry holds no yaw and the camera has not moved enough for a course, so the image's heading is "
            "not known; give yaw_deg in a camera file (--camera cam.toml)"
        )
    east, north = plane.from_lonlat([[pose.lon_deg, pose.lat_deg]])[0].tolist()
    pitch_deg = -90.0 if pose.pitch_deg is None else pose.pitch_deg
    return View(east, north, pose.height_m, pose.yaw_deg, pitch_deg, pose.roll_deg or 0.0, focal_px, principal)


def place_of(
    view: View,
    size: tuple[int, int],
    crs: str,
    position_m: float = 0.0,
    focal_error: float = 0.0,
    yaw_error_deg: float = 0.0,
    errors: PoseErrors | None = None,
) -> Place:
    """The place of `view` for images of `size` (H, W), with its uncertainty.

    Raises:
        DataError: the middle of the image looks above the horizon, or so little below that nothing is sure.
    """
    height, width = size
    matrix = view.homography()
    ray = view.rays() @ np.array([width / 2, height / 2, 1.0])
    depression = math.degrees(math.atan2(-ray[2], math.hypot(ray[0], ray[1])))
    if depression < LEAST_DEPRESSION_DEG:
        raise DataError(
            f"the middle of the image looks {abs(depression):.1f} degrees {'above' if depression < 0 else 'below'} the "
            f"horizon; a place needs at least {LEAST_DEPRESSION_DEG:g} below it: tilt the camera down, or cut the "
            "ground out with [rectify] of a camera file"
        )
    if errors is None:
        return Place(matrix, crs, position_m)
    unsure = uncertainty_m(view, GRID * [width, height], position_m, focal_error, yaw_error_deg, errors)
    return Place(matrix, crs, unsure)


def uncertainty_m(
    view: View,
    pixels: NDArray[np.float64],
    position_m: float,
    focal_error: float,
    yaw_error_deg: float,
    errors: PoseErrors,
) -> float:
    """One standard deviation of the ground that `view` sees at (N, 2) `pixels`, root mean square over them."""
    changes = (
        ("height_m", math.hypot(errors.height_m, errors.height_share * view.height_m)),
        ("yaw_deg", yaw_error_deg),
        ("pitch_deg", errors.tilt_deg),
        ("roll_deg", errors.tilt_deg),
    )
    moved = [_moved_m(view, dataclasses.replace(view, **{k: getattr(view, k) + by}), pixels) for k, by in changes]
    scale = 1 + focal_error
    longer = dataclasses.replace(view, focal_px=(view.focal_px[0] * scale, view.focal_px[1] * scale))
    moved.append(_moved_m(view, longer, pixels))
    return math.sqrt(2 * position_m**2 + sum(part**2 for part in moved))


def _moved_m(view: View, other: View, pixels: NDArray[np.float64]) -> float:
    """Root mean square of how far apart two views see the same pixels, over those that both see on the ground."""
    rays = np.column_stack([pixels, np.ones(len(pixels))])
    first, second = rays @ view.homography().T, rays @ other.homography().T
    horizon = 1e-3 * max(first[:, 2].max(), 1e-12)
    seen = (first[:, 2] > horizon) & (second[:, 2] > horizon)
    if not seen.any():
        return math.inf
    apart = first[seen, :2] / first[seen, 2:] - second[seen, :2] / second[seen, 2:]
    return float(np.sqrt(np.mean(np.sum(apart**2, axis=1))))
