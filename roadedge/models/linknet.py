"""LinkNet34, D-LinkNet34 and ResUNet34: ResNet-34 with light decoders that add the encoder's maps.

Source: Zhou et al., "D-LinkNet" (CVPR workshops 2018), and LinkNet (2017), in the form in which Sun et al. (CVPR 2019)
and the CMMPNet paper (TNNLS 2022) compare with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from roadedge.models.decoder_1d import StripDecoder
from roadedge.models.dlinknet import Centre
from roadedge.models.resnet import DEPTHS, WIDTHS, Stem, residual_layer
from roadedge.models.streams import Stream


@dataclass(frozen=True, slots=True)
class Layout:
    """What the networks of this family differ in.

    `centre` at the deepest place is `dilated` (D-LinkNet's), `plain` (one 3 x 3 convolution) or `none`. `odd_head`
    is LinkNet's, whose maps have a side of 2n + 1 and 2n - 1. `strips` are the 1-D decoders. `width` scales all.
    """

    centre: str = "dilated"
    odd_head: bool = False
    strips: bool = False
    width: float = 1.0


LAYOUTS = {
    "linknet34": Layout("none", odd_head=True),
    "dlinknet34": Layout("dilated"),
    "resunet34": Layout("plain"),
    "linknet34-1d": Layout("none", odd_head=True, strips=True),
    "dlinknet34-1d": Layout("dilated", strips=True),
}


class LinkStream(Stream):
    """One encoder-decoder of the family.

    Args:
        inputs: its channels, the image first.
        layout: which of the family.
        raster_bias: whether the stem of a raster that is alone has a bias; published so where it has a stream of its
            own beside an image.
    """

    skips = (2, 1, 0, None)

    def __init__(self, inputs: Sequence[str], layout: Layout, raster_bias: bool = False) -> None:
        super().__init__()
        widths = self.widths = tuple(int(layout.width * width) for width in WIDTHS)
        self.up_widths = (*widths[2::-1], widths[0])
        self.fine = widths[0] // 2
        self.odd_head = layout.odd_head
        self.stem = Stem(inputs, widths[0], raster_bias)
        for i, (width, depth) in enumerate(zip(widths, DEPTHS, strict=True)):
            self.add_module(f"layer{i + 1}", residual_layer(widths[max(0, i - 1)], width, depth))
        self.centre = centre(layout.centre, widths[3])
        decoder = StripDecoder if layout.strips else LinkDecoder
        pairs = zip((*widths[::-1], 0), self.up_widths, strict=False)
        self.decoders = nn.ModuleList(decoder(inputs, outputs) for inputs, outputs in pairs)
        self.enlarge = nn.ConvTranspose2d(widths[0], self.fine, 3 if self.odd_head else 4, 2, int(not self.odd_head))
        self.smooth = nn.Conv2d(self.fine, self.fine, 3, padding=int(not self.odd_head))

    def enter(self, x: Tensor) -> Tensor:
        """To a quarter of the side."""
        out: Tensor = self.stem(x)
        return out

    def down(self, step: int, x: Tensor) -> Tensor:
        """One of ResNet's layers."""
        out: Tensor = self.get_submodule(f"layer{step + 1}")(x)
        return out

    def turn(self, x: Tensor) -> Tensor:
        """The centre."""
        out: Tensor = self.centre(x)
        return out

    def up(self, step: int, x: Tensor, skip: Tensor | None) -> Tensor:
        """Double the side, add the encoder's map."""
        out: Tensor = self.decoders[step](x)
        return out if skip is None else out + skip

    def finish(self, x: Tensor) -> Tensor:
        """To the full side."""
        return torch.relu(self.smooth(torch.relu(self.enlarge(x))))

    def last(self, channels: int) -> nn.Conv2d:
        """3 x 3, or 2 x 2 that makes up for the odd side."""
        return nn.Conv2d(channels, 1, 2 if self.odd_head else 3, padding=1)


class LinkDecoder(nn.Sequential):
    """Squeeze to a quarter of the channels, double the side by a transposed convolution, widen to `outputs`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        middle = inputs // 4
        super().__init__(
            nn.Conv2d(inputs, middle, 1), nn.BatchNorm2d(middle), nn.ReLU(),
            nn.ConvTranspose2d(middle, middle, 3, 2, 1, output_padding=1), nn.BatchNorm2d(middle), nn.ReLU(),
            nn.Conv2d(middle, outputs, 1), nn.BatchNorm2d(outputs), nn.ReLU(),
        )  # fmt: skip


def centre(kind: str, channels: int) -> nn.Module:
    """What stands at the deepest place."""
    if kind == "dilated":
        return Centre(channels)
    return nn.Conv2d(channels, channels, 3, padding=1) if kind == "plain" else nn.Identity()
