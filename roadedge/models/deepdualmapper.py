"""DeepDualMapper: an encoder for each input, gates that say at each place and scale whom to trust, a refining decoder.

At every scale the maps of both inputs are aligned, and two gates that sum to one weigh them. The decoder predicts at
each scale what the coarser prediction lacks, and each prediction is a target of training.

Source: "DeepDualMapper: A Gated Fusion Network for Automatic Map Extraction Using Aerial Images and Trajectories"
(AAAI 2020). Its code is not public; the trunk is D-LinkNet34's, as in the comparison of the CMMPNet paper (TNNLS 2022),
and what neither tells (the gate's kernel, channels of the heads) is ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from roadedge.models.dlinknet import Centre
from roadedge.models.linknet import LinkDecoder
from roadedge.models.resnet import DEPTHS, WIDTHS, Stem, residual_layer
from roadedge.models.streams import GreyNet
from roadedge.spec import ModelSpec

SCALES = ("sixteenth", "eighth", "quarter", "half")  # of what is predicted on the way


class Encoder(nn.Module):
    """ResNet-34 with D-LinkNet's centre: one input → maps at 1/4, 1/8, 1/16, 1/32."""

    def __init__(self, name: str, widths: Sequence[int]) -> None:
        super().__init__()
        self.stem = Stem((name,), widths[0], bias=True)
        for i, (width, depth) in enumerate(zip(widths, DEPTHS, strict=True)):
            self.add_module(f"layer{i + 1}", residual_layer(widths[max(0, i - 1)], width, depth))
        self.centre = Centre(widths[-1])

    def forward(self, x: Tensor) -> list[Tensor]:
        """The four maps, finest first."""
        maps = [self.stem(x)]
        for i in range(len(DEPTHS)):
            maps.append(self.get_submodule(f"layer{i + 1}")(maps[-1]))
        return [*maps[1:-1], self.centre(maps[-1])]


class GatedFusion(nn.Module):
    """Σ gate · aligned map over the inputs; the gates of a pixel sum to one."""

    def __init__(self, channels: int, inputs: int) -> None:
        super().__init__()
        self.align = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(inputs))
        self.gates = nn.Conv2d(inputs * channels, inputs, 3, padding=1) if inputs > 1 else None

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """(N, C, H, W) of each input → (N, C, H, W)."""
        aligned = [torch.relu(align(x)) for align, x in zip(self.align, maps, strict=True)]
        if self.gates is None:
            return aligned[0]
        gates = torch.softmax(self.gates(torch.cat(aligned, 1)), 1)
        fused = aligned[0] * gates[:, :1]
        for i in range(1, len(aligned)):
            fused = fused + aligned[i] * gates[:, i : i + 1]
        return fused


class DeepDualMapper(GreyNet):
    """Two encoders and a decoder.

    Args:
        spec: its inputs; with one input the gates are left out.
        width: what all widths are multiplied by.
    """

    def __init__(self, spec: ModelSpec, width: float = 1.0) -> None:
        super().__init__(spec)
        widths = [int(width * channels) for channels in WIDTHS]
        self.encoders = nn.ModuleDict({name: Encoder(name, widths) for name in spec.inputs})
        self.fusions = nn.ModuleList(GatedFusion(channels, len(spec.inputs)) for channels in widths)
        up = (*widths[2::-1], widths[0])
        self.decoders = nn.ModuleList(LinkDecoder(a, b) for a, b in zip((*widths[::-1], 0), up, strict=False))
        self.heads = nn.ModuleList(nn.Conv2d(channels, 1, 3, padding=1) for channels in up)
        fine = widths[0] // 2
        self.full = nn.Sequential(
            *(nn.ConvTranspose2d(widths[0], fine, 4, 2, 1), nn.ReLU(), nn.Conv2d(fine, fine, 3, padding=1), nn.ReLU()),
            nn.Conv2d(fine, 1, 3, padding=1),
        )
        self.grow = nn.Upsample(scale_factor=2, mode="bilinear")

    def forward(self, feeds: dict[str, Tensor]) -> dict[str, Tensor]:
        """Feeds → {"logits": (N, 1, H, W)}; in training also `half_logits` and so on, down to `sixteenth_logits`."""
        of_inputs = [encode(x) for encode, x in zip(self.encoders.values(), self.maps(feeds), strict=True)]
        fused = [fusion([maps[i] for maps in of_inputs]) for i, fusion in enumerate(self.fusions)]
        x, out = fused[3], {}
        coarse: Tensor | None = None
        for i, (decoder, head) in enumerate(zip(self.decoders, self.heads, strict=True)):
            x = decoder(x) if i == len(SCALES) - 1 else decoder(x) + fused[2 - i]
            coarse = head(x) if coarse is None else head(x) + self.grow(coarse)
            if self.training:
                out[f"{SCALES[i]}_logits"] = coarse
        assert coarse is not None
        return {"logits": self.full(x) + self.grow(coarse), **out}
