"""Back-ends behind one protocol: torch for .pt, ONNX Runtime and OpenVINO for .onnx, TensorRT for .engine."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

from roadedge.errors import MissingExtraError, UnknownNameError, UsageError
from roadedge.runners.augmentation import Augmentation
from roadedge.runners.augmented import augmented
from roadedge.runners.base import CheckedRunner, Requested, Runner
from roadedge.runners.device import Device
from roadedge.runners.engine_file import check_runtime
from roadedge.runners.gatemark import RejectedArtefactWarning, refuse_rejected
from roadedge.weights import find_model

__all__ = [
    "BACKENDS",
    "Augmentation",
    "CheckedRunner",
    "RejectedArtefactWarning",
    "Requested",
    "ResearchOnlyWarning",
    "Runner",
    "open_runner",
]

BACKENDS = {
    "torch": ".pt",
    "onnxruntime": ".onnx",
    "openvino": ".onnx",
    "tensorrt": ".engine",
    "tensorrt-rtx": ".engine",
}
_said: set[str] = set()


class ResearchOnlyWarning(UserWarning):
    """The weights were trained on pixels whose owners allow research only."""


class SlowInt8Warning(UserWarning):
    """An INT8 file was given to a runtime that computes it slower than FP32."""


def open_runner(
    model: str | Path,
    backend: str = "auto",
    precision: str | None = None,
    threads: int | None = None,
    accept_rejected: bool = False,
    augmentation: Augmentation | None = None,
    size: tuple[int, int] | None = None,
) -> Runner:
    """Load a model for inference.

    Args:
        model: a path (.pt, .onnx, .engine) or a carried network's name, `roadedge-s` or `roadedge-s:fp16`.
        backend: a key of BACKENDS; `auto` takes torch for a .pt, for an engine the TensorRT that it was built by, else
            OpenVINO where installed, else ONNX Runtime.
        precision: fp32, bf16, fp16: what must be computed in; None for the back-end's pinned default, fp32, or what an
            ONNX file brings with it.
        threads: of the back-end; None for its own default.
        accept_rejected: open an artefact that the accuracy gate rejected, with a warning, instead of refusing it.
        augmentation: views, scales and windows that are asked for each image; None for one plain look.
        size: (H, W) of the images, where it is not that of the file: OpenVINO compiles a network for any.

    Returns:
        A runner, to be closed or used in a `with` block.

    Raises:
        UnknownNameError, ModelFileError, SpecMismatchError: no such model, or one that cannot be used.
        UsageError: this back-end does not run this kind of file; a window or size that the network does not take.
        MissingExtraError: the back-end is not installed.
        EngineIncompatibleError: an engine of another machine; the message holds the command that builds it again.
        EnvironmentFault: an engine, and no GPU.
        BackendMismatchError: the back-end would run in another precision than asked for.
        AccuracyGateError: the accuracy gate rejected this artefact.
    """
    if backend not in (*BACKENDS, "auto"):
        raise UnknownNameError("backend", backend, ["auto", *BACKENDS])
    if threads is not None and threads < 1:
        raise UsageError(f"--threads must be at least 1, got {threads}")
    if BACKENDS.get(backend) == ".engine":
        check_runtime(backend, Device.here())  # before the file: what is missing here would be missing for any engine
    path = find_model(model) if backend == "auto" else find_model(model, (BACKENDS[backend],))
    name = _automatic(path) if backend == "auto" else backend
    if path.suffix != BACKENDS[name]:
        raise UsageError(f"{name} runs {BACKENDS[name]} files, got {path}; {_way_out(path, name)}")
    runner = _open(name, path, Requested(backend, precision, threads), size)
    try:
        _check_size(runner, size)
        refuse_rejected(path, runner.provenance, accept_rejected)
    except BaseException:
        runner.close()
        raise
    if backend == "auto" and name == "onnxruntime" and runner.graph_precision.startswith("int8"):
        warnings.warn(
            f"ONNX Runtime computes symmetric INT8 slower than FP32: take {path.stem.partition('.')[0]} instead of "
            f"{path.name}, or pip install 'roadedge[openvino]'",
            SlowInt8Warning,
            stacklevel=2,
        )
    if runner.spec.research_only and str(path) not in _said:
        _said.add(str(path))
        warnings.warn(f"{path.stem} is {runner.spec.licence}; see its model card", ResearchOnlyWarning, stacklevel=2)
    return augmented(runner, augmentation)


def _automatic(path: Path) -> str:
    if path.suffix == ".pt":
        return "torch"
    if path.suffix == ".engine":
        return "tensorrt"
    return "openvino" if importlib.util.find_spec("openvino") is not None else "onnxruntime"


def _check_size(runner: CheckedRunner, size: tuple[int, int] | None) -> None:
    if size is not None and runner.spec.size not in (None, size):
        raise UsageError(
            f"{runner.spec.name} was exported for {runner.spec.size} pixels (H, W) and {runner.name} runs no others, "
            f"got {size}; use that size, export it with --dynamic, or run it in OpenVINO"
        )


def _open(name: str, path: Path, requested: Requested, size: tuple[int, int] | None) -> CheckedRunner:
    if name == "torch":
        if importlib.util.find_spec("torch") is None:
            raise MissingExtraError("torch", "train", f"running the checkpoint {path.name}")
        from roadedge.runners.torch_runner import open_checkpoint

        return open_checkpoint(path, requested)
    if path.suffix == ".engine":
        from roadedge.runners.engine_runner import open_engine

        return open_engine(path, requested)
    if name == "openvino":
        from roadedge.runners.openvino_runner import OpenVinoRunner

        return OpenVinoRunner(path, requested, size)
    from roadedge.runners.onnx_runner import OnnxRunner

    return OnnxRunner(path, requested)


def _way_out(path: Path, backend: str) -> str:
    if path.suffix == ".pt":
        return f"export it first: roadedge export {path}"
    if path.suffix == ".engine":
        return "leave --backend out for an engine"
    if BACKENDS[backend] == ".engine":
        target = " --target rtx" if backend == "tensorrt-rtx" else ""
        return f"build an engine first, on the machine that is to run it: roadedge build {path}{target}"
    return "choose onnxruntime or openvino"
