"""An engine file and its sidecar: read and compared with this machine before TensorRT sees a byte of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadedge.errors import EngineIncompatibleError, EnvironmentFault, MissingExtraError, ModelFileError
from roadedge.runners.device import Device
from roadedge.runners.engine_facts import (
    ENGINE_KEY,
    RUNTIMES,
    EngineFacts,
    mismatches,
    rebuild_command,
)
from roadedge.spec import ModelSpec, read_sidecar, sha256_of, sidecar_path

SUFFIX = ".engine"


@dataclass(frozen=True, slots=True)
class EngineFile:
    """An engine that belongs to its sidecar. Whether it loads here is another question."""

    path: Path
    spec: ModelSpec
    provenance: dict[str, Any]
    facts: EngineFacts


def read_engine(path: Path) -> EngineFile:
    """An engine's sidecar, after the file has been seen to be the one that it describes.

    Raises:
        ModelFileError: no such file, no engine, no sidecar, or one that cannot be read.
        EngineIncompatibleError: the sidecar is of other bytes, or the ONNX file beside the engine is a newer one; the
            message ends with the command that builds the engine again.
    """
    if not path.is_file():
        raise ModelFileError(f"there is no engine {path}; build one: roadedge build MODEL.onnx")
    _refuse_foreign(path)
    stated = read_sidecar(path, check_digest=False)
    if stated is None:
        raise ModelFileError(
            f"{path} has no sidecar {sidecar_path(path).name}, so nothing says what it was built from, for which GPU "
            "and by which TensorRT; copy the sidecar too, or build the engine again: roadedge build MODEL.onnx"
        )
    spec, provenance = stated
    if ENGINE_KEY not in provenance:
        raise ModelFileError(
            f"{sidecar_path(path)} says nothing of an engine; build it again: roadedge build MODEL.onnx"
        )
    engine = EngineFile(path, spec, provenance, EngineFacts.from_dict(provenance[ENGINE_KEY]))
    _check_digests(engine)
    return engine


def check_here(engine: EngineFile, here: Device) -> None:
    """Refuse an engine that this machine must not load.

    Raises:
        EngineIncompatibleError: built by another TensorRT or for another GPU; with the command that builds it again.
        EnvironmentFault: there is no TensorRT of its kind, or no GPU.
    """
    check_runtime(engine.facts.runtime, here)
    found = mismatches(engine.facts, here)
    if found:
        raise incompatible(engine, "; ".join(found), here)
    if here.compute_capability is None:
        raise EnvironmentFault(
            f"{engine.path.name} runs on an NVIDIA GPU, and {'; '.join(here.absent) or 'none is found here'}; "
            "run it where one is, or run the ONNX file: --backend onnxruntime or openvino"
        )


def check_runtime(runtime: str, here: Device) -> None:
    """Raise unless this TensorRT can be imported: MissingExtraError, or EnvironmentFault with JetPack's own way."""
    if here.version_of(runtime) is not None:
        return
    if here.jetpack is not None and runtime == "tensorrt":
        raise EnvironmentFault(
            "the TensorRT back-end needs the Python package of JetPack's own TensorRT; "
            "sudo apt install python3-libnvinfer, and make a virtual environment with --system-site-packages"
        )
    package = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt-rtx-cu13"}[runtime]
    raise MissingExtraError(package, runtime, f"the {RUNTIMES[runtime]} back-end")


def incompatible(engine: EngineFile, why: str, here: Device | None = None) -> EngineIncompatibleError:
    """The refusal of an engine: why, and what to type."""
    command = rebuild_command(engine.facts, engine.path, here)
    onnx = engine.path.with_name(engine.facts.onnx)
    lacking = "" if onnx.is_file() else f" (after copying {engine.facts.onnx}, which is not beside it)"
    return EngineIncompatibleError(f"{engine.path} cannot be loaded here: {why}; build it again{lacking}: {command}")


def _check_digests(engine: EngineFile) -> None:
    facts, path = engine.facts, engine.path
    if sha256_of(path) != facts.engine_sha256:
        size, built = path.stat().st_size, facts.engine_bytes
        what = f"it has {size} bytes and {built} were written" if built not in (None, size) else "its bytes are others"
        raise incompatible(engine, f"the file is not the one that its sidecar describes ({what})")
    onnx = path.with_name(facts.onnx)
    if onnx.is_file() and sha256_of(onnx) != facts.onnx_sha256:
        raise incompatible(engine, f"{onnx.name} beside it is not the file that it was built from")


def _refuse_foreign(path: Path) -> None:
    """Say what a file is that ends in .engine and is none; raises ModelFileError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(4096)
        kind = _kind(head, size)
        if kind is None and head[4:5] == b"{" and (count := int.from_bytes(head[:4], "little")) < size:
            file.seek(4)
            kind = _ultralytics(file.read(min(count, 1 << 20)))
    if kind is not None:
        raise ModelFileError(f"{path} is no engine of this package: {kind}; build one: roadedge build MODEL.onnx")


def _kind(head: bytes, size: int) -> str | None:
    if not size:
        return "the file is empty"
    if head.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS, and the file itself was not fetched"
    if head.startswith(b"PK\x03\x04"):
        return "it is a zip archive, as torch writes checkpoints"
    if b"\0" not in head and all(byte >= 32 or byte in b"\t\r\n" for byte in head):
        return "it is a text file"
    return None


def _ultralytics(header: bytes) -> str | None:
    """Ultralytics puts the length of a JSON text and the text before the engine, which no other tool then opens."""
    try:
        held = json.loads(header)
    except ValueError:
        return None
    name = held.get("description", "another tool") if isinstance(held, dict) else "another tool"
    return f"{len(header)} bytes of metadata ({name}) stand before the engine, as Ultralytics writes it"
