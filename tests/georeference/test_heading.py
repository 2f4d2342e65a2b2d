from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from roadedge.cli import main
from roadedge.data.city import City
from roadedge.errors import DataError
from roadedge.georeference.heading import check_heading, check_photos
from roadedge.georeference.image_motion import ImageFeatures
from roadedge.place import Place
from roadedge.sample import Sample
from roadedge.stream.locate import of_photos
from roadedge.stream.sources import Frame

SIZE = (256, 320)
GSD_M = 0.5


@pytest.fixture(scope="module")
def ground() -> NDArray[np.uint8]:
    return City(16, GSD_M).window(0, 0, 900, 500).image


def flown(
    ground: NDArray[np.uint8], count: int = 7, step_px: int = 40
) -> tuple[list[NDArray[np.uint8]], NDArray[np.float64]]:
    """North-up images on a way to the east, and positions."""
    corners = [(step_px * index, 100) for index in range(count)]
    images = [np.ascontiguousarray(ground[y : y + SIZE[0], x : x + SIZE[1]]) for x, y in corners]
    return images, np.array([[(x + SIZE[1] / 2) * GSD_M, -(y + SIZE[0] / 2) * GSD_M] for x, y in corners])


def tagged(positions: NDArray[np.float64], yaws: list[float], gsd_m: float = GSD_M) -> list[Place]:
    return [Place.nadir((e, n), gsd_m, SIZE, yaw) for (e, n), yaw in zip(positions.tolist(), yaws, strict=True)]


NAMES = [f"{index:03d}" for index in range(12)]


def test_true_headings_are_ok_and_the_scale_is_one(ground: NDArray[np.uint8]) -> None:
    images, positions = flown(ground)
    report = check_heading(images, tagged(positions, [0.0] * 7), positions, NAMES[:7])
    assert report.flagged == ()
    assert report.sentences() == []
    assert report.scale == pytest.approx(1, abs=0.01)
    assert max(abs(image.error_deg or 0) for image in report.images) < 1


def test_reversed_tags_are_flagged_and_no_other(ground: NDArray[np.uint8]) -> None:
    images, positions = flown(ground)
    report = check_heading(images, tagged(positions, [0.0] * 4 + [180.0] * 3), positions, NAMES[:7])
    assert report.flagged == ("004", "005", "006")
    assert {image.verdict for image in report.images[4:]} == {"reversed"}
    assert "3 images lie about 180 degrees from their yaw tag" in report.sentences()[0]


def test_the_error_is_how_far_clockwise_the_tag_lies(ground: NDArray[np.uint8]) -> None:
    images, positions = flown(ground)
    report = check_heading(images, tagged(positions, [50.0] * 7), positions, NAMES[:7])
    assert [image.verdict for image in report.images] == ["wrong"] * 7
    assert report.images[3].error_deg == pytest.approx(50, abs=1)


def test_a_yaw_that_drifts_is_seen_before_any_image_is_wrong(ground: NDArray[np.uint8]) -> None:
    images, positions = flown(ground, 12, 30)
    report = check_heading(images, tagged(positions, np.linspace(-12, 13, 12).tolist()), positions, NAMES)
    assert report.flagged == ()
    assert report.drifts
    assert report.drift_deg == pytest.approx(25, abs=4)
    assert "drifts" in report.sentences()[0]


def test_a_wrong_height_shows_as_scale(ground: NDArray[np.uint8]) -> None:
    images, positions = flown(ground)
    report = check_heading(images, tagged(positions, [0.0] * 7, 1.1 * GSD_M), positions, NAMES[:7])
    assert report.scale == pytest.approx(1.1, abs=0.01)


def test_images_without_texture_or_way_tell_nothing(ground: NDArray[np.uint8]) -> None:
    images, positions = flown(ground, 3)
    flat = [np.full_like(image, 90) for image in images]
    report = check_heading(flat, tagged(positions, [180.0] * 3), positions, NAMES[:3])
    assert {image.verdict for image in report.images} == {"unknown"}
    assert "3 of 3 images do not tell" in report.sentences()[0]
    still = check_heading(
        [images[0]] * 3, tagged(positions[:1].repeat(3, 0), [180.0] * 3), positions[:1].repeat(3, 0), NAMES[:3]
    )
    assert still.flagged == ()


def test_where_features_are_few_the_phase_tells(ground: NDArray[np.uint8]) -> None:
    import cv2

    soft = (cv2.GaussianBlur(ground, (0, 0), 4) * 0.1 + 100).astype(np.uint8)  # as through mist
    images, positions = flown(soft, 5)
    assert ImageFeatures.of(images[0])._by_features(ImageFeatures.of(images[1])) is None
    report = check_heading(images, tagged(positions, [0.0, 0.0, 0.0, 180.0, 180.0]), positions, NAMES[:5])
    assert report.flagged == ("003", "004")
    assert [image.verdict for image in report.images[:3]] == ["ok"] * 3
    assert report.scale == pytest.approx(1, abs=0.05)
    elsewhere = np.ascontiguousarray(soft[100:356, 500:820])
    assert ImageFeatures.of(images[0]).motion_to(ImageFeatures.of(elsewhere)) is None
    assert ImageFeatures.of(images[0]).motion_to(ImageFeatures.of(images[0])) is None  # what does not move is no ground


def test_images_of_different_ground_tell_nothing() -> None:
    random = np.random.default_rng(5)
    images = [random.integers(0, 256, (*SIZE, 3)).astype(np.uint8) for _ in range(3)]
    positions = np.array([[0.0, 0], [20, 0], [40, 0]])
    report = check_heading(images, tagged(positions, [0.0] * 3), positions, NAMES[:3])
    assert {image.verdict for image in report.images} == {"unknown"}


def test_one_image_or_lists_that_do_not_go_together_are_refused(ground: NDArray[np.uint8]) -> None:
    images, positions = flown(ground, 2)
    with pytest.raises(DataError, match="give two or more"):
        check_heading(images[:1], tagged(positions[:1], [0.0]), positions[:1], NAMES[:1])
    with pytest.raises(DataError, match="one of each an image"):
        check_heading(images, tagged(positions, [0.0, 0.0]), positions, NAMES[:1])
    with pytest.raises(DataError, match="got none"):
        check_photos([])


def test_real_photos_whose_tags_are_reversed(real_data: Path) -> None:
    paths = sorted((real_data / "drone" / "photos_half").glob("*.JPG"))
    report = check_photos(paths)
    assert report.flagged == tuple(f"DJI_{number:04d}" for number in range(24, 30))
    assert {image.verdict for image in report.images if image.name not in report.flagged} == {"ok"}
    assert report.scale == pytest.approx(1.07, abs=0.03)  # the ground lies higher than the take-off point, or the lens
    assert not report.drifts


def test_the_command_flags_them_and_infer_turns_them_round(
    real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = real_data / "drone" / "photos_half"
    assert main(["check-headings", str(photos), "--json"]) == 8
    told = capsys.readouterr()
    assert "infer --headings fix" in told.err
    assert json.loads(told.out)["flagged"] == [f"DJI_00{number}" for number in range(24, 30)]

    few = [photos / f"DJI_00{number}.JPG" for number in (22, 23, 24, 25)]  # the jump lies between 23 and 24
    as_told, turned = (
        of_photos(few, [path.stem for path in few]),
        of_photos(few, [path.stem for path in few], turned=("DJI_0024", "DJI_0025")),
    )
    assert as_told is not None
    assert turned is not None
    frame = Frame("DJI_0024", Sample(np.zeros((1125, 2000, 3), np.uint8)))
    before, after = as_told(frame).sample.place, turned(frame).sample.place
    assert before is not None
    assert after is not None
    corner, opposite = [[0.0, 0.0]], [[2000.0, 1125.0]]
    assert np.allclose(before.to_ground(corner), after.to_ground(opposite), atol=0.2)  # at a pitch of -89.9 degrees
