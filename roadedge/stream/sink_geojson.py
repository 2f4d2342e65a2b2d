"""Roads as GeoJSON, longitude and latitude: a line of text for each road of each frame, and one file in the end."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.atomic import replacing
from roadedge.errors import OutputError
from roadedge.stream.road_lines import Ground, RoadLine, RoadLines
from roadedge.stream.sinks import Result, Sink

DIGITS = 7  # of a degree: 1 cm
Epoch = Callable[[], "float | None"]  # seconds since 1970, UTC, at the stream's zero, None where nobody knows


class GeoJsonSink(Sink):
    """`roads.geojsonl`, a Feature in each line, and from it `roads.geojson`, when the run ends.

    The lines of a frame are written by one call of the system, so that a process that is killed leaves whole lines; a
    disk that fills up is cut back to them. Frames whose place or plane nobody knows are counted, and have no lines.
    Roads of frames that overlap stand there once for each frame.
    Source: RFC 7946 (GeoJSON), RFC 8142 for the idea of one text a line.
    """

    name = "geojson"

    def __init__(self, path: Path, roads: RoadLines, epoch: Epoch = lambda: None) -> None:
        """Prepare; the file is begun with the first frame whose place on the globe is known.

        Args:
            path: of the lines, ends in .geojsonl.
            roads: traces a result.
            epoch: seconds since 1970 at the stream's zero, for the property `time`.
        """
        self._path, self._roads, self._epoch = path, roads, epoch
        self._file: int | None = None
        self._failed = False
        self.features = self.without_place = self.in_local_plane = 0

    def write(self, result: Result) -> None:
        """Append the roads of one frame."""
        sample = result.frame.sample
        ground = Ground(result.mask.place or sample.place, sample.size)
        if ground.known != "lonlat":
            self.without_place += not ground.known
            self.in_local_plane += bool(ground.known)
            return
        facts = facts_of(result, self._epoch())
        features = features_of(self._roads(result), ground, facts)
        text = "".join(json.dumps(f, separators=(",", ":"), allow_nan=False) + "\n" for f in features)
        self._append(text.encode())
        self.features += len(features)

    def close(self) -> None:
        """Write `roads.geojson`, all lines as one FeatureCollection, read one after the other."""
        if self._file is None:
            return
        file, self._file = self._file, None
        os.close(file)
        with replacing(self._path.with_suffix(".geojson")) as temporary, temporary.open("wb") as whole:
            whole.write(b'{"type":"FeatureCollection","features":[')
            with self._path.open("rb") as lines:
                for number, line in enumerate(lines):
                    whole.write((b",\n" if number else b"\n") + line.rstrip(b"\n"))
            whole.write(b"\n]}\n")

    def describe(self) -> dict[str, Any]:
        """What was written, and how many frames could not be put on a map."""
        return {
            **super().describe(),
            "features": self.features,
            "frames_without_place": self.without_place,
            "frames_in_local_plane": self.in_local_plane,
        }

    def notices(self) -> Sequence[str]:
        """A sentence where roads of frames are missing from the map."""
        told = []
        if self.without_place:
            told.append(
                f"roads of {self.without_place} frames are not in {self._path.name}: where they lie on the ground is "
                "not known; telemetry, a georeferenced source, or --centre with --gsd would say it"
            )
        if self.in_local_plane:
            told.append(
                f"roads of {self.in_local_plane} frames are not in {self._path.name}: they lie in metres of a plane of "
                "which nobody knows where on the globe it is, and no longitude was invented"
            )
        return told

    def _append(self, content: bytes) -> None:
        try:
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
            rest = memoryview(content)
            while rest:  # one call, but for a disk without room or a signal
                rest = rest[os.write(self._file, rest) :]
        except OSError as error:
            self._cut_back()
            raise OutputError.from_os(self._path, error) from error
        self._count(len(content))

    def _cut_back(self) -> None:
        """Take away the half of a frame that was still written."""
        if self._file is not None:
            os.ftruncate(self._file, self.bytes)
            os.lseek(self._file, self.bytes, os.SEEK_SET)


def facts_of(result: Result, epoch_s: float | None) -> dict[str, Any]:
    """What is known of a frame: its name, capture time, the clock that gives it, and UTC where that is known."""
    facts: dict[str, Any] = {"frame": result.frame.name, "capture_s": known(result.time_s, 6)}
    facts["clock"] = result.clock or result.frame.clock or "run"
    if epoch_s is not None and result.frame.capture_s is not None:
        moment = datetime.fromtimestamp(epoch_s + result.frame.capture_s, timezone.utc)
        facts["time"] = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return facts


def known(value: float | None, digits: int, more: float = 0.0) -> float | None:
    """`value` + `more`, rounded; None where it is none or no finite number, which JSON has no word for."""
    return round(value + more, digits) if value is not None and math.isfinite(value) else None


def features_of(lines: Sequence[RoadLine], ground: Ground, facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Each road as a Feature; as two or more where a part of it lies beyond the horizon of a tilted camera."""
    features = []
    for line, stretches in zip(lines, ground.lay([line.pixels for line in lines]), strict=True):
        for stretch in stretches:
            assert stretch.lonlat is not None
            said = {**facts, "length_m": known(stretch.length_m, 2), "confidence": known(line.confidence, 4)}
            features.append({"type": "Feature", "geometry": geometry_of(stretch.lonlat), "properties": said})
    return features


def geometry_of(lonlat: NDArray[np.float64]) -> dict[str, Any]:
    """(N, 2) degrees as a GeoJSON geometry, cut where it crosses the antimeridian (RFC 7946, 3.1.9)."""
    lon = np.unwrap(lonlat[:, 0], period=360.0)
    turns = np.floor((lon + 180) / 360)
    parts: list[list[list[float]]] = [[]]
    for index, (degrees, lat, turn) in enumerate(zip(lon, lonlat[:, 1], turns, strict=True)):
        if index and turn != turns[index - 1]:
            border = 360 * max(turn, turns[index - 1]) - 180
            share = (border - lon[index - 1]) / (degrees - lon[index - 1])
            crossing = round(float(lonlat[index - 1, 1] + share * (lat - lonlat[index - 1, 1])), DIGITS)
            side = 180.0 if turn > turns[index - 1] else -180.0
            parts[-1].append([side, crossing])
            parts.append([[-side, crossing]])
        parts[-1].append([round(float(degrees - 360 * turn), DIGITS), round(float(lat), DIGITS)])
    if len(parts) == 1:
        return {"type": "LineString", "coordinates": parts[0]}
    return {"type": "MultiLineString", "coordinates": parts}
