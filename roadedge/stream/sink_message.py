"""One frame as one JSON object for a consumer beside the camera; what it holds stands in docs/live-output.md."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.roadgraph.trace import simplify
from roadedge.stream.road_lines import Ground, RoadLine
from roadedge.stream.sink_geojson import DIGITS, facts_of, known
from roadedge.stream.sinks import Result

SCHEMA = "roadedge.roads/1"
TOLERANCES_PX = (1.0, 2.0, 4.0, 8.0)  # how far a simplified line may lie from the traced one
LATER_BYTES = 64  # room for what is added when a message leaves
COORDINATES = (
    "px",
    "metres",
    "lonlat",
)  # metres of a plane whose place on the globe is not known, lonlat of one that is


@dataclass(frozen=True, slots=True)
class Message:
    """An encoded message without its closing brace, which `leaving` adds with what is known only then."""

    head: bytes
    age_ms: float | None  # when it was made
    made_ns: int
    truncated: bool
    end: bytes = b""

    def leaving(self, now_ns: int, unix_s: float) -> bytes:
        """The whole message, as it leaves at `now_ns` of the clock that made it."""
        age_ms = known(self.age_ms, 2, (now_ns - self.made_ns) / 1e6)
        age = "null" if age_ms is None else f"{age_ms:.2f}"
        return self.head + f',"age_ms":{age},"sent_s":{unix_s:.3f}}}'.encode() + self.end


def message_of(
    result: Result,
    lines: Sequence[RoadLine],
    number: int,
    made_ns: int,
    kinds: Sequence[str] = COORDINATES,
    limit: int | None = None,
    epoch_s: float | None = None,
    end: bytes = b"",
) -> Message:
    """Encode the roads of a frame, in `limit` bytes where that can be.

    Lines are simplified further and further until the message fits; then the shortest are left out, and it says
    `truncated`. One without a single line may still be longer than `limit`.

    Args:
        result: of the frame.
        lines: its roads.
        number: how many messages were made before.
        made_ns: now, by the clock that `Message.leaving` is given.
        kinds: which of COORDINATES a line is given in, where they are known.
        limit: bytes of the whole message, None for any length.
        epoch_s: seconds since 1970 at the stream's zero.
        end: goes behind the message.
    """
    ground = Ground(result.mask.place or result.frame.sample.place, result.frame.sample.size)
    facts = _facts(result, number, ground, epoch_s)
    room = None if limit is None else limit - LATER_BYTES - len(end) - len(_encode(_whole(facts, len(lines), 8.0, "")))
    longest_first = sorted(lines, key=lambda line: -_length_px(line.pixels))
    encoded, tolerance_px = _simplified_into(longest_first, ground, kinds, result.frame.sample.gsd_m, room)
    kept = len(encoded)
    if room is not None:
        kept = int(np.searchsorted(np.cumsum([len(one) + 1 for one in encoded]), room, side="right"))
    left_out = len(encoded) - kept
    text = _whole(facts, left_out, tolerance_px, ",".join(encoded[:kept]))
    return Message(_encode(text)[:-1], result.age_ms, made_ns, left_out > 0, end)


def _facts(result: Result, number: int, ground: Ground, epoch_s: float | None) -> dict[str, Any]:
    sample, second = result.frame.sample, result.second
    height, width = sample.size
    facts = {"schema": SCHEMA, "number": number, **facts_of(result, epoch_s), "width": width, "height": height}
    facts["gsd_m"] = known(sample.gsd_m, 4)
    facts["road_fraction"] = known(result.mask.road_fraction, 4)
    facts["points"] = None if second is None else second.points
    facts["skew_ms"] = None if second is None else known(second.skew_ms, 1)
    facts["ground"] = ground.known or None
    return facts


def _whole(facts: dict[str, Any], left_out: int, tolerance_px: float, lines: str) -> str:
    said = {**facts, "truncated": left_out > 0, "left_out": left_out, "tolerance_px": tolerance_px}
    return json.dumps(said, separators=(",", ":"), allow_nan=False)[:-1] + f',"lines":[{lines}]}}'


def _encode(text: str) -> bytes:
    return text.encode("ascii")  # as json.dumps leaves it


def _simplified_into(
    lines: Sequence[RoadLine], ground: Ground, kinds: Sequence[str], gsd_m: float | None, room: int | None
) -> tuple[list[str], float]:
    """The lines, encoded at the finest tolerance at which all have room, else at the coarsest; and that tolerance."""
    encoded: list[str] = []
    for tolerance_px in TOLERANCES_PX:
        encoded = _encoded_lines(lines, ground, kinds, gsd_m, tolerance_px)
        if room is None or sum(map(len, encoded)) + len(encoded) <= room:
            return encoded, tolerance_px
    return encoded, TOLERANCES_PX[-1]


def _encoded_lines(
    lines: Sequence[RoadLine], ground: Ground, kinds: Sequence[str], gsd_m: float | None, tolerance_px: float
) -> list[str]:
    thin = [simplify(line.pixels, tolerance_px) for line in lines]
    tolerance_m = tolerance_px * (gsd_m or 0.0)
    digits = {"px": 1 if tolerance_px < 2 else 0, "metres": 2 if tolerance_m < 1 else 1,
              "lonlat": DIGITS if tolerance_m < 1 else DIGITS - 1}  # fmt: skip
    encoded = []
    for line, pixels, stretches in zip(lines, thin, ground.lay(thin), strict=True):
        places: dict[str, NDArray[np.float64] | None] = {"px": pixels}
        said: dict[str, Any] = {}
        if len(stretches) == 1 and len(stretches[0].metres) == len(pixels):  # else a part lies beyond the horizon
            places |= {"metres": stretches[0].metres if ground.known == "plane" else None}
            places |= {"lonlat": _wrapped(stretches[0].lonlat)}
            said["length_m"] = known(stretches[0].length_m, 1)
        for kind in kinds:
            coordinates = places.get(kind)
            if coordinates is not None:
                said[kind] = _rounded(coordinates, digits[kind])
        said["confidence"] = known(line.confidence, 2)
        encoded.append(json.dumps(said, separators=(",", ":"), allow_nan=False))
    return encoded


def _wrapped(lonlat: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """Longitudes in [-180, 180)."""
    return None if lonlat is None else np.stack([(lonlat[:, 0] + 180) % 360 - 180, lonlat[:, 1]], axis=1)


def _length_px(pixels: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(np.diff(pixels, axis=0), axis=1).sum())


def _rounded(coordinates: NDArray[np.float64], digits: int) -> list[list[float]]:
    if digits == 0:
        whole: list[list[float]] = np.rint(coordinates).astype(int).tolist()
        return whole
    rounded: list[list[float]] = np.round(coordinates, digits).tolist()
    return rounded
