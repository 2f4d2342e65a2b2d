"""`Camera`: what is known of a camera by measurement, and the straightening of its images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError
from roadedge.georeference.lens import Lens

MODELS = {"pinhole": (4, 5, 8), "fisheye": (4,)}  # OpenCV's, and how many numbers of distortion each takes


@dataclass(frozen=True, slots=True)
class Mount:
    """How a camera sits on its vehicle or mast; None is what telemetry has to say.

    `height_m` above the ground; `pitch_deg` -90 straight down, 0 at the horizon; `yaw_deg` to the right of the
    vehicle's front, or from north where it stands; `forward_m`, `right_m` from the antenna.
    """

    height_m: float | None = None
    pitch_deg: float | None = None
    roll_deg: float | None = None
    yaw_deg: float | None = None
    forward_m: float = 0.0
    right_m: float = 0.0


@dataclass(frozen=True, slots=True)
class Rectify:
    """The rectangle of ground that is cut out as seen from above: `near_m` to `far_m` ahead, `width_m` wide."""

    gsd_m: float
    near_m: float
    far_m: float
    width_m: float

    def __post_init__(self) -> None:
        rows, columns = self.size
        if not (self.gsd_m > 0 and self.width_m > 0 and self.far_m > self.near_m):
            raise DataError(f"[rectify] needs gsd_m > 0, width_m > 0 and far_m > near_m, got {self}")
        if not (8 <= min(rows, columns) and max(rows, columns) <= 8192):
            raise DataError(
                f"[rectify] asks for an image of {columns} x {rows} pixels; between 8 and 8192 a side can be made: "
                "change gsd_m or the rectangle"
            )

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the image from above."""
        if not self.gsd_m > 0:
            return 0, 0
        return round((self.far_m - self.near_m) / self.gsd_m), round(self.width_m / self.gsd_m)


@dataclass(frozen=True, slots=True)
class Camera:
    """What a camera file says. `size` (H, W) is what fx, fy, cx, cy (OpenCV's, pixels) hold for, None for any."""

    path: str
    size: tuple[int, int] | None
    lens: Lens
    fy_over_fx: float
    principal: tuple[float, float] | None  # of `size`, corner pixel coordinates; None: the middle
    distortion: tuple[float, ...]
    model: str
    mount: Mount
    lonlat: tuple[float, float] | None
    rectify: Rectify | None

    def intrinsics(self, size: tuple[int, int]) -> tuple[tuple[float, float], tuple[float, float], float]:
        """Focal lengths and principal point for images of `size` (H, W), and the focal length's error as a share.

        Raises:
            DataError: images of another shape than the file was made for.
        """
        focal = self.lens.focal(size)
        scale = 1.0 if self.size is None else size[1] / self.size[1]
        if self.size is not None and abs(size[0] / self.size[0] - scale) > 0.01 * scale:
            raise DataError(
                f"{self.path} is for images of {self.size[1]} x {self.size[0]} pixels and these are "
                f"{size[1]} x {size[0]}: not the same shape, so they were cut; calibrate the camera for them"
            )
        middle = (size[1] / 2, size[0] / 2)
        principal = middle if self.principal is None else (self.principal[0] * scale, self.principal[1] * scale)
        return (focal.px, focal.px * self.fy_over_fx), principal, focal.error


class Undistort:
    """Takes the lens's distortion out of images, which keep their size and focal length; maps are made once a size."""

    def __init__(self, camera: Camera) -> None:
        self._camera = camera
        self._maps: dict[tuple[int, int], tuple[Any, Any]] = {}

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) → the same without distortion; what the lens did not see is black."""
        if not any(self._camera.distortion):
            return image
        import cv2

        size = (image.shape[0], image.shape[1])
        if size not in self._maps:
            self._maps.clear()  # a stream has one size: no growth where it changes
            self._maps[size] = self._make(size)
        return np.asarray(cv2.remap(image, *self._maps[size], cv2.INTER_LINEAR), np.uint8)

    def _make(self, size: tuple[int, int]) -> tuple[Any, Any]:
        import cv2

        (fx, fy), (cx, cy), _ = self._camera.intrinsics(size)
        matrix = np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]])  # OpenCV counts from pixels' centres
        numbers = np.array(self._camera.distortion)
        module: Any = cv2.fisheye if self._camera.model == "fisheye" else cv2
        first, second = module.initUndistortRectifyMap(
            matrix, numbers, np.eye(3), matrix, (size[1], size[0]), cv2.CV_16SC2
        )
        return first, second
