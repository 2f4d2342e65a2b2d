"""What of CUDA, TensorRT and torch is on this machine, and of what is not, why not."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

from benchmarks.nvidia.child import sentence
from benchmarks.nvidia.monitor import state
from roadedge.environment import environment, installed
from roadedge.errors import EnvironmentFault
from roadedge.export.engine import load_library
from roadedge.runners.device import Device
from roadedge.runners.device_memory import open_memory

FAMILIES = ("torch", "tensorrt", "tensorrt-rtx", "onnxruntime")  # that can run a network on the GPU


def look() -> dict[str, Any]:
    """The machine as JSON values: `device`, `state`, `software` by name, `environment`."""
    here = Device.here()
    return {
        "device": dataclasses.asdict(here),
        "state": state(),
        "software": {name: probed(probe) for name, probe in PROBES.items()},
        "environment": environment(),
    }


def probed(probe: Callable[[], str]) -> dict[str, Any]:
    """`available` and `version`, or `why` not."""
    try:
        return {"available": True, "version": probe(), "why": ""}
    except Exception as error:  # a broken installation raises what it likes
        return {"available": False, "version": None, "why": sentence(error)}


def _torch() -> str:
    torch = importlib.import_module("torch")
    if not torch.cuda.is_available():
        built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA"
        raise EnvironmentFault(f"torch {torch.__version__} was built for {built} and sees no GPU")
    return f"{torch.__version__} (CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()})"


def _onnxruntime() -> str:
    runtime = importlib.import_module("onnxruntime")
    if "CUDAExecutionProvider" not in runtime.get_available_providers():
        raise EnvironmentFault(f"onnxruntime {runtime.__version__} has no CUDA provider; onnxruntime-gpu would")
    return str(runtime.__version__)


def _memory() -> str:
    memory = open_memory(Device.here().cuda)
    try:
        return memory.name
    finally:
        memory.close()


def _module(name: str, package: str) -> Callable[[], str]:
    def probe() -> str:
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(f"no module named {name!r}")
        return installed(package) or "of unknown version"

    return probe


PROBES: dict[str, Callable[[], str]] = {
    "torch": _torch,
    "tensorrt": lambda: str(load_library("tensorrt").__version__),
    "tensorrt-rtx": lambda: str(load_library("tensorrt-rtx").__version__),
    "onnxruntime": _onnxruntime,
    "device memory for engines": _memory,
    "onnx": _module("onnx", "onnx"),
    "onnxsim": _module("onnxsim", "onnxsim"),
    "cuda-python": _module("cuda", "cuda-bindings"),
    "pycuda": _module("pycuda", "pycuda"),
    "cupy": _module("cupy", "cupy"),
}
