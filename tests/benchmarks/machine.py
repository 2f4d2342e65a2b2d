"""What `look` says of machines, and a network that is timed by what it is told, for tests of the script around them."""

from __future__ import annotations

from typing import Any

import numpy as np

from roadedge.preprocess import Feeds
from roadedge.runners.base import CheckedRunner, Requested
from roadedge.spec import ModelSpec

H200: dict[str, Any] = {
    "gpu": "NVIDIA H200",
    "compute_capability": "9.0",
    "driver": "580.159.04",
    "cuda": "13.0",
    "jetpack": None,
    "tensorrt": None,
    "tensorrt_rtx": "1.7.1.116",
    "absent": [],
}
NO_GPU: dict[str, Any] = dict.fromkeys(H200, None) | {"absent": ["there is no NVIDIA driver here"]}
STATE = {"sm_mhz": 1980.0, "memory_mhz": 3201.0, "temperature_c": 41.0, "power_w": 223.5, "reasons": []} | {
    "throttled": False,
    "other_processes": 0,
}


def software(*available: str) -> dict[str, Any]:
    """All families, those named with a version and the others with a reason."""
    return {
        name: {"available": True, "version": "1.2.3", "why": ""}
        if name in available
        else {"available": False, "version": None, "why": f"no {name} here"}
        for name in ("torch", "tensorrt", "tensorrt-rtx", "onnxruntime")
    }


def seen(device: dict[str, Any], *available: str) -> dict[str, Any]:
    """What `look` returns."""
    made = {
        "date": "2026-11-21T10:00:00+00:00",
        "processor": "one",
        "cpu_count": 2,
        "python": "3.12",
        "command": "gpu.py",
    }
    return {"device": device, "state": STATE, "software": software(*available), "environment": made}


class Timed(CheckedRunner):
    """Logits that it is told, in a time that it is told."""

    name, version, device = "fake", "1", "GPU"

    def __init__(self, spec: ModelSpec, ms: float, logit: float = 4.0, fail: bool = False) -> None:
        super().__init__()
        self.spec, self.ms, self.logit, self.fail = spec, ms, logit, fail
        self.precision = self.graph_precision = "fp16"
        self.provenance, self.requested, self.calls, self.released = {}, Requested(), 0, False

    def infer(self, feeds: Feeds, logits: bool = False) -> Feeds:
        out = super().infer(feeds, logits)
        self.last_ms["infer"] = self.ms + 1  # told, not measured
        return out

    def _run(self, feeds: Feeds, logits: bool) -> Feeds:
        self.calls += 1
        if self.fail:
            raise RuntimeError("CUDA error: misaligned address")
        image = feeds["image"]
        raw = np.where(image[..., 0] > 127, self.logit, -4.0).astype(np.float32)[:, None]
        self._stages_ms = {"h2d": 0.25, "gpu": self.ms, "d2h": 0.25}
        probability = np.where(np.nan_to_num(raw[:, 0]) > 0, 255, 0).astype(np.uint8)
        return {"probability": probability} | ({"logits": raw} if logits else {})

    def _release(self) -> None:
        self.released = True
