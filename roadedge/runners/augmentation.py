"""How often, turned and mirrored, at which scales and in which windows a network is asked about one image."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import UnknownNameError, UsageError
from roadedge.runners.windows import MERGES
from roadedge.spec import ModelSpec

VIEWS = {1: 1, 2: 1, 4: 4, 8: 4}  # test-time augmentation: how many quarter turns it has; 2 and 8 mirror as well
AVERAGES = ("logits", "probability")
LOWEST_SCALE, HIGHEST_SCALE = 0.1, 8.0


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How often and on what a network is asked about one image.

    `tta` views: 1, 2 (as it is and mirrored), 4 (quarter turns) or 8 (quarter turns, mirrored too). `scales` of the
    network's grid. `window` (H, W) slides over the image in pixels of that grid; `margin` of its pixels at the rim are
    not used (`merge` crop) or count less (blend). What views and scales say is averaged, as logits or as probability.
    """

    tta: int = 1
    scales: tuple[float, ...] = (1.0,)
    window: tuple[int, int] | None = None
    margin: int | None = None  # None: an eighth of the window's shorter side
    merge: str = "crop"
    average: str = "logits"

    def __post_init__(self) -> None:
        if self.tta not in VIEWS:
            raise UsageError(f"--tta is 1, 2, 4 or 8 views of an image, got {self.tta}")
        if not self.scales or any(not LOWEST_SCALE <= scale <= HIGHEST_SCALE for scale in self.scales):
            raise UsageError(f"--scales lie between {LOWEST_SCALE:g} and {HIGHEST_SCALE:g}, got {_listed(self.scales)}")
        if len(set(self.scales)) < len(self.scales):
            raise UsageError(f"--scales holds a scale twice: {_listed(self.scales)}; it would count double")
        if self.window is not None and min(self.window) < 1:
            raise UsageError(f"--sliding-window is at least one pixel, got {self.window}")
        if self.margin is not None and self.margin < 0:
            raise UsageError(f"--margin is zero or more pixels, got {self.margin}")
        for kind, name, known in (("merge", self.merge, MERGES), ("average", self.average, AVERAGES)):
            if name not in known:
                raise UnknownNameError(kind, name, known)
        if self.plain and (self.merge, self.average) != (MERGES[0], AVERAGES[0]):
            raise UsageError(
                "--merge and --average say how windows, views and scales meet, and one look has none: "
                "give --sliding-window, --tta or --scales"
            )

    @property
    def plain(self) -> bool:
        """Whether nothing is asked for but one look at the image."""
        return self.tta == 1 and self.scales == (1.0,) and self.window is None and self.margin is None

    def settled(self, spec: ModelSpec) -> tuple[tuple[int, int] | None, int]:
        """Window and margin for a network, what was left open filled in; no window: the image as a whole.

        Raises:
            UsageError: the window is not one that the network takes, or the margin leaves nothing of it.
        """
        window = self.window or spec.size
        if spec.size is not None and window != spec.size:
            raise UsageError(
                f"{spec.name} was exported for windows of {_sides(spec.size)} pixels, got --sliding-window "
                f"{_sides(self.window)}; leave it out, or export with --size"
            )
        if window is None:
            if self.margin is not None:
                raise UsageError("--margin is that of a sliding window; give --sliding-window too")
            return None, 0
        if any(side % spec.stride for side in window):
            raise UsageError(
                f"{spec.name} takes multiples of {spec.stride} pixels, got --sliding-window {_sides(window)}"
            )
        margin = min(window) // 8 if self.margin is None else self.margin
        if 2 * margin >= min(window):
            raise UsageError(f"a margin of {margin} leaves nothing of a window of {_sides(window)} pixels")
        return window, margin

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**dataclasses.asdict(self), "scales": list(self.scales), "window": self.window and list(self.window)}


def parse_augmentation(
    tta: int, scales: str | None, window: str | None, margin: int | None, merge: str, average: str
) -> Augmentation:
    """An Augmentation of the command line's words: `0.75,1,1.25` and `512` or `512x768` (height x width).

    Raises:
        UsageError, UnknownNameError: a value that is none.
    """
    try:
        factors = (1.0,) if scales is None else tuple(float(part) for part in scales.split(","))
    except ValueError:
        raise UsageError(f"--scales is a list of factors such as 0.75,1,1.25; got {scales!r}") from None
    sides = None
    if window is not None:
        words = window.lower().split("x")
        if len(words) > 2 or not all(word.isdecimal() for word in words):
            raise UsageError(f"--sliding-window is a side or HEIGHTxWIDTH in pixels, such as 512; got {window!r}")
        sides = (int(words[0]), int(words[-1]))
    return Augmentation(tta, factors, sides, margin, merge, average)


def symmetries(tta: int) -> list[tuple[int, bool]]:
    """(quarter turns, mirrored) of each view, the image as it is first."""
    return [
        (turns, mirrored) for mirrored in ((False, True) if tta in (2, 8) else (False,)) for turns in range(VIEWS[tta])
    ]


def turned(plane: NDArray[Any], turns: int, mirrored: bool) -> NDArray[Any]:
    """(H, W, ...) turned by quarters to the left, then mirrored left to right."""
    plane = np.rot90(plane, turns)
    return plane[:, ::-1] if mirrored else plane


def turned_back(plane: NDArray[Any], turns: int, mirrored: bool) -> NDArray[Any]:
    """What `turned` made (H, W, ...) of."""
    return np.ascontiguousarray(np.rot90(plane[:, ::-1] if mirrored else plane, -turns))


def cost_line(described: Mapping[str, Any]) -> str | None:
    """What an augmentation was and cost, from `Runner.describe`; None where there was none."""
    how = described.get("augmentation")
    if how is None:
        return None
    parts = [f"{how['tta']} views"] if how["tta"] > 1 else []
    parts += [f"scales {_listed(how['scales'])}"] if list(how["scales"]) != [1.0] else []
    if how["window"]:
        parts.append(f"windows of {_sides(how['window'])}, margin {how['margin']}, {how['merge']}")
    cost = ""
    if how["calls_per_image"] is not None:
        cost = f": {how['calls_per_image']:g} calls an image, {how['times_the_pixels']:g} times the pixels of one look"
    mean = f", mean of {how['average']}" if how["tta"] > 1 or len(how["scales"]) > 1 else ""
    return f"test-time augmentation by {'; '.join(parts)}{mean}{cost}"


def _listed(scales: Sequence[float]) -> str:
    return ",".join(f"{scale:g}" for scale in scales)


def _sides(sides: Sequence[int] | None) -> str:
    return "none" if sides is None else f"{sides[0]}x{sides[1]}"
