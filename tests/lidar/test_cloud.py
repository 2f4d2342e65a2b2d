from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("laspy", reason="extra lidar")
pytest.importorskip("pyproj", reason="extra geo")

from roadedge.errors import DataError, MissingExtraError, UsageError
from roadedge.lidar.cloud import look_at_clouds, read_points
from tests.lidar.cloud_files import CRS, X0, Y0, plain_of, write_cloud


@pytest.mark.parametrize(("name", "point_format"), [("a.las", 3), ("a.las", 6), ("a.laz", 1), ("a.LAZ", 7)])
def test_the_header_says_place_and_crs(tmp_path: Path, name: str, point_format: int) -> None:
    (cloud,) = look_at_clouds([write_cloud(tmp_path / name, plain_of(), point_format=point_format)])
    assert cloud.crs == CRS
    assert cloud.points == 6400
    assert cloud.z_m == 1.0
    assert cloud.bounds == pytest.approx((X0 + 0.25, Y0 + 0.25, X0 + 39.75, Y0 + 39.75))


def test_chunks_hold_every_point_once(tmp_path: Path) -> None:
    (cloud,) = look_at_clouds([write_cloud(tmp_path / "a.laz", plain_of())])
    chunks = list(read_points(cloud, rows=1000))
    assert [len(chunk.x) for chunk in chunks] == [1000] * 6 + [400]
    assert len({(x, y) for chunk in chunks for x, y in zip(chunk.x, chunk.y, strict=True)}) == 6400


@pytest.mark.parametrize(
    ("crs", "metres"),
    [("EPSG:2992", 0.3048), ("EPSG:2225", 1200 / 3937), ("EPSG:32610+6360", 1200 / 3937), ("EPSG:32610+5703", 1.0)],
)
def test_heights_come_in_metres(tmp_path: Path, crs: str, metres: float) -> None:
    (cloud,) = look_at_clouds([write_cloud(tmp_path / "a.las", [[X0, Y0, 100.0]], crs=crs)])
    assert next(read_points(cloud)).z[0] == pytest.approx(100 * metres)
    assert cloud.in_feet == (metres != 1)


def test_noise_and_withheld_points_are_left_out(tmp_path: Path) -> None:
    points = np.tile([[X0, Y0, 1.0]], (5, 1))
    path = write_cloud(tmp_path / "a.las", points, classification=[2, 7, 18, 1, 1], withheld=[0, 0, 0, 1, 0])
    (chunk,) = read_points(look_at_clouds([path])[0])
    assert chunk.is_ground.tolist() == [True, False]


def test_a_cloud_without_crs_asks_for_one(tmp_path: Path) -> None:
    path = write_cloud(tmp_path / "a.laz", plain_of(), crs=None)
    with pytest.raises(DataError, match=r"does not say its CRS; name it: --crs EPSG"):
        look_at_clouds([path])
    assert look_at_clouds([path], CRS)[0].crs == CRS
    with pytest.raises(UsageError, match="no coordinate reference system 'EPSG:0'"):
        look_at_clouds([path], "EPSG:0")


@pytest.mark.parametrize("name", ["a.las", "a.laz"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.5, 0.98])
def test_files_cut_short_are_one_sentence(tmp_path: Path, name: str, share: float) -> None:
    path = write_cloud(tmp_path / name, plain_of())
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"again|whole"):
        list(read_points(look_at_clouds([path])[0]))


def test_files_with_wrong_bytes_are_a_sentence_or_read(tmp_path: Path) -> None:
    path = write_cloud(tmp_path / "a.laz", plain_of(10))
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    bad, told = tmp_path / "b.laz", []
    for _ in range(8):
        content = bytearray(whole)
        for at in rng.integers(0, len(whole), 4):
            content[at] = rng.integers(256)
        bad.write_bytes(content)
        try:
            for chunk in read_points(look_at_clouds([bad])[0]):
                assert np.isfinite(chunk.z).all()
        except DataError as error:
            told.append(str(error))
    assert told
    assert all(bad.name in text for text in told)


def test_what_is_no_cloud_is_said(tmp_path: Path) -> None:
    (tmp_path / "text.las").write_text("x y z")
    for path, message in ((tmp_path / "none.laz", "there is no"), (tmp_path / "text.las", "cannot be read as a point")):
        with pytest.raises(DataError, match=message):
            look_at_clouds([path])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no point cloud"):
        look_at_clouds([tmp_path / "empty"])


def test_an_empty_cloud_counts_beside_others_and_not_alone(tmp_path: Path) -> None:
    empty = write_cloud(tmp_path / "a.laz", np.zeros((0, 3)), crs=None)
    with pytest.raises(DataError, match="no point at all"):
        look_at_clouds([empty])
    write_cloud(tmp_path / "b.laz", plain_of())
    assert [cloud.points for cloud in look_at_clouds([tmp_path])] == [0, 6400]


def test_a_missing_decoder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import laspy

    path = write_cloud(tmp_path / "a.laz", plain_of(5))
    monkeypatch.setattr(laspy.LazBackend, "detect_available", lambda: ())
    with pytest.raises(MissingExtraError, match=r"needs lazrs.*roadedge\[lidar\]"):
        look_at_clouds([path])
    monkeypatch.setitem(sys.modules, "laspy", None)
    with pytest.raises(MissingExtraError, match=r"needs laspy.*roadedge\[lidar\]"):
        look_at_clouds([path])


@pytest.mark.skipif("ROADEDGE_DATA" not in os.environ, reason="ROADEDGE_DATA is not set")
def test_a_real_cloud_is_in_feet_and_says_no_crs() -> None:
    path = Path(os.environ["ROADEDGE_DATA"]) / "autzen" / "full" / "autzen_thin16.laz"
    with pytest.raises(DataError, match="does not say its CRS"):
        look_at_clouds([path])
    (cloud,) = look_at_clouds([path], "EPSG:2992")
    assert cloud.in_feet
    assert cloud.points == 627_054
