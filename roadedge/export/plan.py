"""ONNX → engine bytes with the TensorRT that is handed in: `tensorrt` 10.x, 11.x or 8.6, or `tensorrt_rtx`.

The precision of each layer stands in the graph, and the network is strongly typed; only the one branch for 8.6, which
knows no such network, sets precision flags, and that branch is untested. The module is an argument, so that nothing
here imports it and a module with the same interface can stand in for it.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roadedge.errors import EnvironmentFault, ExportError, ModelFileError, UsageError
from roadedge.export.build_progress import Progress, stoppable
from roadedge.runners.engine_facts import RUNTIMES, Range, parsed

FIRST_STRONG = (10,)  # releases from here on build strongly typed networks
WEAK = (8, 6)
DLA_GONE = ((10, 8), (11, 4, 1))  # no DLA in [first, second)
_SKIPPED = re.compile(r"Skipping tactic")
_TOO_SMALL = re.compile(r"insufficient to use tactic")
_FALLBACKS = (
    re.compile(r"Layer '(?P<name>.+?)' \(\w+\): Unsupported on DLA"),
    re.compile(r"layer (?P<name>.+?) is not supported on DLA, falling back to GPU"),
)


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What a build is asked for. `profiles` has min, opt and max of each input with a free side."""

    runtime: str  # a key of RUNTIMES
    precision: str  # of the graph; decides the flags of 8.6 and nothing else
    compute_capabilities: tuple[str, ...] = ()  # of TensorRT for RTX, which is told what to build for
    workspace_bytes: int | None = None  # None: the library's own bound
    profiles: Mapping[str, Range] = field(default_factory=dict)
    timing_cache: bytes | None = None  # None: none is used; empty: a new one is begun
    dla_core: int | None = None
    tf32: bool = False  # whether FP32 layers may be computed in TF32, which TensorRT allows by itself


@dataclass(frozen=True, slots=True)
class Plan:
    """An engine and what the build said."""

    engine: bytes
    seconds: float
    layers_by_precision: dict[str, int]  # convolutions and matrix products, as the parsed network has them
    skipped_tactics: int
    fallback_layers: tuple[str, ...]
    timing_cache: bytes | None
    warnings: tuple[str, ...]


class BuildRecord:
    """What a builder logs, kept and counted."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self._skipped = self._too_small = 0
        self._fallbacks: dict[str, None] = {}  # in order, each once

    def add(self, severity: str, message: str) -> None:
        """Take one message; `severity` is the name of TensorRT's level."""
        text = " ".join(message.split())
        self._skipped += bool(_SKIPPED.search(text))
        self._too_small += bool(_TOO_SMALL.search(text))
        for found in filter(None, (pattern.search(text) for pattern in _FALLBACKS)):
            self._fallbacks[found["name"]] = None
        if severity in ("ERROR", "INTERNAL_ERROR"):
            self.errors.append(text)
        elif severity == "WARNING":
            self.warnings.append(text)

    @property
    def skipped_tactics(self) -> int:
        """Tactics left out for want of memory. Most releases say it twice of one tactic, some once."""
        return max(self._skipped, self._too_small)

    @property
    def fallback_layers(self) -> tuple[str, ...]:
        """Layers that DLA left to the GPU."""
        return tuple(self._fallbacks)


def build_plan(trt: Any, onnx: Path, options: PlanOptions, progress: Progress) -> Plan:
    """Parse and build.

    Args:
        trt: the module.
        onnx: the file.
        options: as above.
        progress: where the phases of the build are shown.

    Raises:
        EnvironmentFault: this release is none of those that are supported, or has not what is asked.
        ModelFileError: the parser does not take the file; the node is named.
        UsageError: a free side without a profile, or a compute capability that the library does not know.
        ExportError: the builder failed.
    """
    record = BuildRecord()
    release = supported_release(trt, options.runtime)
    log = _logger(trt, record)
    # Logger, builder and network are kept by name: a parser over a network that was let go of takes the process down.
    builder = trt.Builder(log)
    if builder is None:
        raise EnvironmentFault(f"TensorRT made no builder: {_last(record)}")
    network = builder.create_network(_network_flags(trt, release))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(onnx)):
        raise ModelFileError(_parser_sentence(trt, parser, onnx, options.runtime, release))
    config = builder.create_builder_config()
    _configure(trt, builder, network, config, options, release)
    cache = _with_cache(config, options)
    with progress, stoppable() as stop:
        if release >= FIRST_STRONG or options.runtime == "tensorrt-rtx":
            monitor = _monitor(trt, progress, stop)  # lives as long as the build
            config.progress_monitor = monitor
        began = time.perf_counter()
        built = builder.build_serialized_network(network, config)
        seconds = time.perf_counter() - began
    if stop.is_set():
        raise KeyboardInterrupt("the build was stopped; nothing was written")
    if built is None:
        raise ExportError(f"TensorRT could not build {onnx.name}: {_last(record)}{_way_out(record)}")
    kept = None if cache is None else bytes(cache.serialize())
    counts = layers_by_precision(trt, network)
    warned = tuple(dict.fromkeys(record.warnings))
    return Plan(bytes(built), seconds, counts, record.skipped_tactics, record.fallback_layers, kept, warned)


def supported_release(trt: Any, runtime: str) -> tuple[int, ...]:
    """The module's version, parsed; raises EnvironmentFault unless it is 8.6, 10 or later, or any of the RTX kind."""
    release = parsed(trt.__version__)
    if runtime == "tensorrt-rtx" or release >= FIRST_STRONG or release[:2] == WEAK:
        return release
    raise EnvironmentFault(
        f"TensorRT {trt.__version__} is here; engines are built by 8.6, 10.x and 11.x: update JetPack or TensorRT"
    )


def layers_by_precision(trt: Any, network: Any) -> dict[str, int]:
    """Convolutions and matrix products of a parsed network by what they are to compute in, most frequent first.

    One whose input and weight both come from a DequantizeLinear is int8, also where the input was cut or joined on the
    way, which TensorRT does in int8; another one is of the type that it returns.
    """
    moving = (trt.LayerType.CONCATENATION, trt.LayerType.SLICE)
    heavy = (trt.LayerType.CONVOLUTION, trt.LayerType.DECONVOLUTION, trt.LayerType.MATRIX_MULTIPLY)
    names = {"FLOAT": "fp32", "HALF": "fp16", "BF16": "bf16"}  # by name: 8.6 has no BF16
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    dequantized: set[str] = set()
    for layer in layers:  # in the order of computation
        read = layer.num_inputs if layer.type == trt.LayerType.CONCATENATION else 1
        moved = layer.type in moving and all(layer.get_input(i).name in dequantized for i in range(read))
        if moved or layer.type == trt.LayerType.DEQUANTIZE:
            dequantized.add(layer.get_output(0).name)
    counts: Counter[str] = Counter()
    for layer in layers:
        if layer.type in heavy:
            operands = [layer.get_input(i) for i in range(min(layer.num_inputs, 2))]
            int8 = len(operands) == 2 and all(one is not None and one.name in dequantized for one in operands)
            counts["int8" if int8 else names.get(layer.get_output(0).dtype.name, "other")] += 1
    return dict(counts.most_common())


def _network_flags(trt: Any, release: tuple[int, ...]) -> int:
    if release[:2] == WEAK:
        return 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)
    return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def _configure(
    trt: Any, builder: Any, network: Any, config: Any, options: PlanOptions, release: tuple[int, ...]
) -> None:
    if options.workspace_bytes is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    if options.runtime == "tensorrt-rtx":
        _name_capabilities(trt, config, options.compute_capabilities)
    _tf32(trt, config, options.tf32)
    if release[:2] == WEAK:
        _weakly_typed(trt, config, options.precision)
    if options.dla_core is not None:
        _on_dla(trt, builder, config, options.dla_core, options.runtime, release)
    free = {tensor.name for tensor in _inputs(network) if any(side < 0 for side in tensor.shape)}
    if free != set(options.profiles):
        raise UsageError(
            f"the sizes of {sorted(free) or 'no input'} are free, and bounds are given for "
            f"{sorted(options.profiles) or 'none'}; give --dynamic MIN,OPT,MAX, or export a static graph"
        )
    if free:
        profile = builder.create_optimization_profile()
        for name, bounds in options.profiles.items():
            profile.set_shape(name, *bounds)
        config.add_optimization_profile(profile)


def _inputs(network: Any) -> Iterator[Any]:
    for i in range(network.num_inputs):
        yield network.get_input(i)


def _name_capabilities(trt: Any, config: Any, capabilities: tuple[str, ...]) -> None:
    kinds = []
    names = [name for name in trt.ComputeCapability.__members__ if name[2:].isdigit()]  # SM86; not CURRENT or NONE
    known = {f"{name[2:-1]}.{name[-1]}": trt.ComputeCapability.__members__[name] for name in names}
    for text in capabilities:
        if text not in known:
            raise UsageError(
                f"TensorRT for RTX {trt.__version__} builds for compute capability {', '.join(known)}, got {text}; "
                "for another GPU build on the device with TensorRT"
            )
        kinds.append(known[text])
    config.num_compute_capabilities = len(kinds)  # unset, it would ask for a driver
    for i, kind in enumerate(kinds):
        config.set_compute_capability(kind, i)


def _tf32(trt: Any, config: Any, wanted: bool) -> None:
    """Every release allows TF32 until it is told not to, and a strongly typed FP32 layer is then no FP32 layer."""
    if wanted:
        config.set_flag(trt.BuilderFlag.TF32)
    else:
        config.clear_flag(trt.BuilderFlag.TF32)
    if bool(config.get_flag(trt.BuilderFlag.TF32)) != wanted:
        raise EnvironmentFault(
            f"TensorRT {trt.__version__} was told to {'allow' if wanted else 'forbid'} TF32 and its configuration says "
            f"otherwise; nothing was built: {'leave --tf32 out' if wanted else 'update TensorRT, or give --tf32'}"
        )


def _weakly_typed(trt: Any, config: Any, precision: str) -> None:
    """TensorRT 8.6 alone; written to its documentation and untested. A Q/DQ graph needs both flags."""
    if precision != "fp32":
        config.set_flag(trt.BuilderFlag.FP16)
    if precision.startswith("int8"):
        config.set_flag(trt.BuilderFlag.INT8)


def _on_dla(trt: Any, builder: Any, config: Any, core: int, runtime: str, release: tuple[int, ...]) -> None:
    if runtime == "tensorrt-rtx" or DLA_GONE[0] <= release < DLA_GONE[1]:
        raise EnvironmentFault(
            f"{RUNTIMES[runtime]} {trt.__version__} has no DLA: TensorRT has it up to 10.7, and again from 11.4.1 on "
            "AGX Orin; leave --dla out"
        )
    if not 0 <= core < builder.num_DLA_cores:
        raise EnvironmentFault(f"there are {builder.num_DLA_cores} DLA cores here, --dla {core} was asked for")
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = core
    config.set_flag(trt.BuilderFlag.GPU_FALLBACK)


def _with_cache(config: Any, options: PlanOptions) -> Any:
    if options.timing_cache is None:
        return None
    cache = config.create_timing_cache(options.timing_cache)
    if not config.set_timing_cache(cache, False):  # of another device: its timings would mislead
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache


def _logger(trt: Any, record: BuildRecord) -> Any:
    class Log(trt.ILogger):  # type: ignore[misc] # the module is known at run time only
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            record.add(severity.name, message)

    return Log()


def _monitor(trt: Any, progress: Progress, stop: Any) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc] # the module is known at run time only
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            progress.start(phase_name, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            progress.step(phase_name, step)
            return not stop.is_set()

        def phase_finish(self, phase_name: str) -> None:
            progress.finish(phase_name)

    return Monitor()


def _parser_sentence(trt: Any, parser: Any, onnx: Path, runtime: str, release: tuple[int, ...]) -> str:
    told = []
    for i in range(parser.num_errors):
        error = parser.get_error(i)
        name = operator = ""
        if release >= FIRST_STRONG or runtime == "tensorrt-rtx":  # 8.6 has an index alone
            name, operator = error.node_name(), error.node_operator()
        where = f"node {name or error.node()}" + (f" ({operator})" if operator else "")
        told.append(f"{where}: {' '.join(error.desc().split())}")
    reasons = "; ".join(told[:4]) or "it gives no reason"
    return (
        f"the parser of {RUNTIMES[runtime]} {trt.__version__} does not take {onnx.name}: {reasons}. Export it again "
        "without that operation, or with another --opset; `roadedge build --check-only` lists what older parsers lack"
    )


def _last(record: BuildRecord) -> str:
    return "; ".join(dict.fromkeys(record.errors[-3:])) or "it gave no reason"


def _way_out(record: BuildRecord) -> str:
    text = " ".join(record.errors).lower()
    if "memory" in text and ("out of" in text or "insufficient" in text or "allocat" in text):
        return "; memory ran out: close other programs, add swap, or give a smaller --workspace"
    if "cudaerror 35" in text or "driver version is insufficient" in text:
        return "; there is no NVIDIA driver here: name the cards with --compute-capability, or build on the device"
    return ""
