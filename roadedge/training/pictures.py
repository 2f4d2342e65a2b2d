"""Pictures of a run: curves from log.csv, and panels of image, second modality, truth and prediction."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roadedge.atomic import replacing
from roadedge.data.folder import LabelledSample
from roadedge.imagery import write_png
from roadedge.models.blocks import RoadNet
from roadedge.pictures import overlay, panel
from roadedge.postprocess import postprocess
from roadedge.preprocess import preprocess
from roadedge.training.validation import predict


def draw_curves(log: Path, output: Path) -> bool:
    """Draw loss and G_IoU over the steps of `log.csv` as PNG; False where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    with log.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        return False
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = [int(row["step"]) for row in rows]
    left.plot(steps, [float(row["loss"]) for row in rows], lw=0.8)
    left.set(xlabel="step", ylabel="loss", title="training loss")
    scored = [(int(row["step"]), 100 * float(row["g_iou"])) for row in rows if row["g_iou"]]
    right.plot([s for s, _ in scored], [v for _, v in scored], marker="o", ms=3)
    right.set(xlabel="step", ylabel="G_IoU (%)", title="on the samples set aside")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    with replacing(output) as temporary:
        figure.savefig(temporary, dpi=120)
    return True


def draw_panels(network: RoadNet, items: list[LabelledSample], folder: Path) -> None:
    """One PNG per sample: image, second modality, truth, prediction."""
    for item in items:
        feeds = preprocess(item.sample, network.spec)
        found = postprocess(predict(network, feeds), network.spec, item.sample)
        image = item.sample.image if item.sample.image is not None else np.zeros((*item.sample.size, 3), np.uint8)
        columns: list[NDArray[np.uint8]] = [image]
        captions = ["image"]
        if network.spec.second is not None:
            raster = feeds[network.spec.second][0, ..., 0]
            columns.append(np.repeat(np.minimum(raster.astype(int) * 3, 255).astype(np.uint8)[..., None], 3, 2))
            captions.append(f"{network.spec.second} (x 3)")
        columns += [np.repeat(item.mask[..., None], 3, 2), overlay(image, found.mask)]
        captions += ["truth", "prediction"]
        write_png(folder / f"{item.id}.png", panel(columns, captions))
