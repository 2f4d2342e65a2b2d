"""An ONNX file in ONNX Runtime on the GPU, where onnxruntime-gpu is installed; by the host's clock, transfers included.

The session takes pageable arrays and gives such back, and times nothing on the device: `infer` is all that there is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from roadedge.errors import BackendMismatchError
from roadedge.preprocess import Feeds
from roadedge.runners.base import CheckedRunner, Requested
from roadedge.runners.face import face_of

CUDA = "CUDAExecutionProvider"


class OnnxOnGpu(CheckedRunner):
    """A session that has the CUDA provider first, asserted; a node that it leaves to the CPU is not noticed."""

    name = "onnxruntime"

    def __init__(self, path: Path, precision: str) -> None:
        """Load `path`; raises BackendMismatchError where the CUDA provider did not come up."""
        super().__init__()
        import onnxruntime

        from roadedge.runners.onnx_runner import ports

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        providers = [(CUDA, {"use_tf32": "1" if precision == "tf32" else "0"}), "CPUExecutionProvider"]
        session: Any = onnxruntime.InferenceSession(str(path), options, providers=providers)
        if session.get_providers()[0] != CUDA:
            raise BackendMismatchError(f"asked ONNX Runtime for {CUDA}, it took {session.get_providers()}")
        meta = session.get_modelmeta().custom_metadata_map
        self._face = face_of(path, ports(session.get_inputs()), ports(session.get_outputs()), meta)
        self.spec, self.provenance = self._face.spec, self._face.provenance
        self.version, self.device, self.file = onnxruntime.__version__, "GPU", str(path)
        self.precision, self.graph_precision = precision, self._face.graph_precision
        self.requested = Requested("onnxruntime", precision)
        self._session: Any = session

    def _run(self, feeds: Feeds, logits: bool) -> Feeds:
        names = self._face.wanted(logits)
        outputs = self._session.run(names, self._face.fed(feeds))
        return self._face.read(dict(zip(names, outputs, strict=True)), logits)

    def _release(self) -> None:
        self._session = None
