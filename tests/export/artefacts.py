"""A small network with norms that do something, as checkpoint and as exported files; shared by the tests that load."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from roadedge.export import export_model
from roadedge.export.parity import ParitySamples
from roadedge.models import create_model
from roadedge.models.blocks import RoadNet
from roadedge.models.checkpoint import save_network
from roadedge.preprocess import Feeds
from roadedge.sample import Sample
from roadedge.spec import ModelSpec

SIZE = (64, 64)


@dataclass(frozen=True)
class Artefacts:
    """Files of one network."""

    checkpoint: Path
    fp32: Path
    fp16: Path


def network(**spec: object) -> RoadNet:
    """roadedge-n with random weights and norms."""
    torch.manual_seed(0)
    net = create_model("roadedge-n", dataclasses.replace(ModelSpec("roadedge-n"), **spec))  # type: ignore[arg-type]
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return net.eval()


def noise(windows: int = 1, size: tuple[int, int] = SIZE, seed: int = 0) -> Feeds:
    """Random feeds."""
    generator = np.random.default_rng(seed)
    return {
        name: generator.integers(0, 256, (windows, *size, channels), np.uint8)
        for name, channels in (("image", 3), ("trajectory", 1))
    }


def samples(size: tuple[int, int] = SIZE) -> ParitySamples:
    """One sample with a truth."""
    feeds = noise(size=size, seed=1)
    sample = Sample(feeds["image"][0], feeds["trajectory"][0, ..., 0], id="noise")
    truth = np.where(feeds["trajectory"][0, ..., 0] > 200, 255, 0).astype(np.uint8)
    return ParitySamples("noise", "", ((sample, truth),))


@functools.cache
def make_artefacts(base: Path) -> Artefacts:
    """Write the checkpoint and export it in both precisions, once in a session."""
    checkpoint = base / "artefacts" / "tiny.pt"
    save_network(checkpoint, network(), {"recipe": "random weights"})
    fp32, fp16 = (
        export_model(checkpoint, checkpoint.parent, precision, SIZE, samples=samples()).onnx
        for precision in ("fp32", "fp16")
    )
    return Artefacts(checkpoint, fp32, fp16)
