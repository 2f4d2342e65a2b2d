"""The accuracy gate's verdict on an artefact: written by the gate, asked for by `open_runner`.

The sidecar holds the table and the verdict under `provenance["gate"]`. A rejection is also written into the artefact
itself (the metadata of an ONNX graph, the provenance of a checkpoint), so that a lost sidecar does not turn it into a
good one. A file that passed stays byte for byte what was measured. A TensorRT engine stays raw bytes: without its
sidecar it is not loaded at all. docs/gate.md
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roadedge.atomic import replacing
from roadedge.errors import AccuracyGateError, MissingExtraError, ModelFileError
from roadedge.spec import read_sidecar, sidecar_path, write_sidecar

GATE_KEY = "roadedge.gate"  # in the metadata of a graph
PASSED, REJECTED = "passed", "rejected"


class RejectedArtefactWarning(UserWarning):
    """An artefact that the accuracy gate rejected is used all the same, as was asked for."""


def mark_passed(model: str | Path, table: Mapping[str, Any]) -> Path:
    """Write into the sidecar of `model` that it passed; a rejection of before is taken out of the file.

    Args:
        model: `.onnx`, `.pt` or `.engine`, with its sidecar.
        table: the gate's findings as JSON values.

    Returns:
        The sidecar.

    Raises:
        ModelFileError: there is no sidecar, or it belongs to other bytes.
        OutputError: file or sidecar cannot be written.
    """
    return _mark(Path(model), {"verdict": PASSED, **table})


def mark_rejected(model: str | Path, reason: str, table: Mapping[str, Any]) -> Path:
    """Write into `model` and into its sidecar that the gate rejected it; the digest in the sidecar is kept right.

    Args:
        model: `.onnx`, `.pt` or `.engine`, with its sidecar.
        reason: what was lost, where: half a sentence.
        table: the gate's findings as JSON values.

    Returns:
        The sidecar.

    Raises:
        as mark_passed; MissingExtraError: onnx or torch, which the file was made with, is absent.
    """
    return _mark(Path(model), {"verdict": REJECTED, "reason": reason, **table})


def rejection(provenance: Mapping[str, Any]) -> str | None:
    """Why the gate rejected the artefact of this provenance; None where it did not."""
    gate = provenance.get("gate")
    if not isinstance(gate, dict) or gate.get("verdict") != REJECTED:
        return None
    return str(gate.get("reason") or "its sidecar does not say why")


def refuse_rejected(model: str | Path, provenance: Mapping[str, Any], accept: bool = False) -> None:
    """Raise AccuracyGateError for an artefact that was rejected, or with `accept` warn of it.

    Args:
        model: named in the message.
        provenance: of the sidecar, or what the file itself says.
        accept: the user asked for this artefact all the same.
    """
    reason = rejection(provenance)
    if reason is None:
        return
    said = f"{model} was rejected by the accuracy gate: {reason}"
    if not accept:
        raise AccuracyGateError(
            f"{said}; quantize it again with other settings or take the FP16 or FP32 file, or give --accept-rejected"
        )
    warnings.warn(f"{said}; used because --accept-rejected was given", RejectedArtefactWarning, stacklevel=3)


def embedded_gate(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """What a graph's own metadata says about the gate: {"gate": ...}, or nothing.

    Raises:
        ModelFileError: it says something that is not JSON.
    """
    if GATE_KEY not in metadata:
        return {}
    try:
        return {"gate": dict(json.loads(metadata[GATE_KEY]))}
    except (ValueError, TypeError) as error:
        raise ModelFileError(f"the metadata of {path} cannot be read ({error}); export the model again") from error


def _mark(model: Path, gate: dict[str, Any]) -> Path:
    """The file first, then the sidecar: what is cut off between the two has a wrong digest and is not loaded."""
    stated = read_sidecar(model)
    if stated is None:
        raise ModelFileError(f"{sidecar_path(model)} is absent, so that no verdict can be written; export it again")
    spec, provenance = stated
    short = {"verdict": REJECTED, "reason": gate["reason"]} if gate["verdict"] == REJECTED else None
    if model.suffix == ".onnx":
        _embed_in_graph(model, short)
    elif model.suffix == ".pt":
        _embed_in_checkpoint(model, short)
    return write_sidecar(model, spec, {**provenance, "gate": gate})


def _embed_in_graph(model: Path, gate: dict[str, str] | None) -> None:
    if gate is None and GATE_KEY.encode() not in model.read_bytes():
        return  # onnx need not be there, and the file stays what was measured
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("onnx", "export", f"marking {model.name}") from error
    graph = onnx.load(model)
    kept = [entry for entry in graph.metadata_props if entry.key != GATE_KEY]
    del graph.metadata_props[:]
    graph.metadata_props.extend(kept)
    if gate is not None:
        entry = graph.metadata_props.add()
        entry.key, entry.value = GATE_KEY, json.dumps(gate, sort_keys=True)
    with replacing(model) as temporary:
        onnx.save(graph, temporary)


def _embed_in_checkpoint(model: Path, gate: dict[str, str] | None) -> None:
    try:
        from roadedge.models.checkpoint import read_archive, write_archive
    except ImportError as error:
        raise MissingExtraError("torch", "export", f"marking {model.name}") from error
    content = read_archive(model)
    provenance = dict(content.get("provenance", {}))
    before = provenance.pop("gate", None)
    if gate is not None:
        provenance["gate"] = gate
    if provenance.get("gate") != before:
        write_archive(model, {**content, "provenance": provenance})
