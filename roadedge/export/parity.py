"""Does an artefact say what the network says? The same samples through both, logits, masks and scores compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError, ParityError, UsageError
from roadedge.metrics.pixel import PixelCounts, count_pixels, global_iou
from roadedge.postprocess import postprocess
from roadedge.preprocess import Feeds, preprocess
from roadedge.runners.base import Runner
from roadedge.sample import Sample
from roadedge.spec import ModelSpec

SAMPLES = 4
FRESH = "fresh"  # what a checkpoint's provenance says under `weights` where nothing was ever trained
BLANK = "blank"
NOT_JUDGED = "not judged: untrained weights"  # of the mask


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Logits may differ by `relative` of their largest magnitude; the share `agreement` of the mask must be equal.

    Those of weights that were never trained may differ by `untrained` of how far they lie apart; None for `relative`.
    """

    relative: float
    agreement: float
    untrained: float | None = None

    def within(self, share: float) -> Tolerance:
        """A stricter one: this share of what may differ."""
        untrained = None if self.untrained is None else share * self.untrained
        return Tolerance(share * self.relative, 1 - share * (1 - self.agreement), untrained)


# A quantized network may round a value the other way at each tie, and the next layer carries that on; OpenVINO moreover
# requantizes in its own way. What that costs in accuracy is the gate's business.
# Fresh weights carry rounding on and let it grow from layer to layer, which training unlearns; what has left the range
# of a precision differs by all of the spread.
TOLERANCES = {
    "fp32": Tolerance(1e-3, 0.999),
    "fp16": Tolerance(2e-2, 0.999, untrained=0.1),
    "int8": Tolerance(0.25, 0.97, untrained=0.5),
    "int8-fp16": Tolerance(0.25, 0.97, untrained=0.5),
}


@dataclass(frozen=True, slots=True)
class ParitySamples:
    """Samples to compare on and their truth, (H, W) uint8 with 128 ignored, where there is one."""

    origin: str
    label: str  # `semi-synthetic` where the trajectories are simulated
    pairs: tuple[tuple[Sample, NDArray[np.uint8] | None], ...]


@dataclass(frozen=True, slots=True)
class ParityRow:
    """One sample: largest difference of the logits, their largest magnitude, share of mask pixels that are equal.

    `spread` is how far the reference's logits lie apart, the largest less the smallest.
    """

    id: str
    max_logit_difference: float
    max_logit: float
    agreement: float
    spread: float


@dataclass(frozen=True, slots=True)
class Parity:
    """The table. `g_iou` are percent over all samples against the truth, None where there is none.

    Of `untrained` weights the masks are not judged: all their logits lie by the threshold, where any rounding turns a
    pixel over. Their logits are judged by their spread and not by their magnitude: a network that says nearly the same
    everywhere must say the little that differs.
    """

    reference: str
    candidate: str
    origin: str
    label: str
    rows: tuple[ParityRow, ...]
    g_iou_reference: float | None
    g_iou_candidate: float | None
    untrained: bool = False

    @property
    def max_logit_difference(self) -> float:
        """The largest one of all samples."""
        return max(row.max_logit_difference for row in self.rows)

    @property
    def max_logit(self) -> float:
        """The largest magnitude of the reference's logits."""
        return max(row.max_logit for row in self.rows)

    @property
    def spread(self) -> float:
        """The smallest one of all samples."""
        return min(row.spread for row in self.rows)

    @property
    def agreement(self) -> float:
        """The lowest one of all samples, in [0, 1]."""
        return min(row.agreement for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, the totals included."""
        totals = {
            "max_logit_difference": self.max_logit_difference,
            "max_logit": self.max_logit,
            "spread": self.spread,
            "agreement": self.agreement,
        }
        return dataclasses.asdict(self) | totals | ({"masks": NOT_JUDGED} if self.untrained else {})

    def check(self, tolerance: Tolerance) -> None:
        """Raise ParityError where the artefact differs more than `tolerance` allows."""
        share, of, what = tolerance.relative, max(1.0, self.max_logit), "the largest one"
        if self.untrained and self.origin != BLANK:  # where nothing is seen, logits hardly lie apart
            share = tolerance.relative if tolerance.untrained is None else tolerance.untrained
            of, what = self.spread, "how far those of untrained weights lie apart"
        allowed = share * of
        if not self.max_logit_difference <= allowed:
            raise ParityError(
                f"{self.candidate} differs from {self.reference} by {self.max_logit_difference:.3g} in the logits, "
                f"{allowed:.3g} is allowed, {share:.3g} of {what}; nothing was written"
            )
        if self.agreement < tolerance.agreement and not self.untrained:
            raise ParityError(
                f"{self.candidate} and {self.reference} agree on {self.agreement:.4%} of the mask, "
                f"{tolerance.agreement:.2%} is needed; nothing was written"
            )


def parity_samples(spec: ModelSpec, data: str | Path | None = None, count: int = SAMPLES) -> ParitySamples:
    """Samples to compare on: of a data set, of a plain folder of images, or, without `data`, of the built-in city.

    The city has no LiDAR: a network of it is shown the brightness of the image there, and nothing is scored.

    Raises:
        DataError: the folder cannot be read.
        UsageError: `count` is below one.
    """
    from roadedge.evaluation.settings import EvalSettings
    from roadedge.evaluation.sources import SEMI_SYNTHETIC, open_sources

    if count < 1:
        raise UsageError(f"a parity check needs at least one sample, got {count}")
    root = None if data is None else Path(data)
    if root is not None and root.is_dir() and not (root / "image").is_dir() and not (root / "split.csv").exists():
        return _plain_images(root, count)
    if data is None and spec.second == "lidar":
        return _brightness_for_lidar(spec, count)
    source = open_sources([data or "city"], spec, EvalSettings(split="all", windows=count))[0]
    picked = [source.readers[i]() for i in spread(len(source.readers), count)]
    label = SEMI_SYNTHETIC if source.data == SEMI_SYNTHETIC else ""
    return ParitySamples(source.name, label, tuple((one.sample, one.mask) for one in picked))


def _brightness_for_lidar(spec: ModelSpec, count: int) -> ParitySamples:
    found = parity_samples(dataclasses.replace(spec, inputs=("image",), lidar=None), None, count)
    shown = [
        Sample(image, image.max(axis=2), gsd_m=sample.gsd_m, id=sample.id)
        for sample, _ in found.pairs
        if (image := sample.image) is not None
    ]
    return ParitySamples("city, brightness for LiDAR", "", tuple((sample, None) for sample in shown))


def blanks(size: tuple[int, int]) -> ParitySamples:
    """One sample of `size` (H, W) with nothing in it: does a graph of free size run at a bound, and agree there?"""
    empty = Sample(np.zeros((*size, 3), np.uint8), id=f"blank {size[0]} x {size[1]}")
    return ParitySamples(BLANK, "", ((empty, None),))


def first_corner(samples: ParitySamples, side: int = 256) -> ParitySamples:
    """The upper left corner of the first sample, at most `side` pixels wide and high."""
    sample, truth = samples.pairs[0]
    part = np.s_[:side, :side]
    image = None if sample.image is None else sample.image[part]
    second = sample.second if sample.second is None or sample.has_points else sample.second[part]
    size = (min(side, sample.size[0]), min(side, sample.size[1]))
    corner = Sample(image, second, size, gsd_m=sample.gsd_m, id=sample.id)  # points outside it are not drawn
    return dataclasses.replace(samples, pairs=((corner, None if truth is None else truth[part]),))


def compare(
    reference: Runner, candidate: Runner, spec: ModelSpec, samples: ParitySamples, untrained: bool = False
) -> Parity:
    """Run both on the same feeds, made for `spec`; of `untrained` weights the masks are not judged.

    Raises:
        ParityError: either returned NaN or infinite logits.
    """
    rows: list[ParityRow] = []
    counts: list[list[PixelCounts]] = [[], []]
    for sample, truth in samples.pairs:
        feeds = preprocess(sample, spec)
        outputs = [_finite(runner, runner.infer(feeds, logits=True), sample) for runner in (reference, candidate)]
        masks = [postprocess(output, spec, sample).mask for output in outputs]
        left, right = (output["logits"] for output in outputs)
        difference, largest = float(np.abs(left - right).max()), float(np.abs(left).max())
        agreement = float((masks[0] == masks[1]).mean())
        rows.append(ParityRow(sample.id, difference, largest, agreement, float(np.ptp(left))))
        if truth is not None:
            for mask, count in zip(masks, counts, strict=True):
                count.append(count_pixels(mask, truth))
    scored = len(counts[0]) == len(samples.pairs)
    scores = [100 * global_iou(count) if scored else None for count in counts]
    named = (_named(reference), _named(candidate))
    return Parity(*named, samples.origin, samples.label, tuple(rows), scores[0], scores[1], untrained)


def untrained(provenance: Mapping[str, Any]) -> bool:
    """Whether the provenance of a checkpoint says that its weights are `FRESH`, or that of a file made of one."""
    origin = provenance.get("checkpoint")
    stated = origin.get("provenance", {}) if isinstance(origin, dict) else provenance
    return isinstance(stated, dict) and stated.get("weights") == FRESH


def spread(length: int, count: int) -> list[int]:
    """At most `count` indices, evenly over `length`."""
    return sorted({round(i) for i in np.linspace(0, length - 1, min(length, count))})


def _plain_images(root: Path, count: int) -> ParitySamples:
    from roadedge.imagery import IMAGE_SUFFIXES, read_image

    listed = sorted(path for path in root.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not listed:
        raise DataError(f"{root} holds neither a data set (image/, mask/) nor images ({', '.join(IMAGE_SUFFIXES)})")
    picked = [listed[i] for i in spread(len(listed), count)]
    return ParitySamples(root.resolve().name, "", tuple((Sample(read_image(p), id=p.stem), None) for p in picked))


def _finite(runner: Runner, outputs: Feeds, sample: Sample) -> Feeds:
    if not np.isfinite(outputs["logits"]).all():
        where = sample.id or "a sample"
        raise ParityError(f"{_named(runner)} returned NaN or infinite logits on {where}; nothing was written")
    return outputs


def _named(runner: Runner) -> str:
    """`onnxruntime fp32`, and where the file is of another precision than what was computed in: so, too."""
    file = runner.graph_precision
    return f"{runner.name} {runner.precision}" + ("" if file in (runner.precision, "unknown") else f" ({file} file)")
