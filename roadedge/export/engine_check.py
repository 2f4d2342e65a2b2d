"""Does an engine say what its ONNX file says? Asked on real samples after every build, wherever the engine can run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from roadedge.errors import EnvironmentFault
from roadedge.export.parity import Tolerance, compare, parity_samples
from roadedge.runners import open_runner
from roadedge.runners.device import Device
from roadedge.runners.engine_facts import EngineFacts
from roadedge.spec import read_sidecar

NOT_RUN = "not compared with its ONNX file"
# A Q/DQ graph rounds between float and int8 at every layer: a last bit that differs may move a value by one step.
TOLERANCES = {"fp32": Tolerance(1e-2, 0.999), "fp16": Tolerance(5e-2, 0.995), "int8": Tolerance(2e-1, 0.99)}


def agreement(engine: Path, onnx: Path, facts: EngineFacts, device: Device, wanted: bool = True) -> dict[str, Any]:
    """Compare on samples of the built-in city; NaN, infinity and disagreement are errors.

    Args:
        engine: with its sidecar.
        onnx: what it was built of, run by ONNX Runtime.
        facts: of the engine.
        device: this machine.
        wanted: False where the check was declined.

    Returns:
        `parity`, the tables, and `checked`, a sentence: of what was compared, or why nothing was.

    Raises:
        ExportError: it does not agree; nothing is written.
    """
    why = "--no-check was given" if not wanted else _why_not(facts, device)
    if why:
        return {"parity": [], "checked": f"{NOT_RUN}: {why}"}
    stated = read_sidecar(engine)
    if stated is None:
        raise EnvironmentFault(f"{engine} has lost its sidecar while it was built; build it again")
    spec = stated[0]
    with open_runner(onnx, "onnxruntime", accept_rejected=True) as reference:
        with open_runner(engine, facts.runtime, accept_rejected=True) as candidate:
            table = compare(reference, candidate, spec, parity_samples(spec))
    table.check(_tolerance(facts))
    return {"parity": [table.to_dict()], "checked": f"compared with its ONNX file on {len(table.rows)} samples"}


def _tolerance(facts: EngineFacts) -> Tolerance:
    """TF32 has the ten bits of fraction of FP16."""
    precision = facts.precision_effective.split()[0].split("+")[0]  # `fp16 with 3 parts float32`
    if precision == "fp32" and facts.tf32:
        return TOLERANCES["fp16"]
    return TOLERANCES.get(precision, TOLERANCES["fp16"])


def _why_not(facts: EngineFacts, device: Device) -> str:
    if device.compute_capability is None:
        return device.absent[0] if device.absent else "there is no GPU here"
    if device.compute_capability not in facts.compute_capabilities:
        return f"the GPU here has compute capability {device.compute_capability}"
    return ""
