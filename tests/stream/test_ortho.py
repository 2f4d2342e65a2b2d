from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roadedge.errors import DataError, PointsError, SourceError, UsageError
from roadedge.georeference.birdseye import FILL_RGB
from roadedge.georeference.scene import CACHE_BYTES
from roadedge.spec import ModelSpec
from roadedge.stream.ortho import Ortho, open_ortho

rasterio = pytest.importorskip("rasterio", reason="rasterio is not installed (extra geo)")
pytest.importorskip("gpxpy", reason="gpxpy is not installed (extra points)")

EAST, NORTH = 500_000.0, 4_649_776.0  # on the central meridian of UTM 16, where grid north is north; 42 degrees
CRS = "EPSG:32616"
SIDE = 400
Way = Sequence[tuple[float, float, float]]  # seconds, metres east and north of the scene's middle


def scene(folder: Path, name: str = "scene.tif", crs: str | None = CRS, gsd_m: float = 1.0, **more: Any) -> Path:
    """Colours tell the place: red grows to the east, green to the south."""
    path = folder / name
    ramp = np.arange(SIDE) * 255 // SIDE
    image = np.zeros((3, SIDE, SIDE), more.pop("dtype", np.uint8))
    image[0], image[1] = ramp[None, :], ramp[:, None]
    transform = rasterio.Affine(gsd_m, 0, EAST - SIDE * gsd_m / 2, 0, -gsd_m, NORTH + SIDE * gsd_m / 2)
    if crs is None:
        more["transform"] = transform
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(
            path, "w", driver="GTiff", width=SIDE, height=SIDE, count=3, dtype=image.dtype, crs=crs,
            **({"transform": transform} | more),
        ) as file:  # fmt: skip
            file.write(image)
    return path


def lonlat(east: float, north: float) -> tuple[float, float]:
    from roadedge.georeference.raster_place import to_lonlat

    lon, lat = to_lonlat([[EAST + east, NORTH + north]], CRS)[0].tolist()
    return lon, lat


def gpx(folder: Path, *ways: Way, times: bool = True) -> Path:
    """Each way is rows of seconds, metres east and north of the scene's middle."""
    parts = []
    for way in ways:
        rows = []
        for t_s, east, north in way:
            lon, lat = lonlat(east, north)
            time = f"<time>2024-05-04T10:{int(t_s) // 60:02d}:{int(t_s) % 60:02d}Z</time>" if times else ""
            rows.append(f'<trkpt lat="{lat:.9f}" lon="{lon:.9f}">{time}</trkpt>')
        parts.append(f"<trk><trkseg>{''.join(rows)}</trkseg></trk>")
    path = folder / "track.gpx"
    path.write_text(
        '<gpx version="1.1" creator="test" xmlns="http://www.topografix.com/GPX/1/1">' + "".join(parts) + "</gpx>"
    )
    return path


def eastward(seconds: int = 20, north: float = 0.0) -> Way:
    return [(t, -50 + 5.0 * t, north) for t in range(seconds + 1)]


def opened(folder: Path, options: str = "", *ways: Way) -> Ortho:
    return open_ortho(f"ortho:{scene(folder)}@{gpx(folder, *(ways or (eastward(),)))}{options}")


def test_a_frame_shows_the_ground_under_the_vehicle_north_up(tmp_path: Path) -> None:
    with opened(tmp_path, "?rate=2&size=64x48&gsd=1&up=north") as source:
        assert (source.rate_hz, source.count) == (2.0, 41)
        frame = source.read()
        assert frame is not None
        assert frame.sample.image is not None
        red, green, _ = frame.sample.image[24, 32]
        assert int(red) == pytest.approx(150 * 255 / SIDE, abs=2)  # 50 m west of the middle
        assert int(green) == pytest.approx(200 * 255 / SIDE, abs=2)
        assert frame.sample.image[24, 60, 0] > frame.sample.image[24, 4, 0]  # east is right


def test_heading_up_turns_the_image_so_that_the_way_leads_up(tmp_path: Path) -> None:
    with opened(tmp_path, "?size=64x64&gsd=1") as source:
        source.skip(100)
        frame = source.read()
        assert frame is not None
        image = frame.sample.image
        assert image is not None
        assert image[4, 32, 0] > image[60, 32, 0] + 20  # red grows to the east, where the vehicle goes
        assert abs(int(image[32, 4, 0]) - int(image[32, 60, 0])) <= 2
        assert image[32, 4, 1] < image[32, 60, 1]  # north is left


def test_place_and_picture_agree(tmp_path: Path) -> None:
    with opened(tmp_path, "?size=64x64&gsd=0.7") as source:
        source.skip(57)
        frame = source.read()
        assert frame is not None
        place, image = frame.sample.place, frame.sample.image
        assert place is not None
        assert image is not None
        ground = place.centres_to_ground([[10, 20], [50, 40]])
        from roadedge.georeference.raster_place import from_lonlat

        utm = from_lonlat(source.plane.to_lonlat(ground), CRS) - [EAST, NORTH]
        expected = (utm[:, 0] + SIDE / 2) * 255 / SIDE
        assert image[[20, 40], [10, 50], 0].tolist() == pytest.approx(expected.tolist(), abs=1.5)


def test_a_coarser_frame_averages_the_scene(tmp_path: Path) -> None:
    with opened(tmp_path, "?size=32x32&gsd=5&up=north") as source:
        frame = source.read()
        assert frame is not None
        assert frame.sample.image is not None
        assert frame.sample.gsd_m == 5
        assert int(frame.sample.image[16, 16, 1]) == pytest.approx(202.5 * 255 / SIDE, abs=3)


def test_what_the_scene_does_not_hold_is_blank(tmp_path: Path) -> None:
    with opened(tmp_path, "?size=64x64&gsd=2&up=north", [(0, -190.0, 0.0), (10, -150.0, 0.0)]) as source:
        frame = source.read()
        assert frame is not None
        assert frame.sample.image is not None
        assert frame.sample.image[32, 2].tolist() == list(FILL_RGB)


def test_the_fleet_is_all_tracks_up_to_now(tmp_path: Path) -> None:
    with opened(tmp_path, "?rate=1&size=128x128&gsd=1&up=north", eastward(), eastward(north=10.0)) as source:
        spec = ModelSpec("test", gsd_m=1.0)
        counted = []
        for _ in range(21):
            frame = source.read()
            assert frame is not None
            second = source.second(frame, spec)
            assert second.skew_ms == pytest.approx(0)
            counted.append(second.points)
        assert counted[:3] == [2, 4, 6]
        assert counted[10] == 22  # two vehicles, points of 0 to 10 s
        assert source.read() is None


def test_points_leave_after_the_window_of_the_network(tmp_path: Path) -> None:
    from dataclasses import replace

    with opened(tmp_path, "?rate=1&size=256x256&gsd=1&up=north") as source:
        spec = ModelSpec("test", gsd_m=1.0)
        spec = replace(spec, heatmap=replace(spec.heatmap, window_s=4.0))
        points = []
        while (frame := source.read()) is not None:
            points.append(source.second(frame, spec).points)
        assert points[-1] == 5


def test_a_frame_knows_its_time_and_the_source_that_of_its_zero(tmp_path: Path) -> None:
    with opened(tmp_path, "?rate=4") as source:
        assert source.epoch_s == 1714816800.0
        assert source.skip(3) == 3
        frame = source.read()
        assert frame is not None
        assert frame.sample.t_s == 0.75
        assert source.skip(1000) == 77


def test_a_hole_of_the_track_gives_no_frames(tmp_path: Path) -> None:
    way = [(t, -50 + t, 0.0) for t in range(10)] + [(t, -50 + t, 0.0) for t in range(60, 70)]
    with opened(tmp_path, "?rate=1", way) as source:
        times = []
        while (frame := source.read()) is not None:
            times.append(frame.sample.t_s)
        assert [t for t in times if t is not None and 14 < t < 55] == []
        assert times[-1] == 69


def test_another_vehicle_may_carry_the_camera(tmp_path: Path) -> None:
    with opened(tmp_path, "?up=north&vehicle=1&size=64x64&gsd=1", eastward(), eastward(north=80.0)) as source:
        frame = source.read()
        assert frame is not None
        assert frame.sample.image is not None
        assert int(frame.sample.image[32, 32, 1]) == pytest.approx(120 * 255 / SIDE, abs=2)


def test_a_scene_of_sixteen_bits_and_one_that_says_no_crs(tmp_path: Path) -> None:
    track = gpx(tmp_path, eastward())
    deep = scene(tmp_path, "deep.tif", dtype=np.uint16)
    with open_ortho(f"ortho:{deep}@{track}") as source:
        assert source.read() is not None
    bare = scene(tmp_path, "bare.tif", crs=None)
    with pytest.raises(DataError, match=r"does not say its CRS.*crs=EPSG"):
        open_ortho(f"ortho:{bare}@{track}")
    with open_ortho(f"ortho:{bare}@{track}?crs={CRS}") as source:
        assert source.read() is not None


def test_a_picture_without_geotransform_is_refused(tmp_path: Path) -> None:
    from roadedge.imagery import write_png

    write_png(tmp_path / "plain.png", np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(DataError, match="no geotransform"):
        open_ortho(f"ortho:{tmp_path / 'plain.png'}@{gpx(tmp_path, eastward())}")


def test_a_track_elsewhere_is_refused_with_both_places(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no part of .* lies on .*check the CRS"):
        opened(tmp_path, "", [(t, 5000.0 + t, 0.0) for t in range(10)])


def test_a_track_without_times_is_refused(tmp_path: Path) -> None:
    track = gpx(tmp_path, eastward(), times=False)
    with pytest.raises(PointsError, match="no times"):
        open_ortho(f"ortho:{scene(tmp_path)}@{track}")


def test_a_vehicle_that_stands_has_no_heading(tmp_path: Path) -> None:
    still = [(t, 0.0, 0.0) for t in range(10)]
    with pytest.raises(DataError, match="up=north"):
        opened(tmp_path, "", still)
    with opened(tmp_path, "?up=north&rate=1", still) as source:
        assert source.count == 10


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("ortho:scene.tif", UsageError, "is written ortho:"),
        ("ortho:@track.gpx", UsageError, "is written ortho:"),
        ("ortho:nowhere.tif@nothing.gpx", SourceError, "there is no file nowhere.tif"),
    ],
)
def test_a_source_that_is_written_wrongly(text: str, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        open_ortho(text)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("?speed=2", "unknown option 'speed'"),
        ("?rate=0", "rate is frames a second"),
        ("?rate=nan", "rate is frames a second"),
        ("?size=512", "are written ortho:"),
        ("?size=8x8", "size is WIDTHxHEIGHT"),
        ("?gsd=-1", "gsd is metres per pixel"),
        ("?up=left", "up is heading or north"),
        ("?vehicle=7", "holds no vehicle 7"),
        ("?gsd=50&size=4096x4096", "covers"),
    ],
)
def test_options_out_of_range_are_named(tmp_path: Path, options: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        opened(tmp_path, options)


def test_gdal_keeps_few_blocks_while_a_frame_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = []
    enter = rasterio.Env

    def watched(**options: Any) -> Any:
        limits.append(options["GDAL_CACHEMAX"])
        return enter(**options)

    with opened(tmp_path) as source:
        monkeypatch.setattr(rasterio, "Env", watched)
        source.read()
    assert limits == [CACHE_BYTES]
    assert CACHE_BYTES <= 64 << 20
