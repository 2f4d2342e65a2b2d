"""What this machine has that an engine depends on: GPU, driver, CUDA, JetPack and the TensorRT of either kind.

Found without torch: the GPU through libcuda itself, the rest from files that the driver and L4T leave.
"""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DRIVER_FILE = Path("/proc/driver/nvidia/version")
TEGRA_FILE = Path("/etc/nv_tegra_release")
BOARD_FILE = Path("/proc/device-tree/model")
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76  # CUdevice_attribute
# L4T → JetPack, where NVIDIA's archive names the pair; another release of these lines is said by its L4T alone.
JETPACKS = {
    (36, 3, 0): "6.0",
    (36, 4, 0): "6.1",
    (36, 4, 3): "6.2",
    (36, 4, 4): "6.2.1",
    (38, 2, 0): "7.0",
    (38, 2, 1): "7.0",
    (38, 4, 0): "7.1",
}


@dataclass(frozen=True, slots=True)
class Device:
    """The machine as an engine sees it. None stands for what is absent.

    `compute_capability` is written `8.7`; `cuda` is the newest CUDA that the driver serves; `gpu` names the board too
    where it is a Jetson, since all Orins call their GPU alike; `tensorrt` and `tensorrt_rtx` are versions.
    """

    gpu: str | None = None
    compute_capability: str | None = None
    driver: str | None = None
    cuda: str | None = None
    jetpack: str | None = None
    tensorrt: str | None = None
    tensorrt_rtx: str | None = None
    absent: tuple[str, ...] = ()  # why something above is None, one sentence each

    @classmethod
    def here(cls) -> Device:
        """This machine: the first GPU that CUDA shows, and what is installed."""
        from roadedge.runners.tensorrt import installed_version  # that file alone knows the modules

        found, why = _gpu()
        return cls(
            **found,
            driver=driver_version(_text(DRIVER_FILE)),
            jetpack=jetpack_version(_text(TEGRA_FILE)),
            tensorrt=installed_version("tensorrt"),
            tensorrt_rtx=installed_version("tensorrt-rtx"),
            absent=() if why is None else (why,),
        )

    def version_of(self, runtime: str) -> str | None:
        """Version of `tensorrt` or `tensorrt-rtx` on this machine."""
        return self.tensorrt_rtx if runtime == "tensorrt-rtx" else self.tensorrt


def driver_version(text: str) -> str | None:
    """`580.65.06` from what /proc/driver/nvidia/version holds; None where it holds no such thing."""
    found = re.search(r"^NVRM version:.*?\s(\d+\.\d+(?:\.\d+)?)\s", text, re.MULTILINE)
    return found.group(1) if found else None


def jetpack_version(text: str) -> str | None:
    """`6.2 (L4T 36.4.3)` from what /etc/nv_tegra_release holds; None on other machines."""
    found = re.search(r"R(\d+) \(release\), REVISION: (\d+)\.(\d+)", text)
    if not found:
        return None
    release = (int(found.group(1)), int(found.group(2)), int(found.group(3)))
    l4t = "L4T " + ".".join(map(str, release))
    return f"{JETPACKS[release]} ({l4t})" if release in JETPACKS else l4t


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _gpu() -> tuple[dict[str, str | None], str | None]:
    """Name, compute capability and CUDA of the first GPU; or nothing, and why."""
    try:
        cuda: Any = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return {}, "there is no NVIDIA driver here (libcuda.so.1 is not found)"
    device, major, minor, served = (ctypes.c_int() for _ in range(4))
    name = ctypes.create_string_buffer(256)
    steps: tuple[tuple[Any, ...], ...] = (
        (cuda.cuInit, 0),
        (cuda.cuDeviceGet, ctypes.byref(device), 0),
        (cuda.cuDeviceGetName, name, len(name), device),
        (cuda.cuDeviceGetAttribute, ctypes.byref(major), CAPABILITY_MAJOR, device),
        (cuda.cuDeviceGetAttribute, ctypes.byref(minor), CAPABILITY_MINOR, device),
        (cuda.cuDriverGetVersion, ctypes.byref(served)),
    )
    for function, *arguments in steps:
        status = function(*arguments)
        if status != 0:
            return {}, f"the NVIDIA driver shows no GPU ({_sentence(cuda, status)})"
    return {
        "gpu": named(name.value.decode(errors="replace"), _text(BOARD_FILE)),
        "compute_capability": f"{major.value}.{minor.value}",
        "cuda": f"{served.value // 1000}.{served.value % 1000 // 10}",
    }, None


def _sentence(cuda: Any, status: int) -> str:
    text = ctypes.c_char_p()
    found = cuda.cuGetErrorString(status, ctypes.byref(text)) == 0 and text.value is not None
    return text.value.decode(errors="replace") if found and text.value else f"status {status}"


def named(gpu: str, board: str) -> str:
    """`Orin (NVIDIA Jetson Orin Nano Developer Kit)` on a Jetson, `NVIDIA GeForce RTX 4090` elsewhere."""
    model = board.strip("\0\n ")
    return f"{gpu} ({model})" if model and ("jetson" in model.lower() or "nvidia" in model.lower()) else gpu
