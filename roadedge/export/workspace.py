"""How much memory a build may use: a share of what is free when it begins."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

MEMORY_FILE = Path("/proc/meminfo")
SHARE_OF_GPU = 0.75
SHARE_OF_SHARED = 0.5  # the builder itself and the weights live in the same memory on a Jetson


def workspace_bytes(requested_mib: int, shared: bool) -> int | None:
    """Bytes for the builder's workspace.

    Args:
        requested_mib: what was asked for; 0 for a share of what is free.
        shared: whether the GPU's memory is the processor's, as on a Jetson.

    Returns:
        None where nothing was asked for and free memory cannot be found out: the library's own bound then holds.
    """
    if requested_mib:
        return requested_mib * 2**20
    free = None if shared else free_gpu_bytes()
    if free is not None:
        return int(free * SHARE_OF_GPU)
    available = available_bytes(_meminfo())
    return None if available is None else int(available * SHARE_OF_SHARED)


def available_bytes(meminfo: str) -> int | None:
    """MemAvailable of what /proc/meminfo holds, in bytes."""
    for line in meminfo.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def free_gpu_bytes() -> int | None:
    """Free memory of the first GPU, None where there is none; in the primary context, which all libraries share."""
    try:
        cuda: Any = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    device, context = ctypes.c_int(), ctypes.c_void_p()
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    if cuda.cuInit(0) or cuda.cuDeviceGet(ctypes.byref(device), 0):
        return None
    if cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device):
        return None
    try:
        if cuda.cuCtxPushCurrent_v2(context) or cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)):
            return None
        cuda.cuCtxPopCurrent_v2(ctypes.byref(context))
        return int(free.value)
    finally:
        cuda.cuDevicePrimaryCtxRelease_v2(device)


def _meminfo() -> str:
    try:
        return MEMORY_FILE.read_text()
    except OSError:
        return ""
