"""ROS 2 bags, written here with rosbags' own writer: pictures in their encodings, stamps, topics, GPS fixes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from roadedge.errors import DataError, MissingExtraError, PointsError, SourceError, UsageError
from roadedge.stream.bag import Bag, parse_bag, read_fixes
from roadedge.stream.bag_pictures import ENCODINGS
from roadedge.stream.live import LiveOptions
from roadedge.stream.schemes import open_scheme
from tests.stream.pixels import pixels

rosbag2 = pytest.importorskip("rosbags.rosbag2", reason="the ros extra is not installed")
typesys = pytest.importorskip("rosbags.typesys", reason="the ros extra is not installed")

BEGIN_NS = 1_700_000_000 * 10**9
STORE = typesys.get_typestore(typesys.Stores.ROS2_HUMBLE)
TYPES = STORE.types
COLOURS = np.array([[[250, 10, 30], [20, 240, 40]]], np.uint8)  # (1, 2, 3) RGB


def header(stamp_ns: int) -> Any:
    stamp = TYPES["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return TYPES["std_msgs/msg/Header"](stamp=stamp, frame_id="camera")


def image(stamp_ns: int, encoding: str = "rgb8", pixels: Any = COLOURS, padding: int = 0, **wrong: Any) -> Any:
    height, width, channels = pixels.shape
    rows = np.pad(pixels.reshape(height, width * channels), ((0, 0), (0, padding)))
    fields = {
        "header": header(stamp_ns), "height": height, "width": width, "encoding": encoding, "is_bigendian": 0,
        "step": rows.shape[1], "data": rows.reshape(-1),
    }  # fmt: skip
    return TYPES["sensor_msgs/msg/Image"](**{**fields, **wrong})


def fix(stamp_ns: int, lon: float, lat: float, status: int = 0) -> Any:
    states = TYPES["sensor_msgs/msg/NavSatStatus"](status=status, service=1)
    return TYPES["sensor_msgs/msg/NavSatFix"](
        header=header(stamp_ns), status=states, latitude=lat, longitude=lon, altitude=0.0,
        position_covariance=np.zeros(9), position_covariance_type=0,
    )  # fmt: skip


def write(path: Path, topics: dict[str, list[Any]], storage: str = "MCAP") -> Path:
    plugin = rosbag2.StoragePlugin[storage]
    with rosbag2.Writer(path, version=9, storage_plugin=plugin) as writer:
        for topic, rows in topics.items():
            connection = writer.add_connection(topic, rows[0].__msgtype__, typestore=STORE)
            for index, row in enumerate(rows):
                writer.write(connection, BEGIN_NS + 10**7 + index * 10**8, STORE.serialize_cdr(row, row.__msgtype__))
    return path


@pytest.mark.parametrize("storage", ["MCAP", "SQLITE3"])
def test_pictures_come_with_the_stamp_of_their_header(tmp_path: Path, storage: str) -> None:
    path = write(tmp_path / "trip", {"/cam": [image(BEGIN_NS + i * 10**8) for i in range(3)]}, storage)
    with open_scheme(f"bag:{path}#/cam", LiveOptions(gsd_m=0.5)) as bag:
        assert (bag.count, bag.epoch_s, bag.delivers, bag.name) == (3, BEGIN_NS / 1e9, False, "trip-cam")
        assert bag.skip(1) == 1
        frames = [bag.read() for _ in range(3)]
    assert frames[2] is None
    shown = [frame for frame in frames if frame]
    assert [(f.name, f.clock, f.sample.gsd_m) for f in shown] == [("000001", "header", 0.5), ("000002", "header", 0.5)]
    assert [f.capture_s for f in shown] == pytest.approx([0.1, 0.2])


def test_a_header_without_a_stamp_leaves_the_time_of_reception(tmp_path: Path) -> None:
    path = write(tmp_path / "trip", {"/cam": [image(0), image(0)]})
    with Bag(path, None) as bag:
        frames = [bag.read(), bag.read()]
    assert [(f.capture_s, f.clock) for f in frames if f] == [(0.0, "arrival"), (pytest.approx(0.1), "arrival")]
    assert bag.epoch_s == BEGIN_NS / 1e9 + 0.01


def test_stamps_that_count_from_the_start_of_a_robot_are_no_calendar_time(tmp_path: Path) -> None:
    with Bag(write(tmp_path / "trip", {"/cam": [image(12 * 10**9)]}), None) as bag:
        assert bag.epoch_s is None
        frame = bag.read()
    assert frame is not None
    assert frame.capture_s == 0.0


@pytest.mark.parametrize("encoding", sorted(ENCODINGS))
@pytest.mark.parametrize("padding", [0, 5])
def test_each_encoding_becomes_rgb(tmp_path: Path, encoding: str, padding: int) -> None:
    channels, order = ENCODINGS[encoding]
    raw = np.zeros((1, 2, channels), np.uint8)
    for colour, channel in enumerate(order):
        raw[:, :, channel] = COLOURS[:, :, colour]
    want = COLOURS if channels > 1 else np.repeat(COLOURS[:, :, 2:], 3, axis=2)
    with Bag(write(tmp_path / "trip", {"/cam": [image(BEGIN_NS, encoding, raw, padding)]}), None) as bag:
        frame = bag.read()
    assert frame is not None
    assert pixels(frame).tolist() == want.tolist()


def test_compressed_pictures_are_decoded(tmp_path: Path) -> None:
    kind = TYPES["sensor_msgs/msg/CompressedImage"]
    picture = np.repeat(np.repeat(COLOURS, 8, axis=0), 8, axis=1)
    data = cv2.imencode(".png", picture[:, :, ::-1])[1].reshape(-1)
    rows = [
        kind(header=header(BEGIN_NS), format="png", data=data),
        kind(header=header(BEGIN_NS + 1), format="png", data=data[:20]),
    ]
    with Bag(write(tmp_path / "trip", {"/cam/compressed": rows}), None) as bag:
        frame = bag.read()
        with pytest.raises(DataError, match=r"picture 1 of .* compressed picture .'png'. that cannot be decoded"):
            bag.read()
    assert frame is not None
    assert np.array_equal(pixels(frame), picture)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"encoding": "bayer_rggb8"}, "'bayer_rggb8'; read are 8UC1"),
        ({"height": 9}, "does not hold what it states"),
        ({"step": 1}, "does not hold what it states"),
        ({"height": 0, "data": np.zeros(0, np.uint8)}, "does not hold what it states"),
    ],
)
def test_a_picture_that_cannot_be_used_is_said(tmp_path: Path, wrong: dict[str, Any], said: str) -> None:
    path = write(tmp_path / "trip", {"/cam": [image(BEGIN_NS, **wrong), image(BEGIN_NS + 1)]})
    with Bag(path, None) as bag:
        with pytest.raises(DataError, match=said):
            bag.read()
        assert bag.read() is not None  # the one after it


def test_a_topic_that_is_absent_or_ambiguous_lists_those_that_are_there(tmp_path: Path) -> None:
    rows = {"/left": [image(BEGIN_NS)], "/right": [image(BEGIN_NS)], "/gps": [fix(BEGIN_NS, 8.0, 47.0)]}
    path = write(tmp_path / "trip", rows)
    listed = r"/left \(1 messages\), /right \(1 messages\)"
    for topic, said in (
        (None, "has 2 topics with pictures"),
        ("/front", "has no topic /front"),
        ("/gps", "NavSatFix, not"),
    ):
        with pytest.raises(DataError, match=f"{said}.*{listed}"):
            Bag(path, topic)
    with Bag(path, "right") as bag:  # without its slash
        assert bag.topic == "/right"
    only_fixes = write(tmp_path / "gps", {"/gps": [fix(BEGIN_NS, 8.0, 47.0)]})
    with pytest.raises(DataError, match=r"no topic of .* holds pictures: it has /gps \(sensor_msgs/msg/NavSatFix\)"):
        Bag(only_fixes, None)


def test_fixes_become_points_and_those_without_a_fix_are_counted(tmp_path: Path) -> None:
    rows = [fix(BEGIN_NS, 8.5, 47.3), fix(BEGIN_NS + 10**9, 0.0, 0.0, status=-1), fix(BEGIN_NS + 2 * 10**9, 8.6, 47.4)]
    rows.append(fix(BEGIN_NS + 3 * 10**9, float("nan"), 47.4))
    points = read_fixes(f"bag:{write(tmp_path / 'trip', {'/gps/fix': rows})}#/gps/fix")
    assert points.crs == "lonlat"
    assert points.xy().tolist() == [[8.5, 47.3], [8.6, 47.4]]
    assert points.t_s is not None
    assert (points.t_s - BEGIN_NS / 1e9).tolist() == [0.0, 2.0]
    assert dict(points.dropped) == {"no_fix": 1, "nan": 1}


def test_a_receiver_that_never_had_a_fix_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "trip", {"/gps": [fix(BEGIN_NS, 0.0, 0.0, status=-1)]})
    with pytest.raises(PointsError, match=r"holds no fix \(1 messages"):
        read_fixes(f"bag:{path}")


def test_what_is_no_bag_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="there is no bag"):
        Bag(tmp_path / "absent", None)
    for name in ("folder", "empty.mcap", "torn.mcap"):
        path = tmp_path / name
        path.mkdir() if name == "folder" else path.write_bytes(b"" if name.startswith("empty") else b"\x89MCAP0\r\nxx")
        with pytest.raises(DataError, match="is not a bag that can be read"):
            Bag(path, None)
    with pytest.raises(UsageError, match="a bag is written bag:PATH"):
        parse_bag("bag:#/cam")
    assert parse_bag("bag:trips/a#/cam") == (Path("trips/a"), "/cam")


@pytest.mark.parametrize("storage", ["MCAP", "SQLITE3"])
def test_a_bag_that_was_not_copied_whole_is_an_error_and_no_end(tmp_path: Path, storage: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    path = write(tmp_path / "trip", {"/cam": [image(BEGIN_NS + i, pixels=noise) for i in range(20)]}, storage)
    (data,) = [file for file in path.iterdir() if file.suffix != ".yaml"]
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])

    def read_all() -> None:
        with Bag(path, None) as bag:
            while bag.read() is not None:
                pass

    with pytest.raises(DataError, match="was it copied whole"):
        read_all()


def test_without_the_extra_the_sentence_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rosbags.highlevel", None)
    with pytest.raises(MissingExtraError, match=r"reading a bag needs rosbags.*roadedge\[ros\]"):
        Bag(tmp_path, None)
