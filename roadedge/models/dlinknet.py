"""The D-LinkNet34 trunk run on several streams at once: shared convolutions, a private batch-norm for each stream.

Each part has a frozen form for export. There a shared convolution stays one weight that all streams read, followed by
the constant scale and shift that the stream's norm is in eval mode; or, folded, it becomes one convolution per stream.

Source: D-LinkNet (CVPR workshops 2018) on ResNet-34; shared convolutions with private norms are CEN's (NeurIPS 2020).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

Streams = list[Tensor]  # one map (N, C, H, W) for each modality
Part = tuple[Tensor, tuple[int, ...]]  # output channels of a shared convolution, and the streams that need them
AnyConv = nn.Conv2d | nn.ConvTranspose2d


class SharedConv(nn.Module):
    """One convolution for all streams with a batch-norm for each."""

    def __init__(self, conv: AnyConv, streams: int) -> None:
        super().__init__()
        self.conv = conv
        self.norms = nn.ModuleList(nn.BatchNorm2d(conv.out_channels) for _ in range(streams))

    def forward(self, streams: Streams) -> Streams:
        """Convolution and norm of each stream."""
        return [norm(self.conv(x)) for norm, x in zip(self.norms, streams, strict=True)]

    def scales(self) -> Tensor:
        """|γ| of the norms, (streams, channels)."""
        return torch.stack([norm.weight for norm in self.norms if isinstance(norm, nn.BatchNorm2d)]).abs()

    def frozen(self, fold: bool) -> FrozenConv:
        """The same in eval mode; `fold` gives each stream a convolution of its own."""
        return FrozenConv(self, self.parts(fold))

    def parts(self, fold: bool) -> list[Part]:
        """All channels for all streams, as one part or as one for each stream."""
        every = torch.arange(self.conv.out_channels, device=self.conv.weight.device)
        readers = range(len(self.norms))
        return [(every, (m,)) for m in readers] if fold else [(every, tuple(readers))]


class FrozenConv(nn.Module):
    """`SharedConv` in eval mode, cut into parts that compute some output channels for some streams.

    What one stream alone reads is folded; what several read keeps its shared weight. Each stream gets the channels of
    its parts in the order of the parts.
    """

    def __init__(self, shared: SharedConv, parts: Sequence[Part]) -> None:
        super().__init__()
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        self.readers = [readers for channels, readers in parts if len(channels)]
        for channels, readers in parts:
            if not len(channels):
                continue
            norms = [Affine(shared.norms[m], channels) for m in readers]
            conv = narrowed(shared.conv, channels)
            if len(norms) == 1:
                conv, norms = norms[0].folded_into(conv), []
            self.convs.append(conv)
            self.norms.append(nn.ModuleList(norms))

    def forward(self, streams: Streams) -> Streams:
        """As `SharedConv.forward`, each stream with its own channels only."""
        out: list[list[Tensor]] = [[] for _ in streams]
        for conv, norms, readers in zip(self.convs, self.norms, self.readers, strict=True):
            if len(readers) == 1:
                out[readers[0]].append(conv(streams[readers[0]]))
                continue
            assert isinstance(norms, nn.ModuleList)
            for norm, m in zip(norms, readers, strict=True):
                out[m].append(norm(conv(streams[m])))
        return [torch.cat(maps, 1) if len(maps) > 1 else maps[0] for maps in out]


class Affine(nn.Module):
    """A batch-norm in eval mode: constant scale and shift per channel."""

    scale: Tensor
    shift: Tensor

    def __init__(self, norm: nn.Module, channels: Tensor) -> None:
        super().__init__()
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
        shift = norm.bias.detach() - norm.running_mean * scale
        self.register_buffer("scale", scale[channels].view(1, -1, 1, 1))
        self.register_buffer("shift", shift[channels].view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the same shape."""
        return x * self.scale + self.shift

    def folded_into(self, conv: AnyConv) -> AnyConv:
        """A copy of `conv` that does this as well."""
        out = copy.deepcopy(conv)
        outputs = (1, -1, 1, 1) if isinstance(conv, nn.ConvTranspose2d) else (-1, 1, 1, 1)
        scale, shift = self.scale.flatten(), self.shift.flatten()
        out.weight = nn.Parameter(conv.weight.detach() * scale.view(outputs))
        out.bias = nn.Parameter(shift if conv.bias is None else conv.bias.detach() * scale + shift)
        return out


def narrowed(conv: AnyConv, channels: Tensor) -> AnyConv:
    """A copy of `conv` that computes the output channels `channels` only, in that order."""
    out = copy.deepcopy(conv)
    axis = 1 if isinstance(conv, nn.ConvTranspose2d) else 0
    out.weight = nn.Parameter(conv.weight.detach().index_select(axis, channels))
    out.bias = None if conv.bias is None else nn.Parameter(conv.bias.detach()[channels])
    out.out_channels = len(channels)
    return out


class Centre(nn.Module):
    """D-LinkNet's centre: 3 x 3 convolutions in series, dilation 1, 2, 4, 8; the input plus all four outputs."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=d, dilation=d) for d in (1, 2, 4, 8))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the same shape."""
        total = x
        for conv in self.convs:
            x = torch.relu(conv(x))
            total = total + x
        return total


class Decoder(nn.Module):
    """Squeeze to a quarter of the channels, double the side by a transposed convolution, widen to `outputs`."""

    def __init__(self, inputs: int, outputs: int, streams: int) -> None:
        super().__init__()
        middle = inputs // 4
        self.squeeze = SharedConv(nn.Conv2d(inputs, middle, 1, bias=False), streams)
        self.enlarge = SharedConv(nn.ConvTranspose2d(middle, middle, 3, 2, padding=1, output_padding=1), streams)
        self.widen = SharedConv(nn.Conv2d(middle, outputs, 1, bias=False), streams)

    def forward(self, streams: Streams) -> Streams:
        """(N, inputs, H, W) → (N, outputs, 2H, 2W) for each stream."""
        for part in (self.squeeze, self.enlarge, self.widen):
            streams = [torch.relu(x) for x in part(streams)]
        return streams
