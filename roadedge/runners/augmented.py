"""Prediction as the papers do it: turned and mirrored views, several scales, a sliding window, around any runner.

`AugmentedRunner` is a runner that calls another one several times for an image and gives one answer, so that whoever
knows runners, the evaluation, the stream and the Python face, predicts so without knowing it.

Source: eight views with averaged logits, windows of 512 pixels and margins of 72 are those of "Fine-Grained Extraction
of Road Networks via Joint Learning of Connectivity and Segmentation" (arXiv 2312.04744); docs/prediction.md.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError, NonFiniteError
from roadedge.preprocess import LARGEST_GRID_PX, Feeds, fit, resample
from roadedge.runners.augmentation import Augmentation, symmetries, turned, turned_back
from roadedge.runners.base import Runner, check_feeds
from roadedge.runners.windows import Axis, Stitching, lay_along

if TYPE_CHECKING:
    from typing_extensions import Self

Planes = Mapping[str, NDArray[np.uint8]]  # (H, W, C) for each input


class AugmentedRunner:
    """A runner that asks another one as often as an Augmentation says; closing it closes the other one.

    Its `spec` takes any size: images come whole, and what a fixed graph cannot take at once it is given in windows,
    the turned ones too, so that a graph that is wider than high needs no second one.
    """

    def __init__(self, runner: Runner, how: Augmentation) -> None:
        """Wrap `runner`.

        Raises:
            UsageError: a window or margin that its network does not take.
        """
        self.inner, self.how = runner, how
        self._window, self._margin = how.settled(runner.spec)
        self.spec = dataclasses.replace(runner.spec, size=None, batch=None)
        self.name, self.version, self.device = runner.name, runner.version, runner.device
        self.precision, self.graph_precision = runner.precision, runner.graph_precision
        self.provenance, self.requested, self.file = runner.provenance, runner.requested, runner.file
        self.last_ms: dict[str, float] = {}
        self._images = self._calls = self._pixels = self._plain_pixels = 0

    def infer(self, feeds: Feeds, logits: bool = False) -> Feeds:
        """As `Runner.infer`, for whole images: {"probability": (N, H, W) uint8}, and "logits" where asked for.

        Raises:
            SpecMismatchError: the feeds are not those of `spec`; or an engine that gives no logits, which are averaged.
            DataError: at the largest scale an image would grow beyond LARGEST_GRID_PX.
            NonFiniteError: the network said NaN or infinity.
        """
        images = check_feeds(feeds, self.spec)
        height, width = feeds[self.spec.inputs[0]].shape[1:3]
        check_growth((height, width), max(self.how.scales))
        began = time.perf_counter_ns()
        self.last_ms = {}
        parts = [self._image({name: feeds[name][i] for name in self.spec.inputs}, logits) for i in range(images)]
        self.last_ms["infer"] = (time.perf_counter_ns() - began) / 1e6
        return {name: np.stack([part[name] for part in parts]) for name in parts[0]}

    def windows_at_once(self, windows: int) -> int:
        """As `Runner.windows_at_once`, of the calls that are made for an image."""
        return self.inner.windows_at_once(min(windows, 1))

    def describe(self) -> dict[str, Any]:
        """What was asked, what runs, and under "augmentation" what it costs so far, as JSON values."""
        return {**self.inner.describe(), "augmentation": {**self.settings(), **self.cost()}}

    def settings(self) -> dict[str, Any]:
        """The augmentation as JSON values, window and margin filled in."""
        window = None if self._window is None else list(self._window)
        return {**self.how.to_dict(), "window": window, "margin": self._margin if window else None}

    def cost(self) -> dict[str, Any]:
        """Images and calls so far, and how many times the pixels of a plain look the network was fed."""
        ratio = round(self._pixels / self._plain_pixels, 3) if self._plain_pixels else None
        calls = round(self._calls / self._images, 3) if self._images else None
        return {"images": self._images, "calls": self._calls, "calls_per_image": calls, "times_the_pixels": ratio}

    def close(self) -> None:
        """Close the runner inside."""
        self.inner.close()

    def __enter__(self) -> Self:
        """The runner itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def _image(self, planes: Planes, logits: bool) -> Feeds:
        """One image, (H, W, C) each → {"probability": (H, W)} and {"logits": (1, H, W)}."""
        size = next(iter(planes.values())).shape[:2]
        plain = fit((size[0], size[1]), None, self.inner.spec)
        at_once = self.inner.windows_at_once(1)
        self._plain_pixels += math.ceil(len(plain.corners) / at_once) * at_once * plain.window[0] * plain.window[1]
        self._images += 1
        # where each pixel has one source there is nothing to average, and the network's own levels are kept
        averaged = self.how.tta * len(self.how.scales) > 1 or self.how.merge == "blend"
        as_logits = averaged and self.how.average == "logits"
        keys = ["logits"] * (as_logits or logits) + ["probability"] * (not as_logits)
        mean = self._mean(planes, keys)
        out: Feeds = {}
        if not as_logits:
            out["probability"] = np.rint(mean["probability"]).astype(np.uint8)
        elif not np.isfinite(mean["logits"]).all():
            raise NonFiniteError(f"{self.spec.name} returned NaN or infinite logits; do not use this artefact")
        else:
            out["probability"] = levels(mean["logits"])
        if logits:
            out["logits"] = mean["logits"][None]
        return out

    def _mean(self, planes: Planes, keys: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """The mean over scales and views of what the network says, (H, W) for each of `keys`."""
        first = next(iter(planes.values()))
        size = (first.shape[0], first.shape[1])
        total = {key: np.zeros(size, np.float32) for key in keys}
        for scale in self.how.scales:
            scaled = {name: _scaled(plane, scale) for name, plane in planes.items()}
            for turns, mirrored in symmetries(self.how.tta):
                said = self._slide({name: turned(plane, turns, mirrored) for name, plane in scaled.items()}, keys)
                for key, values in said.items():
                    total[key] += resample(turned_back(values, turns, mirrored), size)
        views = np.float32(self.how.tta * len(self.how.scales))
        return {key: values / views for key, values in total.items()}

    def _slide(self, planes: Planes, keys: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """What the network says of one view, window by window, (H, W) for each of `keys`."""
        height, width = next(iter(planes.values())).shape[:2]
        rows, columns = self._axes(height, width)
        below, right = rows.length - height, columns.length - width
        if below or right:  # mirrored as in `preprocess`
            planes = {n: np.pad(p, ((0, below), (0, right), (0, 0)), mode="reflect") for n, p in planes.items()}
        places = [(i, j) for i in range(len(rows.starts)) for j in range(len(columns.starts))]
        stitchings = {key: Stitching(rows, columns, self.how.merge) for key in keys}
        at_once = self.inner.windows_at_once(1)
        for start in range(0, len(places), at_once):
            self._ask(planes, places[start : start + at_once], rows, columns, stitchings)
            self._pixels += at_once * rows.side * columns.side  # a graph of a fixed batch is filled up
        return {key: stitching.whole()[:height, :width] for key, stitching in stitchings.items()}

    def _ask(
        self,
        planes: Planes,
        places: Sequence[tuple[int, int]],
        rows: Axis,
        columns: Axis,
        stitchings: Mapping[str, Stitching],
    ) -> None:
        """One call of the network, and its answers put where they belong."""
        corners = [(rows.starts[i], columns.starts[j]) for i, j in places]
        feeds: Feeds = {
            name: np.stack([plane[y : y + rows.side, x : x + columns.side] for y, x in corners])
            for name, plane in planes.items()
        }
        outputs = self.inner.infer(feeds, logits="logits" in stitchings)
        self._calls += 1
        for stage, spent in self.inner.last_ms.items():
            self.last_ms[stage] = self.last_ms.get(stage, 0.0) + spent
        for key, stitching in stitchings.items():
            for (i, j), values in zip(places, outputs[key], strict=True):
                stitching.put(i, j, values.reshape(rows.side, columns.side))

    def _axes(self, height: int, width: int) -> tuple[Axis, Axis]:
        stride, fixed = self.spec.stride, self.inner.spec.size is not None
        tall, wide = self._window or (None, None)
        return (
            lay_along(height, tall, self._margin, stride, fixed),
            lay_along(width, wide, self._margin, stride, fixed),
        )


def augmented(runner: Runner, how: Augmentation | None) -> Runner:
    """`runner` with an augmentation around it; `runner` itself where nothing but one look is asked for.

    Raises:
        UsageError: a window or margin that its network does not take; the runner is then closed.
    """
    if how is None or how.plain:
        return runner
    try:
        return AugmentedRunner(runner, how)
    except BaseException:
        runner.close()
        raise


def levels(logits: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Logits → probability as uint8, rounded as deployed graphs do."""
    return (255 / (1 + np.exp(-np.clip(logits, -30, 30))) + 0.5).astype(np.uint8)


def check_growth(size: tuple[int, int], scale: float) -> None:
    """Raise DataError where an image of `size` (H, W) would be larger at `scale` than any that is taken."""
    height, width = round(size[0] * scale), round(size[1] * scale)
    if scale > 1 and height * width > LARGEST_GRID_PX:
        raise DataError(
            f"an image of {size[0]} x {size[1]} pixels would grow to {height} x {width} by --scales {scale:g}; "
            "take smaller scales, or cut the image up"
        )


def _scaled(plane: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """(H, W, C) resampled to `scale` times its sides."""
    size = (max(1, round(plane.shape[0] * scale)), max(1, round(plane.shape[1] * scale)))
    return resample(plane, size).reshape(*size, plane.shape[2])
