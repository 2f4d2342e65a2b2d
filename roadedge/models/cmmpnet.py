"""CMMPNet: two encoder-decoders that tell each other at eight places what they see, through gates.

A Dual Enhancement Module makes of each stream's map a local message (a map) and a global one (a vector, from the maxima
over a pyramid of cells of the local one), weighs both by gates that the sender computes, and adds them to the other
stream's map.

Source: "Cross-Modal Message Propagation Network" (TNNLS 2022) and what its code does (liulingbo918/CMMPNet at 8da4d0b).
Different from that code: the image comes as red, green, blue; logits are returned without the sigmoid; and the parts
that the paper leaves out in turn can be left out.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from roadedge.models import linknet, unet
from roadedge.models.blocks import Freezable, Whole, fold_batch_norms
from roadedge.models.streams import Between, LateFusion, Stream
from roadedge.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Messages:
    """What the streams tell each other; the paper's ablations leave parts out.

    Without gates messages are added as they are. `levels` are the cells along a side of the pyramid's levels.
    """

    local_map: bool = True
    global_vector: bool = True
    gates: bool = True
    levels: tuple[int, ...] = (1, 2, 4)


@dataclass(frozen=True, slots=True)
class Variant:
    """A trunk by its name in `linknet.LAYOUTS` or `unet.LAYOUTS`, the messages, and what scales all widths."""

    trunk: str = "dlinknet34"
    messages: Messages = Messages()
    width: float = 1.0


VARIANTS = {
    "cmmpnet": Variant(),
    "cmmpnet-slim": Variant(width=0.25),
    "cmmpnet-linknet34": Variant("linknet34"),
    "cmmpnet-resunet": Variant("resunet"),
    "cmmpnet-local": Variant(messages=Messages(global_vector=False, gates=False)),
    "cmmpnet-local-global": Variant(messages=Messages(gates=False)),
    "cmmpnet-local-gate": Variant(messages=Messages(global_vector=False)),
    "cmmpnet-spp1": Variant(messages=Messages(levels=(1,))),
    "cmmpnet-spp2": Variant(messages=Messages(levels=(1, 2))),
    "cmmpnet-spp4": Variant(messages=Messages(levels=(1, 2, 4, 8))),
}


class CMMPNet(LateFusion):
    """84 993 857 parameters with image and trajectory; with one input the trunk that remains."""

    def __init__(self, spec: ModelSpec, variant: Variant) -> None:
        super().__init__(spec, lambda inputs: trunk(inputs, variant))
        first = self.lanes()[0]
        widths = (*first.widths, *first.up_widths) if len(spec.inputs) == 2 else ()
        self.enhance = nn.ModuleList(DualEnhancement(width, variant.messages) for width in widths)

    def between(self) -> Sequence[Between]:
        """The enhancements, after each step."""
        return list(self.enhance)


class DualEnhancement(nn.Module):
    """Adds to each of two maps the message of the other one; both messages are of the maps that came in."""

    def __init__(self, channels: int, messages: Messages) -> None:
        super().__init__()
        self.senders = nn.ModuleList(Message(channels, messages) for _ in range(2))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Two maps (N, C, H, W) → two of the same shape."""
        first, second = (sender(x) for sender, x in zip(self.senders, maps, strict=True))
        return [maps[0] + second, maps[1] + first]


class Message(Freezable):
    """What one stream sends: α ⊙ L + β ⊙ g, with L the local map, g the global vector, α and β in (0, 1) of both."""

    def __init__(self, channels: int, messages: Messages) -> None:
        super().__init__()
        self.messages = messages
        self.local = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels))
        known = channels
        if messages.global_vector:
            self.pyramid = MaxPyramid(messages.levels)
            cells = sum(level**2 for level in messages.levels)
            self.squeeze = nn.Conv2d(cells * channels, channels, 1)
            known += channels
        if messages.gates:
            names = ["local"] * messages.local_map + ["global"] * messages.global_vector
            self.gates = nn.ModuleDict({f"of_{name}": nn.Conv2d(known, channels, 1) for name in names})

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the message, which can be added to a map of that shape."""
        local: Tensor = self.local(x)
        vector: Tensor | None = None
        known = local
        if self.messages.global_vector:
            vector = torch.relu(self.squeeze(self.pyramid(local)))
            known = torch.cat([local, vector.expand_as(local)], 1)
        gates = [torch.sigmoid(gate(known)) for gate in self.gates.values()] if self.messages.gates else None
        return weighed(self.messages, local, vector, gates)

    def frozen(self) -> nn.Module:
        """A global vector is the same in every pixel, and is weighed once for each image and not in every pixel."""
        fold_batch_norms(self)
        return LeanMessage(self) if self.messages.gates and self.messages.global_vector else self


class LeanMessage(nn.Module):
    """`Message` for export: W [L; g] = W_L L + W_g g, all gates in one convolution."""

    def __init__(self, message: Message) -> None:
        super().__init__()
        self.messages = message.messages
        self.local, self.pyramid, self.squeeze = message.local, message.pyramid, message.squeeze
        gates = [gate for gate in message.gates.values() if isinstance(gate, nn.Conv2d)]
        channels, outputs = gates[0].out_channels, sum(gate.out_channels for gate in gates)
        weight = torch.cat([gate.weight.detach() for gate in gates])
        biases = [gate.bias.detach() for gate in gates if gate.bias is not None]
        self.by_local = nn.Conv2d(channels, outputs, 1, bias=False)
        self.by_global = nn.Conv2d(channels, outputs, 1)
        self.by_local.weight = nn.Parameter(weight[:, :channels].clone())
        self.by_global.weight = nn.Parameter(weight[:, channels:].clone())
        self.by_global.bias = nn.Parameter(torch.cat(biases))

    def forward(self, x: Tensor) -> Tensor:
        """As `Message.forward`."""
        local: Tensor = self.local(x)
        vector = torch.relu(self.squeeze(self.pyramid(local)))
        gates = torch.sigmoid(self.by_local(local) + self.by_global(vector))
        parts = gates.chunk(1 + self.messages.local_map, 1)
        return weighed(self.messages, local, vector, [parts[i] for i in range(1 + self.messages.local_map)])


def weighed(messages: Messages, local: Tensor, vector: Tensor | None, gates: list[Tensor] | None) -> Tensor:
    """The sum of the parts that are sent, each times its gate."""
    parts = [local] if messages.local_map else []
    if vector is not None:
        parts.append(vector)
    if gates is not None:
        parts = [gate * part for gate, part in zip(gates, parts, strict=True)]
    return parts[0] + parts[1] if len(parts) == 2 else parts[0]


class MaxPyramid(Whole):
    """(N, C, H, W) → (N, C Σ level², 1, 1): maxima over level x level cells, channel by channel, level after level.

    What `nn.AdaptiveMaxPool2d` computes, in operators that every runtime has: fixed pooling where the sides divide,
    else maxima over slices. Exported, sides are constants, and the graph goes with no other.
    """

    fixed_size = True

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        self.levels = tuple(levels)

    def forward(self, x: Tensor) -> Tensor:
        """Pool on every level and stack."""
        with warnings.catch_warnings():  # traced, they become constants, which is what we want
            warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
            height, width = int(x.shape[-2]), int(x.shape[-1])
        cells = [cell_maxima(x, level, height, width).flatten(1) for level in self.levels]
        return torch.cat(cells, 1)[:, :, None, None]


def cell_maxima(x: Tensor, level: int, height: int, width: int) -> Tensor:
    """(N, C, height, width) → (N, C, level, level)."""
    if level == 1:
        return x.amax((2, 3), keepdim=True)
    if height % level == 0 and width % level == 0:
        return nn.functional.max_pool2d(x, (height // level, width // level))
    rows = [x[:, :, start:stop].amax(2, keepdim=True) for start, stop in cells_along(height, level)]
    x = torch.cat(rows, 2)
    return torch.cat([x[..., start:stop].amax(3, keepdim=True) for start, stop in cells_along(width, level)], 3)


def cells_along(length: int, level: int) -> list[tuple[int, int]]:
    """From floor(i length / level) up to ceil((i + 1) length / level)."""
    return [(i * length // level, -(-(i + 1) * length // level)) for i in range(level)]


def trunk(inputs: tuple[str, ...], variant: Variant) -> Stream:
    """A stream of the trunk that the variant names."""
    if variant.trunk in linknet.LAYOUTS:
        layout = dataclasses.replace(linknet.LAYOUTS[variant.trunk], width=variant.width)
        return linknet.LinkStream(inputs, layout, raster_bias=True)
    return unet.UStream(inputs, dataclasses.replace(unet.LAYOUTS[variant.trunk], width=variant.width))
