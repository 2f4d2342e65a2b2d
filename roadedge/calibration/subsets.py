"""What the sensitivity is measured with: labelled samples of the train split, and graphs with some layers in INT8."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from roadedge.atomic import write_bytes
from roadedge.calibration.sensitivity import Build, SensitivityResult, rank_layers
from roadedge.data.folder import LabelledSample
from roadedge.errors import UsageError
from roadedge.evaluation.settings import EvalSettings
from roadedge.evaluation.sources import SEMI_SYNTHETIC, open_sources
from roadedge.models.placement import weight_of
from roadedge.spec import ModelSpec, sha256_of, write_sidecar

if TYPE_CHECKING:
    import onnx

    from roadedge.calibration.insert import Scales
    from roadedge.calibration.samples import CalibrationList

SAMPLES = 16
CITY = "city:777001"  # neither the one that the gate judges on nor the one that is trained on


def train_samples(
    roots: Sequence[str | Path], spec: ModelSpec, count: int = SAMPLES
) -> tuple[list[LabelledSample], str]:
    """Labelled samples of the train splits, evenly over all of them, and what scores on them are called.

    Args:
        roots: folder data sets, or `city`; none: a city that nobody trains on or is judged on.
        spec: of the network.
        count: how many.

    Raises:
        DataError: a folder is missing or has no train split.
        UsageError: a count below one.
    """
    if count < 1:
        raise UsageError(f"the sensitivity needs at least one sample, got {count}")
    named = [CITY if str(root) == "city" else root for root in roots] or [CITY]
    sources = open_sources(named, spec, EvalSettings(split="train", windows=count))
    readers = [read for source in sources for read in source.readers]
    picked = sorted({round(i) for i in np.linspace(0, len(readers) - 1, min(count, len(readers)))})
    simulated = any(source.data == SEMI_SYNTHETIC for source in sources)
    return [readers[i]() for i in picked], SEMI_SYNTHETIC if simulated else sources[0].data


def measure_sensitivity(
    model: Path,
    samples: CalibrationList,
    roots: Sequence[str | Path],
    method: str,
    cache: Path,
    count: int = SAMPLES,
    spared: bool = False,
    borders_float: bool = True,
    threads: int | None = None,
    progress: bool = False,
    products_float: bool = True,
) -> SensitivityResult:
    """Rank the layers of a float ONNX file, from calibration to the result.

    Args:
        model: the float ONNX file.
        samples: to measure ranges on.
        roots: data sets whose train splits are scored; none, or `city`: a city.
        method: of the ranges, as `quantize_onnx` takes it.
        cache: where the ranges are, or are written for `quantize_onnx` to read.
        count: samples to score.
        spared: measure each layer alone in float, the rest in INT8.
        borders_float: keep the first and last convolutions float.
        products_float: as `place` takes it.
        threads: of the back-ends.
        progress: draw bars on stderr where that is a terminal.

    Raises:
        as `quantize_onnx`, `train_samples` and `rank_layers`.
    """
    from roadedge.calibration.cache import CacheKey, write_cache
    from roadedge.calibration.flow import ends_of, flow_of
    from roadedge.calibration.ptq import check_samples, face_of_file, load_float, measure, scales_for
    from roadedge.calibration.ranges import parse_method
    from roadedge.models.placement import place

    face = face_of_file(model)
    check_samples(model, face, samples)
    graph, _ = load_float(model)
    scored, data = train_samples(roots, face.spec, count)
    key = CacheKey(sha256_of(model), samples.digest, str(parse_method(method)))
    ranges = measure(graph, face, samples, key, cache if cache.exists() else None, threads, progress)
    if not cache.exists():
        write_cache(cache, key, ranges)
    placement = place(flow_of(graph), *ends_of(graph), (), borders_float, products_float)
    with tempfile.TemporaryDirectory() as folder:
        scales, rules = scales_for(graph, placement, ranges), (borders_float, products_float)
        build = subset_builder(graph, scales, face.spec, Path(folder), *rules)
        layers = list(dict.fromkeys(weight_of(name) for name in placement.convolutions))
        return rank_layers(build, layers, scored, spared, data, threads=threads, progress=progress)


def subset_builder(
    graph: onnx.ModelProto,
    scales: Scales,
    spec: ModelSpec,
    folder: Path,
    borders_float: bool = True,
    products_float: bool = True,
) -> Build:
    """How `rank_layers` gets its networks: the float graph with the named layers in INT8.

    Args:
        graph: float.
        scales: of the whole INT8 graph, so that a layer alone has the scales that it will have in company.
        spec: of the network.
        folder: where the one file at hand is written; the next one replaces it.
        borders_float: as `place` takes it.
        products_float: as `place` takes it.
    """
    from roadedge.calibration.flow import ends_of, flow_of
    from roadedge.calibration.insert import insert_qdq
    from roadedge.models.placement import place

    steps, ends = flow_of(graph), ends_of(graph)
    rules = borders_float, products_float
    layers = dict.fromkeys(weight_of(name) for name in place(steps, *ends, (), *rules).convolutions)

    def build(quantized: Collection[str]) -> Path:
        placement = place(steps, *ends, [name for name in layers if name not in quantized], *rules)
        # A shortcut that the whole graph leaves alone has no scale there, and is none of this layer's doing.
        points = tuple(point for point in placement.points if point.value in scales.activations)
        made = insert_qdq(graph, dataclasses.replace(placement, points=points), scales) if quantized else graph
        del made.metadata_props[:]  # what was said of the whole file, the gate's verdict too, does not hold for a part
        path = folder / "subset.onnx"
        write_bytes(path, made.SerializeToString())
        write_sidecar(path, spec, {})
        return path

    return build
