"""Pictures in ROS messages: sensor_msgs/Image and sensor_msgs/CompressedImage to RGB."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError

RAW, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
IMAGE_TYPES = (RAW, COMPRESSED)
# encoding → channels, and which of them are red, green and blue
ENCODINGS = {
    "rgb8": (3, (0, 1, 2)),
    "bgr8": (3, (2, 1, 0)),
    "8UC3": (3, (2, 1, 0)),  # OpenCV's order, by convention
    "rgba8": (4, (0, 1, 2)),
    "bgra8": (4, (2, 1, 0)),
    "mono8": (1, (0, 0, 0)),
    "8UC1": (1, (0, 0, 0)),
}


def decode_picture(message: Any, what: str) -> NDArray[np.uint8]:
    """A message of IMAGE_TYPES as (H, W, 3) uint8 RGB.

    Raises:
        DataError: an encoding that is not read, or data that does not fit its size.
    """
    return _compressed(message, what) if message.__msgtype__ == COMPRESSED else _raw(message, what)


def _raw(message: Any, what: str) -> NDArray[np.uint8]:
    if message.encoding not in ENCODINGS:
        raise DataError(f"{what} is in {message.encoding!r}; read are {', '.join(sorted(ENCODINGS))}")
    channels, order = ENCODINGS[message.encoding]
    height, width, step = int(message.height), int(message.width), int(message.step)
    data = np.asarray(message.data, np.uint8)
    if height < 1 or width < 1 or step < width * channels or len(data) < step * height:
        raise DataError(
            f"{what} does not hold what it states: {len(data)} bytes for {width} x {height} in {message.encoding} with "
            f"{step} bytes a row"
        )
    rows = data[: step * height].reshape(height, step)[:, : width * channels]  # rows may be padded
    return np.ascontiguousarray(rows.reshape(height, width, channels)[:, :, list(order)])


def _compressed(message: Any, what: str) -> NDArray[np.uint8]:
    import cv2

    data = np.asarray(message.data, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if image is None:
        raise DataError(f"{what} is a compressed picture ({message.format!r}) that cannot be decoded")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
