"""What a reader of a published data set says of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.data.folder import Entry


def all_usable(image: NDArray[np.uint8]) -> bool:
    """Whether an image is worth training on: any is."""
    return True


@dataclass(frozen=True, slots=True)
class Layout:
    """One published layout: how it is recognised and listed.

    `entries(root, second, fold)` lists the samples of all splits; `fold` is 0 but for a layout of `folds` folds.
    `second` is what a network's other input is called: "trajectory", or `lidar`, the folder of rasters. A data set with
    a test split chooses checkpoints by its val split. `usable` says which images the papers kept.
    """

    title: str
    matches: Callable[[Path], bool]
    entries: Callable[[Path, str, int], list[Entry]]
    folds: int = 0
    lidar: str | None = None
    trajectories_measured: bool = False
    usable: Callable[[NDArray[Any]], bool] = all_usable


def share_of_frame(image: NDArray[np.uint8], level: int, width_px: int = 30) -> float:
    """The share of the frame along the border whose three channels all equal `level`."""
    frame = np.ones(image.shape[:2], np.bool_)
    frame[width_px:-width_px, width_px:-width_px] = False
    return float((image[frame] == level).all(1).mean())
