"""A folder data set small enough to train on in a second."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from roadedge.imagery import write_png


def make_folder(root: Path, count: int = 4, side: int = 96) -> Path:
    """Tiles with one straight road each, points along it, all in the train split but the last."""
    rng = np.random.default_rng(0)
    rows = ["image,mask,trajectory,split,gsd_m"]
    (root / "trajectory").mkdir(parents=True)
    for i in range(count):
        middle = 20 + 15 * (i % 4)
        mask = np.zeros((side, side), np.uint8)
        mask[:, middle - 8 : middle + 8] = 255
        image = np.where(mask[..., None] > 0, 120, 60) + rng.integers(0, 20, (side, side, 3))
        write_png(root / "image" / f"t{i}.png", image.astype(np.uint8))
        write_png(root / "mask" / f"t{i}.png", mask)
        x, y = rng.normal(middle, 3, 80).clip(0, side - 1), rng.uniform(0, side, 80)
        lines = ["vid,x,y,t,speed,interval"]
        lines += [f"{j},{a:.1f},{b:.1f},{j},8.0,10" for j, (a, b) in enumerate(zip(x, y, strict=True))]
        with gzip.open(root / "trajectory" / f"t{i}.csv.gz", "wt") as file:
            file.write("\n".join(lines) + "\n")
        split = "val" if i == count - 1 else "train"
        rows.append(f"image/t{i}.png,mask/t{i}.png,trajectory/t{i}.csv.gz,{split},0.46")
    (root / "split.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set of four tiles."""
    return make_folder(tmp_path / "tiny")
