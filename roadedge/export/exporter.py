"""`export_model`: checkpoint → ONNX and its sidecar, both whole and checked, or neither."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import itertools
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roadedge.atomic import replacing, write_bytes
from roadedge.environment import environment, installed
from roadedge.errors import ExportError, MissingExtraError, OutputError, UsageError
from roadedge.runners.face import Face
from roadedge.spec import ModelSpec, sha256_of, sidecar_path, write_sidecar

if TYPE_CHECKING:
    import onnx

    from roadedge.export.float32_search import Search
    from roadedge.export.mixed import FloatGraph
    from roadedge.export.parity import Parity, ParitySamples
    from roadedge.export.parts import KeptFloat32
    from roadedge.models.blocks import RoadNet
    from roadedge.runners.base import Runner

OPSETS = range(13, 21)  # what the older exporter of torch writes and TensorRT parses
HALVES = ("fp16", "int8-fp16")
RUN_NAMES = ("best", "last")  # a checkpoint of a run, which is named after its network instead


@dataclass(frozen=True, slots=True)
class DynamicSize:
    """Bounds of a graph of free size, each (H, W) in pixels: what a TensorRT profile asks for."""

    smallest: tuple[int, int]
    best: tuple[int, int]
    largest: tuple[int, int]

    def __post_init__(self) -> None:
        for low, high in ((self.smallest, self.best), (self.best, self.largest)):
            if low[0] > high[0] or low[1] > high[1]:
                raise UsageError(f"--dynamic MIN,OPT,MAX must not decrease, got {low} before {high}")


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What was written."""

    onnx: Path
    sidecar: Path
    spec: ModelSpec
    precision: str
    convolutions: dict[str, int]  # by precision
    weight_bytes: dict[str, int]  # shared and folded, where the network leaves the choice; else empty
    size_bytes: int
    sha256: str
    opset: int
    parity: tuple[Parity, ...]  # a table for each runner, ONNX Runtime first
    float32: KeptFloat32 | None = None  # what stays float32 in an FP16 graph because it was asked for

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return own | {
            "onnx": str(self.onnx),
            "sidecar": str(self.sidecar),
            "spec": self.spec.to_dict(),
            "parity": [table.to_dict() for table in self.parity],
            "float32": None if self.float32 is None else self.float32.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class _Work:
    """One export: what is written, how, and where the draft lies while it is proved."""

    checkpoint: Path
    trained: dict[str, Any]  # provenance of the checkpoint
    network: RoadNet
    deployed: RoadNet
    spec: ModelSpec
    precision: str
    opset: int
    simplify: bool
    fold: bool | None
    dynamic: DynamicSize | None
    samples: ParitySamples | str | Path | None
    draft: Path
    progress: bool


@dataclass(frozen=True, slots=True)
class _Made:
    """A draft that was proved."""

    opset: int
    stated: dict[str, Any]
    parity: tuple[Parity, ...]
    kept: KeptFloat32 | None


def export_model(
    checkpoint: str | Path,
    output_dir: str | Path | None = None,
    precision: str | None = None,
    size: tuple[int, int] = (512, 512),
    batch: int = 1,
    dynamic: DynamicSize | None = None,
    opset: int = 17,
    simplify: bool = True,
    fold: bool | None = None,
    samples: ParitySamples | str | Path | None = None,
    overwrite: bool = False,
    keep_float32: Sequence[str] = (),
    progress: bool = False,
) -> ExportResult:
    """Write `NAME.onnx`, `NAME.fp16.onnx` … and its sidecar, once it was shown to say what the checkpoint says.

    Args:
        checkpoint: a `.pt` of this package.
        output_dir: made where absent; default `runs/export/NAME`, numbered where the file is there already.
        precision: fp32 or fp16 of a float checkpoint; int8 (opset 17, the rest in float32) or int8-fp16 (opset 19, the
            rest in float16) of a quantized one; None for the first that goes. The normalisation, the logits and the
            sigmoid are float32 in each of them.
        size: (H, W) of the static graph in pixels, multiples of the network's stride.
        batch: windows of the static graph; with `dynamic` the most that are fed at once.
        dynamic: leaves batch, height and width free; the bounds go to the sidecar.
        opset: of ONNX.
        simplify: run onnxsim.
        fold: fold private batch-norms into a weight for each stream, where the network leaves the choice.
        samples: to compare on, or the folder that holds them; default windows of the built-in city.
        overwrite: replace files that are in the way.
        keep_float32: of fp16 and int8-fp16: patterns of names of parts that stay float32 in the graph, or `auto` for
            as few as it takes, and none where plain FP16 is within its tolerance.
        progress: draw a bar on stderr while parts are looked for, where that is a terminal.

    Raises:
        UsageError: a size, batch, opset or precision that does not go, or a pattern that stands for no part.
        ModelFileError, SpecMismatchError: the checkpoint cannot be used.
        MissingExtraError: torch, onnx or onnxsim is absent.
        OutputError: the output cannot be written, or is there already.
        ExportError: the graph cannot be written, or differs from the network; nothing is left behind.
    """
    from roadedge.export.parts import check_asked

    checkpoint = Path(checkpoint)
    network, provenance = _load(checkpoint)
    spec = _exported_spec(network.spec, size, batch, dynamic)
    precision = _precision_of(network, precision, checkpoint)
    _check_options(precision, opset)
    check_asked(keep_float32, precision)
    target = target_path(checkpoint, network.spec.name, output_dir, precision)
    with _kept_clean(target, overwrite), tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / target.name
        work = _Work(
            checkpoint, provenance, network, _deployed(network, fold), spec, precision, opset, simplify, fold, dynamic,
            samples, draft, progress,
        )  # fmt: skip
        made = _made(work) if precision not in HALVES else _made_half(work, keep_float32)
        tables = [table.to_dict() for table in made.parity]
        sidecar = _publish(draft, target, spec, made.stated | {"parity": tables, "made_with": environment()})
    counts = made.stated["precision"]["convolutions"]
    return ExportResult(
        target,
        sidecar,
        spec,
        precision,
        counts,
        _weight_bytes(network, precision),
        target.stat().st_size,
        sha256_of(target),
        made.opset,
        made.parity,
        made.kept,
    )


def _made(work: _Work, graph: FloatGraph | None = None, kept: KeptFloat32 | None = None) -> _Made:
    """Write and prove the draft; of `graph` where parts stay float32."""
    from roadedge.export.mixed import said
    from roadedge.export.parity import untrained

    if graph is None or kept is None:
        model = _write_draft(work.draft, work.deployed, work.spec, work.precision, work.opset, work.simplify)
    else:
        model = _write_typed(work.draft, graph, kept, work.spec)
    opset = model.opset_import[0].version
    stated = _provenance(
        model, work.checkpoint, work.trained, work.precision, opset, work.simplify, work.fold, work.dynamic, kept
    )
    stated["precision"] = said(stated["precision"], kept)
    stated |= _calibration(work.network, work.trained)
    _embed(model, work.spec, stated, work.draft)
    fresh = untrained(work.trained)
    mixed = model if kept is not None else None
    parity = _prove(
        work.deployed, work.draft, work.spec, work.precision, work.dynamic, work.samples, fresh, mixed
    )  # fmt: skip
    return _Made(opset, stated, parity, kept)


def _made_half(work: _Work, asked: Sequence[str]) -> _Made:
    """An FP16 draft, with parts in float32 where they are asked for and needed."""
    from roadedge.export.mixed import attempted, remainder_graph
    from roadedge.export.precision import float_graph

    def source() -> FloatGraph:
        if work.precision == "fp16":
            return float_graph(work.deployed, work.spec.size, work.spec.batch, work.opset, work.simplify)
        model = _write_quantized(work.draft, work.deployed, work.spec, "int8", work.opset, work.simplify)
        return remainder_graph(model)

    with contextlib.ExitStack() as stack:
        return attempted(
            asked, lambda graph, kept: _made(work, graph, kept), source, lambda graph: _searched(work, graph, stack)
        )


def _searched(work: _Work, graph: FloatGraph, stack: contextlib.ExitStack) -> Search:
    """A search that compares with the network in torch, on the samples of the parity check."""
    from roadedge.export.float32_search import search
    from roadedge.export.mixed import Remembered
    from roadedge.export.parity import TOLERANCES, ParitySamples, compare, parity_samples, untrained
    from roadedge.preprocess import preprocess
    from roadedge.runners.base import Requested
    from roadedge.runners.torch_runner import TorchRunner

    allowed, fresh = TOLERANCES[work.precision], untrained(work.trained)
    samples = work.samples if isinstance(work.samples, ParitySamples) else parity_samples(work.spec, work.samples)
    reference = Remembered(stack.enter_context(TorchRunner(work.deployed, {}, Requested("torch"))))

    def judge(runner: Runner, share: float) -> None:
        compare(reference, runner, work.spec, samples, fresh).check(allowed.within(share))

    feeds = [preprocess(sample, work.spec) for sample, _ in samples.pairs]
    return search(graph.model, _own_face(work.spec), graph.parts, judge, feeds, progress=work.progress)


def _own_face(spec: ModelSpec) -> Face:
    """How a graph of this package is fed, whatever lies in its file."""
    from roadedge.runners.face import Plug, Port

    shape = (spec.batch, *(spec.size or (None, None)))
    channels = {name: 3 if name == "image" else 1 for name in spec.inputs}
    plugs = tuple(Plug(Port(n, (*shape, c), "uint8"), n, channels_first=False) for n, c in channels.items())
    return Face(spec, {}, plugs, Port("probability", shape, "uint8"), foreign=False)


def target_path(checkpoint: Path, network: str, output_dir: str | Path | None, precision: str) -> Path:
    """`NAME.onnx`, `NAME.fp16.onnx` …: NAME is the checkpoint's, or the network's for a run's best.pt and last.pt."""
    stem = checkpoint.stem.removesuffix(".int8")
    name = network if stem in RUN_NAMES else stem
    file = f"{name}.onnx" if precision == "fp32" else f"{name}.{precision}.onnx"
    if output_dir is not None:
        return Path(output_dir).expanduser().resolve() / file
    folders = (Path("runs", "export", name if i == 1 else f"{name}-{i}") for i in itertools.count(1))
    return next(folder / file for folder in folders if not (folder / file).exists()).resolve()


def asked_precision(precision: str | None, fp16: bool, int8: bool) -> str | None:
    """What `--precision`, `--fp16` and `--int8` ask for together; None leaves it to the checkpoint.

    Raises:
        UsageError: they ask for different things.
    """
    flags = {(False, False): None, (True, False): "fp16", (False, True): "int8", (True, True): "int8-fp16"}[fp16, int8]
    if precision is not None and flags is not None and precision != flags:
        raise UsageError(f"--precision {precision} and --{flags.replace('-', ' --')} ask for different things")
    return precision or flags


def parse_size(text: str) -> tuple[int, int]:
    """`512x768` → (512, 768), height first; `512` is square.

    Raises:
        UsageError: anything else.
    """
    match = re.fullmatch(r"(\d+)(?:[x×](\d+))?", text.strip().lower())
    if match is None or int(match[1]) < 1 or int(match[2] or 1) < 1:
        raise UsageError(f"a size is written HEIGHTxWIDTH in pixels such as 512x512, got {text!r}")
    return int(match[1]), int(match[2] or match[1])


def parse_dynamic(text: str) -> DynamicSize:
    """`256,512,1024` or `256x256,512x768,1024x1024` → bounds of a free size.

    Raises:
        UsageError: not three sizes, or decreasing ones.
    """
    parts = [parse_size(part) for part in text.split(",")]
    if len(parts) != 3:
        raise UsageError(f"--dynamic takes three sizes MIN,OPT,MAX such as 256,512,1024, got {text!r}")
    return DynamicSize(*parts)


def _load(checkpoint: Path) -> tuple[RoadNet, dict[str, Any]]:
    try:
        from roadedge.models.checkpoint import load_network
    except ImportError as error:
        raise MissingExtraError("torch", "export", "exporting") from error
    return load_network(checkpoint)


def _exported_spec(spec: ModelSpec, size: tuple[int, int], batch: int, dynamic: DynamicSize | None) -> ModelSpec:
    sizes = [size] if dynamic is None else [dynamic.smallest, dynamic.best, dynamic.largest]
    wrong = [one for one in sizes if any(side < spec.stride or side % spec.stride for side in one)]
    if wrong:
        raise UsageError(
            f"{spec.name} takes sizes in multiples of {spec.stride} pixels, got {wrong[0][0]}x{wrong[0][1]}"
        )
    if batch < 1:
        raise UsageError(f"the batch must be at least 1, got {batch}")
    return dataclasses.replace(
        spec, size=None if dynamic is not None else size, batch=None if dynamic is not None else batch
    )


def _precision_of(network: RoadNet, asked: str | None, checkpoint: Path) -> str:
    """What to write: `asked`, where the checkpoint can be that.

    Raises:
        UsageError: INT8 of a float checkpoint, or a float graph of a quantized one.
    """
    from roadedge.export.precision import QUANTIZED
    from roadedge.models.quantized import QuantizedNet

    ready = isinstance(network, QuantizedNet)
    if asked is None:
        return "int8" if ready else "fp32"
    if asked in QUANTIZED and not ready:
        raise UsageError(
            f"{checkpoint} has no INT8 scales; find them first: roadedge quantize {checkpoint} --data DATA --mode qat"
        )
    if ready and asked not in QUANTIZED:
        raise UsageError(f"{checkpoint} is quantized, {asked} was asked for; give --int8, or the float checkpoint")
    return asked


def _check_options(precision: str, opset: int) -> None:
    from roadedge.export.precision import PRECISIONS

    if precision not in PRECISIONS:
        raise UsageError(f"the precision is one of {', '.join(PRECISIONS)}, got {precision!r}")
    if opset not in OPSETS:
        raise UsageError(f"the opset lies between {OPSETS[0]} and {OPSETS[-1]}, got {opset}")


@contextlib.contextmanager
def _kept_clean(target: Path, overwrite: bool) -> Iterator[None]:
    """Prove that `target` can be written before any work is done; folders made for it go again if the work fails."""
    for path in (target, sidecar_path(target)):
        if path.exists() and not overwrite:
            raise OutputError(f"{path} is there already; give --overwrite, or another -o/--output")
    made = [folder for folder in target.parents if not folder.exists()]
    try:
        _prove_writable(target)
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # not empty: somebody else writes here too
            for folder in made:
                folder.rmdir()
        raise


def _prove_writable(target: Path) -> None:
    probe = target.with_name(f".{target.stem}.probe")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(bytes(4096))
    except OSError as error:
        raise OutputError.from_os(target, error) from error
    finally:
        with contextlib.suppress(OSError):  # it was never made
            probe.unlink()


def _write_draft(
    draft: Path, deployed: RoadNet, spec: ModelSpec, precision: str, opset: int, simplify: bool
) -> onnx.ModelProto:
    from roadedge.export.graph import write_graph
    from roadedge.export.precision import QUANTIZED, halved

    if precision in QUANTIZED:
        return _write_quantized(draft, deployed, spec, precision, opset, simplify)
    network = halved(deployed) if precision == "fp16" else deployed
    return write_graph(network, draft, spec.size, spec.batch, opset, simplify)


def _write_typed(draft: Path, graph: FloatGraph, kept: KeptFloat32, spec: ModelSpec) -> onnx.ModelProto:
    """The FP16 graph with parts in float32.

    Raises:
        ExportError: it is not valid, which a float16 weight can be the reason of.
    """
    import onnx

    model = graph.typed(kept.outputs)
    del model.metadata_props[:]
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.checker.ValidationError as error:
        reason = " ".join(str(error).split())[:300]
        raise ExportError(f"{spec.name} cannot be typed with {len(kept.parts)} parts in float32: {reason}") from error
    write_bytes(draft, model.SerializeToString())
    return model


def _write_quantized(
    draft: Path, deployed: RoadNet, spec: ModelSpec, precision: str, opset: int, simplify: bool
) -> onnx.ModelProto:
    """The float graph of the fine-tuned weights with Q/DQ pairs at the network's own points, with its own scales."""
    import onnx

    from roadedge.calibration.emissions import half_remainder
    from roadedge.calibration.flow import flow_of
    from roadedge.calibration.insert import Scales, insert_qdq
    from roadedge.export.graph import write_graph
    from roadedge.models.placement import place
    from roadedge.models.quantized import QuantizedNet

    assert isinstance(deployed, QuantizedNet)
    model = write_graph(deployed.unquantized(), draft, spec.size, spec.batch, opset, simplify)
    fed, returned = ([port.name for port in ports] for ports in (model.graph.input, model.graph.output))
    kept = deployed.quantization
    rules = kept.keep_float, kept.borders_float, kept.products_float
    placement = place(flow_of(model), fed, returned, *rules)
    values, weights = deployed.scales()
    if placement.reads.keys() != values.keys() or set(placement.convolutions) != weights.keys():
        differing = sorted(placement.reads.keys() ^ values.keys())[:4]
        raise ExportError(f"the ONNX graph of {spec.name} is quantized elsewhere than the network: {differing}")
    by_group = {group: values[reader] for reader, group in placement.reads.items()}
    by_value = {point.value: by_group[point.group] for point in placement.points}
    model = insert_qdq(model, placement, Scales(by_value, weights))
    if precision == "int8-fp16":
        model = half_remainder(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def _deployed(network: RoadNet, fold: bool | None) -> RoadNet:
    if fold is None:
        return network.deployed()
    if not _may_fold(network):
        raise UsageError(f"{network.spec.name} is always folded; leave --fold and --no-fold out")
    deployed: RoadNet = network.deployed(fold=fold)  # type: ignore[call-arg] # of the networks that offer it
    return deployed


def _may_fold(network: RoadNet) -> bool:
    return "fold" in inspect.signature(network.deployed).parameters


def _weight_bytes(network: RoadNet, precision: str) -> dict[str, int]:
    """What the weights take when private norms stay beside a shared weight, and when each stream gets its own copy."""
    if not _may_fold(network):
        return {}
    each = {"fp32": 4, "fp16": 2}[precision]
    deployed = {"shared": _deployed(network, fold=False), "folded": _deployed(network, fold=True)}
    return {name: each * sum(p.numel() for p in one.parameters()) for name, one in deployed.items()}


def _provenance(
    model: onnx.ModelProto,
    checkpoint: Path,
    trained: dict[str, Any],
    precision: str,
    opset: int,
    simplify: bool,
    fold: bool | None,
    dynamic: DynamicSize | None,
    kept: KeptFloat32 | None = None,
) -> dict[str, Any]:
    """What can be said before the file is measured. No date: the same checkpoint gives the same bytes."""
    from roadedge.export.onnx_view import convolution_precisions, ports_of
    from roadedge.runners.base import precision_of

    counts = convolution_precisions(model)
    effective = precision_of(counts)
    if effective.split("+")[0] != precision.split("-")[0] and kept is None:  # asked for, most may be float32
        raise ExportError(f"asked for {precision}, the graph's convolutions are {dict(counts)}; nothing was written")
    return {
        "kind": "onnx",
        "checkpoint": {"file": checkpoint.name, "sha256": sha256_of(checkpoint), "provenance": trained},
        "precision": {"requested": precision, "effective": effective, "convolutions": dict(counts)},
        "opset": opset,
        "simplified": simplify,
        "folded": fold,
        "nodes": len(model.graph.node),
        "dynamic": None if dynamic is None else dataclasses.asdict(dynamic),
        **ports_of(model),
    }


def _calibration(network: RoadNet, provenance: dict[str, Any]) -> dict[str, Any]:
    """How the scales of a quantized checkpoint were found; nothing for a float one."""
    from roadedge.models.quantized import QuantizedNet
    from roadedge.training.recipe import recipe_of_text

    if not isinstance(network, QuantizedNet):
        return {}
    values, weights = network.scales()
    stated = provenance.get("recipe")
    recipe = recipe_of_text(stated) if isinstance(stated, str) else None
    observed = None  # the batches are a function of recipe, data and seed: that is what a list would hold
    if recipe is not None:
        observed = {"batches": recipe.qat.observe, "of": recipe.batch, "seed": recipe.seed}
    return {
        "calibration": {
            "by": "quantization-aware fine-tuning",
            "method": None if recipe is None else recipe.qat.method,
            "samples": observed,
            "data": provenance.get("data"),
            "keep_float": list(network.quantization.keep_float),
            "borders_float": network.quantization.borders_float,
            "products_float": network.quantization.products_float,
            "float_convolutions": list(network.placement.float_convolutions),
            "float_behind_products": list(network.placement.behind_products),
            "scales": {"values": len(values), "smallest": min(values.values()), "largest": max(values.values()),
                       "weights": len(weights)},
        }
    }  # fmt: skip


def _embed(model: onnx.ModelProto, spec: ModelSpec, stated: dict[str, Any], path: Path) -> None:
    """Write spec and provenance into the graph's metadata: an ONNX file that lost its sidecar can still be fed."""
    from roadedge.runners.face import PROVENANCE_KEY, SPEC_KEY

    for key, value in ((SPEC_KEY, spec.to_dict()), (PROVENANCE_KEY, stated)):
        entry = model.metadata_props.add()
        entry.key, entry.value = key, json.dumps(value, sort_keys=True, allow_nan=False)
    write_bytes(path, model.SerializeToString())


def _prove(
    deployed: RoadNet,
    draft: Path,
    spec: ModelSpec,
    precision: str,
    dynamic: DynamicSize | None,
    samples: ParitySamples | str | Path | None,
    fresh: bool,
    mixed: onnx.ModelProto | None = None,
) -> tuple[Parity, ...]:
    """The parity tables of the file in each back-end that is here, and of the FP16 network in real half precision.

    CPU back-ends compute an FP16 file in fp32, so that they cannot tell an activation that leaves the range of float16;
    torch computes in float16 and can, slowly, so that one small frame must do. A graph with parts in float32, `mixed`,
    is run with its float16 values rounded as its types say.

    Raises:
        ParityError: a table is outside its tolerance.
    """
    from roadedge.export.emulated import EmulatedRunner, emulated
    from roadedge.export.parity import TOLERANCES, ParitySamples, blanks, compare, first_corner, parity_samples
    from roadedge.export.precision import halved
    from roadedge.runners import open_runner
    from roadedge.runners.base import Requested
    from roadedge.runners.torch_runner import TorchRunner

    allowed = TOLERANCES[precision]
    chosen = samples if isinstance(samples, ParitySamples) else parity_samples(spec, samples)
    backends = ["onnxruntime"] + ["openvino"] * (installed("openvino") is not None)
    tables = []
    with contextlib.ExitStack() as stack:
        reference = stack.enter_context(TorchRunner(deployed, {}, Requested("torch")))
        runners = [stack.enter_context(open_runner(draft, backend)) for backend in backends]
        for runner in runners:
            for bound in () if dynamic is None else (dynamic.smallest, dynamic.largest):
                compare(reference, runner, spec, blanks(bound), fresh).check(allowed)
            tables.append(compare(reference, runner, spec, chosen, fresh))
            tables[-1].check(allowed)
        if mixed is not None:
            real: Runner = stack.enter_context(EmulatedRunner(emulated(mixed), _own_face(spec)))
            tables.append(compare(reference, real, spec, chosen, fresh))
            tables[-1].check(allowed)
        elif precision == "fp16":
            real = stack.enter_context(TorchRunner(halved(deployed), {}, Requested("torch")))
            tables.append(compare(reference, real, deployed.spec, first_corner(chosen), fresh))
            tables[-1].check(allowed)
    return tuple(tables)


def _publish(draft: Path, target: Path, spec: ModelSpec, provenance: dict[str, Any]) -> Path:
    """Move the draft to its place and write the sidecar beside it; where that fails neither is left."""
    with replacing(target) as temporary:
        shutil.copyfile(draft, temporary)
    try:
        return write_sidecar(target, spec, provenance)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
