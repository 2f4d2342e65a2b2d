"""Losses of road extraction; pixels that the truth ignores count in none of them.

The road loss is one of `ROAD_LOSSES`. A network may give more outputs than its logits: roads at coarser scales, and
the classes of other tasks (`training.tasks`). `total_loss` is the sum over all.

A batch may be spread over several processes. `across` sums what each of them counted; then the loss on each is that of
the whole batch, and not a mean of losses of its parts, which is something else where it is a ratio of sums.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from roadedge.data.road_labels import IGNORED_CLASS, label_key
from roadedge.training.recipe import Recipe
from roadedge.training.tasks import ROAD, task_of

IGNORED = 128
Across = Callable[[Tensor], Tensor]  # (K,) sums of this process → those of all


def alone(sums: Tensor) -> Tensor:
    """The sums as they are: the batch is here as a whole."""
    return sums


def totals(across: Across, *sums: Tensor) -> tuple[Tensor, ...]:
    """Scalars summed over the processes at once; in float64, which holds any count of pixels."""
    return across(torch.stack([one.double() for one in sums])).float().unbind()


def road_loss(logits: Tensor, target: Tensor, dice: float = 1.0, across: Across = alone) -> Tensor:
    """BCE(p, y) + dice * (1 - Dice(p, y)).

    Args:
        logits: (N, 1, H, W).
        target: (N, H, W) uint8, 255 road, 0 not, 128 ignored.
        dice: weight of the second term.
        across: as above.

    Returns:
        A scalar; zero where all pixels are ignored.

    Source: CMIPNet and D-LinkNet; Dice over the batch is (2 sum(py) + 1) / (sum(p) + sum(y) + 1).
    """
    known = (target != IGNORED).unsqueeze(1)
    y = (target == 255).unsqueeze(1).float()
    values = logits.float()
    each = torch.nn.functional.binary_cross_entropy_with_logits(values, y, reduction="none")
    p = torch.sigmoid(values) * known
    y = y * known
    entropy, pixels, both, found, true = totals(
        across, (each * known).sum(), known.sum(), (p * y).sum(), p.sum(), y.sum()
    )
    overlap = (2 * both + 1) / (found + true + 1)
    return entropy / pixels.clamp(min=1) + dice * (1 - overlap)


def soft_iou_loss(logits: Tensor, target: Tensor, across: Across = alone) -> Tensor:
    """1 minus the mean over images and both classes of Σpy / (Σp + Σy - Σpy).

    Args:
        logits: (N, 1, H, W), the difference of the two classes' logits, whose sigmoid is their softmax.
        target: (N, H, W) uint8, 255 road, 0 not, 128 ignored.
        across: as above.

    Returns:
        A scalar. Images that are ignored as a whole do not count; zero where all are.

    Source: Batra et al., CVPR 2019, and after it joint connectivity and CU-dGCN, which give it without the 1.
    """
    known = (target != IGNORED).unsqueeze(1).float()
    road = (target == 255).unsqueeze(1).float() * known
    p = torch.sigmoid(logits.float())
    total = p.new_zeros(len(p))
    for share, truth in ((p * known, road), ((1 - p) * known, known - road)):
        both = (share * truth).sum((1, 2, 3))
        total = total + both / (share.sum((1, 2, 3)) + truth.sum((1, 2, 3)) - both + 1e-8)
    counts = known.amax((1, 2, 3))
    lost, images = totals(across, ((1 - total / 2) * counts).sum(), counts.sum())
    return lost / images.clamp(min=1)


def class_loss(logits: Tensor, classes: Tensor, weighted: bool, across: Across = alone) -> Tensor:
    """Cross-entropy, by wish with each class weighted by 1 / ln(1.02 + its share of the batch's known pixels).

    Args:
        logits: (N, K, H, W).
        classes: (N, H, W) uint8, 255 ignored.
        weighted: whether rare classes count more.
        across: as above.

    Returns:
        A scalar, the mean weighted by class; zero where all pixels are ignored.

    Source: the weights are ENet's (arXiv 1606.02147), as joint connectivity takes them.
    """
    known = classes != IGNORED_CLASS
    truth = torch.where(known, classes, 0).long()
    weights = torch.ones(logits.shape[1], device=logits.device)
    if weighted:
        counts = across(torch.bincount(truth[known], minlength=logits.shape[1]).double()).float()
        weights = 1 / torch.log(1.02 + counts / counts.sum().clamp(min=1))
    each = torch.nn.functional.cross_entropy(logits.float(), truth, reduction="none") * known
    weight = weights[truth] * known
    lost, whole = totals(across, (each * weight).sum(), weight.sum())
    return lost / whole.clamp(min=1e-8)


ROAD_LOSSES: dict[str, Callable[[Tensor, Tensor, float, Across], Tensor]] = {
    "bce-dice": road_loss,
    "soft-iou": lambda logits, target, dice, across: soft_iou_loss(logits, target, across),
}


def total_loss(
    outputs: Mapping[str, Tensor],
    target: Tensor,
    labels: Mapping[str, Tensor],
    recipe: Recipe,
    across: Across = alone,
) -> Tensor:
    """The sum over all outputs of a network, each against the truth of its task at its own scale.

    Args:
        outputs: `logits` (N, 1, H, W), and others as `training.tasks` reads their names.
        target: (N, H, W) uint8, 255 road, 0 not, 128 ignored.
        labels: (N, H / s, W / s) uint8 classes by `label_key`, of the tasks whose weight is not zero.
        recipe: which road loss, and the weights in `recipe.loss`.
        across: as above.
    """
    road = ROAD_LOSSES[recipe.loss.road]
    total = road(outputs["logits"], target, recipe.dice, across)
    for name, output in outputs.items():
        task = task_of(name)
        weight = 0.0 if task is None or name == "logits" else recipe.loss.weight(task)
        if weight == 0 or task is None:
            continue
        if task == ROAD:
            total = total + weight * road(difference(output), shrunk(target, output), recipe.dice, across)
        else:
            classes = labels[label_key(task, target.shape[-1] // output.shape[-1])]
            total = total + weight * class_loss(output, classes, task == "connectivity", across)
    return total


def difference(logits: Tensor) -> Tensor:
    """(N, 2, H, W) logits of background and road → (N, 1, H, W); one channel stays as it is."""
    return logits[:, 1:] - logits[:, :1] if logits.shape[1] == 2 else logits


def shrunk(target: Tensor, like: Tensor) -> Tensor:
    """The truth (N, H, W) at the size of `like`: road where half of what is known is, ignored where most is."""
    if target.shape[-2:] == like.shape[-2:]:
        return target
    size = (like.shape[-2], like.shape[-1])
    known = torch.nn.functional.adaptive_avg_pool2d((target != IGNORED).float(), size)
    road = torch.nn.functional.adaptive_avg_pool2d((target == 255).float(), size)
    small = torch.where(2 * road >= known, 255, 0)
    return torch.where(known < 0.5, IGNORED, small).to(torch.uint8)
