"""U-Net and Res-UNet at full resolution, with transposed convolutions or 1-D decoders on the way up.

Source: Ronneberger et al., "U-Net" (MICCAI 2015), and Zhang et al., "Road Extraction by Deep Residual U-Net" (GRSL
2018), in the form in which Sun et al. (CVPR 2019) and the CMMPNet paper (TNNLS 2022) compare with them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from roadedge.models.decoder_1d import StripDecoder
from roadedge.models.streams import Stream

WIDTHS = (64, 128, 256, 512)


@dataclass(frozen=True, slots=True)
class Layout:
    """Residual or plain stages, 1-D decoders or transposed convolutions, and what scales all widths."""

    residual: bool = False
    strips: bool = False
    width: float = 1.0


LAYOUTS = {
    "unet": Layout(),
    "unet-1d": Layout(strips=True),
    "resunet": Layout(residual=True),
    "resunet-1d": Layout(residual=True, strips=True),
}


class UStream(Stream):
    """One U-shaped encoder-decoder.

    Args:
        inputs: its channels, the image first.
        layout: which of the family.
    """

    skips = (3, 2, 1, 0)

    def __init__(self, inputs: Sequence[str], layout: Layout) -> None:
        super().__init__()
        widths = self.widths = tuple(int(layout.width * width) for width in WIDTHS)
        self.up_widths = widths[::-1]
        self.fine = widths[0]
        stage: Callable[[int, int], nn.Module] = ResidualStage if layout.residual else plain_stage
        channels = (sum(3 if name == "image" else 1 for name in inputs), *widths)
        self.encoder = nn.ModuleList(stage(channels[i], width) for i, width in enumerate(widths))
        self.pool = nn.MaxPool2d(2)
        deepest = widths[3] if layout.residual else 2 * widths[3]
        self.bridge = plain_stage(widths[3], deepest)
        pairs = list(zip((deepest, *self.up_widths), self.up_widths, strict=False))
        rise = StripDecoder if layout.strips else transposed
        self.enlarge = nn.ModuleList(rise(inputs, outputs) for inputs, outputs in pairs)
        self.decoder = nn.ModuleList(stage(2 * outputs, outputs) for _, outputs in pairs)

    def enter(self, x: Tensor) -> Tensor:
        """Nothing before the first stage."""
        return x

    def down(self, step: int, x: Tensor) -> Tensor:
        """A stage, at half the side of the one before."""
        out: Tensor = self.encoder[step](self.pool(x) if step else x)
        return out

    def turn(self, x: Tensor) -> Tensor:
        """The bridge, at a sixteenth of the side."""
        out: Tensor = self.bridge(self.pool(x))
        return out

    def up(self, step: int, x: Tensor, skip: Tensor | None) -> Tensor:
        """Double the side, take in the encoder's map, a stage."""
        assert skip is not None
        out: Tensor = self.decoder[step](torch.cat([self.enlarge[step](x), skip], 1))
        return out

    def finish(self, x: Tensor) -> Tensor:
        """The side is full already."""
        return x

    def last(self, channels: int) -> nn.Conv2d:
        """3 x 3."""
        return nn.Conv2d(channels, 1, 3, padding=1)


def plain_stage(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3 x 3 convolutions, each with bias, norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(),
    )  # fmt: skip


class ResidualStage(nn.Module):
    """relu(conv(relu(conv(x))) + projection(x)); always with a projection; the second convolution has a bias."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        self.projection = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, outputs, H, W)."""
        return torch.relu(self.inner(x) + self.projection(x))


def transposed(inputs: int, outputs: int) -> nn.Sequential:
    """Double the side by a 4 x 4 transposed convolution and ReLU."""
    return nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False), nn.ReLU())
