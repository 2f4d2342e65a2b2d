"""The commands `roadedge build` and `roadedge export --target`: names and texts into a build, and what to do next."""

from __future__ import annotations

import importlib.util
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadedge.errors import EnvironmentFault, MissingExtraError, UsageError
from roadedge.export.engine import EngineResult, build_engine, load_library
from roadedge.export.engine_order import BuildOptions, capabilities_of
from roadedge.export.engine_source import read_source
from roadedge.export.lint import Finding, check_findings
from roadedge.export.targets import Target, read_target, target_here
from roadedge.runners.device import Device
from roadedge.runners.tensorrt import MODULES

__all__ = [
    "BuildOptions",
    "Built",
    "Delivery",
    "build",
    "check_format",
    "deliver",
    "parse_capabilities",
    "parse_workspace",
    "settled",
]

FORMATS = ("onnx", "engine", "both")


@dataclass(frozen=True, slots=True)
class Built:
    """What `roadedge build` made: an engine, or with --check-only what the lint says."""

    onnx: Path
    target: Target | None
    engine: EngineResult | None
    findings: tuple[Finding, ...]
    triton: Path | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "onnx": str(self.onnx),
            "target": None if self.target is None else self.target.to_dict(),
            "engine": None if self.engine is None else self.engine.to_dict(),
            "findings": [one.sentence() for one in self.findings],
            "triton": None if self.triton is None else str(self.triton),
        }

    def next_lines(self) -> list[str]:
        """For the log: where it lies, and what to type next."""
        if self.engine is None:
            return [f"Next: {build_command(self.onnx, self.target)}"] if self.target is not None else []
        lines = [f"Results saved to {self.engine.engine} and {self.engine.sidecar}"]
        lines += [] if self.triton is None else [f"Triton entry saved to {self.triton}"]
        return [*lines, f"Next: roadedge info {self.engine.engine}"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What `roadedge export` made for a target beside the ONNX file."""

    onnx: Path  # of the emissions the one for this target
    target: Target | None
    engine: EngineResult | None
    triton: Path | None  # entry of a model repository
    command: str  # that builds the engine on the device; empty where it was built, or there is none
    why: str  # why it was not built; empty where it was

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "onnx": str(self.onnx),
            "target": None if self.target is None else self.target.to_dict(),
            "engine": None if self.engine is None else self.engine.to_dict(),
            "triton": None if self.triton is None else str(self.triton),
            "build_command": self.command,
            "not_built": self.why,
        }


def resolved_target(name: str | None) -> Target:
    """The target of a name; without one, what this machine is.

    Raises:
        UnknownNameError, RecipeError: see read_target.
        MissingExtraError: no name, and no TensorRT here to tell by.
    """
    if name is not None:
        return read_target(name)
    runtime = next((one for one, module in MODULES.items() if importlib.util.find_spec(module) is not None), None)
    found = target_here(runtime)
    if found is None:
        raise MissingExtraError("tensorrt or tensorrt_rtx", "tensorrt-rtx", "building an engine")
    return found


def parse_capabilities(text: str | None) -> tuple[str, ...]:
    """`8.6,8.9,12.0` → ("8.6", "8.9", "12.0"), each once; nothing without a text.

    Raises:
        UsageError: anything else.
    """
    parts = tuple(dict.fromkeys(part.strip() for part in text.split(","))) if text is not None else ()
    wrong = [part for part in parts if not re.fullmatch(r"\d+\.\d", part)]
    if wrong:
        raise UsageError(f"compute capabilities are written 8.6,8.9,12.0, got {wrong[0]!r}")
    return parts


def parse_workspace(text: str | None) -> int | None:
    """`auto` → 0, `2048` → 2048 MiB; None without a text.

    Raises:
        UsageError: anything else.
    """
    if text is None:
        return None
    if text.strip().lower() == "auto":
        return 0
    if not text.strip().isdecimal() or int(text) < 1:
        raise UsageError(f"--workspace takes auto or whole mebibytes such as 2048, got {text!r}")
    return int(text)


def lint_file(onnx: Path, target: Target | None) -> tuple[Finding, ...]:
    """What would fail on a device; no TensorRT is needed.

    Raises:
        ModelFileError: it would not build: with a target, by none of the parsers that run on it.
    """
    source = read_source(onnx)
    lines = [] if target is None else [line for line in target.tensorrt if line in ("8.6", "10.3")]
    newer = target is not None and len(lines) < len(target.tensorrt)  # a parser that reads more than these lists
    check_findings(source.findings, onnx.name, () if newer else lines)
    return source.findings


def build(
    onnx: Path,
    target: str | None,
    output: Path | None = None,
    options: BuildOptions | None = None,
    triton: Path | None = None,
    check_only: bool = False,
    progress: bool = True,
) -> Built:
    """`roadedge build`.

    Args:
        onnx: the file.
        target: a name or a TOML file; None: this machine.
        output: a folder, or the engine's file.
        options: of the build.
        triton: folder of a model repository to write an entry into.
        check_only: judge the file by the lint and build nothing; needs no TensorRT.
        progress: draw bars on a terminal.

    Raises:
        what lint_file, build_engine and write_entry raise.
    """
    if check_only:
        judged = None if target is None else read_target(target)
        return Built(onnx, judged, None, lint_file(onnx, judged), None)
    found = resolved_target(target)
    options = options or BuildOptions()
    if triton is not None:
        _check_served(found)
    made = build_engine(onnx, found, output, options, progress)
    entry = None
    if triton is not None:
        from roadedge.export.triton import write_entry

        entry = write_entry(made.engine, triton, overwrite=options.overwrite)
    return Built(onnx, found, made, made.findings, entry)


def deliver(
    onnx: Path,
    target: Target | None,
    form: str | None,
    triton: Path | None,
    options: BuildOptions | None = None,
    progress: bool = True,
    overwrite: bool = False,
) -> Delivery:
    """Build the engine that was asked for after an export, or say how it is built on the device.

    Args:
        onnx: what was exported. Of two INT8 emissions a GPU gets the one with an FP16 remainder.
        target: None: this machine, where an engine is asked for at all.
        form: one of FORMATS; None: an engine where the target's TensorRT and GPU are here.
        triton: folder of a model repository to write an entry into.
        options: of the build.
        progress: draw bars on a terminal.
        overwrite: replace an entry of the repository.

    Raises:
        EnvironmentFault: an engine was asked for by `form` and cannot be built here.
        and what build_engine and write_entry raise.
    """
    wanted = form in ("engine", "both")
    if wanted and target is None:
        target = resolved_target(None)
    file = emission(onnx, target)
    engine, why = None, ""
    if target is not None and target.builds and form != "onnx":
        try:
            engine = build_engine(file, target, file.parent, options, progress)
        except EnvironmentFault as error:  # what was asked for without --format is the ONNX file
            if wanted:
                raise
            why = str(error)
    elif wanted and target is not None:
        raise UsageError(f"{target.device} runs the ONNX file itself: there is no engine to build for {target.name}")
    entry = None
    if triton is not None:
        from roadedge.export.triton import write_entry

        entry = write_entry(file if engine is None else engine.engine, triton, overwrite=overwrite)
    command = "" if target is None or not target.builds or engine is not None else build_command(file, target)
    return Delivery(file, target, engine, entry, command, why)


def _check_served(target: Target) -> None:
    """Raise UsageError, before the work, for an engine that Triton does not run."""
    if target.runtime == "tensorrt-rtx":
        raise UsageError(
            f"Triton runs engines of TensorRT, those for {target.name} are of TensorRT for RTX; serve the ONNX file: "
            "roadedge export CKPT --format onnx --triton DIR"
        )


def settled(target: Target | None, precision: str | None, size: str | None, checkpoint: Path) -> tuple[str | None, str]:
    """Precision and size of an export: what was asked for, else what the target recommends.

    A GPU gets INT8 with an FP16 remainder; a checkpoint without scales is not made INT8 by a recommendation.
    """
    side = size or ("512x512" if target is None else f"{target.size[0]}x{target.size[1]}")
    if target is None:
        return precision, side
    quantized = checkpoint.stem.endswith(".int8")
    if precision is None and (quantized or target.precision in ("fp32", "fp16")):
        precision = "int8" if quantized else target.precision
    if precision == "int8" and target.builds:
        precision = "int8-fp16"
    return precision, side


def check_format(form: str | None, target: Target | None, triton: Path | None = None) -> None:
    """Fail before an export that would end in an engine which cannot be built here.

    Raises:
        UsageError: not one of FORMATS, or an engine for Triton that it does not run.
        EnvironmentFault: the TensorRT, or its GPU, is not here.
    """
    if form is not None and form not in FORMATS:
        raise UsageError(f"--format is one of {', '.join(FORMATS)}, got {form!r}")
    if triton is not None and target is not None and form != "onnx":
        _check_served(target)
    if form in ("engine", "both"):
        found = target or resolved_target(None)
        if found.builds:
            load_library(found.runtime)
        if found.runtime == "tensorrt":
            capabilities_of(found, BuildOptions(), Device.here())


def emission(onnx: Path, target: Target | None) -> Path:
    """Of `NAME.int8.onnx` a GPU gets `NAME.int8-fp16.onnx`, where it lies beside it; other files are their own."""
    if target is None or not target.builds or not onnx.name.endswith(".int8.onnx"):
        return onnx
    other = onnx.with_name(onnx.name.removesuffix(".int8.onnx") + ".int8-fp16.onnx")
    return other if other.is_file() else onnx


def build_command(onnx: Path, target: Target) -> str:
    """What to type on the device, beside the ONNX file and its sidecar."""
    return shlex.join(["roadedge", "build", onnx.name, "--target", target.name])
