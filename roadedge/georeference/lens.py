"""How wide a camera sees: its focal length in pixels, and how far that may be wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass

from roadedge.errors import DataError

FULL_FRAME_DIAGONAL_MM = 43.27  # of 36 x 24 mm film, which "35 mm equivalent" means the diagonal of

# Sensor width in mm of the cameras that DJI's EXIF names as `Model`; the whole width is used by stills, and by most
# video modes. Published widths of the small sensors differ by 1 to 2 %, which is in SENSOR_ERROR.
SENSOR_WIDTH_MM = {
    "FC300C": 6.25,  # Phantom 3 Standard, 1/2.3"
    "FC300S": 6.25,  # Phantom 3 Professional
    "FC300X": 6.25,  # Phantom 3 Advanced, Professional
    "FC330": 6.25,  # Phantom 4
    "FC350": 6.25,  # Zenmuse X3
    "FC220": 6.25,  # Mavic Pro
    "FC2103": 6.25,  # Mavic Air
    "FC7203": 6.25,  # Mavic Mini
    "FC7303": 6.25,  # Mini 2
    "FC3170": 6.4,  # Mavic Air 2, 1/2"
    "FC3582": 9.7,  # Mini 3 Pro, 1/1.3"
    "FC8482": 9.7,  # Mini 4 Pro
    "FC6310": 13.2,  # Phantom 4 Pro, 1"
    "FC6310S": 13.2,
    "FC6310R": 13.2,  # Phantom 4 RTK
    "FC3411": 13.2,  # Air 2S
    "L1D-20c": 13.2,  # Mavic 2 Pro
    "FC550": 17.3,  # Zenmuse X5, 4/3"
    "L2D-20c": 17.3,  # Mavic 3
    "M3E": 17.3,  # Mavic 3 Enterprise
}
CALIBRATED_ERROR, SENSOR_ERROR, EQUIVALENT_ERROR = 0.005, 0.02, 0.025  # one standard deviation of the scale
WIDE_EQUIVALENT_ERROR = 0.06  # of a 16:9 picture by its equivalent: nobody says whose diagonal is meant


@dataclass(frozen=True, slots=True)
class Focal:
    """Focal length in pixels of one image size, one standard deviation of it as a share, and where it comes from."""

    px: float
    error: float
    how: str


@dataclass(frozen=True, slots=True)
class Lens:
    """What is known of a lens; the best known thing counts: `focal_px`, then the sensor, then the 35 mm equivalent.

    `focal_px` holds for images `of_width` pixels wide. `equivalent_mm` is by the diagonal. `zoom` is the digital one.
    """

    focal_px: float | None = None
    of_width: int | None = None
    focal_mm: float | None = None
    sensor_width_mm: float | None = None
    equivalent_mm: float | None = None
    model: str = ""
    zoom: float = 1.0

    def __post_init__(self) -> None:
        for name in ("focal_px", "of_width", "focal_mm", "sensor_width_mm", "equivalent_mm", "zoom"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise DataError(f"{name} of a lens must be a positive number, got {value}; leave out what is not known")

    def focal(self, size: tuple[int, int]) -> Focal:
        """Focal length for images of `size` (H, W), the whole width of the sensor taken.

        A 35 mm equivalent compares diagonals: f = equivalent / 43.27 mm of the image's diagonal, not / 36 mm of its
        width (of a 4:3 image 4 % shorter). Cut to 16:9 from a 4:3 sensor, the sensor's diagonal is meant, 5/4 of
        the width; were it the picture's own, the focal length would be 8 % shorter: the error says so.

        Raises:
            DataError: nothing that tells it is known.
        """
        height, width = size
        if self.focal_px is not None:
            of_width = self.of_width or width
            return Focal(self.focal_px * width / of_width * self.zoom, CALIBRATED_ERROR, "calibrated")
        sensor = self.sensor_width_mm or SENSOR_WIDTH_MM.get(self.model)
        if self.focal_mm is not None and sensor is not None:
            return Focal(self.focal_mm / sensor * width * self.zoom, SENSOR_ERROR, f"sensor {sensor:g} mm wide")
        if self.equivalent_mm is None:
            raise DataError(
                f"the focal length of {self.model or 'the camera'} is not known; give a camera file "
                "(--camera cam.toml) with fx, or with focal_mm and sensor_width_mm, or with equivalent_mm"
            )
        wide = max(width, height) / min(width, height) > 1.65  # 16:9 is 1.78; 4:3 and 3:2 are sensors' own shapes
        diagonal = max(width, height) * 1.25 if wide else math.hypot(width, height)
        focal = self.equivalent_mm / FULL_FRAME_DIAGONAL_MM * diagonal * self.zoom
        how = f"{self.equivalent_mm:g} mm equivalent" + (", 16:9 taken as cut from a 4:3 sensor" if wide else "")
        return Focal(focal, WIDE_EQUIVALENT_ERROR if wide else EQUIVALENT_ERROR, how)
