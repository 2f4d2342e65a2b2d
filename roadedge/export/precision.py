"""Precision is a property of the graph: which there are, and the FP16 network."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from roadedge.models.blocks import Normalise, Precise, RoadNet

QUANTIZED = ("int8", "int8-fp16")  # the second part is that of the remainder, where it is not fp32
PRECISIONS = ("fp32", "fp16", *QUANTIZED)


class HalfAfter(nn.Module):
    """Runs a module in float32 and hands its result on in float16."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """The module's result, cast; a map in float16 is widened before."""
        out: Tensor = self.module(x.float() if x.dtype == torch.float16 else x)
        return out.half()


def halved(network: RoadNet) -> RoadNet:
    """A copy that computes in float16, but for what is `Precise` and the normalisation, which loses digits for nothing.

    Logits and sigmoid are float32 again, which `Border` sees to.
    """
    half = copy.deepcopy(network).half()
    for path, parent in list(half.named_modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Normalise | Precise):
                original = network.get_submodule(path).get_submodule(name)  # `child` is rounded already
                parent.add_module(name, HalfAfter(copy.deepcopy(original)))
    return half
