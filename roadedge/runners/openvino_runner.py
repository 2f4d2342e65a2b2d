"""ONNX files run by OpenVINO on the CPU, with its precision pinned and read back.

OpenVINO's own default is bf16 where the processor has it, and a hint that the processor cannot follow is replaced in
silence (f16 becomes bf16): hence both the hint and the layers of the compiled network are read back.
"""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from roadedge.errors import BackendMismatchError, MissingExtraError, ModelFileError, UsageError
from roadedge.preprocess import Feeds
from roadedge.runners.base import CheckedRunner, Requested, check_precision, precision_of
from roadedge.runners.face import Face, Port, face_of
from roadedge.runners.openvino_int8 import rewritten

HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
PRECISIONS = {"f32": "fp32", "bf16": "bf16", "f16": "fp16", "i8": "int8", "u8": "int8"}
CONVOLUTIONS = ("Convolution", "Deconvolution", "GroupConvolution")


class OpenVinoRunner(CheckedRunner):
    """A compiled network of OpenVINO: fp32 unless another precision is asked for."""

    name = "openvino"

    def __init__(self, path: Path, requested: Requested, size: tuple[int, int] | None = None) -> None:
        """Load and compile `path`, for images of `size` (H, W) where given, whatever the file's own is.

        Raises:
            MissingExtraError: OpenVINO is not installed.
            ModelFileError: not an ONNX file that OpenVINO loads, or one that cannot be fed.
            UsageError: a graph that cannot be given images of `size`.
            BackendMismatchError: the processor would compute in another precision than asked for.
        """
        super().__init__()
        try:
            import openvino
        except ImportError as error:
            raise MissingExtraError("openvino", "openvino", "the OpenVINO back-end") from error
        self.requested, self.file, self.version = requested, str(path), openvino.__version__.split("-")[0]
        asked = requested.precision or "fp32"
        if asked not in HINTS:
            raise UsageError(
                f"OpenVINO's precision is one of {sorted(HINTS)}, got {asked!r}; int8 is a property of the file"
            )
        core = openvino.Core()
        model = read_network(core, path)
        self._face = face_of(path, _ports(model.inputs), _ports(model.outputs), _metadata(model))
        self.spec, self.provenance = self._face.spec, self._face.provenance
        self.graph_precision = self._face.graph_precision
        if size is not None and size != self.spec.size:
            self._reshape(model, size)
        compiled = compile_network(core, model, requested)
        self.precision = _precision(compiled, asked)
        # of an INT8 file a precision asked for is that of the rest
        floating = "+".join(name for name in self.precision.split("+") if name != "int8")
        check_precision(requested.precision, floating or asked, "OpenVINO", "leave --precision out for fp32")
        self._request: Any = compiled.create_infer_request()
        self._one_at_a_time = threading.Lock()  # the request holds the tensors of one call

    @property
    def face(self) -> Face:
        """How the graph is fed and read."""
        return self._face

    def _reshape(self, model: Any, size: tuple[int, int]) -> None:
        """Give the network another size, before it is compiled."""
        sides = {}
        for plug in self._face.plugs:
            channels = 3 if plug.modality == "image" else 1
            of_image = [channels, *size] if plug.channels_first else [*size, channels]
            sides[plug.port.name] = [self.spec.batch or -1, *of_image]
        try:
            model.reshape(sides)
        except RuntimeError as error:
            raise UsageError(
                f"{Path(self.file).name} cannot be given images of {size[0]} x {size[1]} pixels: its graph is made for "
                f"{self.spec.size} alone; use that size, or export it with --dynamic"
            ) from error
        self.spec = dataclasses.replace(self.spec, size=size)

    def _run(self, feeds: Feeds, logits: bool) -> Feeds:
        wanted = self._face.wanted(logits)
        fed = self._face.fed(feeds)
        with self._one_at_a_time:
            self._request.infer(fed, share_inputs=True, share_outputs=True)
            outputs = {n: np.array(self._request.get_tensor(n).data) for n in wanted}  # a copy: the memory is reused
        return self._face.read(outputs, logits)

    def _release(self) -> None:
        self._request = None


def compile_network(core: Any, model: Any, requested: Requested, **more: Any) -> Any:
    """The network compiled as it is run, its precision pinned; `more` are further settings of OpenVINO."""
    asked = requested.precision or "fp32"
    config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": HINTS[asked], "PERFORMANCE_HINT": "LATENCY", **more}
    if requested.threads is not None:
        config["INFERENCE_NUM_THREADS"] = requested.threads
        config["ENABLE_CPU_PINNING"] = False  # two networks of one thread each would be pinned to the same core
    rewritten(model)
    return core.compile_model(model, "CPU", config)


def read_network(core: Any, path: Path) -> Any:
    """The network of an ONNX file; raises ModelFileError where OpenVINO does not load it."""
    if not path.is_file():
        raise ModelFileError(f"there is no model {path}")
    try:
        return core.read_model(path)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelFileError(
            f"{path} is not an ONNX file that OpenVINO loads ({reason}); export or copy it again"
        ) from error


def _ports(nodes: Sequence[Any]) -> list[Port]:
    names = {"u8": "uint8", "f32": "float32", "f16": "float16"}
    found = []
    for node in nodes:
        shape = tuple(side.get_length() if side.is_static else None for side in node.partial_shape)
        kind = node.element_type.get_type_name()
        found.append(Port(node.any_name, shape, names.get(kind, kind)))
    return found


def _metadata(model: Any) -> dict[str, str]:
    info = model.get_rt_info()
    held = info["framework"] if "framework" in info else {}
    return {key: str(getattr(value, "value", value)) for key, value in held.items()}


def _precision(compiled: Any, asked: str) -> str:
    """The precision of the compiled convolutions; the hint that was taken must be the one that was given.

    Raises:
        BackendMismatchError: it is another one.
    """
    hint = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    taken = PRECISIONS.get(hint, hint)
    if taken != asked:
        raise BackendMismatchError(
            f"OpenVINO was asked for {asked} and took {taken} on this processor; leave --precision out for fp32"
        )
    counts: Counter[str] = Counter()
    for layer in compiled.get_runtime_model().get_ops():
        info = layer.get_rt_info()
        if info["layerType"].value in CONVOLUTIONS:
            kind = info["runtimePrecision"].value
            counts[PRECISIONS.get(kind, kind)] += 1
    return precision_of(counts)
