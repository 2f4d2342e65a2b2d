"""What a build is asked for, and all that can be checked of it before the builder runs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadedge.errors import EnvironmentFault, UsageError
from roadedge.export.engine_place import engine_key
from roadedge.export.engine_source import Source
from roadedge.export.exporter import DynamicSize
from roadedge.export.parts import mixed_name
from roadedge.export.plan import WEAK
from roadedge.export.targets import Target
from roadedge.runners.device import Device
from roadedge.runners.engine_facts import Range

LISTED = (10, 4)  # releases before it are judged by the list of the 10.3 parser; later ones read more


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What may be asked of a build; the defaults are the target's."""

    compute_capabilities: tuple[str, ...] = ()  # of TensorRT for RTX
    workspace_mib: int | None = None  # 0: a share of what is free
    timing_cache: Path | None = None  # None: beside the engine
    dla_core: int | None = None
    dynamic: DynamicSize | None = None  # of a graph of free size; None: what its provenance says
    batch: int = 1  # of a graph of free batch
    check: bool = True  # compare the engine with the ONNX file where it can run here
    overwrite: bool = False
    tf32: bool = False  # let FP32 layers be computed in TF32

    def arguments(self) -> tuple[str, ...]:
        """As words of `roadedge build`, but for paths, target and capability."""
        words = [] if self.workspace_mib is None else ["--workspace", str(self.workspace_mib or "auto")]
        words += [] if self.dla_core is None else ["--dla", str(self.dla_core)]
        words += ["--tf32"] if self.tf32 else []
        if self.dynamic is not None:
            words += ["--dynamic", ",".join(f"{h}x{w}" for h, w in dataclasses.astuple(self.dynamic))]
        return tuple(words + ([] if self.batch == 1 else ["--batch", str(self.batch)]))


@dataclass(frozen=True, slots=True)
class Order:
    """A build that can go ahead: all is checked that can be before the builder runs."""

    source: Source
    target: Target
    options: BuildOptions
    trt: Any
    release: tuple[int, ...]
    device: Device
    capabilities: tuple[str, ...]
    profiles: dict[str, Range]
    place: Path

    @property
    def ahead(self) -> bool:
        """Whether it is for cards that need not be here."""
        return self.target.runtime == "tensorrt-rtx"

    @property
    def key(self) -> str:
        """Digest of all that the engine's bytes depend on."""
        return engine_key(
            {
                "onnx": self.source.sha256,
                "runtime": self.target.runtime,
                "version": str(self.trt.__version__),
                "compute_capabilities": self.capabilities,
                "gpu": None if self.ahead else self.device.gpu,
                "precision": self.source.precision,
                "profiles": self.profiles,
                "workspace_mib": self.options.workspace_mib,
                "dla": self.options.dla_core,
                "tf32": self.options.tf32,
            }
        )


def parser_lines(runtime: str, release: tuple[int, ...]) -> tuple[str, ...]:
    """Whose list of operators holds for a release; none where its own parser is asked in a moment and reads more."""
    if runtime == "tensorrt-rtx" or release >= LISTED:
        return ()
    return ("8.6",) if release[:2] == WEAK else ("10.3",)


def check_dla(source: Source, options: BuildOptions) -> None:
    """Raise UsageError where DLA is asked for and the graph is not one that it computes: FP16, without Q/DQ."""
    if options.dla_core is not None and source.quantized:
        raise UsageError(
            "DLA takes no Q/DQ graph, only implicit quantisation, which later TensorRT has no more: build "
            "NAME.fp16.onnx for DLA, or leave --dla out"
        )
    if options.dla_core is not None and (source.precision != "fp16" or source.float32_parts):
        named = mixed_name(source.precision, source.float32_parts)
        raise UsageError(f"DLA computes in FP16, {source.path.name} is {named}; export it with --fp16")


def check_float32(source: Source, runtime: str, release: tuple[int, ...]) -> None:
    """Raise EnvironmentFault where parts are to stay float32 and the builder's flags would decide otherwise."""
    if source.float32_parts and runtime == "tensorrt" and release[:2] == WEAK:
        raise EnvironmentFault(
            f"{source.path.name} has parts in float32 ({source.float32_parts}), and TensorRT 8.6 builds no strongly "
            "typed network: it would compute them in float16; update TensorRT, or build the FP32 file"
        )


def capabilities_of(target: Target, options: BuildOptions, here: Device) -> tuple[str, ...]:
    """What the engine is built for.

    Raises:
        UsageError: capabilities are given to TensorRT, which builds for the GPU that it runs on.
        EnvironmentFault: there is no GPU, or another kind than the target's.
    """
    if target.runtime == "tensorrt-rtx":
        return options.compute_capabilities or target.compute_capabilities
    if options.compute_capabilities:
        raise UsageError("TensorRT builds for the GPU that it runs on; --compute-capability goes with --target rtx")
    if here.compute_capability is None:
        why = here.absent[0] if here.absent else "there is no GPU here"
        raise EnvironmentFault(f"TensorRT builds on the device itself, and {why}; run the build on {target.device}")
    if here.compute_capability not in target.compute_capabilities:
        raise EnvironmentFault(
            f"{target.name} has compute capability {' or '.join(target.compute_capabilities)}, the {here.gpu} here "
            f"{here.compute_capability}: an engine would not run there; build it on {target.device}"
        )
    return (here.compute_capability,)
