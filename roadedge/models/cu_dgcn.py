"""CU-dGCN: a ConvNeXt encoder, UPerNet's pyramid, roads and their orientation at three scales, graph reasoning.

The road branch grows from 1/4 to full size and reasons on a graph at each scale; the orientation branch grows beside
it from the finest level of the pyramid, to teach the encoder; the deployed network is without it.

Source: "Graph Reasoned Multi-Scale Road Segmentation in Remote Sensing Imagery" (IGARSS 2023). Different from its code:
paths are dropped in training only, and what is kept is scaled up; the image is RGB.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from roadedge.models.blocks import RoadNet, fold_batch_norms, freeze
from roadedge.models.convnext import ConvNext
from roadedge.models.dual_graph import DualGraph
from roadedge.models.layers import Enlarge, RoadDifference, joined, scaled_by_outputs
from roadedge.models.pooling import AdaptivePool
from roadedge.spec import ModelSpec

POOLS = (6, 3, 2, 1)
PLANES = 32  # channels of the road branch
ORIENTATIONS = 37  # tangents in steps of ten degrees, and no road
MEAN, STD = (71.31, 71.16, 70.95, 0.0), (1.0, 1.0, 1.0, 1.0)  # grey levels; not divided, as published


@dataclass(frozen=True, slots=True)
class Size:
    """Channels and blocks of the encoder's stages; the first width is that of the pyramid too."""

    widths: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]


SIZES = {
    "cu-dgcn-tiny": Size((96, 192, 384, 768), (3, 3, 9, 3)),
    "cu-dgcn-small": Size((96, 192, 384, 768), (3, 3, 27, 3)),
    "cu-dgcn": Size((128, 256, 512, 1024), (3, 3, 27, 3)),
    "cu-dgcn-large": Size((192, 384, 768, 1536), (3, 3, 27, 3)),
    "cu-dgcn-xlarge": Size((256, 512, 1024, 2048), (3, 3, 27, 3)),
}


class CUdGCN(RoadNet):
    """Base has 90 841 134 parameters with an image alone."""

    def __init__(self, spec: ModelSpec, size: Size) -> None:
        super().__init__(dataclasses.replace(spec, mean=MEAN, std=STD))
        self.inputs = joined(self.spec)
        self.encoder = ConvNext(self.inputs.channels, size.widths, size.depths)
        self.pyramid = Pyramid(size.widths)
        self.road = RoadBranch(size.widths[0])
        self.orientation: nn.Module | None = OrientationBranch(size.widths[0])
        scaled_by_outputs(self, of_group=False)  # as published

    def forward(self, feeds: dict[str, Tensor]) -> dict[str, Tensor]:
        """Feeds → {"logits": (N, 1, H, W), "orientation": (N, 37, H, W)}.

        Orientation k < 36 is a tangent of 10 k to 10 k + 10 degrees, 36 no road. In training both also come at 1/2 and
        1/4, under `half_logits`, `quarter_logits`, `half_orientation` and `quarter_orientation`. The deployed network
        has the road alone.
        """
        levels = self.pyramid(self.encoder(self.inputs(feeds)))
        out: dict[str, Tensor] = self.road(levels)
        if self.orientation is not None:
            out |= self.orientation(levels[0])
        return out

    def deployed(self) -> CUdGCN:
        """Without the orientation branch, norms folded."""
        network = copy.deepcopy(self).eval()
        network.orientation = None
        freeze(network)
        fold_batch_norms(network)
        return network


class Pyramid(nn.Module):
    """UPerNet's: pooled context at 1/32, then from coarse to fine; four maps of the first width, finest first."""

    def __init__(self, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        width, deepest = widths[0], widths[-1]
        self.pools = nn.ModuleList(nn.Sequential(AdaptivePool(side), _unit(deepest, width, 1)) for side in POOLS)
        self.context = _unit(deepest + len(POOLS) * width, width, 3)
        self.laterals = nn.ModuleList(_unit(one, width, 1) for one in widths[:3])
        self.smooth = nn.ModuleList(_unit(width, width, 3) for _ in range(3))
        self.enlarge_pool, self.enlarge = Enlarge(align_corners=True), Enlarge()

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """The encoder's maps → levels at 1/4, 1/8, 1/16, 1/32."""
        deepest = maps[3]
        pooled = [self.enlarge_pool(pool(deepest), deepest) for pool in self.pools]
        above = self.context(torch.cat([deepest, *pooled], 1))
        levels = [above]
        for i in (2, 1, 0):
            above = self.laterals[i](maps[i]) + self.enlarge(above, maps[i])
            levels.insert(0, self.smooth[i](above))
        return levels


class RoadBranch(nn.Module):
    """Four levels → the road at 1/4, 1/2 and full size, each reasoned on and added to the one below."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enlarge, self.difference = Enlarge(), RoadDifference()
        self.at_quarter = _unit(4 * width, PLANES, 3)
        self.at_half = _doubled(PLANES)
        self.at_full = nn.Sequential(nn.ConvTranspose2d(PLANES, PLANES, 3, 2), nn.ReLU())
        self.graphs = nn.ModuleList(DualGraph(PLANES) for _ in range(3))
        self.coarse_head = nn.Sequential(nn.Conv2d(PLANES, PLANES, 1), nn.ReLU(), nn.Conv2d(PLANES, 2, 1))
        self.fine_head = nn.Sequential(nn.Conv2d(PLANES, PLANES, 3), nn.ReLU(), nn.Conv2d(PLANES, 2, 2, padding=1))

    def forward(self, levels: list[Tensor]) -> dict[str, Tensor]:
        """Levels → `logits`, and in training `half_logits` and `quarter_logits`."""
        fine = levels[0]
        quarter = self.at_quarter(torch.cat([fine, *(self.enlarge(one, fine) for one in levels[1:])], 1))
        half = self.at_half(quarter)
        full = self.at_full(half)  # 2 n + 1 wide, as the head wants it
        first = self.graphs[0](quarter)
        second = self.enlarge(first, half) + self.graphs[1](half)
        third = self.enlarge(second, full) + self.graphs[2](full)
        out = {"logits": self.difference(self.fine_head(third))}
        if self.training:
            out["half_logits"] = self.difference(self.coarse_head(second))
            out["quarter_logits"] = self.difference(self.coarse_head(first))
        return out


class OrientationBranch(nn.Module):
    """The finest level → orientation logits at three scales."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.at_quarter, self.at_half = _unit(width, width, 3), _doubled(width)
        self.at_full = nn.Sequential(nn.ConvTranspose2d(width, 32, 3, 2), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU())
        self.coarse_head = nn.Conv2d(width, ORIENTATIONS, 1)
        self.fine_head = nn.Conv2d(32, ORIENTATIONS, 2, padding=1)

    def forward(self, level: Tensor) -> dict[str, Tensor]:
        """Level → `orientation`, and in training `half_orientation` and `quarter_orientation`."""
        quarter = self.at_quarter(level)
        half = self.at_half(quarter)
        out = {"orientation": self.fine_head(self.at_full(half))}
        if self.training:
            out["half_orientation"], out["quarter_orientation"] = self.coarse_head(half), self.coarse_head(quarter)
        return out


def _unit(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


def _doubled(width: int) -> nn.Sequential:
    """(N, width, H, W) → (N, width, 2H, 2W) through a quarter of the channels."""
    narrow = width // 4
    return nn.Sequential(
        *(nn.Conv2d(width, narrow, 1), nn.BatchNorm2d(narrow), nn.ReLU()),
        *(nn.ConvTranspose2d(narrow, narrow, 3, 2, 1, 1), nn.BatchNorm2d(narrow), nn.ReLU()),
        *(nn.Conv2d(narrow, width, 1), nn.BatchNorm2d(width), nn.ReLU()),
    )
