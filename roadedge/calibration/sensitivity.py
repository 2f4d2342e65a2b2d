"""Which layers lose the most in INT8: each alone quantized, or each alone spared, against the float network.

Two measures. The loss of G_IoU is what counts, and on a few samples it is coarse: a layer may seem to win. The
signal-to-noise ratio of the logits sees every change. Noise of several layers adds up roughly as if independent, so
that a layer's share in the loss of the whole network is estimated from its share in the noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.data.folder import LabelledSample
from roadedge.errors import DataError, NonFiniteError, UsageError
from roadedge.evaluation.gate import conditions_of
from roadedge.evaluation.judge import fed_as_asked
from roadedge.evaluation.progress import steps_bar
from roadedge.evaluation.settings import EvalSettings
from roadedge.evaluation.sources import SEMI_SYNTHETIC
from roadedge.metrics.pixel import PixelCounts, count_pixels, global_iou
from roadedge.postprocess import postprocess
from roadedge.preprocess import Feeds
from roadedge.runners import Runner, open_runner
from roadedge.sample import Sample

Build = Callable[[Collection[str]], "Path | Runner"]  # names of the layers in INT8 → the network; none: the float one

SCHEMA_VERSION = 1
CEILING_DB = 120.0  # float32 resolves no more; stands for "no difference"
BUDGET = 0.005  # of G_IoU: half a point


@dataclass(frozen=True, slots=True)
class LayerLoss:
    """A network in which one layer differs from the rest. `loss` is G_IoU lost against float, negative where won."""

    layer: str
    g_iou: float
    loss: float
    snr_db: float

    @property
    def noise(self) -> float:
        """Power of the noise in the logits as a share of their own."""
        return float(10 ** (-self.snr_db / 10))


@dataclass(frozen=True, slots=True)
class SensitivityResult:
    """The ranking, worst first. `spared` is False where each layer alone was INT8, True where each alone was float.

    `everything` is the network with all layers in INT8. `samples` counts those that were looked at, each in one of
    `conditions`, by turns; `data` is what scores on them are called.
    """

    layers: tuple[LayerLoss, ...]
    everything: LayerLoss
    float_g_iou: float
    spared: bool
    samples: int
    conditions: tuple[str, ...]
    data: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "sensitivity",
            "each_layer": "float, the rest INT8" if self.spared else "INT8, the rest float",
            "float_g_iou": self.float_g_iou,
            "everything": asdict(self.everything),
            "layers": [asdict(one) for one in self.layers],
            "samples": self.samples,
            "conditions": list(self.conditions),
            "data": self.data,
            "rules": {
                "loss": "G_IoU of float minus this one's, fractions",
                "snr_db": f"of the logits, at most {CEILING_DB:g}",
            },
        }


@dataclass(frozen=True, slots=True)
class _Seen:
    """One sample as it was fed, its truth, and the float network's logits."""

    sample: Sample
    feeds: Feeds
    truth: NDArray[np.uint8]
    logits: NDArray[np.float32]


def rank_layers(
    build: Build,
    layers: Sequence[str],
    samples: Sequence[LabelledSample],
    spared: bool = False,
    data: str = SEMI_SYNTHETIC,
    backend: str = "auto",
    threads: int | None = None,
    progress: bool = False,
) -> SensitivityResult:
    """Measure each layer on labelled samples, of the train split: the validation split is the gate's.

    Args:
        build: makes the network with the given layers in INT8, as a file or as an open runner, which is closed here.
        layers: names of those that may be quantized.
        samples: each is fed in one of the gate's conditions, by turns, and kept in memory with its logits.
        spared: measure the reverse, each layer alone in float while the rest is INT8.
        data: what scores on the samples are called.
        backend: as `open_runner` takes it, for files.
        threads: as `open_runner` takes it, for files.
        progress: draw a bar on stderr where that is a terminal.

    Raises:
        UsageError: no layers, or one twice.
        DataError: no samples.
        NonFiniteError: the float network returns NaN.
    """
    if not layers or len(set(layers)) != len(layers):
        raise UsageError(f"the sensitivity needs layers, each once; got {list(layers)[:5]}")
    if not samples:
        raise DataError("the sensitivity needs labelled samples; give a data set with a train split")

    def opened(quantized: Collection[str]) -> Runner:
        built = build(quantized)
        return open_runner(built, backend, None, threads) if isinstance(built, Path) else built

    with opened(()) as runner:
        conditions = conditions_of(runner.spec, EvalSettings())
        seen, float_g_iou = _look(runner, samples, list(conditions.values()))
    everything = frozenset(layers)
    found = []
    with steps_bar("sensitivity", len(layers) + 1, progress) as tell:
        with opened(everything) as runner:
            whole = _lost("everything", runner, seen, float_g_iou)
        tell()
        for layer in layers:
            with opened(everything - {layer} if spared else {layer}) as runner:
                found.append(_lost(layer, runner, seen, float_g_iou))
            tell()
    ranked = sorted(found, key=lambda one: (one.snr_db, -one.loss), reverse=spared)
    return SensitivityResult(tuple(ranked), whole, float_g_iou, spared, len(seen), tuple(conditions), data)


def auto_keep_float(result: SensitivityResult, budget: float = BUDGET, most: int | None = None) -> tuple[str, ...]:
    """The layers to keep float, worst first, until the predicted loss of the others is within the budget.

    Args:
        result: of each layer alone in INT8.
        budget: G_IoU that may be lost, a fraction.
        most: layers that may stay float; default half of them, beyond which INT8 is not worth its name.

    Raises:
        UsageError: the reverse measurement, or a negative budget.
    """
    if result.spared:
        raise UsageError("layers are chosen by what each alone costs in INT8; measure with spared=False")
    if not budget >= 0:
        raise UsageError(f"the budget of lost G_IoU must not be negative, got {budget:g}")
    limit = len(result.layers) // 2 if most is None else most
    kept: list[str] = []
    while predicted_loss(result, kept) > budget and len(kept) < limit:
        rest = [one for one in result.layers if one.layer not in kept]
        kept.append(min(rest, key=lambda one: predicted_loss(result, [*kept, one.layer])).layer)
    return tuple(kept)


def predicted_loss(result: SensitivityResult, kept: Collection[str]) -> float:
    """G_IoU that is lost where `kept` stay float: the larger one of two estimates, a fraction.

    One is the sum of what each of the other layers loses alone, gains counted as well: on a few samples half of the
    small losses are chance, and so are the gains that make up for them. The other is the loss of the network with all
    layers in INT8, times the other layers' share of the noise: it holds where no single loss is seen.
    """
    rest = [one for one in result.layers if one.layer not in kept]
    alone = sum(one.loss for one in rest)
    noise = sum(one.noise for one in result.layers)
    share = sum(one.noise for one in rest) / noise if noise > 0 else 0.0
    return max(0.0, alone, result.everything.loss * share)


def snr_db(reference: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Signal-to-noise ratio of logits against a reference's, decibels, at most `CEILING_DB`."""
    return _decibels(*_powers(reference, other))


def _look(
    runner: Runner, samples: Sequence[LabelledSample], conditions: Sequence[EvalSettings]
) -> tuple[list[_Seen], float]:
    seen, counts = [], []
    for number, item in enumerate(samples):
        sample, feeds = fed_as_asked(item, runner.spec, conditions[number % len(conditions)])
        outputs = runner.infer(feeds, logits=True)
        if not np.isfinite(outputs["logits"]).all():
            raise NonFiniteError(f"the float network returned NaN or infinity on {item.id}; it cannot be a reference")
        seen.append(_Seen(sample, feeds, item.mask, outputs["logits"].copy()))
        counts.append(count_pixels(postprocess(outputs, runner.spec, sample).mask, item.mask))
    return seen, global_iou(counts)


def _lost(layer: str, runner: Runner, seen: Sequence[_Seen], float_g_iou: float) -> LayerLoss:
    counts: list[PixelCounts] = []
    signal = noise = 0.0
    for one in seen:
        outputs = runner.infer(one.feeds, logits=True)
        mask = postprocess(outputs, runner.spec, one.sample).mask
        counts.append(count_pixels(mask, one.truth))
        powers = _powers(one.logits, outputs["logits"])
        signal, noise = signal + powers[0], noise + powers[1]
    g_iou = global_iou(counts)
    return LayerLoss(layer, g_iou, float_g_iou - g_iou, _decibels(signal, noise))


def _powers(reference: NDArray[np.float32], other: NDArray[np.float32]) -> tuple[float, float]:
    """Σ reference² and Σ (other − reference)²; NaN in `other` is noise as large as can be told."""
    ours = reference.astype(np.float64)
    gap = np.nan_to_num(other.astype(np.float64) - ours, nan=1e6, posinf=1e6, neginf=-1e6)
    return float((ours**2).sum()), float((gap**2).sum())


def _decibels(signal: float, noise: float) -> float:
    if noise <= 0:
        return CEILING_DB
    return float(min(CEILING_DB, 10 * math.log10(max(signal, 1e-300) / noise)))
