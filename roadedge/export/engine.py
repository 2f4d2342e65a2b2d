"""`build_engine`: ONNX → a TensorRT engine and its sidecar, both whole, or neither.

The engine stays raw bytes, so that trtexec, Triton and DeepStream open it; what must be known of it stands in the
sidecar. An engine is found again by the digest of all that went into it, never by its name alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadedge.atomic import write_bytes
from roadedge.environment import command_line
from roadedge.errors import BackendMismatchError, EnvironmentFault, MissingExtraError, UsageError
from roadedge.export.build_progress import Progress
from roadedge.export.engine_check import agreement
from roadedge.export.engine_order import BuildOptions, Order, capabilities_of, check_dla, check_float32, parser_lines
from roadedge.export.engine_place import engine_path, existing_engine, place_onnx, publish
from roadedge.export.engine_source import parsable, profiles_of, read_source
from roadedge.export.lint import Finding, check_findings
from roadedge.export.parts import mixed_name
from roadedge.export.plan import WEAK, Plan, PlanOptions, build_plan, supported_release
from roadedge.export.targets import Target
from roadedge.export.workspace import workspace_bytes
from roadedge.runners.base import precision_of
from roadedge.runners.device import Device
from roadedge.runners.engine_facts import RUNTIMES, EngineFacts
from roadedge.runners.tensorrt import MODULES, runtime_module
from roadedge.spec import sidecar_path


@dataclass(frozen=True, slots=True)
class EngineResult:
    """What was built, or found to be there already."""

    engine: Path
    sidecar: Path
    facts: EngineFacts
    size_bytes: int
    reused: bool
    replaced: str  # why an engine that lay there was built again; empty where there was none
    checked: str  # how it was compared with its ONNX file, or why not
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...]  # of TensorRT

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return own | {
            "engine": str(self.engine),
            "sidecar": str(self.sidecar),
            "facts": self.facts.to_dict(),
            "findings": [one.sentence() for one in self.findings],
        }


def load_library(runtime: str) -> Any:
    """The module of a runtime.

    Raises:
        EnvironmentFault: it is not installed, or its libraries cannot be loaded; the sentence says how to install it.
    """
    purpose = f"building an engine of {RUNTIMES[runtime]}"
    try:
        return runtime_module(runtime)
    except ModuleNotFoundError as error:
        if runtime == "tensorrt" and Path("/etc/nv_tegra_release").exists():
            raise EnvironmentFault(
                f"{purpose} needs the TensorRT of JetPack: sudo apt install python3-libnvinfer, and a virtual "
                "environment made with --system-site-packages"
            ) from error
        raise MissingExtraError(MODULES[runtime], runtime, purpose) from error
    except ImportError as error:
        raise EnvironmentFault(f"{purpose}: {MODULES[runtime]} is installed and cannot be loaded: {error}") from error


def build_engine(
    onnx: Path,
    target: Target,
    output: Path | None = None,
    options: BuildOptions | None = None,
    progress: bool = True,
    library: Any = None,
    device: Device | None = None,
) -> EngineResult:
    """Build `NAME.<target>.engine` of an ONNX file, with its sidecar; an engine of the same key is used again.

    Args:
        onnx: written by this package, or by another.
        target: for whom.
        output: a folder, or the engine's file; default beside the ONNX file. A copy of that is put beside the engine
            in any case, since an engine is built again from it.
        options: default those of the target.
        progress: draw bars on a terminal.
        library: the TensorRT module; default the one that the target's runtime needs.
        device: default this machine.

    Raises:
        UsageError: options that do not go together, or a target with nothing to build.
        ModelFileError: the file cannot be read, is refused by the lint or by the parser.
        EnvironmentFault: TensorRT, or the GPU that it builds for, is not here.
        BackendMismatchError: the parsed network is of another precision than the file.
        ExportError: the build failed, or the engine does not say what the ONNX file says.
        OutputError: the output cannot be written, or what is in the way is no engine of ours.
    """
    order = _ordered(Path(onnx), target, output, options or BuildOptions(), library, device)
    place, source = order.place, order.source
    there = existing_engine(place, order.key, order.options.overwrite)
    if there.facts is not None:
        size, sidecar = place.stat().st_size, sidecar_path(place)
        return EngineResult(place, sidecar, there.facts, size, True, "", "when it was built", source.findings, ())
    place_onnx(source, place.parent, there, order.options.overwrite)
    cache = _cache_path(order)
    wanted = _plan_options(order, cache)
    with parsable(source, float_weights=order.release[:2] == WEAK) as file:
        plan = build_plan(order.trt, file, wanted, Progress(progress))
    facts = _facts(order, plan, wanted, cache)
    if cache is not None and plan.timing_cache:
        write_bytes(cache, plan.timing_cache)
    # The most that any profile takes at once; None stays None where the graph itself fixes the batch.
    batch = order.options.batch if source.spec.batch is None else source.spec.batch
    proof = publish(
        place,
        plan.engine,
        source,
        facts,
        order.key,
        batch,
        lambda draft: agreement(draft, source.path, facts, order.device, order.options.check),
    )
    return EngineResult(
        place,
        sidecar_path(place),
        facts,
        len(plan.engine),
        False,
        there.replaced,
        proof["checked"],
        source.findings,
        plan.warnings,
    )


def _ordered(
    onnx: Path, target: Target, output: Path | None, options: BuildOptions, library: Any, device: Device | None
) -> Order:
    if not target.builds:
        raise UsageError(f"{target.device} runs the ONNX file itself: there is no engine to build for {target.name}")
    source = read_source(onnx)
    check_dla(source, options)
    profiles = profiles_of(source, options.dynamic, options.batch)
    trt = load_library(target.runtime) if library is None else library
    release = supported_release(trt, target.runtime)
    check_float32(source, target.runtime, release)
    check_findings(source.findings, onnx.name, parser_lines(target.runtime, release))
    here = Device.here() if device is None else device
    capabilities = capabilities_of(target, options, here)
    place = engine_path(onnx, target, output)
    return Order(source, target, options, trt, release, here, capabilities, profiles, place)


def _plan_options(order: Order, cache: Path | None) -> PlanOptions:
    target, asked = order.target, order.options.workspace_mib
    mib = target.workspace_mib if asked is None else asked
    unknown = order.ahead and not mib  # the memory of a card that is not here
    return PlanOptions(
        target.runtime,
        order.source.precision,
        order.capabilities if order.ahead else (),
        None if unknown else workspace_bytes(mib, target.shared_memory),
        order.profiles,
        None if cache is None else cache.read_bytes() if cache.is_file() else b"",
        order.options.dla_core,
        order.options.tf32,
    )


def _cache_path(order: Order) -> Path | None:
    """Timings hold for one TensorRT on one GPU; one that is built ahead is timed nowhere."""
    if order.ahead:
        if order.options.timing_cache is not None:
            raise UsageError("TensorRT for RTX times no tactics when it builds; leave --timing-cache out")
        return None
    if order.options.timing_cache is not None:
        return order.options.timing_cache.expanduser().resolve()
    machine = hashlib.sha256(f"{order.device.gpu} {order.device.driver}".encode()).hexdigest()[:8]
    name = f"timing.{order.trt.__version__}.sm{order.capabilities[0].replace('.', '')}.{machine}.cache"
    return order.place.with_name(name)


def _facts(order: Order, plan: Plan, wanted: PlanOptions, cache: Path | None) -> EngineFacts:
    source, here = order.source, Device() if order.ahead else order.device
    return EngineFacts(
        runtime=order.target.runtime,
        runtime_version=str(order.trt.__version__),
        compute_capabilities=order.capabilities,
        engine_sha256=hashlib.sha256(plan.engine).hexdigest(),
        engine_bytes=len(plan.engine),
        onnx=source.path.name,
        onnx_sha256=source.sha256,
        precision_requested=source.requested,
        precision_effective=_effective(order, plan),
        layers_by_precision=plan.layers_by_precision,
        inputs=source.inputs,
        outputs=source.outputs,
        gpu=here.gpu,
        driver=here.driver,
        cuda=here.cuda,
        jetpack=here.jetpack,
        checkpoint_sha256=source.checkpoint_sha256,
        profiles=(order.profiles,) if order.profiles else (),
        workspace_bytes=wanted.workspace_bytes,
        build_seconds=round(plan.seconds, 3),
        skipped_tactics=plan.skipped_tactics,
        dla=order.options.dla_core is not None,
        tf32=wanted.tf32,
        fallback_layers=plan.fallback_layers,
        timing_cache=None if cache is None else cache.name,
        target=order.target.name,
        command=command_line(sys.argv),
        build_arguments=order.options.arguments(),
    )


def _effective(order: Order, plan: Plan) -> str:
    """What the parsed network computes in; raises BackendMismatchError where that is not what the file was made for."""
    if order.release[:2] == WEAK and order.target.runtime == "tensorrt":  # its flags decide, and only on the device
        return order.source.precision
    effective = precision_of(Counter(plan.layers_by_precision))
    if effective.split("+")[0] != order.source.precision.split("+")[0]:
        raise BackendMismatchError(
            f"{order.source.path.name} is {order.source.precision}, the network that TensorRT "
            f"{order.trt.__version__} made of it {effective}; nothing was written"
        )
    return mixed_name(effective, order.source.float32_parts)
