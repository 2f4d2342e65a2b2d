"""The synthetic city is one place: every window shows the same pixels, mask and trips, in every process."""

import hashlib
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadedge.data.city import City, Tile
from roadedge.errors import UsageError

CITY = City(seed=4)
FAR = st.integers(-400, 400)
SIDE = st.integers(1, 200)


def digest(tile: Tile) -> str:
    return hashlib.sha256(tile.image.tobytes() + tile.mask.tobytes() + tile.points.tobytes()).hexdigest()


def crop(tile: Tile, x: int, y: int, w: int, h: int) -> Tile:
    at = tile.points[:, :2]
    inside = (at[:, 0] >= x) & (at[:, 0] < x + w) & (at[:, 1] >= y) & (at[:, 1] < y + h)
    part = (slice(y, y + h), slice(x, x + w))
    return Tile(tile.image[part], tile.mask[part], tile.points[inside] - np.array([x, y, 0], np.float32))


@settings(max_examples=12, deadline=None)
@given(x=FAR, y=FAR, w=SIDE, h=SIDE, left=st.integers(0, 90), top=st.integers(0, 90))
def test_overlapping_windows_show_the_same_pixels_mask_and_trips(
    x: int, y: int, w: int, h: int, left: int, top: int
) -> None:
    inner = CITY.window(x, y, w, h)
    around = crop(CITY.window(x - left, y - top, w + left + 37, h + top + 11), left, top, w, h)
    assert inner.image.shape == (h, w, 3)
    assert digest(inner) == digest(around)


def test_the_order_of_asking_changes_nothing() -> None:
    forward, backward = City(seed=9), City(seed=9)
    first = forward.window(-130, 40, 200, 200)
    backward.window(700, -500, 200, 200)
    backward.window(-300, 0, 300, 90)
    assert digest(backward.window(-130, 40, 200, 200)) == digest(first)


def test_what_fell_out_of_the_cache_is_drawn_again_bit_for_bit() -> None:
    city = City(seed=2)
    before = digest(city.window(-64, -64, 128, 128))
    for cache in (city._cells, city._plots, city._painted, city._chunks, city._week_of_cell, city._week_of_chunk):
        cache._values.clear()
    assert digest(city.window(-64, -64, 128, 128)) == before


def test_another_process_sees_the_same_city() -> None:
    code = (
        "import hashlib; from roadedge.data.city import City; t = City(seed=4).window(-70, 33, 180, 140);"
        "print(hashlib.sha256(t.image.tobytes() + t.mask.tobytes() + t.points.tobytes()).hexdigest())"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "77"}
    )
    assert run.stdout.strip() == digest(CITY.window(-70, 33, 180, 140))


def test_another_seed_is_another_city() -> None:
    assert digest(City(seed=5).window(0, 0, 128, 128)) != digest(City(seed=6).window(0, 0, 128, 128))


def test_the_mask_is_binary_and_roads_cover_a_fifth_of_the_ground() -> None:
    shares = []
    for seed in range(4):
        mask = City(seed).window(-3000, 1500, 640, 640).mask
        assert set(np.unique(mask)) <= {0, 255}
        shares.append(float((mask == 255).mean()))
    assert 0.14 < np.mean(shares) < 0.26
    assert min(shares) > 0.06


def test_most_trips_run_on_or_near_roads() -> None:
    import cv2

    tile = CITY.window(-800, -800, 1024, 1024)
    away_px = cv2.distanceTransform((tile.mask == 0).astype(np.uint8), cv2.DIST_L2, 5)
    at = tile.points.astype(int)
    distance_m = away_px[at[:, 1], at[:, 0]] * CITY.gsd_m
    assert len(at) > 1000
    assert np.mean(distance_m < 10) > 0.85
    assert np.mean(distance_m > 10) > 0.01  # outliers, clutter and drift exist


def test_a_road_looks_different_from_its_surroundings_and_nothing_is_flat() -> None:
    tile = CITY.window(0, 0, 512, 512)
    assert tile.image.std(axis=(0, 1)).min() > 15
    assert len(np.unique(tile.image.reshape(-1, 3), axis=0)) > 5000


def test_live_points_continue_from_interval_to_interval() -> None:
    window = (-100, 50, 400, 300)
    whole = CITY.points_between(*window, 95.0, 155.0)  # crosses a slot's border
    parts = [
        CITY.points_between(*window, t, t + 20.0) + np.array([0, 0, t - 95], np.float32) for t in (95.0, 115.0, 135.0)
    ]
    assert len(whole) > 20
    assert np.allclose(np.concatenate(parts), whole, atol=1e-4)
    assert np.all(np.diff(whole[:, 2]) >= 0)


def test_live_points_exist_late_on_the_clock_and_before_zero() -> None:
    for t in (-50.0, 1e9):
        points = CITY.points_between(0, 0, 512, 512, t, t + 60.0)
        assert len(points) > 20
        assert 0 <= points[:, 2].min() <= points[:, 2].max() <= 60


def test_a_sample_carries_place_and_ground_sample_distance() -> None:
    sample = City(seed=4, gsd_m=0.5).sample(200, -40, 64, 32)
    assert sample.size == (32, 64)
    assert sample.gsd_m == 0.5
    assert sample.place is not None
    assert np.allclose(sample.place.to_ground([[0, 0], [64, 32]]), [[100, 20], [132, 4]])


def test_the_same_ground_is_seen_at_another_resolution() -> None:
    fine = City(seed=4, gsd_m=0.3).window(0, 0, 400, 400).mask
    coarse = City(seed=4, gsd_m=0.6).window(0, 0, 200, 200).mask
    import cv2

    small = cv2.resize(fine, (200, 200), interpolation=cv2.INTER_AREA) > 127
    assert np.mean(small == (coarse > 127)) > 0.97


def test_drawing_keeps_up_with_training() -> None:
    city = City(seed=8)
    city.window(0, 0, 64, 64)
    start = time.process_time()
    city.window(5000, 5000, 768, 768)
    assert 0.59 / (time.process_time() - start) > 0.2  # megapixels per second of one core, five times below the aim


@pytest.mark.parametrize("size", [(0, 5), (5, -1)])
def test_an_empty_window_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="at least 1 x 1"):
        CITY.window(0, 0, *size)


@pytest.mark.parametrize("gsd_m", [0.0, -1.0, float("nan"), 30.0])
def test_an_absurd_ground_sample_distance_is_refused(gsd_m: float) -> None:
    with pytest.raises(UsageError, match="metres per pixel"):
        City(gsd_m=gsd_m)


def test_live_points_need_an_interval() -> None:
    with pytest.raises(UsageError, match="interval"):
        CITY.points_between(0, 0, 10, 10, 5.0, 5.0)
