"""The loss counts what it should and nothing that is ignored."""

from __future__ import annotations

import math

import torch

from roadedge.training.losses import road_loss


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
