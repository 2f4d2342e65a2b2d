"""One labelled sample through the deployed path: corrupt, blank, preprocess, infer, postprocess, count."""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roadedge.data.corrupt import corrupt
from roadedge.data.folder import LabelledSample
from roadedge.evaluation.settings import EvalSettings
from roadedge.metrics.graph_scores import GraphScores, GraphSettings, compare_graphs
from roadedge.metrics.pixel import IGNORED, ROAD, PixelCounts, count_pixels
from roadedge.postprocess import postprocess
from roadedge.preprocess import Feeds, OutsideBandWarning, preprocess
from roadedge.roadgraph import trace
from roadedge.runners.base import Runner
from roadedge.sample import RoadMask, Sample
from roadedge.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Judged:
    """A sample as it was fed, its label (H, W) uint8, what the network said and how they compare."""

    sample: Sample
    truth: NDArray[np.uint8]
    mask: RoadMask
    counts: PixelCounts


def judge(item: LabelledSample, runner: Runner, settings: EvalSettings) -> Judged:
    """Run one sample and count its pixels on its own grid.

    Raises:
        DataError: the sample cannot be corrupted or fed as asked; under `strict` also outside the trained band.
        NonFiniteError: the network returned NaN.
    """
    sample, feeds = fed_as_asked(item, runner.spec, settings)
    mask = postprocess(runner.infer(feeds), runner.spec, sample, settings.threshold)
    return Judged(sample, item.mask, mask, count_pixels(mask.mask, item.mask))


def fed_as_asked(item: LabelledSample, spec: ModelSpec, settings: EvalSettings) -> tuple[Sample, Feeds]:
    """The sample, corrupted and without what is not to be fed, and the feeds made of it.

    Raises:
        DataError: it cannot be corrupted or fed as asked; under `strict` also outside the trained band.
    """
    damaged = corrupt(item.sample, settings.corruptions, settings.seed, item.mask)
    sample = only_fed(damaged, settings.fed(spec))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutsideBandWarning)  # said once for the whole set, with a count
        return sample, preprocess(sample, spec, settings.strict)


def judge_graph(judged: Judged, settings: GraphSettings) -> GraphScores:
    """Trace the roads of a sample and of its label, and compare them, in metres where the sample says its GSD.

    What the network says on ignored pixels is taken out before.

    Raises:
        MissingExtraError: scikit-image or SciPy is not installed (extra `graph`).
    """
    truth, gsd_m = judged.truth, judged.sample.gsd_m
    said = np.where(truth == IGNORED, np.uint8(0), judged.mask.probability)
    proposal = trace(said, settings.tracing, gsd_m)
    return compare_graphs(trace(truth == ROAD, settings.tracing, gsd_m), proposal, settings)


def only_fed(sample: Sample, fed: tuple[str, ...]) -> Sample:
    """The sample without the modalities that are not among `fed`; the network gets their blank."""
    image = sample.image if "image" in fed else None
    second = sample.second if any(name != "image" for name in fed) else None
    return dataclasses.replace(sample, image=image, second=second)
