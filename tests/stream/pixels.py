"""The pixels of a frame that a test knows to have some."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from roadedge.stream.sources import Frame


def pixels(frame: Frame) -> NDArray[np.uint8]:
    assert frame.sample.image is not None
    return frame.sample.image
