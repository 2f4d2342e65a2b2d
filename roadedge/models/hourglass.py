"""The joint connectivity network: two stacked hourglasses that predict the road and how many ways leave each place.

Every residual block weighs its channels by what the whole map says, and its pixels by the mean of their channels. What
the first hourglass predicts for both tasks is fed to the second one. The connectivity is there to teach: no
postprocessing reads it, and the deployed network is without it.

Two variants: of plain residual blocks, and "MB", where each task has an hourglass's way up for itself, and all that
follows it.

Source: "Fine-Grained Extraction of Road Networks via Joint Learning of Connectivity and Segmentation" (arXiv
2312.04744). Different from its code: the 5.35 M parameters that it builds and never calls are not there.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from roadedge.models.blocks import ResidualBlock, RoadNet, conv_bn, fold_batch_norms, freeze
from roadedge.models.layers import RoadDifference, joined, scaled_by_outputs
from roadedge.spec import ModelSpec

TASKS = {"logits": 2, "connectivity": 5}  # and their classes
WIDTH, STACKS, DEPTH, BLOCKS = 128, 2, 3, 3
Block = Callable[[int, int], nn.Module]  # of input and output channels


@dataclass(frozen=True, slots=True)
class Variant:
    """`gated`: blocks weigh channels and pixels, else they are plain. `branched`: each task decodes for itself."""

    gated: bool = True
    branched: bool = False


VARIANTS = {
    "joint-connectivity": Variant(),
    "joint-connectivity-plain": Variant(gated=False),
    "joint-connectivity-mb": Variant(branched=True),
}


class GlobalAwareBlock(nn.Module):
    """relu(shortcut(x) + gate(conv(relu(conv(x))))), gated by channel and then by pixel."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.second = conv_bn(inputs, outputs), conv_bn(outputs, outputs)
        self.shortcut = conv_bn(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.channels = nn.Sequential(
            nn.Conv2d(outputs, outputs // 16, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(outputs // 16, outputs, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, outputs, H, W)."""
        inner = self.second(torch.relu(self.first(x)))
        inner = inner * self.channels(inner.mean((2, 3), keepdim=True))
        inner = inner * torch.sigmoid(inner.mean(1, keepdim=True))
        out: Tensor = torch.relu(inner + self.shortcut(x))
        return out


class Hourglass(nn.Module):
    """Down by 2^depth and up again, the map of each size added on the way back."""

    def __init__(self, depth: int, block: Block = GlobalAwareBlock) -> None:
        super().__init__()
        self.shrink, self.grow = nn.MaxPool2d(2), nn.Upsample(scale_factor=2, mode="nearest")
        self.down, self.up = _group(block), _group(block)
        self.inner: nn.Module = Hourglass(depth - 1, block) if depth > 1 else _group(block)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 128, H, W) → the same shape."""
        out: Tensor = x + self.grow(self.up(self.inner(self.down(self.shrink(x)))))
        return out


class BranchedHourglass(nn.Module):
    """One way down and, from the smallest map on, one up for each task; the maps added are those of the way down."""

    def __init__(self, depth: int, block: Block = GlobalAwareBlock) -> None:
        super().__init__()
        self.shrink, self.grow = nn.MaxPool2d(2), nn.Upsample(scale_factor=2, mode="nearest")
        self.down, self.up = _group(block), _groups(block)
        self.inner: nn.Module = BranchedHourglass(depth - 1, block) if depth > 1 else Smallest(block)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(N, 128, H, W) → a map of that shape for each task."""
        inner = self.inner(self.down(self.shrink(x)))
        return {task: x + self.grow(up(inner[task])) for task, up in self.up.items()}


class Smallest(nn.Module):
    """Where the tasks part: each makes its own of the smallest map."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.groups = _groups(block)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(N, 128, H, W) → a map of that shape for each task."""
        return {task: group(x) for task, group in self.groups.items()}


class Stack(nn.Module):
    """An hourglass, what it makes of its map, and each task's prediction at 1/4."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.body: nn.Module = nn.Sequential(Hourglass(DEPTH, block), *_finish(block))
        self.heads = _small_heads()

    def made(self, x: Tensor) -> dict[str, Tensor]:
        """(N, 128, H, W) → what each task reads: the same map of that shape."""
        return dict.fromkeys(TASKS, self.body(x))


class BranchedStack(nn.Module):
    """As `Stack`, with a map for each task."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.body: nn.Module = BranchedHourglass(DEPTH, block)
        self.finish = nn.ModuleDict({task: nn.Sequential(*_finish(block)) for task in TASKS})
        self.heads = _small_heads()

    def made(self, x: Tensor) -> dict[str, Tensor]:
        """(N, 128, H, W) → what each task reads: a map of that shape of its own."""
        maps = self.body(x)
        return {task: finish(maps[task]) for task, finish in self.finish.items()}


class Feed(nn.Module):
    """What goes on to the next stack: the map that came, and for each task what was made of it and predicted."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.ModuleDict({task: nn.Conv2d(WIDTH, WIDTH, 1) for task in TASKS})
        self.predictions = nn.ModuleDict({task: nn.Conv2d(classes, WIDTH, 1) for task, classes in TASKS.items()})

    def forward(self, x: Tensor, made: dict[str, Tensor], predicted: dict[str, Tensor]) -> Tensor:
        """All (N, ., H/4, W/4); `predicted` holds raw logits."""
        for task in TASKS:
            x = x + self.maps[task](made[task]) + self.predictions[task](predicted[task])
        return x


class JointConnectivity(RoadNet):
    """14 973 013 parameters with an image alone, 14 871 637 of plain blocks, 23 930 709 with branches."""

    def __init__(self, spec: ModelSpec, variant: Variant) -> None:
        super().__init__(spec)
        block: Block = GlobalAwareBlock if variant.gated else ResidualBlock
        self.inputs = joined(spec)
        self.stem = nn.Sequential(
            *(nn.Conv2d(self.inputs.channels, 64, 7, 2, 3), nn.BatchNorm2d(64), nn.ReLU()),
            *(block(64, 64), nn.MaxPool2d(2), block(64, 64), block(64, WIDTH)),
        )
        self.stacks = nn.ModuleList((BranchedStack if variant.branched else Stack)(block) for _ in range(STACKS))
        self.feeds = nn.ModuleList(Feed() for _ in range(STACKS - 1))
        self.heads = nn.ModuleDict({task: _large_head(classes) for task, classes in TASKS.items()})
        self.difference = RoadDifference()
        scaled_by_outputs(self)

    def forward(self, feeds: dict[str, Tensor]) -> dict[str, Tensor]:
        """Feeds → {"logits": (N, 1, H, W), "connectivity": (N, 5, H, W)}.

        Connectivity k is the number of ways that leave a road pixel, 4 for four and more, 0 no road. In training both
        tasks come from each stack too, at 1/4: `first_logits`, `first_connectivity`, `second_logits` and
        `second_connectivity`. The deployed network has the logits alone.
        """
        x = self.stem(self.inputs(feeds))
        out: dict[str, Tensor] = {}
        for i, name in enumerate(("first", "second")):
            stack = self.stacks[i]
            assert isinstance(stack, Stack | BranchedStack)
            made = stack.made(x)
            predicted = {task: head(made[task]) for task, head in stack.heads.items()}
            if self.training:
                out[f"{name}_logits"] = self.difference(predicted["logits"])
                out[f"{name}_connectivity"] = predicted["connectivity"]
            if i < len(self.feeds):
                x = self.feeds[i](x, made, predicted)
        finals = {task: head(made[task]) for task, head in self.heads.items()}
        return out | finals | {"logits": self.difference(finals["logits"])}

    def deployed(self) -> JointConnectivity:
        """Without the heads and the branches that nothing reads, norms folded."""
        network = copy.deepcopy(self).eval()
        del network.heads["connectivity"]
        last = network.stacks[-1]
        assert isinstance(last, Stack | BranchedStack)
        last.heads = nn.ModuleDict()
        for branches in [module for module in last.modules() if isinstance(module, nn.ModuleDict)]:
            if "connectivity" in branches:
                del branches["connectivity"]
        freeze(network)
        fold_batch_norms(network)
        return network


def _group(block: Block) -> nn.Sequential:
    return nn.Sequential(*(block(WIDTH, WIDTH) for _ in range(BLOCKS)))


def _groups(block: Block) -> nn.ModuleDict:
    return nn.ModuleDict({task: _group(block) for task in TASKS})


def _finish(block: Block) -> tuple[nn.Module, ...]:
    return _group(block), nn.Conv2d(WIDTH, WIDTH, 1), nn.BatchNorm2d(WIDTH), nn.ReLU()


def _small_heads() -> nn.ModuleDict:
    return nn.ModuleDict(
        {
            task: nn.Sequential(nn.Conv2d(WIDTH, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, classes, 1))
            for task, classes in TASKS.items()
        }
    )


def _large_head(classes: int) -> nn.Sequential:
    """(N, 128, H, W) → (N, classes, 4H, 4W)."""
    return nn.Sequential(
        *(nn.Conv2d(WIDTH, 32, 1), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.ConvTranspose2d(32, 32, 3, 1, 1), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 64, 1), nn.BatchNorm2d(64), nn.ReLU()),
        *(nn.ConvTranspose2d(64, 32, 3, 2, 1, 1), nn.LeakyReLU(0.2)),
        *(nn.Conv2d(32, 32, 3, padding=1), nn.LeakyReLU(0.2)),
        nn.ConvTranspose2d(32, classes, 2, 2),
    )
