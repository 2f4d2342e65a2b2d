"""Float ONNX graphs to quantize: one of ours, and a foreign one with its own names, layout and batch-norms."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from roadedge.export.graph import write_graph
from roadedge.models import create_model
from roadedge.models.blocks import RoadNet

SIDE = 64


class Block(nn.Module):
    """A residual block with batch-norms that are not folded."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.na, self.nb = nn.BatchNorm2d(width), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.nb(self.b(F.relu(self.na(self.a(x))))))


class Foreign(nn.Module):
    """Two float NCHW inputs; residual adds, concats, a dilated and two transposed convolutions; logits out."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.image, self.track = nn.Conv2d(3, width, 3, 2, 1), nn.Conv2d(1, width, 3, 2, 1)
        self.fuse, self.e1 = nn.Conv2d(2 * width, width, 1), Block(width)
        self.down, self.e2 = nn.Conv2d(width, 2 * width, 3, 2, 1), Block(2 * width)
        self.dilated, self.up = nn.Conv2d(2 * width, 2 * width, 3, 1, 2, 2), nn.ConvTranspose2d(2 * width, width, 2, 2)
        self.merge, self.up2 = nn.Conv2d(2 * width, width, 3, 1, 1), nn.ConvTranspose2d(width, width, 2, 2)
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, rgb: Tensor, heat: Tensor) -> Tensor:
        a = self.e1(F.relu(self.fuse(torch.cat([F.relu(self.image(rgb)), F.relu(self.track(heat))], 1))))
        b = F.relu(self.dilated(self.e2(F.relu(self.down(a)))))
        out: Tensor = self.head(F.relu(self.up2(F.relu(self.merge(torch.cat([F.relu(self.up(b)), a], 1))))))
        return out


def shaken(network: nn.Module) -> nn.Module:
    """Norms that do something, and a head that is not nearly zero."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    head = getattr(network, "head", None)
    if isinstance(head, nn.Conv2d):
        nn.init.normal_(head.weight, 0, 0.2)
    return network.eval()


def foreign_file(path: Path, opset: int = 17, seed: int = 0) -> Path:
    """Write the foreign network as torch writes it, norms and all."""
    torch.manual_seed(seed)
    network = shaken(Foreign())
    planes = (torch.zeros(1, 3, SIDE, SIDE), torch.zeros(1, 1, SIDE, SIDE))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            network, planes, str(path), opset_version=opset, dynamo=False, input_names=["rgb", "heat"],
            output_names=["road_logits"], training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False,
        )  # fmt: skip
    return path


def own_network(name: str = "roadedge-n") -> RoadNet:
    """One of ours with random weights, as it is deployed."""
    torch.manual_seed(0)
    network = create_model(name)
    shaken(network)
    fold = {"fold": True} if name == "cmipnet" else {}
    deployed: RoadNet = network.deployed(**fold)
    return deployed


def own_graph(path: Path, name: str = "roadedge-n", side: int = SIDE) -> onnx.ModelProto:
    """One of ours as `roadedge export` writes it, metadata apart."""
    return write_graph(own_network(name), path, (side, side), 1)


def feeds_for(model: onnx.ModelProto, count: int = 3, seed: int = 0) -> list[dict[str, NDArray[np.generic]]]:
    """Smooth random pictures under the names and types of a graph's inputs."""
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        fed: dict[str, NDArray[np.generic]] = {}
        for port in model.graph.input:
            shape = [side.dim_value for side in port.type.tensor_type.shape.dim]
            level = generator.integers(0, 256, shape)
            small = port.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
            fed[port.name] = (level / 255).astype(np.float32) if small else level.astype(np.uint8)
        found.append(fed)
    return found
