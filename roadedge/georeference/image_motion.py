"""How one image's pixels move into the next one's: by features, and by the phase where there are too few."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_MATCHES = 12
WORKING_WIDTH = 800
_RATIO = 0.75  # of the nearest to the second nearest descriptor (Lowe)
PHASE_WIDTH = 256
LEAST_RESPONSE = 0.25  # of phase correlation: different ground stays below 0.1, with hardly any contrast below 0.17
LARGEST_SHARE = 0.4  # of the side that a shift by phase may take: beyond, too little overlaps
LEAST_CONTRAST = 2.0  # standard deviation in grey levels, below which there is nothing to see


@dataclass(frozen=True, slots=True, eq=False)
class ImageFeatures:
    """What is kept of an image of `size` (H, W) to compare it with the next one."""

    size: tuple[int, int]
    xy: NDArray[np.float32]  # (N, 2) pixels of the full image
    described: Any  # (N, 128) float32, or None
    coarse: NDArray[np.float64]  # grey, PHASE_WIDTH wide

    @classmethod
    def of(cls, image: NDArray[np.uint8]) -> ImageFeatures:
        """Of (H, W, 3) RGB."""
        import cv2

        height, width = image.shape[:2]
        scale = min(1.0, WORKING_WIDTH / width)
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if scale < 1:
            grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        points, described = cv2.SIFT.create(nfeatures=2000).detectAndCompute(grey, None)
        xy = np.array([point.pt for point in points], np.float32).reshape(-1, 2)
        rows = max(16, round(PHASE_WIDTH * height / width))
        coarse = cv2.resize(grey, (PHASE_WIDTH, rows), interpolation=cv2.INTER_AREA).astype(np.float64)
        return cls((height, width), (xy + 0.5) / np.float32(scale), described, coarse)

    def motion_to(self, other: ImageFeatures) -> NDArray[np.float64] | None:
        """(3, 3) similarity from this image's pixels to the other's; None where too little goes together.

        By phase, where features are too few, it is a shift alone: only a small turn between the two goes unnoticed.
        """
        found = self._by_features(other)
        return self._by_phase(other) if found is None else found

    def _by_features(self, other: ImageFeatures) -> NDArray[np.float64] | None:
        import cv2

        if self.described is None or other.described is None or min(len(self.xy), len(other.xy)) < LEAST_MATCHES:
            return None
        pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(self.described, other.described, k=2)
        good = [pair[0] for pair in pairs if len(pair) == 2 and pair[0].distance < _RATIO * pair[1].distance]
        if len(good) < LEAST_MATCHES:
            return None
        first = self.xy[[match.queryIdx for match in good]]
        second = other.xy[[match.trainIdx for match in good]]
        reach = 3.0 * max(1.0, self.size[1] / WORKING_WIDTH)
        found: Any = cv2.estimateAffinePartial2D(first, second, method=cv2.RANSAC, ransacReprojThreshold=reach)
        matrix, inliers = found
        if matrix is None or int(inliers.sum()) < LEAST_MATCHES:
            return None
        if not 0.5 < math.hypot(matrix[0, 0], matrix[1, 0]) < 2:  # no two heights of one flight: a chance agreement
            return None
        return np.vstack([matrix, [0, 0, 1]])

    def _by_phase(self, other: ImageFeatures) -> NDArray[np.float64] | None:
        import cv2

        if self.size != other.size or min(self.coarse.std(), other.coarse.std()) < LEAST_CONTRAST:
            return None
        rows, columns = self.coarse.shape
        window = cv2.createHanningWindow((columns, rows), cv2.CV_64F)
        (x, y), response = cv2.phaseCorrelate(self.coarse, other.coarse, window)
        if not response >= LEAST_RESPONSE or max(abs(x) / columns, abs(y) / rows) > LARGEST_SHARE:
            return None
        if math.hypot(x, y) < 1:  # the camera went some metres: what stays is dust, a frame or the sensor's own pattern
            return None
        height, width = self.size
        return np.array([[1, 0, x * width / columns], [0, 1, y * height / rows], [0, 0, 1.0]])
