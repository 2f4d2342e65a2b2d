"""The loss counts what it should and nothing that is ignored."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from roadedge.training.losses import (
    ROAD_LOSSES,
    alone,
    class_loss,
    difference,
    road_loss,
    shrunk,
    soft_iou_loss,
    total_loss,
)
from roadedge.training.recipe import LossSpec, Recipe


def test_a_perfect_prediction_costs_nothing() -> None:
    target = torch.tensor([[[0, 255], [255, 0]]], dtype=torch.uint8)
    logits = torch.where(target == 255, 40.0, -40.0)[:, None]
    assert road_loss(logits, target) < 1e-6


def test_hand_worked_value() -> None:
    target = torch.tensor([[[255, 0]]], dtype=torch.uint8)
    logits = torch.zeros(1, 1, 1, 2)  # p = 0.5 everywhere: BCE ln 2; Dice (2 * 0.5 + 1) / (1 + 1 + 1)
    assert math.isclose(road_loss(logits, target).item(), math.log(2) + 1 - 2 / 3, rel_tol=1e-6)


def test_ignored_pixels_change_nothing() -> None:
    target = torch.tensor([[[255, 0, 128]]], dtype=torch.uint8)
    one, two = torch.tensor([[[[1.0, -2.0, 9.0]]]]), torch.tensor([[[[1.0, -2.0, -9.0]]]])
    assert road_loss(one, target) == road_loss(two, target)
    assert road_loss(one, target) == road_loss(one[..., :2], target[..., :2])


def test_all_ignored_is_zero_and_has_a_gradient() -> None:
    logits = torch.zeros(1, 1, 2, 2, requires_grad=True)
    loss = road_loss(logits, torch.full((1, 2, 2), 128, dtype=torch.uint8))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_dice_is_over_the_whole_batch() -> None:
    target = torch.zeros(2, 1, 4, dtype=torch.uint8)
    target[0] = 255
    logits = torch.zeros(2, 1, 1, 4)
    assert math.isclose(road_loss(logits, target).item(), math.log(2) + 1 - (2 * 2 + 1) / (4 + 4 + 1), rel_tol=1e-6)


def test_soft_iou_is_zero_where_all_is_right_and_one_where_nothing_is() -> None:
    target = torch.tensor([[[255, 0], [0, 255]]], dtype=torch.uint8)
    right = torch.where(target == 255, 40.0, -40.0)[:, None]
    assert soft_iou_loss(right, target) < 1e-6
    assert math.isclose(soft_iou_loss(-right, target).item(), 1, abs_tol=1e-6)
    # p = 1/2 throughout: of each class 1 / (2 + 2 - 1)
    assert math.isclose(soft_iou_loss(0 * right, target).item(), 1 - 1 / 3, rel_tol=1e-6)


def test_the_difference_of_two_classes_is_their_softmax() -> None:
    two = torch.randn(2, 2, 4, 4)
    assert torch.allclose(torch.sigmoid(difference(two)[:, 0]), torch.softmax(two, 1)[:, 1], atol=1e-6)
    assert torch.equal(difference(two[:, :1]), two[:, :1])


def test_rare_classes_weigh_more() -> None:
    classes = torch.tensor([[[0, 0, 0, 1]]], dtype=torch.uint8)
    logits = torch.zeros(1, 2, 1, 4)
    logits[0, 0] = 2.0
    common, rare = (math.log(1 + math.exp(x)) for x in (-2, 2))
    plain, weighted = class_loss(logits, classes, False), class_loss(logits, classes, True)
    assert math.isclose(plain.item(), (3 * common + rare) / 4, rel_tol=1e-6)
    a, b = 1 / math.log(1.02 + 0.75), 1 / math.log(1.02 + 0.25)
    assert math.isclose(weighted.item(), (3 * a * common + b * rare) / (3 * a + b), rel_tol=1e-6)


@pytest.mark.parametrize("loss", ["soft-iou", "bce-dice"])
def test_no_loss_sees_what_is_ignored(loss: str) -> None:
    torch.manual_seed(0)
    recipe = Recipe(loss=LossSpec(loss))
    target = torch.randint(0, 2, (2, 8, 8), dtype=torch.uint8) * 255
    classes = torch.randint(0, 5, (2, 4, 4), dtype=torch.uint8)
    target[:, :, 4:], classes[:, :, 2:] = 128, 255
    labels = {"connectivity/2": classes, "orientation/2": classes}

    def outputs(seen: float, unseen: float) -> dict[str, Tensor]:
        found = {"logits": (1, 8), "half_logits": (2, 4), "connectivity_1": (5, 4), "half_orientation": (37, 4)}
        planes = {}
        for name, (channels, side) in found.items():
            planes[name] = torch.full((2, channels, side, side), seen)
            planes[name][:, -1:, :, side // 2 :] = unseen
            planes[name].requires_grad_()
        return planes

    first, second = outputs(0.5, 3.0), outputs(0.5, -9.0)
    total = total_loss(first, target, labels, recipe)
    assert torch.allclose(total, total_loss(second, target, labels, recipe))
    total.backward()  # type: ignore[no-untyped-call]
    for plane in first.values():
        assert plane.grad is not None
        assert not plane.grad[..., plane.shape[-1] // 2 :].any()
        assert plane.grad.any()
    unseen = total_loss(first, torch.full_like(target, 128), {k: torch.full_like(v, 255) for k, v in labels.items()},
                        Recipe(loss=LossSpec("soft-iou")))  # fmt: skip
    assert unseen == 0


def by_pixel(kind: str, logits: Tensor, target: Tensor) -> float:
    """A road loss in plain loops over single pixels; images that are ignored as a whole count in none."""
    pixels: list[list[tuple[float, bool]]] = [
        [
            (1 / (1 + math.exp(-v)), t == 255)
            for v, t in zip(image.flatten().tolist(), truth.flatten().tolist(), strict=True)
            if t != 128
        ]
        for image, truth in zip(logits[:, 0], target, strict=True)
    ]
    if kind == "bce-dice":
        every = [pair for image in pixels for pair in image]
        entropy = sum(-math.log(p if road else 1 - p) for p, road in every) / len(every)
        both = sum(p for p, road in every if road)
        return entropy + 1 - (2 * both + 1) / (sum(p for p, _ in every) + sum(road for _, road in every) + 1)
    ratios = []
    for image in (one for one in pixels if one):
        for pairs in (image, [(1 - p, not road) for p, road in image]):
            both = sum(p for p, here in pairs if here)
            ratios.append(both / (sum(p for p, _ in pairs) + sum(here for _, here in pairs) - both + 1e-8))
    return 1 - sum(ratios) / len(ratios)


@pytest.mark.parametrize("kind", ["bce-dice", "soft-iou"])
def test_road_losses_are_those_of_loops_over_pixels(kind: str) -> None:
    torch.manual_seed(1)
    target = torch.tensor([0, 128, 255], dtype=torch.uint8)[torch.randint(0, 3, (4, 5, 6))]
    target[1], target[2] = 128, torch.where(target[2] == 255, 0, target[2])  # nothing known; no road
    logits = 2 * torch.randn(4, 1, 5, 6)
    found = ROAD_LOSSES[kind](logits, target, 1.0, alone).item()
    assert math.isclose(found, by_pixel(kind, logits, target), rel_tol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_of_classes_is_that_of_loops_over_pixels(weighted: bool) -> None:
    torch.manual_seed(2)
    classes = torch.tensor([0, 0, 0, 2, 4, 255], dtype=torch.uint8)[
        torch.randint(0, 6, (3, 4, 5))
    ]  # 1 and 3 are absent
    classes[1] = 255
    logits = 2 * torch.randn(3, 5, 4, 5)
    every = [(logits[i, :, y, x].tolist(), int(classes[i, y, x])) for i in range(3) for y in range(4) for x in range(5)]
    known = [(scores, k) for scores, k in every if k != 255]
    share = {k: sum(other == k for _, other in known) / len(known) for k in range(5)}
    weight = {k: 1 / math.log(1.02 + share[k]) if weighted else 1.0 for k in range(5)}
    lost = sum(weight[k] * (math.log(sum(map(math.exp, scores))) - scores[k]) for scores, k in known)
    expected = lost / sum(weight[k] for _, k in known)
    assert math.isclose(class_loss(logits, classes, weighted).item(), expected, rel_tol=1e-5)


def test_every_output_has_its_weight() -> None:
    target = torch.randint(0, 2, (1, 8, 8), dtype=torch.uint8) * 255
    outputs = {"logits": torch.zeros(1, 1, 8, 8), "quarter_logits": torch.zeros(1, 2, 2, 2),
               "orientation": torch.zeros(1, 37, 8, 8), "edges": torch.zeros(1, 1, 8, 8)}  # fmt: skip
    labels = {"orientation/1": torch.zeros(1, 8, 8, dtype=torch.uint8)}

    def total(**weights: float) -> float:
        return total_loss(outputs, target, labels, Recipe(loss=LossSpec(**weights))).item()  # type: ignore[arg-type]

    alone = total(intermediate=0.0, orientation=0.0)
    assert math.isclose(alone, road_loss(outputs["logits"], target).item(), rel_tol=1e-6)
    assert math.isclose(total(intermediate=0.0, orientation=2.0), alone + 2 * math.log(37), rel_tol=1e-5)
    coarse = road_loss(torch.zeros(1, 1, 2, 2), shrunk(target, outputs["quarter_logits"])).item()
    assert math.isclose(total(intermediate=0.5, orientation=0.0), alone + 0.5 * coarse, rel_tol=1e-5)


def test_the_truth_is_shrunk_by_what_is_known() -> None:
    target = torch.tensor(
        [[[255, 0, 128, 128], [255, 0, 128, 255], [0, 0, 128, 128], [255, 0, 0, 0]]], dtype=torch.uint8
    )
    small = shrunk(target, torch.zeros(1, 1, 2, 2))
    assert small.tolist() == [[[255, 128], [0, 0]]]
