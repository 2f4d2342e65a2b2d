"""The decoder block of strip convolutions: 1 x 9, 9 x 1 and both diagonals, for roads, which are long and thin.

Source: Sun et al., "Leveraging Crowdsourced GPS Data for Road Extraction from Aerial Imagery" (CVPR 2019). Different
from the published code: a transposed convolution of stride 1 is a convolution with its kernel turned round, and stands
here as that; a diagonal is nine shifted 1 x 1 convolutions, so that no map must be square or sheared; and the two
diagonals are two (in the published code both run the same way, which `published_diagonals` brings back).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from roadedge.models.blocks import Freezable, scale_and_shift

TAPS = 9


class StripDecoder(Freezable):
    """Squeeze to a quarter of the channels, four strips side by side, double the side, widen to `outputs`."""

    def __init__(self, inputs: int, outputs: int, published_diagonals: bool = False) -> None:
        super().__init__()
        middle, straight, diagonal = inputs // 4, inputs // 8, inputs // 16
        self.squeeze = nn.Sequential(nn.Conv2d(inputs, middle, 1), nn.BatchNorm2d(middle), nn.ReLU())
        self.strips = nn.ModuleList(
            (
                nn.Conv2d(middle, straight, (1, TAPS), padding=(0, TAPS // 2)),
                nn.Conv2d(middle, straight, (TAPS, 1), padding=(TAPS // 2, 0)),
                DiagonalConv(middle, diagonal, rising=True),
                DiagonalConv(middle, diagonal, rising=published_diagonals),
            )
        )
        joined = 2 * (straight + diagonal)
        self.norm: nn.Module = nn.BatchNorm2d(joined)
        self.widen = nn.Sequential(nn.Conv2d(joined, outputs, 1), nn.BatchNorm2d(outputs), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, outputs, 2H, 2W)."""
        x = self.squeeze(x)
        joined = torch.cat([strip(x) for strip in self.strips], 1)
        doubled = nn.functional.interpolate(joined, scale_factor=2.0, mode="nearest")
        out: Tensor = self.widen(torch.relu(self.norm(doubled)))
        return out

    def frozen(self) -> nn.Module:
        """The norm behind the strips goes into them: doubling by the nearest value changes no value."""
        assert isinstance(self.norm, nn.BatchNorm2d)
        scale, shift = scale_and_shift(self.norm)
        start = 0
        with torch.no_grad():
            for strip in self.strips:
                diagonal = isinstance(strip, DiagonalConv)
                conv = strip.taps if diagonal else strip
                assert isinstance(conv, nn.Conv2d)
                assert isinstance(strip.bias, Tensor)
                part = slice(start, start + len(strip.bias))
                conv.weight.mul_(scale[part].repeat(TAPS if diagonal else 1)[:, None, None, None])
                strip.bias.mul_(scale[part]).add_(shift[part])
                start = part.stop
        self.norm = nn.Identity()
        return self


class DiagonalConv(nn.Module):
    """Nine taps along a diagonal: rising (↗), or falling (↘).

    One 1 x 1 convolution computes all taps, tap after tap; each is then shifted to its place and they are added.
    """

    def __init__(self, inputs: int, outputs: int, rising: bool) -> None:
        super().__init__()
        self.outputs, self.rising = outputs, rising
        # Padded, it computes zeros around the map, which the shifts then bring in.
        self.taps = nn.Conv2d(inputs, TAPS * outputs, 1, padding=TAPS // 2, bias=False)
        bound = (inputs * TAPS) ** -0.5
        nn.init.uniform_(self.taps.weight, -bound, bound)  # torch's default for a kernel of nine taps
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, outputs, H, W); outside the map are zeros."""
        height, width = x.shape[2], x.shape[3]
        taps = self.taps(x)
        total = self.bias.view(1, -1, 1, 1)
        for k in range(TAPS):
            row, column = k, TAPS - 1 - k if self.rising else k
            tap = taps[:, k * self.outputs : (k + 1) * self.outputs]
            total = total + tap[:, :, row : row + height, column : column + width]
        return total
