"""Before Q/DQ pairs can be inserted: how a file is fed, its float graph, and the ranges of the values in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from roadedge.calibration.cache import CacheKey, read_cache
from roadedge.calibration.emissions import raised
from roadedge.calibration.flow import flow_of
from roadedge.calibration.insert import Scales, check_float, weight_scales
from roadedge.calibration.observe import observe, tracked
from roadedge.calibration.ranges import parse_method
from roadedge.calibration.samples import CalibrationList, feeds_of
from roadedge.errors import DataError, MissingExtraError, ModelFileError, UsageError
from roadedge.models.placement import CONVOLUTIONS, TRANSPARENT, Placement, groups, scale_of

if TYPE_CHECKING:
    import onnx

    from roadedge.runners.face import Face


def face_of_file(path: Path) -> Face:
    """How an ONNX file is fed; what is assumed of a foreign one is said in a warning.

    Raises:
        ModelFileError: missing, not an ONNX file, or one that cannot be fed.
    """
    from roadedge.runners.face import face_of
    from roadedge.runners.onnx_runner import open_session, ports

    if path.suffix != ".onnx":
        raise ModelFileError(f"post-training quantization takes an ONNX file, got {path}; export it first")
    session = open_session(path, 1)
    meta = session.get_modelmeta().custom_metadata_map
    return face_of(path, ports(session.get_inputs()), ports(session.get_outputs()), meta)


def check_samples(path: Path, face: Face, samples: CalibrationList) -> None:
    """Raise UsageError where a network that was not trained on the built-in city would be calibrated on it."""
    if face.foreign and samples.has_city:
        raise UsageError(
            f"{path.name} comes from elsewhere, and drawn samples say nothing of its ranges: give --data, a folder "
            "data set with a train split that it was trained on"
        )


def load_float(path: Path) -> tuple[onnx.ModelProto, bool]:
    """The float graph that is quantized, and whether batch-norms had to be folded into its convolutions.

    Raises:
        ModelFileError: quantized already, or not float32.
        MissingExtraError: onnx, or for the folding onnxsim, is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("onnx", "export", "quantizing ONNX") from error
    graph = onnx.load(path)
    check_float(graph)
    if not any(node.op_type == "BatchNormalization" for node in graph.graph.node):
        return raised(graph, 13), False  # the first opset with scales per channel
    try:
        import onnxsim
    except ImportError as error:
        raise MissingExtraError("onnxsim", "export", "folding the batch-norms of this graph") from error
    simple, same = onnxsim.simplify(graph)
    if not same:
        raise ModelFileError(f"onnxsim changed what {path.name} computes; fold its batch-norms when you export it")
    return raised(simple, 13), True


def measure(
    graph: onnx.ModelProto,
    face: Face,
    samples: CalibrationList,
    key: CacheKey,
    cache: str | Path | None = None,
    threads: int | None = None,
    progress: bool = False,
) -> dict[str, float]:
    """The range of each value that any placement might quantize: {value: largest magnitude to keep}.

    Args:
        graph: from `load_float`.
        face: how it is fed.
        samples: to measure on.
        key: what the ranges belong to.
        cache: read them from there instead.
        threads: of ONNX Runtime.
        progress: draw a bar.
    """
    values = measurable(graph)
    if cache is not None:
        ranges = read_cache(cache, key)
        if set(values) - set(ranges):
            raise DataError(
                f"the calibration cache {cache} lacks {sorted(set(values) - set(ranges))[0]}; measure afresh"
            )
        return ranges
    feeds = (face.fed(fed) for fed in feeds_of(samples, face.spec))
    histograms = observe(graph, values, tracked(feeds, len(samples), progress), face.spec.batch, threads)
    chosen = parse_method(key.method)
    return {name: chosen.range_of(histogram) for name, histogram in histograms.items()}


def measurable(graph: onnx.ModelProto) -> list[str]:
    """What convolutions read and what is added, and what of it was only moved or joined, in the order of the graph."""
    steps = flow_of(graph)
    found: set[str] = set()
    for step in reversed(steps):
        if step.kind in CONVOLUTIONS:
            found.add(step.inputs[0])
        elif step.kind == "add" or (step.kind in TRANSPARENT and step.output in found):
            found.update(step.inputs)
    return [value for value in dict.fromkeys(v for step in steps for v in step.inputs) if value in found]


def scales_for(graph: onnx.ModelProto, placement: Placement, ranges: Mapping[str, float]) -> Scales:
    """Scales of a placement: those of one group share the largest range among them."""
    activations = {
        point.value: float(scale_of(max(ranges[one.value] for one in points)))
        for points in groups(placement.points).values()
        for point in points
    }
    return Scales(activations, weight_scales(graph, placement))
