"""Post-training quantization of an ONNX file, ours or foreign: measure, choose scales, insert Q/DQ, prove, write."""

from __future__ import annotations

import contextlib
import itertools
import json
import tempfile
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roadedge.atomic import write_bytes
from roadedge.calibration.cache import CacheKey, write_cache
from roadedge.calibration.emissions import LARGEST_HALF, compare_scales, half_remainder, half_values
from roadedge.calibration.flow import ends_of, flow_of
from roadedge.calibration.insert import insert_qdq
from roadedge.calibration.measure import check_samples, face_of_file, load_float, measurable, measure, scales_for
from roadedge.calibration.ranges import parse_method
from roadedge.calibration.samples import CalibrationList, samples_of
from roadedge.environment import environment
from roadedge.errors import ExportError, OutputError, ParityError, UsageError
from roadedge.models.placement import Placement, place
from roadedge.spec import ModelSpec, sha256_of, sidecar_path, write_sidecar

if TYPE_CHECKING:
    import onnx

    from roadedge.export.float32_search import Search
    from roadedge.export.mixed import FloatGraph
    from roadedge.export.parity import Parity, ParitySamples
    from roadedge.export.parts import KeptFloat32
    from roadedge.runners.base import Runner
    from roadedge.runners.face import Face

__all__ = [
    "PtqResult",
    "check_samples",
    "face_of_file",
    "load_float",
    "measurable",
    "measure",
    "quantize_onnx",
    "scales_for",
]

METHOD = "percentile"
PROOFS = 4  # samples that the result is compared on: one of each condition
NVIDIA_COUNT = 500
SUFFIXES = {"int8": ".int8.onnx", "int8-fp16": ".int8-fp16.onnx"}


@dataclass(frozen=True, slots=True)
class PtqResult:
    """What was written: `files` by emission, `int8` and `int8-fp16`, and the `cache` of ranges."""

    files: dict[str, Path]
    cache: Path
    spec: ModelSpec
    placement: Placement
    convolutions: dict[str, int]  # by precision
    parity: tuple[Parity, ...]
    size_bytes: dict[str, int]
    notes: tuple[str, ...]
    float32: KeptFloat32 | None = None  # what stays float32 beside the FP16 remainder because it was asked for

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "files": {name: str(path) for name, path in self.files.items()},
            "cache": str(self.cache),
            "spec": self.spec.to_dict(),
            "float_convolutions": list(self.placement.float_convolutions),
            "float_behind_products": list(self.placement.behind_products),
            "convolutions": self.convolutions,
            "parity": [table.to_dict() for table in self.parity],
            "size_bytes": self.size_bytes,
            "notes": list(self.notes),
            "float32": None if self.float32 is None else self.float32.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class _Work:
    """What all drafts of one quantization share."""

    path: Path
    face: Face
    samples: CalibrationList
    key: CacheKey
    placement: Placement
    said: dict[str, Any]
    ranges: Mapping[str, float]
    int8: onnx.ModelProto
    threads: int | None
    progress: bool


@dataclass(frozen=True, slots=True)
class _Made:
    """Drafts by emission that were proved, and what is said of them."""

    drafts: dict[str, onnx.ModelProto]
    stated: dict[str, dict[str, Any]]
    parity: tuple[Parity, ...]
    kept: KeptFloat32 | None


def quantize_onnx(
    model: str | Path,
    samples: CalibrationList,
    method: str = METHOD,
    keep_float: Collection[str] = (),
    borders_float: bool = True,
    cache: str | Path | None = None,
    output_dir: str | Path | None = None,
    half: bool = True,
    threads: int | None = None,
    overwrite: bool = False,
    progress: bool = False,
    products_float: bool = True,
    keep_float32: Sequence[str] = (),
) -> PtqResult:
    """Write `NAME.int8.onnx` and `NAME.int8-fp16.onnx` of the same scales, with sidecars, once both were proved to run.

    Args:
        model: a float32 ONNX file.
        samples: to measure ranges on.
        method: as `parse_method` reads it.
        keep_float: names of convolutions.
        borders_float: keep the first and last convolutions float.
        cache: ranges that were measured before, for this very file, list and method; None measures.
        output_dir: default beside the model.
        half: write the emission with an FP16 remainder too.
        threads: of ONNX Runtime.
        overwrite: replace files that are in the way.
        progress: draw a bar on stderr where that is a terminal.
        products_float: keep convolutions float that read sums of products of two maps.
        keep_float32: of the emission with an FP16 remainder: patterns of names of parts that stay float32, or `auto`
            for as few as it takes, and none where the plain one is within its tolerance.

    Raises:
        ModelFileError: not a float32 ONNX file that can be run and quantized.
        UsageError: a foreign network and samples of the built-in city.
        UnknownNameError: no such method or convolution.
        DataError: samples or the cache are missing, changed, or belong to something else.
        NonFiniteError: a value became NaN or infinite.
        ParityError: the emission with an FP16 remainder leaves float16's range or says something else than the other.
        ExportError: a written graph would compute NaN, or the two emissions would hold other scales.
        OutputError: the output cannot be written, or is there already.
    """
    path = Path(model)
    face = face_of_file(path)
    check_samples(path, face, samples)
    graph, folded = load_float(path)
    steps = flow_of(graph)
    placement = place(steps, *ends_of(graph), tuple(keep_float), borders_float, products_float)
    if not placement.convolutions:
        raise UsageError(f"no convolution of {path.name} is left to quantize; keep fewer of them float")
    targets = _targets(path, output_dir, half, overwrite)
    key = CacheKey(sha256_of(path), samples.digest, str(parse_method(method)))
    ranges = measure(graph, face, samples, key, cache, threads, progress)
    scales = scales_for(graph, placement, ranges)
    said = {"keep_float": sorted(keep_float), "borders_float": borders_float, "products_float": products_float,
            "folded_batch_norms": folded}  # fmt: skip
    int8 = insert_qdq(graph, placement, scales)
    work = _Work(path, face, samples, key, placement, said, ranges, int8, threads, progress)
    made = _made_half(work, keep_float32) if half else _made(work, half=False)
    cache_file = targets["int8"].with_name(f"{targets['int8'].stem}.ranges.json")
    _publish(made.drafts, targets, face, made.stated, made.parity)
    write_cache(cache_file, key, ranges)
    return PtqResult(
        targets,
        cache_file,
        face.spec,
        placement,
        made.stated["int8"]["precision"]["convolutions"],
        made.parity,
        {name: target.stat().st_size for name, target in targets.items()},
        tuple(_notes(samples, graph, placement)),
        made.kept,
    )


def _made(work: _Work, graph: FloatGraph | None = None, kept: KeptFloat32 | None = None, half: bool = True) -> _Made:
    """Make and prove both emissions; the FP16 remainder is that of `graph` where parts of it stay float32."""
    from roadedge.export.mixed import said

    drafts = {"int8": work.int8}
    if half:
        plain = graph is None or kept is None
        drafts["int8-fp16"] = half_remainder(work.int8) if plain else graph.typed(kept.outputs)  # type: ignore[union-attr]
        inside = half_values(drafts["int8-fp16"])
        _check_half({name: value for name, value in work.ranges.items() if name in inside})
        _check_equal(drafts)
    stated = {
        name: _provenance(draft, name, work.path, work.face, work.samples, work.key, work.placement, work.said)
        for name, draft in drafts.items()
    }
    if half:
        stated["int8-fp16"]["precision"] = said(stated["int8-fp16"]["precision"], kept)
    parity = _prove(work.path, drafts, stated, work.face, work.samples, work.threads, kept is not None)
    return _Made(drafts, stated, parity, kept)


def _made_half(work: _Work, asked: Sequence[str]) -> _Made:
    """Both emissions, with parts of the FP16 remainder in float32 where they are asked for and needed."""
    from roadedge.export.mixed import attempted, remainder_graph
    from roadedge.export.parts import check_asked

    check_asked(asked, "int8-fp16")
    with contextlib.ExitStack() as stack:
        return attempted(
            asked,
            lambda graph, kept: _made(work, graph, kept),
            lambda: remainder_graph(work.int8),
            lambda graph: _searched(work, graph, stack),
        )


def _searched(work: _Work, graph: FloatGraph, stack: contextlib.ExitStack) -> Search:
    """A search that compares with the INT8 file whose remainder is float32, on the samples of the proof."""
    from roadedge.export.float32_search import search
    from roadedge.export.mixed import Remembered
    from roadedge.export.parity import TOLERANCES, compare, untrained
    from roadedge.preprocess import preprocess
    from roadedge.runners import ResearchOnlyWarning, open_runner

    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    file = folder / f"{work.path.stem}{SUFFIXES['int8']}"
    stated = _provenance(work.int8, "int8", work.path, work.face, work.samples, work.key, work.placement, work.said)
    write_bytes(file, _embedded(work.int8, work.face, stated))
    with _unheard():
        warnings.simplefilter("ignore", ResearchOnlyWarning)  # it is not kept
        reference = Remembered(stack.enter_context(open_runner(file, "onnxruntime", threads=work.threads)))
    chosen, fresh = _proofs(work.samples), untrained(work.face.provenance)

    def judge(runner: Runner, share: float) -> None:
        compare(reference, runner, work.face.spec, chosen, fresh).check(TOLERANCES["int8-fp16"].within(share))

    feeds = [preprocess(sample, work.face.spec) for sample, _ in chosen.pairs]
    return search(graph.model, work.face, graph.parts, judge, feeds, work.threads, work.progress, work.ranges)


def _targets(path: Path, output_dir: str | Path | None, half: bool, overwrite: bool) -> dict[str, Path]:
    folder = path.parent if output_dir is None else Path(output_dir).expanduser()
    found = {name: folder / f"{path.stem}{suffix}" for name, suffix in SUFFIXES.items() if half or name == "int8"}
    for target in found.values():
        for one in (target, sidecar_path(target)):
            if one.exists() and not overwrite:
                raise OutputError(f"{one} is there already; give --overwrite, or another -o/--output")
    return found


def _check_half(ranges: Mapping[str, float]) -> None:
    wide = {name: value for name, value in ranges.items() if value > LARGEST_HALF / 2}
    if wide:
        name = max(wide, key=lambda one: wide[one])
        raise ParityError(
            f"the value {name} reaches {wide[name]:.3g} on the calibration samples, and beside an FP16 remainder "
            f"{LARGEST_HALF / 2:.0f} is allowed, half of what float16 holds, since other samples may go further; "
            "nothing was written"
        )


def _check_equal(drafts: Mapping[str, onnx.ModelProto]) -> None:
    differing = compare_scales(drafts["int8"], drafts["int8-fp16"])
    if differing:
        raise ExportError(f"the two emissions do not hold the same scales: {'; '.join(differing[:3])}")


def _provenance(
    draft: onnx.ModelProto,
    emission: str,
    source: Path,
    face: Face,
    samples: CalibrationList,
    key: CacheKey,
    placement: Placement,
    said: dict[str, Any],
) -> dict[str, Any]:
    """What can be said before the file is measured; no date, so that the same work gives the same bytes."""
    from roadedge.calibration.insert import scales_by_reader
    from roadedge.export.onnx_view import convolution_precisions, ports_of
    from roadedge.runners.base import precision_of

    counts = convolution_precisions(draft)
    values, weights = scales_by_reader(draft)
    kept = {name: value for name, value in face.provenance.items() if name in ("checkpoint", "folded", "dynamic")}
    return {
        "kind": "onnx",
        **kept,
        "foreign": face.foreign,
        "source": {"file": source.name, "sha256": key.model},
        "precision": {"requested": emission, "effective": precision_of(counts), "convolutions": dict(counts)},
        "calibration": {
            "by": "post-training quantization",
            "method": key.method,
            "samples": samples.to_dict(),
            "key": key.digest,
            **said,
            "float_convolutions": list(placement.float_convolutions),
            "float_behind_products": list(placement.behind_products),
            "scales": {"values": len(values), "smallest": min(values.values()), "largest": max(values.values()),
                       "weights": len(weights)},
        },
        "opset": next(entry.version for entry in draft.opset_import if entry.domain in ("", "ai.onnx")),
        "nodes": len(draft.graph.node),
        **ports_of(draft),
    }  # fmt: skip


def _prove(
    path: Path,
    drafts: Mapping[str, onnx.ModelProto],
    stated: Mapping[str, dict[str, Any]],
    face: Face,
    samples: CalibrationList,
    threads: int | None,
    mixed: bool = False,
) -> tuple[Parity, ...]:
    """Compare with the float file on the first samples: NaN is an error, and so is an FP16 emission of another mind.

    How much INT8 may lose is not judged here; that is the accuracy gate's business. One with parts in float32 is also
    run with its float16 values rounded, since CPU back-ends compute in float32.
    """
    from roadedge.export.emulated import EmulatedRunner, emulated
    from roadedge.export.parity import compare, untrained
    from roadedge.runners import ResearchOnlyWarning, open_runner

    chosen, fresh = _proofs(samples), untrained(face.provenance)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_unheard())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        files = {name: folder / f"{path.stem}{SUFFIXES[name]}" for name in drafts}
        for name, file in files.items():
            write_bytes(file, _embedded(drafts[name], face, stated[name]))
        reference = stack.enter_context(open_runner(path, "onnxruntime", threads=threads))
        warnings.simplefilter("ignore", ResearchOnlyWarning)  # of the drafts, which are not kept
        runners = {n: stack.enter_context(open_runner(f, "onnxruntime", threads=threads)) for n, f in files.items()}
        tables = [_compared(name, reference, runner, face, chosen, fresh) for name, runner in runners.items()]
        others = [runners["int8-fp16"]] if "int8-fp16" in runners else []
        if mixed:
            others.append(stack.enter_context(EmulatedRunner(emulated(drafts["int8-fp16"]), face, threads)))
        for other in others:
            _check_remainders(compare(runners["int8"], other, face.spec, chosen, fresh))
    return tuple(tables)


def _check_remainders(table: Parity) -> None:
    """Raise ParityError where the INT8 file says something else beside an FP16 remainder than beside an FP32 one."""
    from roadedge.export.parity import TOLERANCES

    try:
        table.check(TOLERANCES["int8-fp16"])
    except ParityError as error:
        raise ParityError(f"with FP16 between its INT8 layers it is another network than with FP32: {error}") from error


def _compared(
    emission: str, reference: Runner, runner: Runner, face: Face, chosen: ParitySamples, fresh: bool
) -> Parity:
    """The table; that INT8 itself computes NaN is nothing that float32 parts of an FP16 remainder could mend."""
    from roadedge.export.parity import compare

    try:
        return compare(reference, runner, face.spec, chosen, fresh)
    except ParityError as error:
        if emission == "int8":
            raise ExportError(str(error)) from error
        raise


def _proofs(samples: CalibrationList) -> ParitySamples:
    from roadedge.export.parity import ParitySamples

    origin = ", ".join(one.name for one in samples.sets)
    return ParitySamples(origin, "", tuple((s, None) for s in itertools.islice(samples_of(samples), PROOFS)))


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """What is assumed of a foreign file was said when it was opened."""
    from roadedge.runners.face import AssumedSpecWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AssumedSpecWarning)
        yield


def _embedded(draft: onnx.ModelProto, face: Face, provenance: dict[str, Any]) -> bytes:
    """The file's bytes, with spec and provenance in the metadata of the graph."""
    import onnx

    from roadedge.runners.face import PROVENANCE_KEY, SPEC_KEY

    out = onnx.ModelProto()
    out.CopyFrom(draft)
    del out.metadata_props[:]
    for key, value in ((SPEC_KEY, face.spec.to_dict()), (PROVENANCE_KEY, provenance)):
        entry = out.metadata_props.add()
        entry.key, entry.value = key, json.dumps(value, sort_keys=True, allow_nan=False)
    onnx.checker.check_model(out, full_check=True)
    return bytes(out.SerializeToString(deterministic=True))


def _publish(
    drafts: Mapping[str, onnx.ModelProto],
    targets: Mapping[str, Path],
    face: Face,
    stated: Mapping[str, dict[str, Any]],
    parity: tuple[Parity, ...],
) -> None:
    """Write all files; where one fails none is left that was not there before."""
    made: list[Path] = []
    try:
        for (name, draft), table in zip(drafts.items(), parity, strict=True):
            target = targets[name]
            made += [one for one in (target, sidecar_path(target)) if not one.exists()]
            write_bytes(target, _embedded(draft, face, stated[name]))
            more = {"parity": [table.to_dict()], "made_with": environment()}
            write_sidecar(target, face.spec, {**stated[name], **more})
    except BaseException:
        for one in made:
            one.unlink(missing_ok=True)
        raise


def _notes(samples: CalibrationList, graph: onnx.ModelProto, placement: Placement) -> list[str]:
    notes = []
    if len(samples) < NVIDIA_COUNT:
        notes.append(f"calibrated on {len(samples)} samples; NVIDIA advises {NVIDIA_COUNT} and more")
    left = sum(node.op_type == "BatchNormalization" for node in graph.graph.node)
    if left:
        notes.append(f"{left} batch-norms follow no convolution and stay float")
    if behind := placement.behind_products:
        named = f"{', '.join(behind[:3])}{', …' if len(behind) > 3 else ''}"
        why = "they read sums of products of two maps, which grow with the count of pixels"
        notes.append(f"{len(behind)} convolutions stay float, for {why}: {named}")
    return notes
