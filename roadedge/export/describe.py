"""`roadedge info`: what a model file holds, where it came from, and whether it would load on this machine."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from roadedge.errors import RoadEdgeError
from roadedge.runners import BACKENDS, RejectedArtefactWarning, open_runner
from roadedge.runners.engine_file import read_engine
from roadedge.runners.gatemark import rejection
from roadedge.spec import read_sidecar, sha256_of


def describe_model(path: Path) -> dict[str, Any]:
    """All that can be said about a model file, as JSON values.

    Args:
        path: a `.pt`, `.onnx` or `.engine`, as `find_model` gives it.

    Returns:
        `file`, `bytes`, `sha256`; `spec`, `provenance`, `sidecar` (whether there is one); `rejected`, why the accuracy
        gate rejected it, else None; `parameters`; of an ONNX file
        `opset`, `nodes`, `operators`, `convolutions` by precision, `inputs` and `outputs`; of an engine `engine`, the
        facts of its build, which need neither TensorRT nor a GPU to be told; and `loads`: for each
        back-end that takes this kind of file what would run, or why it would not.

    Raises:
        ModelFileError: no back-end loads it.
        EngineIncompatibleError: an engine of other bytes than its sidecar's, or older than the ONNX file beside it.
    """
    if path.suffix == ".engine":
        return _engine(path)
    sidecar = read_sidecar(path)
    loads, faults, stated = _try_backends(path, [name for name, suffix in BACKENDS.items() if suffix == path.suffix])
    if stated is None:
        raise faults[0]
    spec, provenance, assumed = stated
    if sidecar is not None and "gate" in sidecar[1]:  # of a checkpoint the runner knows what stands inside alone
        provenance = {**provenance, "gate": sidecar[1]["gate"]}
    return {
        "file": str(path.resolve()),
        "bytes": path.stat().st_size,
        "sha256": sha256_of(path),
        "sidecar": sidecar is not None,
        "spec": spec,
        "assumed": assumed,
        "provenance": provenance,
        "rejected": rejection(provenance),
        **(_graph(path) if path.suffix == ".onnx" else _weights(path)),
        "loads": loads,
    }


def _engine(path: Path) -> dict[str, Any]:
    engine = read_engine(path)
    backend = engine.facts.runtime
    loads, _, _ = _try_backends(path, (backend,))
    return {
        "file": str(path.resolve()),
        "bytes": path.stat().st_size,
        "sha256": engine.facts.engine_sha256,
        "sidecar": True,
        "spec": engine.spec.to_dict(),
        "assumed": [],
        "provenance": engine.provenance,
        "rejected": rejection(engine.provenance),
        "engine": engine.facts.to_dict(),
        "loads": loads,
    }


def _try_backends(
    path: Path, backends: Sequence[str]
) -> tuple[dict[str, Any], list[RoadEdgeError], tuple[Any, Any, list[str]] | None]:
    loads: dict[str, Any] = {}
    faults: list[RoadEdgeError] = []
    stated = None
    for backend in backends:
        try:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("ignore", RejectedArtefactWarning)  # told under `rejected`
                with open_runner(path, backend, accept_rejected=True) as runner:
                    loads[backend] = {"yes": True, **runner.describe()}
                    stated = (runner.spec.to_dict(), runner.provenance, [str(one.message) for one in said])
        except RoadEdgeError as error:
            loads[backend] = {"yes": False, "why": str(error)}
            faults.append(error)
    return loads, faults, stated


def _graph(path: Path) -> dict[str, Any]:
    try:
        import onnx
    except ImportError:
        return {"graph": "not looked at: the package onnx is not installed; pip install 'roadedge[export]'"}
    from roadedge.export.onnx_view import convolution_precisions, operators, ports_of

    model = onnx.load(path)
    opset = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    elements = [onnx.numpy_helper.to_array(one).size for one in model.graph.initializer]
    return {
        "opset": opset,
        "parameters": sum(elements),
        "nodes": len(model.graph.node),
        "operators": operators(model),
        "convolutions": dict(convolution_precisions(model)),
        **ports_of(model),
    }


def _weights(path: Path) -> dict[str, Any]:
    from roadedge.models.checkpoint import load_network

    network, _ = load_network(path)
    return {"parameters": sum(weight.numel() for weight in network.parameters())}
