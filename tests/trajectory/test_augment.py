"""GPS augmentations: what each does to points, the same for the same generator, the input untouched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from roadedge.errors import UsageError
from roadedge.trajectory.augment import AUGMENTATIONS, density, keep_fraction, omission, perturbation, precision, shift


def cloud(number: int = 4000, dtype: type = np.float64) -> NDArray[Any]:
    rng = np.random.default_rng(0)
    return np.column_stack([rng.uniform(0, 512, (number, 2)), np.arange(number)]).astype(dtype)


def generator(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_same_generator_gives_the_same_points_and_the_input_stays(name: str, dtype: type) -> None:
    points = cloud(dtype=dtype)
    before = points.copy()
    extra = {"size": (512, 512)} if name == "omission" else {}
    first = AUGMENTATIONS[name](points, generator(), **extra)
    assert (first == AUGMENTATIONS[name](points, generator(), **extra)).all()
    assert (points == before).all()
    assert first.dtype == dtype
    assert first.shape[1] == 3
    assert not np.shares_memory(first, points)
    assert AUGMENTATIONS[name](points[:0], generator(), **extra).shape == (0, 3)


def test_density_is_log_uniform() -> None:
    points = cloud(20_000)
    kept = np.array([len(density(points, generator(seed), 0.01, 1.0)) / 20_000 for seed in range(300)])
    logs = (np.log(np.maximum(kept, 1e-4)) - np.log(0.01)) / -np.log(0.01)  # uniform in [0, 1]
    assert kept.min() > 0.005
    assert np.quantile(logs, [0.25, 0.5, 0.75]) == pytest.approx([0.25, 0.5, 0.75], abs=0.08)


def test_a_fraction_of_one_keeps_all_and_of_zero_none() -> None:
    assert (keep_fraction(cloud(), generator(), 1.0) == cloud()).all()
    assert len(keep_fraction(cloud(), generator(), 0.0)) == 0


def test_precision_leaves_points_on_one_grid_and_near() -> None:
    points = cloud()
    for seed in range(20):
        coarse = precision(points, generator(seed), 10.0)
        values = np.unique(coarse[:, 0])
        step = np.diff(values).min()
        assert 1 - 1e-9 <= step <= 10 + 1e-9
        assert np.diff(values) / step == pytest.approx(np.round(np.diff(values) / step))
        assert np.abs(coarse[:, :2] - points[:, :2]).max() <= step / 2 + 1e-9
        assert (coarse[:, 2] == points[:, 2]).all()


def test_perturbation_is_gaussian_of_one_sigma() -> None:
    moves = perturbation(cloud(), generator(), 10.0)[:, :2] - cloud()[:, :2]
    assert 0 < moves.std() < 10
    assert moves[:, 0].std() == pytest.approx(moves[:, 1].std(), rel=0.1)
    assert np.abs(moves.mean(axis=0)).max() < 4 * moves.std() / np.sqrt(len(moves))


def test_omission_empties_one_rectangle_and_keeps_the_rest_in_order() -> None:
    points = cloud()
    removed_any = 0
    for seed in range(20):
        left = omission(points, generator(seed), (512, 512), 0.5)
        gone = np.setdiff1d(points[:, 2], left[:, 2]).astype(int)
        assert (np.diff(left[:, 2]) > 0).all()
        if len(gone):
            removed_any += 1
            low, high = points[gone, :2].min(axis=0), points[gone, :2].max(axis=0)
            assert (high - low <= 256).all()
            assert not ((left[:, :2] > low) & (left[:, :2] < high)).all(axis=1).any()
    assert removed_any > 15


def test_shift_moves_all_points_by_one_vector() -> None:
    moves = shift(cloud(), generator(), 10.0)[:, :2] - cloud()[:, :2]
    assert np.ptp(moves, axis=0) == pytest.approx([0, 0], abs=1e-9)
    assert 0 < np.hypot(*moves[0]) <= 10


def test_a_wrong_range_is_said() -> None:
    with pytest.raises(UsageError, match="low <= high"):
        density(cloud(), generator(), 0.5, 0.1)
    with pytest.raises(UsageError, match="at least 1"):
        precision(cloud(), generator(), 0.5)
