"""The demonstration: a synthetic drone flight through the carried network on this processor."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from roadedge.errors import UsageError
from roadedge.stream.outcome import InferOptions, InferResult
from roadedge.stream.plan import Plan
from roadedge.stream.session import Tell, infer

FLIGHT = "synth:512x512@10"
SECONDS_LIMIT = 3600.0
NETWORK = "roadedge-s"


def network(tell: Tell) -> str:
    """The carried network in the precision that is fastest here, and why.

    Symmetric INT8, which TensorRT asks for, is two to three times as fast as FP32 in OpenVINO, and
    slower in ONNX Runtime.
    """
    if importlib.util.find_spec("openvino") is not None:
        tell(f"{NETWORK}:int8 in OpenVINO; its accuracy was judged against FP32, see roadedge info {NETWORK}:int8")
        return f"{NETWORK}:int8"
    tell(f"{NETWORK} in FP32: ONNX Runtime computes symmetric INT8 slower; pip install 'roadedge[openvino]' for INT8")
    return NETWORK


def fly(
    seconds: float, output: Path | None, tell: Tell, model: str | None = None, overwrite: bool = False
) -> InferResult:
    """Fly for some seconds of real time; masks, overlay video, report and latencies go to `runs/demo`.

    Args:
        seconds: of flight.
        output: run folder; None takes the first free one in `runs/demo`.
        tell: is given a line a second.
        model: a carried network or a file; None for what `network` chooses.
        overwrite: empty `output` first.

    Raises:
        UsageError: no time to fly, or more than an hour of it.
        and what `infer` raises.
    """
    if not 0 < seconds <= SECONDS_LIMIT:
        raise UsageError(f"--seconds must lie between 0 and {SECONDS_LIMIT:g}, got {seconds:g}")
    model = model or network(tell)
    tell(f"drawing the city under the flight; then {seconds:g} s of 512 x 512 pixels at 10 frames a second")
    options = InferOptions(
        FLIGHT, model, plan=Plan(duration_s=seconds), output=output, overwrite=overwrite, command="demo"
    )
    return infer(options, tell)
