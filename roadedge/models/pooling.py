"""Adaptive average pooling in a form that can be exported: fixed pooling where sizes divide, else two products."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from roadedge.models.blocks import Whole


class AdaptivePool(Whole):
    """What `nn.AdaptiveAvgPool2d(side)` computes, (N, C, H, W) → (N, C, side, side).

    A mean over bins is linear and its rows and columns part, so that it is a (side, H) matrix from the left and a
    (W, side) matrix from the right. Exported, they are constants of that size, and the graph goes with no other.
    """

    fixed_size = True

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        """Pool."""
        height, width = _size(x)
        if height % self.side == 0 and width % self.side == 0:
            return nn.functional.avg_pool2d(x, (height // self.side, width // self.side))
        rows, columns = (bins(length, self.side).to(x) for length in (height, width))
        return rows @ x @ columns.transpose(0, 1)


def bins(length: int, side: int) -> Tensor:
    """(side, length): row i averages the pixels from floor(i length / side) up to ceil((i + 1) length / side)."""
    matrix = np.zeros((side, length), np.float32)  # traced, a constant; filled by torch, a chain of nodes
    for i in range(side):
        start, stop = i * length // side, -(-(i + 1) * length // side)
        matrix[i, start:stop] = 1 / (stop - start)
    with _constants():
        return torch.from_numpy(matrix)


def _size(x: Tensor) -> tuple[int, int]:
    with _constants():
        return int(x.shape[-2]), int(x.shape[-1])


@contextlib.contextmanager
def _constants() -> Iterator[None]:
    """What is made in here becomes a constant when it is traced, as it shall; torch warns of that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        yield
