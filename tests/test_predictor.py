"""`roadedge.load(...).predict(...)`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roadedge
from roadedge.errors import RoadEdgeError, ShapeError, SpecMismatchError
from roadedge.models.checkpoint import save_network
from tests.export.artefacts import Artefacts, make_artefacts, network, noise

IMAGE = noise(size=(100, 130))["image"][0]


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Artefacts:
    return make_artefacts(tmp_path_factory.getbasetemp())


@pytest.mark.parametrize("size", [(64, 64), (100, 130), (33, 200), (1, 1)])
def test_an_image_of_any_size_gets_a_mask_of_its_size(artefacts: Artefacts, size: tuple[int, int]) -> None:
    image = noise(size=size)["image"][0]
    with roadedge.load(artefacts.fp32) as predictor:
        mask = predictor.predict(image)
    assert mask.probability.shape == mask.mask.shape == size
    assert (mask.mask == (mask.probability >= 128)).all()


def test_a_network_of_one_size_and_one_of_any_say_about_the_same_inside_a_window(artefacts: Artefacts) -> None:
    image = noise(size=(64, 64))["image"][0]
    with roadedge.load(artefacts.fp32) as static, roadedge.load(artefacts.checkpoint) as free:
        difference = static.predict(image).probability.astype(int) - free.predict(image).probability
    assert np.abs(difference).max() <= 1


def test_points_reach_the_network(artefacts: Artefacts) -> None:
    points = np.stack([np.linspace(0, 129, 500), np.full(500, 40.0)], 1)
    with roadedge.load(artefacts.fp32) as predictor:
        assert (predictor.predict(IMAGE, points).probability != predictor.predict(IMAGE).probability).any()


def test_points_and_their_raster_are_one(artefacts: Artefacts) -> None:
    from roadedge.trajectory.heatmap import rasterize

    points = np.stack([np.linspace(0, 129, 500), np.full(500, 40.0)], 1)
    with roadedge.load(artefacts.fp32) as predictor:
        raster = rasterize(points, (100, 130), predictor.spec.heatmap)
        assert (predictor.predict(IMAGE, points).mask == predictor.predict(IMAGE, raster).mask).all()


def test_a_raster_alone_will_do(artefacts: Artefacts) -> None:
    with roadedge.load(artefacts.fp32) as predictor:
        mask = predictor.predict(None, np.zeros((70, 90), np.uint8))
    assert mask.mask.shape == (70, 90)


def test_the_place_is_handed_on(artefacts: Artefacts) -> None:
    place = roadedge.Place.nadir((0.0, 0.0), 0.46, (100, 130))
    with roadedge.load(artefacts.fp32) as predictor:
        assert predictor.predict(IMAGE, place=place).place is place


def test_a_finer_image_is_resampled_and_the_mask_comes_back_on_its_grid(artefacts: Artefacts) -> None:
    with roadedge.load(artefacts.fp32) as predictor:
        coarse = predictor.predict(IMAGE, gsd_m=0.46).probability
        fine = predictor.predict(np.repeat(np.repeat(IMAGE, 2, 0), 2, 1), gsd_m=0.23 * 1.5).probability
    assert fine.shape == (200, 260)
    assert coarse.shape == (100, 130)


def test_what_does_not_fit_is_said(artefacts: Artefacts) -> None:
    with roadedge.load(artefacts.fp32) as predictor:
        with pytest.raises(ShapeError, match="uint8"):
            predictor.predict(IMAGE.astype(np.float32) / 255)
        with pytest.raises(ShapeError, match="same ground"):
            predictor.predict(IMAGE, np.zeros((10, 10), np.uint8))
        with pytest.raises(ShapeError, match="without an image a raster"):
            predictor.predict(None)


@pytest.mark.parametrize(
    ("image", "second", "says"),
    [
        ([[[1, 2, 3]]], None, "image must be a NumPy array, got a list"),
        (IMAGE, [[1.0, 2.0]], "points_or_raster must be a NumPy array, got a list"),
        (None, None, "without an image a raster"),
        (None, np.zeros((5, 2)), "without an image a raster"),
    ],
)
def test_what_is_no_array_or_has_no_size_is_said(artefacts: Artefacts, image: Any, second: Any, says: str) -> None:
    with roadedge.load(artefacts.fp32) as predictor, pytest.raises(ShapeError, match=says):
        predictor.predict(image, second)


def test_a_network_of_images_takes_no_points(tmp_path: Path) -> None:
    save_network(tmp_path / "image.pt", network(inputs=("image",)), {})
    with roadedge.load(tmp_path / "image.pt") as predictor:
        assert predictor.predict(IMAGE).mask.shape == (100, 130)
        with pytest.raises(SpecMismatchError, match="images alone"):
            predictor.predict(IMAGE, np.zeros((3, 2)))


def test_a_predictor_closes_with_its_block(artefacts: Artefacts) -> None:
    with roadedge.load(artefacts.fp32) as predictor:
        pass
    with pytest.raises(RoadEdgeError, match="closed"):
        predictor.predict(IMAGE)
