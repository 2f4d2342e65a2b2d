"""The joint connectivity network: two stacked hourglasses that predict the road and how many ways leave each place.

Every residual block weighs its channels by what the whole map says, and its pixels by the mean of their channels. What
the first hourglass predicts for both tasks is fed to the second one. The connectivity is there to teach: no
postprocessing reads it, and the deployed network is without it.

Source: "Fine-Grained Extraction of Road Networks via Joint Learning of Connectivity and Segmentation" (arXiv
2312.04744). Different from its code: the 5.35 M parameters that it builds and never calls are not there.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from roadedge.models.blocks import RoadNet, conv_bn, fold_batch_norms, freeze
from roadedge.models.layers import RoadDifference, joined, scaled_by_outputs
from roadedge.spec import ModelSpec

TASKS = {"logits": 2, "connectivity": 5}  # and their classes
WIDTH, STACKS, DEPTH, BLOCKS = 128, 2, 3, 3


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

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.shrink, self.grow = nn.MaxPool2d(2), nn.Upsample(scale_factor=2, mode="nearest")
        self.down, self.up = _group(), _group()
        self.inner: nn.Module = Hourglass(depth - 1) if depth > 1 else _group()

    def forward(self, x: Tensor) -> Tensor:
        """(N, 128, H, W) → the same shape."""
        out: Tensor = x + self.grow(self.up(self.inner(self.down(self.shrink(x)))))
        return out


class Stack(nn.Module):
    """An hourglass, what it makes of its map, and each task's prediction at 1/4."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            Hourglass(DEPTH), _group(), nn.Conv2d(WIDTH, WIDTH, 1), nn.BatchNorm2d(WIDTH), nn.ReLU()
        )
        self.heads = nn.ModuleDict({task: _small_head(classes) for task, classes in TASKS.items()})


class Feed(nn.Module):
    """What goes on to the next stack: the map that came, and for each task what was made of it and predicted."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.ModuleDict({task: nn.Conv2d(WIDTH, WIDTH, 1) for task in TASKS})
        self.predictions = nn.ModuleDict({task: nn.Conv2d(classes, WIDTH, 1) for task, classes in TASKS.items()})

    def forward(self, x: Tensor, made: Tensor, predicted: dict[str, Tensor]) -> Tensor:
        """All (N, ., H/4, W/4); `predicted` holds raw logits."""
        for task in TASKS:
            x = x + self.maps[task](made) + self.predictions[task](predicted[task])
        return x


class JointConnectivity(RoadNet):
    """14 973 013 parameters with an image alone."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.inputs = joined(spec)
        self.stem = nn.Sequential(
            *(nn.Conv2d(self.inputs.channels, 64, 7, 2, 3), nn.BatchNorm2d(64), nn.ReLU()),
            *(GlobalAwareBlock(64, 64), nn.MaxPool2d(2), GlobalAwareBlock(64, 64), GlobalAwareBlock(64, WIDTH)),
        )
        self.stacks = nn.ModuleList(Stack() for _ in range(STACKS))
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
            assert isinstance(stack, Stack)
            made = stack.body(x)
            predicted = {task: head(made) for task, head in stack.heads.items()}
            if self.training:
                out[f"{name}_logits"] = self.difference(predicted["logits"])
                out[f"{name}_connectivity"] = predicted["connectivity"]
            if i < len(self.feeds):
                x = self.feeds[i](x, made, predicted)
        finals = {task: head(made) for task, head in self.heads.items()}
        return out | finals | {"logits": self.difference(finals["logits"])}

    def deployed(self) -> JointConnectivity:
        """Without the heads that nothing reads, norms folded."""
        network = copy.deepcopy(self).eval()
        del network.heads["connectivity"]
        last = network.stacks[-1]
        assert isinstance(last, Stack)
        last.heads = nn.ModuleDict()
        freeze(network)
        fold_batch_norms(network)
        return network


def _group() -> nn.Sequential:
    return nn.Sequential(*(GlobalAwareBlock(WIDTH, WIDTH) for _ in range(BLOCKS)))


def _small_head(classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(WIDTH, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, classes, 1))


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
