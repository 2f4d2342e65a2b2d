"""Engines of TensorRT and of TensorRT for RTX: the only place, beside export/engine.py, that knows their modules."""

from __future__ import annotations

import importlib
from types import ModuleType

MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}


def installed_version(runtime: str) -> str | None:
    """Version of `tensorrt` or `tensorrt-rtx` as its module says it; None where it is absent or cannot be loaded."""
    try:
        return str(_module(runtime).__version__)
    except ImportError:  # no package, or one whose libraries are missing
        return None


def _module(runtime: str) -> ModuleType:
    return importlib.import_module(MODULES[runtime])
