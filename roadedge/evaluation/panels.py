"""Panels: image, second modality, truth and prediction side by side, the worst samples first, and one sheet of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.evaluation.judge import Judged
from roadedge.evaluation.sources import SEMI_SYNTHETIC
from roadedge.imagery import write_png
from roadedge.metrics.pixel import IGNORED, ROAD
from roadedge.pictures import Picture, heat_picture, panel
from roadedge.spec import ModelSpec
from roadedge.trajectory.heatmap import rasterize

FOUND_RGB, MISSED_RGB, INVENTED_RGB, IGNORED_RGB = (235, 235, 235), (235, 40, 50), (50, 110, 255), (96, 96, 96)
LARGEST_PX = 640  # side of one picture
SHEET_ROWS, SHEET_WIDTH_PX = 8, 1100


def draw_panel(judged: Judged, spec: ModelSpec, data: str, applied: str = "") -> Picture:
    """Image, second modality, truth, prediction, with captions.

    Args:
        judged: a sample as it was fed, its truth and its mask.
        spec: of the network.
        data: what scores on it are called, written beside the score where that is semi-synthetic.
        applied: the corruptions, written over what was fed.
    """
    truth, mask, counts = judged.truth, judged.mask.mask, judged.counts
    pictures = [_image(judged, spec), _second(judged, spec), truth_picture(truth), error_picture(mask, truth)]
    score = f"IoU {100 * counts.iou:.1f} %" + (f" {data}" if data == SEMI_SYNTHETIC else "")
    road = counts.tp + counts.fn
    share = 100 * road / max(1, truth.size - counts.ignored)
    captions = [
        f"{judged.sample.id} {applied}".strip() if judged.sample.image is not None else "no image fed",
        _second_caption(judged),
        f"truth: {share:.1f} % road" + (", grey ignored" if counts.ignored else ""),
        f"{score}: missed red, invented blue",
    ]
    return panel([_fitted(p) for p in pictures], captions)


def truth_picture(truth: NDArray[np.uint8]) -> Picture:
    """A label (H, W) uint8 as white on black, ignored pixels grey."""
    picture = np.zeros((*truth.shape, 3), np.uint8)
    picture[truth == ROAD] = FOUND_RGB
    picture[truth == IGNORED] = IGNORED_RGB
    return picture


def error_picture(mask: NDArray[np.bool_], truth: NDArray[np.uint8]) -> Picture:
    """A mask (H, W) bool against its label: found white, missed red, invented blue, ignored grey, the rest black."""
    picture = np.zeros((*truth.shape, 3), np.uint8)
    road = truth == ROAD
    picture[road & mask] = FOUND_RGB
    picture[road & ~mask] = MISSED_RGB
    picture[~road & mask] = INVENTED_RGB
    picture[truth == IGNORED] = IGNORED_RGB
    return picture


def write_panel(folder: Path, rank: int, set_name: str, sample_id: str, picture: Picture) -> Path:
    """Write `folder/RANK_SET_ID.png`, characters that a file system may refuse replaced; raises OutputError."""
    name = re.sub(r"[^\w.\-]+", "-", f"{set_name}_{sample_id}")[:120]
    path = folder / f"{rank:03d}_{name}.png"
    write_png(path, picture)
    return path


def contact_sheet(pictures: Sequence[Picture]) -> Picture:
    """All panels on one picture: columns of at most eight, read downwards."""
    import cv2

    small = []
    for picture in pictures:
        height = max(1, round(picture.shape[0] * SHEET_WIDTH_PX / picture.shape[1]))
        small.append(np.asarray(cv2.resize(picture, (SHEET_WIDTH_PX, height), interpolation=cv2.INTER_AREA), np.uint8))
    columns = [np.vstack(small[i : i + SHEET_ROWS]) for i in range(0, len(small), SHEET_ROWS)]
    tallest = max(c.shape[0] for c in columns)
    return np.hstack([np.pad(c, ((0, tallest - c.shape[0]), (0, 0), (0, 0))) for c in columns])


def _image(judged: Judged, spec: ModelSpec) -> Picture:
    if judged.sample.image is not None:
        return judged.sample.image
    return np.full((*judged.sample.size, 3), np.array(spec.blank_rgb, np.uint8))


def _second(judged: Judged, spec: ModelSpec) -> Picture:
    sample = judged.sample
    if sample.second is None:
        return np.zeros((*sample.size, 3), np.uint8)
    return heat_picture(_brightened(sample.second, sample.size, spec) if sample.has_points else sample.second)


def _brightened(points: NDArray[Any], size: tuple[int, int], spec: ModelSpec) -> NDArray[np.uint8]:
    """The heat-map that is fed, spread and lifted so that an eye sees single points in a small picture."""
    import cv2

    heat = cv2.dilate(rasterize(points, size, spec.heatmap), np.ones((3, 3), np.uint8))
    lifted: NDArray[np.uint8] = np.rint(255 * np.sqrt(heat / max(1, int(heat.max())))).astype(np.uint8)
    return lifted


def _second_caption(judged: Judged) -> str:
    second = judged.sample.second
    if second is None:
        return "no second modality fed"
    return f"{len(second)} points" if judged.sample.has_points else "second modality, a raster"


def _fitted(picture: Picture) -> Picture:
    import cv2

    scale = LARGEST_PX / max(picture.shape[:2])
    if scale >= 1:
        return picture
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
