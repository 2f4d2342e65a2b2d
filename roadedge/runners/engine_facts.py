"""What an engine's sidecar says of it, what of that differs from the machine at hand, and how to build it again.

Versions are parsed and compared number by number, never as text.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadedge.errors import ModelFileError
from roadedge.runners.device import Device
from roadedge.runners.face import Port

__all__ = ["ENGINE_KEY", "RUNTIMES", "Device", "EngineFacts", "mismatches", "rebuild_command", "remarks"]

ENGINE_KEY = "engine"  # in a sidecar's provenance
FACTS_VERSION = 1
RUNTIMES = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT for RTX"}
Shape = tuple[int, ...]
Range = tuple[Shape, Shape, Shape]  # min, opt, max
TEXT = (str, type(None))
FLAG = (bool, type(None))
KINDS: dict[Any, str] = {  # what a sidecar's values must be, where nothing else finds a wrong one
    str: "runtime_version engine_sha256 onnx onnx_sha256 precision_requested precision_effective command",
    dict: "layers_by_precision",
    tuple: "compute_capabilities inputs outputs profiles fallback_layers build_arguments",
    int: "skipped_tactics",
    FLAG: "tf32",
    TEXT: "gpu driver cuda jetpack checkpoint_sha256 target timing_cache",
}


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """All that must be known of an engine before it is loaded. None stands for what could not be found out.

    An engine of TensorRT is made for the one GPU that it was built on; one of TensorRT for RTX for each of its
    `compute_capabilities`, and then `gpu`, `driver` and `cuda` may be None, since no GPU is needed to build it.
    """

    runtime: str  # a key of RUNTIMES
    runtime_version: str  # as the module says it: 10.3.0, 10.16.1.11
    compute_capabilities: tuple[str, ...]  # "8.7"
    engine_sha256: str
    onnx: str  # name of the ONNX file, beside the engine
    onnx_sha256: str
    precision_requested: str  # of the graph: fp32, fp16, int8
    precision_effective: str  # as the parsed network has it: int8+fp16
    layers_by_precision: dict[str, int]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    schema_version: int = FACTS_VERSION
    engine_bytes: int | None = None
    gpu: str | None = None
    driver: str | None = None
    cuda: str | None = None
    jetpack: str | None = None
    checkpoint_sha256: str | None = None
    profiles: tuple[dict[str, Range], ...] = ()  # input → (min, opt, max) shapes; empty for a static engine
    workspace_bytes: int | None = None
    build_seconds: float | None = None
    skipped_tactics: int = 0  # for want of memory: the engine is slower than it could be
    dla: bool = False
    tf32: bool | None = None  # FP32 layers may be computed in TF32; None: a sidecar of a build that left it allowed
    fallback_layers: tuple[str, ...] = ()  # what DLA left to the GPU
    timing_cache: str | None = None  # name and digest of the cache that was used
    target: str | None = None  # a file of export/
    command: str = ""  # as it was typed
    build_arguments: tuple[str, ...] = ()  # of `roadedge build`, but for paths, target and capability

    def __post_init__(self) -> None:
        if self.runtime not in RUNTIMES:
            raise ModelFileError(f"an engine is one of {sorted(RUNTIMES)}, got {self.runtime!r}; build it again")
        _check(self)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, for a sidecar's provenance."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> EngineFacts:
        """From JSON values.

        Raises:
            ModelFileError: a missing or unknown key, a value of a wrong kind, or a later schema.
        """
        if not isinstance(values, dict):
            raise ModelFileError(f"the facts of an engine are an object, got a {type(values).__name__}")
        version = values.get("schema_version")
        if version != FACTS_VERSION:
            raise ModelFileError(
                f"the facts of an engine have schema version {version}, this roadedge reads {FACTS_VERSION}; "
                "build the engine again with this roadedge"
            )
        try:
            return cls(**{name: _restored(name, value) for name, value in values.items()})
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise ModelFileError(f"the facts of an engine cannot be read ({error}); build it again") from error


def _check(facts: Any) -> None:  # Any: the values may have come from somebody's JSON
    for kind, names in KINDS.items():
        for name in names.split():
            if not isinstance(getattr(facts, name), kind):
                wanted = f"{kind[0].__name__}, or none" if isinstance(kind, tuple) else kind.__name__
                raise ModelFileError(
                    f"an engine's {name} is of type {wanted}, got {getattr(facts, name)!r}; build it again"
                )
    if Path(facts.onnx).name != facts.onnx:
        raise ModelFileError(f"an engine's onnx is the name of a file beside it, got {facts.onnx!r}; build it again")
    if not facts.compute_capabilities:
        raise ModelFileError("an engine's compute_capabilities are empty; build it again")
    for version in (facts.runtime_version, *facts.compute_capabilities):
        parsed(version)


def _restored(name: str, value: Any) -> Any:
    if name in ("inputs", "outputs"):
        return tuple(Port(str(p["name"]), tuple(p["shape"]), str(p["dtype"])) for p in value)
    if name == "profiles":
        return tuple({key: tuple(map(tuple, shapes)) for key, shapes in profile.items()} for profile in value)
    return tuple(value) if isinstance(value, list) else value


def parsed(version: str) -> tuple[int, ...]:
    """`10.16.1.11` → (10, 16, 1, 11); what follows the numbers (`rc1`, `+cuda12`) is left out.

    Raises:
        ModelFileError: it does not begin with at least two numbers.
    """
    found = re.match(r"\d+(?:\.\d+)+", str(version))
    if not found:
        raise ModelFileError(f"a version is numbers with points between, got {version!r}")
    return tuple(int(part) for part in found.group().split("."))


def same_version(built: str, here: str) -> bool:
    """Whether the numbers that both state are equal: 10.3.0 is 10.3.0.26, since JetPack's module leaves the build out.

    At least major, minor and patch must be stated by both; what one lacks of these counts as 0.
    """
    a, b = parsed(built), parsed(here)
    stated = max(3, min(len(a), len(b)))
    return _padded(a, stated) == _padded(b, stated)


def _padded(version: tuple[int, ...], count: int) -> tuple[int, ...]:
    return (*version, 0, 0, 0)[:count]


def mismatches(facts: EngineFacts, here: Device) -> list[str]:
    """Why this machine must not load the engine, one clause each; none where it may.

    Compared are the runtime's version, the compute capability and, for TensorRT, the GPU's name. What the machine does
    not have at all (no driver, no TensorRT) is a fault of the environment, and no mismatch.
    """
    found = []
    title, version = RUNTIMES[facts.runtime], here.version_of(facts.runtime)
    if version is not None and not same_version(facts.runtime_version, version):
        found.append(f"it was built by {title} {facts.runtime_version}, here is {version}")
    capability = here.compute_capability
    if capability is not None and capability not in facts.compute_capabilities:
        found.append(
            f"it was built for compute capability {', '.join(facts.compute_capabilities)}, "
            f"the {here.gpu or 'GPU'} here has {capability}"
        )
    elif facts.runtime == "tensorrt" and facts.gpu is not None and here.gpu not in (None, facts.gpu):
        found.append(f"it was built on {facts.gpu}, here is {here.gpu}")
    return found


def remarks(facts: EngineFacts, here: Device) -> list[str]:
    """Differences that do not stop an engine from loading, but that an unexpected failure may come from."""
    pairs = (
        ("driver", facts.driver, here.driver),
        ("CUDA", facts.cuda, here.cuda),
        ("JetPack", facts.jetpack, here.jetpack),
    )
    return [f"built with {name} {then}, here is {now}" for name, then, now in pairs if then and now and then != now]


def rebuild_command(facts: EngineFacts, engine: str | Path, here: Device | None = None) -> str:
    """What to type, on the machine that is to run it, to build the engine again in place.

    The target is kept where the GPU's generation is the one that it was made for; an engine of TensorRT for RTX gets
    this GPU's compute capability beside its own.
    """
    capability = None if here is None else here.compute_capability
    words: list[str] = ["roadedge", "build", str(Path(engine).with_name(facts.onnx))]
    if facts.runtime == "tensorrt-rtx":
        wanted = [*facts.compute_capabilities, *([capability] if capability else [])]
        words += ["--target", facts.target or "rtx", "--compute-capability", ",".join(_by_number(wanted))]
    elif facts.target and capability in (None, *facts.compute_capabilities):
        words += ["--target", facts.target]
    return shlex.join([*words, *facts.build_arguments, "-o", str(engine), "--overwrite"])


def _by_number(capabilities: Sequence[str]) -> list[str]:
    return sorted(set(capabilities), key=parsed)
