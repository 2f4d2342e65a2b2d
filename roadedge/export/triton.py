"""An entry of a Triton model repository: `config.pbtxt` and `1/model.plan` or `1/model.onnx`, with the sidecar."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from roadedge.errors import ModelFileError, OutputError, UsageError
from roadedge.export.engine_source import read_source
from roadedge.runners.engine_facts import ENGINE_KEY, EngineFacts
from roadedge.runners.face import Port
from roadedge.spec import read_sidecar, write_sidecar

BACKENDS = {
    ".engine": ("tensorrt", "tensorrt_plan", "model.plan"),
    ".onnx": ("onnxruntime", "onnxruntime_onnx", "model.onnx"),
}
TYPES = {"uint8": "TYPE_UINT8", "float32": "TYPE_FP32", "float16": "TYPE_FP16", "int8": "TYPE_INT8"}


def write_entry(model: Path, repository: Path, instances: int = 1, overwrite: bool = False) -> Path:
    """Write `repository/NAME/`; it appears whole or not at all.

    Args:
        model: an engine of TensorRT with its sidecar, or an ONNX file. Shapes are written in full, the batch included,
            so that Triton adds none of its own (`max_batch_size: 0`).
        repository: folder of the model repository; made where absent.
        instances: how many copies serve at once.
        overwrite: replace an entry of that name.

    Returns:
        The entry's folder.

    Raises:
        UsageError: another kind of file, or an engine of TensorRT for RTX, which Triton does not run.
        ModelFileError: the model or its sidecar cannot be used.
        OutputError: the entry cannot be written, or is there already.
    """
    if model.suffix not in BACKENDS:
        raise UsageError(f"Triton serves an engine or an ONNX file, got {model}")
    if instances < 1:
        raise UsageError(f"a model is served by at least one instance, got {instances}")
    inputs, outputs = _ports(model)
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", model.stem)
    entry = repository.expanduser().resolve() / name
    if entry.exists() and not overwrite:
        raise OutputError(f"{entry} is there already; give --overwrite, or another --triton folder")
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=entry.parent) as folder:
            draft = Path(folder) / name
            _fill(draft, model, config_text(name, model.suffix, inputs, outputs, instances))
            if entry.exists():
                entry.rename(Path(folder) / "before")
            draft.rename(entry)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError.from_os(entry, error) from error
    return entry


def config_text(name: str, suffix: str, inputs: Sequence[Port], outputs: Sequence[Port], instances: int = 1) -> str:
    """`config.pbtxt` of a model.

    Args:
        name: the entry's, which must be that of its folder.
        suffix: `.engine` or `.onnx`.
        inputs: with their shapes, batch included; a free side becomes -1.
        outputs: likewise.
        instances: how many copies serve at once.

    Raises:
        ModelFileError: a type that Triton does not serve.
    """
    backend, platform, file = BACKENDS[suffix]
    kind = "KIND_GPU" if suffix == ".engine" else "KIND_AUTO"
    lines = [
        f"name: {json.dumps(name)}",
        f"backend: {json.dumps(backend)}",
        f"platform: {json.dumps(platform)}",
        f"default_model_filename: {json.dumps(file)}",
        "max_batch_size: 0",
        *_port_lines("input", inputs),
        *_port_lines("output", outputs),
        f"instance_group [ {{ count: {instances} kind: {kind} }} ]",
    ]
    return "\n".join(lines) + "\n"


def _ports(model: Path) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    if model.suffix == ".onnx":
        source = read_source(model)
        return source.inputs, source.outputs
    stated = read_sidecar(model)
    if stated is None or ENGINE_KEY not in stated[1]:
        raise ModelFileError(f"{model} has no sidecar of an engine; build it with roadedge build")
    facts = EngineFacts.from_dict(stated[1][ENGINE_KEY])
    if facts.runtime != "tensorrt":
        raise UsageError(f"Triton runs engines of TensorRT, {model.name} is of TensorRT for RTX; serve its ONNX file")
    return facts.inputs, facts.outputs


def _fill(draft: Path, model: Path, config: str) -> None:
    version = draft / "1"
    version.mkdir(parents=True)
    (draft / "config.pbtxt").write_text(config, encoding="utf-8")
    file = version / BACKENDS[model.suffix][2]
    shutil.copyfile(model, file)
    stated = read_sidecar(model)
    if stated is not None:
        write_sidecar(file, *stated)


def _port_lines(kind: str, ports: Sequence[Port]) -> list[str]:
    blocks = []
    for port in ports:
        if port.dtype not in TYPES:
            raise ModelFileError(f"{kind} {port.name} is {port.dtype}; served are {', '.join(TYPES)}")
        sides = ", ".join("-1" if side is None else str(side) for side in port.shape)
        blocks.append(f"  {{ name: {json.dumps(port.name)} data_type: {TYPES[port.dtype]} dims: [ {sides} ] }}")
    return [f"{kind} [", ",\n".join(blocks), "]"]
