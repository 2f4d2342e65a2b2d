"""A tiny data set whose roads are bright, and a runner that calls bright pixels road: together they must score 1."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roadedge.imagery import write_png
from roadedge.preprocess import Feeds
from roadedge.runners.base import CheckedRunner, Requested
from roadedge.spec import ModelSpec

SIDE = 64
BRIGHT, DARK = 240, 15
HEADER = "vid,x,y,t,speed,interval\n"


class BrightIsRoad(CheckedRunner):
    """Probability = red channel of the image; without an image, full where a point lies."""

    name, version, device, precision, graph_precision = "bright", "1", "CPU", "fp32", "fp32"

    def __init__(self, spec: ModelSpec | None = None) -> None:
        super().__init__()
        self.spec = spec or ModelSpec("bright", blank_rgb=(DARK, DARK, DARK))
        self.provenance, self.requested = {}, Requested()
        self.seen: list[Feeds] = []

    def _run(self, feeds: Feeds, logits: bool) -> Feeds:
        self.seen.append(feeds)
        probability = feeds["image"][..., 0].copy()
        if "trajectory" in feeds:
            probability = np.maximum(probability, (feeds["trajectory"][..., 0] > 20).astype(np.uint8) * 255)
        return {"probability": probability}

    def _release(self) -> None:
        self.seen.clear()


def road_mask(top: int, thick: int = 12) -> NDArray[np.uint8]:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[top : top + thick] = 255
    return mask


def write_data_set(root: Path, tops: Sequence[int] = (8, 24, 40), gsd_m: float | None = 0.46) -> Path:
    """Samples t0, t1 … whose road starts at row `tops[i]`, with 20 points on each road."""
    lines = ["image,mask,trajectory,split,gsd_m"]
    for i, top in enumerate(tops):
        write_sample(root, f"t{i}", road_mask(top))
        lines.append(f"image/t{i}.png,mask/t{i}.png,trajectory/t{i}.csv,val,{gsd_m or ''}")
    (root / "split.csv").write_text("\n".join(lines) + "\n")
    return root


def write_sample(root: Path, name: str, mask: NDArray[np.uint8]) -> None:
    grey = np.where(mask == 255, BRIGHT, DARK).astype(np.uint8)
    write_png(root / "image" / f"{name}.png", np.repeat(grey[..., None], 3, 2))
    write_png(root / "mask" / f"{name}.png", mask)
    rows, columns = np.nonzero(mask == 255)
    nth = np.linspace(0, len(rows) - 1, 20).astype(int)
    points = "".join(f"1,{columns[i] + 0.5},{rows[i] + 0.5},{i},8,10\n" for i in nth)
    (root / "trajectory").mkdir(exist_ok=True)
    (root / "trajectory" / f"{name}.csv").write_text(HEADER + points)
