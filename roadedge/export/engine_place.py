"""Where an engine lies, what it is found again by, and how it comes there: whole, with its sidecar, or not at all."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import roadedge
from roadedge.atomic import replacing
from roadedge.environment import environment
from roadedge.errors import ModelFileError, OutputError
from roadedge.export.engine_source import Source
from roadedge.export.targets import Target
from roadedge.runners.engine_facts import ENGINE_KEY, EngineFacts
from roadedge.spec import read_sidecar, sha256_of, sidecar_path, write_sidecar

KEY = "engine_key"  # in the sidecar's provenance


def engine_path(onnx: Path, target: Target, output: Path | None) -> Path:
    """`NAME.<target>.engine` in the folder `output`, or `output` itself where it ends in .engine.

    Without one it lies beside the ONNX file, but for a network that the package carries: then in `runs/build/NAME`.
    """
    name = f"{onnx.stem}.{target.name}.engine"
    if output is None:
        carried = onnx.resolve().is_relative_to(Path(roadedge.__file__).parent)
        return (Path("runs", "build", onnx.stem) if carried else onnx.parent).resolve() / name
    path = output.expanduser().resolve()
    return path if path.suffix == ".engine" else path / name


def engine_key(parts: dict[str, Any]) -> str:
    """Digest of all that went into an engine."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Existing:
    """What lies where an engine shall be: its facts where its key fits; else why it is built again, if at all."""

    facts: EngineFacts | None = None
    replaced: str = ""
    onnx_sha256: str = ""  # what the engine that lies there was built of


def existing_engine(engine: Path, key: str, overwrite: bool) -> Existing:
    """Look at what lies there; an engine is taken by its key, never by its name.

    Raises:
        OutputError: it is no engine of ours, and must not be replaced.
    """
    if not engine.exists():
        return Existing()
    try:
        stated = read_sidecar(engine)
    except ModelFileError as error:
        if not overwrite:
            raise OutputError(f"{error}; give --overwrite to build {engine} again") from error
        stated = None
    if overwrite:
        return Existing(replaced="--overwrite was given")
    if stated is None or ENGINE_KEY not in stated[1]:
        raise OutputError(f"{engine} is there already and has no sidecar of an engine; give --overwrite, or another -o")
    facts = EngineFacts.from_dict(stated[1][ENGINE_KEY])
    if stated[1].get(KEY) == key:
        return Existing(facts)
    why = "it was built of another file, or for another TensorRT, GPU, shape or option"
    return Existing(None, why, facts.onnx_sha256)


def place_onnx(source: Source, folder: Path, existing: Existing, overwrite: bool) -> None:
    """Put the ONNX file and its sidecar beside the engine, which is built again from them.

    A file of that name goes where it is what the engine that is being replaced was built of.

    Raises:
        OutputError: another file of that name lies there.
    """
    there = folder / source.path.name
    if there.resolve() == source.path.resolve():
        return
    if there.exists() and not overwrite and sha256_of(there) not in (source.sha256, existing.onnx_sha256):
        raise OutputError(f"{there} is there already and is another file; give --overwrite, or another -o/--output")
    for origin in (source.path, sidecar_path(source.path)):
        if origin.is_file():
            with replacing(folder / origin.name) as temporary:
                shutil.copyfile(origin, temporary)


def publish(
    engine: Path,
    content: bytes,
    source: Source,
    facts: EngineFacts,
    key: str,
    batch: int | None,
    prove: Callable[[Path], dict[str, Any]],
) -> dict[str, Any]:
    """Write engine and sidecar in a folder of their own, `prove` them there, and move both to their place.

    Args:
        engine: where it shall lie.
        content: its bytes.
        source: what it was built of.
        facts: of the build.
        key: see engine_key.
        batch: windows that it takes at once.
        prove: gets the draft's path; what it returns goes into the provenance.

    Returns:
        What `prove` returned.

    Raises:
        OutputError: the output cannot be written.
    """
    spec = dataclasses.replace(source.spec, batch=batch)
    try:
        engine.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".engine-", dir=engine.parent) as folder:
            draft = Path(folder) / engine.name
            draft.write_bytes(content)
            provenance = _provenance(source, facts, key)
            write_sidecar(draft, spec, provenance)
            proof = prove(draft)
            _replace_both(draft, write_sidecar(draft, spec, provenance | proof), engine)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError.from_os(engine, error) from error
    return proof


def _provenance(source: Source, facts: EngineFacts, key: str) -> dict[str, Any]:
    """The ONNX file's own provenance goes on: checkpoint, calibration, accuracy, and whether the gate refused it."""
    kept = {name: value for name, value in source.provenance.items() if name not in ("parity", "made_with")}
    return kept | {
        "kind": "engine",
        "onnx": {"file": source.path.name, "sha256": source.sha256},
        "precision": {
            "requested": facts.precision_requested,
            "effective": facts.precision_effective,
            "layers": facts.layers_by_precision,
        },
        ENGINE_KEY: facts.to_dict(),
        KEY: key,
        "made_with": environment(),
    }


def _replace_both(draft: Path, sidecar: Path, engine: Path) -> None:
    """Engine first: between the two moves an older sidecar tells of other bytes, which every reader notices."""
    os.replace(draft, engine)
    try:
        os.replace(sidecar, sidecar_path(engine))
    except BaseException:
        engine.unlink(missing_ok=True)
        raise
