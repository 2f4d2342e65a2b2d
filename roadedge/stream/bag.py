"""Recorded ROS bags: `bag:PATH#TOPIC`, through the pure Python reader `rosbags`; no ROS is needed.

The capture time of a picture is its header's stamp; where the driver left that empty it is the time at which the bag's
recorder received it, and the frame says "arrival".
"""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from roadedge.errors import DataError, MissingExtraError, PointsError, ShapeError, SourceError, UsageError
from roadedge.sample import Sample
from roadedge.stream.bag_pictures import IMAGE_TYPES, decode_picture
from roadedge.stream.live import LiveOptions
from roadedge.stream.sources import Frame, Source
from roadedge.trajectory.points import Points

FORM = "bag:PATH or bag:PATH#/TOPIC, where PATH is a bag's folder or its .mcap file"
FIX_TYPE = "sensor_msgs/msg/NavSatFix"
OLDEST_EPOCH_S = 631152000.0  # 1990: smaller stamps count from a start of the robot or of a simulation
NO_FIX = -1  # NavSatStatus.STATUS_NO_FIX


class Bag(Source):
    """Pictures of one topic of a bag. `epoch_s` is the first stamp, where stamps are of the calendar."""

    moving = True

    def __init__(self, path: Path, topic: str | None, gsd_m: float | None = None) -> None:
        """Open a bag.

        Args:
            path: of its folder, or of its single .mcap file (or .bag of ROS 1).
            topic: of pictures; None where there is only one.
            gsd_m: metres per pixel, None where unknown.

        Raises:
            MissingExtraError: rosbags is not installed.
            SourceError: there is no such file.
            DataError: it is no bag, or has not that topic; the message lists the topics.
        """
        self.path, self._gsd_m = path, gsd_m
        self._reader = open_reader(path, "reading a bag")
        try:
            self.topic = choose_topic(self._reader, path, topic, IMAGE_TYPES, "pictures")
            with closing(messages(self._reader, self.topic, path)) as rows:
                first = next(rows, None)
        except DataError:
            self._reader.close()
            raise
        self.count = self._reader.topics[self.topic].msgcount
        self.name = re.sub(r"[^\w.-]+", "-", f"{path.stem}{self.topic}")
        self._messages = messages(self._reader, self.topic, path)
        self._next = 0
        self._open = True
        self._zero_ns = 0 if first is None else stamp_of(first[1].header, first[0])[0]
        if self._zero_ns / 1e9 > OLDEST_EPOCH_S:
            self.epoch_s = self._zero_ns / 1e9

    def read(self) -> Frame | None:
        """The next picture.

        Raises:
            DataError: one that cannot be decoded, or a bag that is torn.
        """
        if not self._open:
            return None
        received_ns, message = next(self._messages, (0, None))
        if message is None:
            return None
        index, self._next = self._next, self._next + 1
        name = self.name_of(index)
        stamp_ns, clock = stamp_of(message.header, received_ns)
        capture_s = (stamp_ns - self._zero_ns) / 1e9
        image = decode_picture(message, f"picture {index} of {self.path}#{self.topic}")
        try:
            sample = Sample(image, gsd_m=self._gsd_m, t_s=capture_s, id=name)
        except ShapeError as error:
            raise DataError(f"picture {index} of {self.path}#{self.topic} cannot be used: {error}") from error
        return Frame(name, sample, capture_s, clock)

    def skip(self, count: int) -> int:
        """Pass over pictures without decoding them."""
        for passed in range(count):
            if not self._open or next(self._messages, None) is None:
                return passed
            self._next += 1
        return count

    def close(self) -> None:
        """Close the bag."""
        if self._open:
            self._open = False
            self._messages.close()
            self._reader.close()


def open_bag(text: str, options: LiveOptions) -> Bag:
    """The pictures of `bag:PATH#TOPIC`; raises what `Bag` does, and UsageError for another form."""
    path, topic = parse_bag(text)
    return Bag(path, topic, options.gsd_m)


def read_fixes(text: str) -> Points:
    """The GPS fixes (NavSatFix) of `bag:PATH#TOPIC` as points in lon/lat.

    `t_s` is the header's stamp in seconds; a bag is one vehicle, number 0. Rows without a fix are dropped and counted.

    Raises:
        UsageError: not of the form `FORM`.
        MissingExtraError: rosbags is not installed.
        SourceError: there is no such file.
        DataError: no bag, no such topic (the message lists those with fixes), or not one fix in it.
    """
    path, wanted = parse_bag(text)
    with closing(open_reader(path, "reading the GPS fixes of a bag")) as reader:
        topic = choose_topic(reader, path, wanted, (FIX_TYPE,), "GPS fixes (NavSatFix)")
        rows, no_fix = [], 0
        for received_ns, message in messages(reader, topic, path):
            if message.status.status == NO_FIX:
                no_fix += 1
            else:
                stamp_ns, _ = stamp_of(message.header, received_ns)
                rows.append((message.longitude, message.latitude, stamp_ns / 1e9))
    if not rows:
        raise PointsError(f"{path}#{topic} holds no fix ({no_fix} messages say that the receiver had none)")
    table = np.array(rows, np.float64)
    columns = {"x": table[:, 0], "y": table[:, 1], "t_s": table[:, 2], "vehicle": np.zeros(len(table), np.int64)}
    return Points.checked(columns, "lonlat", {"no_fix": no_fix} if no_fix else None)


def parse_bag(text: str) -> tuple[Path, str | None]:
    """Path and topic of `bag:PATH#TOPIC`; the topic None where none is named.

    Raises:
        UsageError: no path.
    """
    rest = text.removeprefix("bag:")
    where, _, topic = rest.partition("#")
    if not where:
        raise UsageError(f"a bag is written {FORM}; got {text!r}")
    return Path(where).expanduser(), topic or None


def open_reader(path: Path, purpose: str) -> Any:
    """An open `rosbags` AnyReader; the caller closes it.

    Raises:
        MissingExtraError: rosbags is not installed.
        SourceError: there is no such file.
        DataError: it is no bag.
    """
    try:
        from rosbags.highlevel import AnyReader
        from rosbags.typesys import Stores, get_typestore
    except ImportError as error:
        raise MissingExtraError("rosbags", "ros", purpose) from error
    if not path.exists():
        raise SourceError(f"there is no bag {path}; a bag is written {FORM}")
    if path.suffix == ".db3":
        path = path.parent  # an SQLite bag is read through its folder's metadata.yaml
    try:
        reader = AnyReader([path], default_typestore=get_typestore(Stores.LATEST))
        reader.open()
    except Exception as error:  # a damaged bag fails in YAML, SQLite, struct, zstd or the reader's own errors
        raise DataError(f"{path} is not a bag that can be read ({error}); was it copied whole? {FORM}") from error
    return reader


def choose_topic(reader: Any, path: Path, wanted: str | None, kinds: tuple[str, ...], what: str) -> str:
    """The topic to read: the one asked for, or the only one of these message types.

    Raises:
        DataError: it is absent, of another type, or there are several; the message lists those that fit.
    """
    fitting = {name: info for name, info in reader.topics.items() if info.msgtype in kinds}
    listed = ", ".join(f"{name} ({info.msgcount} messages)" for name, info in sorted(fitting.items()))
    have = f"topics with {what}: {listed}" if fitting else f"no topic of {path} holds {what}: {_all_topics(reader)}"
    if wanted is not None:
        names = [name for name in (wanted, f"/{wanted}") if name in reader.topics]
        if not names:
            raise DataError(f"{path} has no topic {wanted}; {have}")
        if names[0] not in fitting:
            raise DataError(f"{path}#{names[0]} holds {reader.topics[names[0]].msgtype}, not {what}; {have}")
        return str(names[0])
    if len(fitting) == 1:
        return str(next(iter(fitting)))
    if not fitting:
        raise DataError(have)
    raise DataError(f"{path} has {len(fitting)} {have}; say which, as in bag:{path}#{sorted(fitting)[0]}")


def messages(reader: Any, topic: str, path: Path) -> Generator[tuple[int, Any], None, None]:
    """When the recorder received each message of a topic (nanoseconds), and the message.

    Raises:
        DataError: the bag is torn.
    """
    connections = [one for one in reader.connections if one.topic == topic]
    count = 0
    try:
        for connection, received_ns, raw in reader.messages(connections=connections):
            yield received_ns, reader.deserialize(raw, connection.msgtype)
            count += 1
    except Exception as error:  # as in open_reader
        raise DataError(f"{path} is torn after {count} messages of {topic} ({error}); was it copied whole?") from error


def stamp_of(header: Any, received_ns: int) -> tuple[int, str]:
    """Nanoseconds of a message's header and "header"; of its reception and "arrival" where the header is empty."""
    stamp_ns = int(header.stamp.sec) * 10**9 + int(header.stamp.nanosec)
    return (stamp_ns, "header") if stamp_ns > 0 else (received_ns, "arrival")


def _all_topics(reader: Any) -> str:
    if not reader.topics:
        return "it is empty"
    return "it has " + ", ".join(f"{name} ({info.msgtype})" for name, info in sorted(reader.topics.items()))
