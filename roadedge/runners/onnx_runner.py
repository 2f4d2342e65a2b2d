"""ONNX files run by ONNX Runtime on the CPU: the back-end that is always there."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from roadedge.errors import BackendMismatchError, ModelFileError
from roadedge.preprocess import Feeds
from roadedge.runners.base import CheckedRunner, Requested, check_precision, precision_of
from roadedge.runners.face import Face, Port, face_of

PROVIDERS = ["CPUExecutionProvider"]
CONVOLUTIONS = ("Conv", "FusedConv", "NhwcFusedConv", "ConvTranspose", "QLinearConv", "ConvInteger")
PRECISIONS = {"float": "fp32", "float16": "fp16", "bfloat16": "bf16", "int8": "int8", "uint8": "int8", "double": "fp64"}
TYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32", "tensor(float16)": "float16"}


class OnnxRunner(CheckedRunner):
    """A session of ONNX Runtime with the providers asserted and the computed precision read back."""

    name = "onnxruntime"
    version = onnxruntime.__version__

    def __init__(self, path: Path, requested: Requested) -> None:
        """Load `path`.

        Raises:
            ModelFileError: not an ONNX file that this runtime loads, or one that cannot be fed.
            BackendMismatchError: other providers than asked for, or another precision.
        """
        super().__init__()
        self.requested, self.file = requested, str(path)
        with tempfile.TemporaryDirectory() as folder:
            session = open_session(path, requested.threads, Path(folder) / "profile")
            meta = session.get_modelmeta().custom_metadata_map
            self._face = face_of(path, ports(session.get_inputs()), ports(session.get_outputs()), meta)
            if half_pairs(self._face.provenance):
                session = open_session(path, requested.threads, Path(folder) / "profile", pairs_as_written=True)
            self.spec, self.provenance = self._face.spec, self._face.provenance
            self.graph_precision = self._face.graph_precision
            self._session: Any = session
            self.precision = self._read_precision()
        if session.get_providers() != PROVIDERS:
            raise BackendMismatchError(f"asked ONNX Runtime for {PROVIDERS}, it took {session.get_providers()}")
        check_precision(requested.precision, self.precision, "ONNX Runtime", _advice(self.graph_precision))

    @property
    def face(self) -> Face:
        """How the graph is fed and read."""
        return self._face

    def _run(self, feeds: Feeds, logits: bool) -> Feeds:
        names = self._face.wanted(logits)
        outputs = self._session.run(names, self._face.fed(feeds))
        return self._face.read(dict(zip(names, outputs, strict=True)), logits)

    def _release(self) -> None:
        self._session = None

    def _read_precision(self) -> str:
        """What the convolutions computed in, from the runtime's own profile of one blank frame.

        On processors without half-precision kernels ONNX Runtime computes an FP16 graph in fp32 and says nothing.
        """
        self._session.run(self._face.wanted(False), self._face.fed(blank_feeds(self._face)))
        profile = Path(self._session.end_profiling())
        return precision_of(convolution_precisions(json.loads(profile.read_text())))


def open_session(
    path: Path, threads: int | None, profile: Path | None = None, pairs_as_written: bool = False
) -> onnxruntime.InferenceSession:
    """A CPU session of `path`, profiled into files that begin with `profile` where one is given.

    With `pairs_as_written` no optimisation of Q/DQ pairs is done: ONNX Runtime 1.31 quantizes biases by the product of
    two scales, which in float16 is often zero, and then computes nonsense without a word.

    Raises:
        ModelFileError: missing, cut off, or not an ONNX file that this runtime loads.
    """
    if not path.is_file():
        raise ModelFileError(f"there is no model {path}")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only: what matters is read back
    if threads is not None:
        options.intra_op_num_threads = threads
    if pairs_as_written:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=PROVIDERS)
    except Exception as error:  # the runtime's errors have no common base below Exception
        reason = " ".join(str(error).split())[:200]
        raise ModelFileError(
            f"{path} is not an ONNX file that ONNX Runtime loads ({reason}); export or copy it again"
        ) from error


def half_pairs(provenance: Mapping[str, Any]) -> bool:
    """Whether a file's Q/DQ pairs are float16, as it states."""
    stated = provenance.get("precision")
    return isinstance(stated, dict) and stated.get("requested") == "int8-fp16"


def ports(arguments: Sequence[Any]) -> list[Port]:
    """Names, shapes and types of a session's inputs or outputs."""
    return [
        Port(a.name, tuple(s if isinstance(s, int) else None for s in a.shape), TYPES.get(a.type, a.type))
        for a in arguments
    ]


def blank_feeds(face: Face) -> Feeds:
    """Zeros of the smallest size that the network takes."""
    height, width = face.spec.size or (face.spec.stride * 2, face.spec.stride * 2)
    count = face.spec.batch or 1
    return {n: np.zeros((count, height, width, 3 if n == "image" else 1), np.uint8) for n in face.spec.inputs}


def convolution_precisions(profile: Sequence[dict[str, Any]]) -> Counter[str]:
    """Convolutions by the type of what they read, from a profile of ONNX Runtime."""
    counts: Counter[str] = Counter()
    for event in profile:
        details = event.get("args", {})
        if event.get("cat") == "Node" and details.get("op_name") in CONVOLUTIONS and details.get("input_type_shape"):
            kind = next(iter(details["input_type_shape"][0]))
            counts[PRECISIONS.get(kind, kind)] += 1
    return counts


def _advice(graph: str) -> str:
    if graph.startswith("fp16"):
        return "leave --precision out, or run the FP16 file on a device that has half precision"
    return "choose the file of that precision, or another --backend"
