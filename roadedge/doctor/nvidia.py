"""GPU, CUDA, TensorRT, JetPack and DLA."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from roadedge.doctor.finding import NOTE, OK, WARNING, Finding
from roadedge.doctor.programs import said
from roadedge.environment import installed
from roadedge.latency.machine_jetson import is_jetson, power_mode, power_mode_of_files
from roadedge.latency.machine_reading import text_or_none
from roadedge.runners.device import Device

SECTION = "NVIDIA"
# Debian packages of JetPack that say what it is made of.
JETPACK_PACKAGES = (
    "nvidia-jetpack",
    "nvidia-l4t-core",
    "cuda-toolkit-12-6",
    "libnvinfer10",
    "libnvinfer8",
    "python3-libnvinfer",
    "libopencv",
    "libopencv-python",
)
MEMORY_LIBRARIES = ("cuda-python", "cuda-bindings", "pycuda")


def nvidia_findings(root: Path = Path("/"), device: Device | None = None) -> Iterator[Finding]:
    """What an engine would need. On a machine without a GPU these are notes, not faults."""
    here = device or Device.here()
    absent = "; ".join(here.absent)
    on_jetson = is_jetson(root)
    if here.gpu:
        value = f"{here.gpu}, compute capability {here.compute_capability}"
        yield Finding(SECTION, "GPU", value, detail={"name": here.gpu, "capability": here.compute_capability})
    else:
        yield Finding(SECTION, "GPU", absent or "none", WARNING if on_jetson else NOTE, _gpu_advice(root, on_jetson))
    if here.driver or here.cuda:
        parts = [f"driver {here.driver}" if here.driver else "", f"serves CUDA {here.cuda}" if here.cuda else ""]
        detail = {"driver": here.driver, "cuda": here.cuda}
        yield Finding(SECTION, "driver", ", ".join(filter(None, parts)), detail=detail)
    toolkit = cuda_toolkit(root)
    yield Finding(SECTION, "CUDA toolkit", toolkit or "none; inference needs none", OK if toolkit else NOTE)
    yield from _tensorrt(here, on_jetson)
    if on_jetson:
        yield from _jetson(root, here)


def cuda_toolkit(root: Path) -> str | None:
    """Version of the toolkit in /usr/local/cuda, by the file that it leaves or by nvcc."""
    text = text_or_none(root / "usr/local/cuda/version.json")
    try:
        version = json.loads(text)["cuda"]["version"] if text else None
    except (ValueError, KeyError, TypeError):
        version = None
    if version is None:
        old = re.search(r"CUDA Version ([\d.]+)", text_or_none(root / "usr/local/cuda/version.txt") or "")
        version = old.group(1) if old else None
    if version is None and root == Path("/"):
        found = re.search(r"release ([\d.]+)", said("nvcc", "--version") or "")
        version = found.group(1) if found else None
    return str(version) if version is not None else None


def debian_versions(text: str, names: tuple[str, ...]) -> dict[str, str]:
    """Versions of installed packages from what /var/lib/dpkg/status holds."""
    found: dict[str, str] = {}
    for block in text.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Status|Version): (.*)$", block, re.MULTILINE))
        if fields.get("Package") in names and fields.get("Status", "").endswith(" installed"):
            found[fields["Package"]] = fields.get("Version", "unknown")
    return found


def dla_cores(root: Path) -> int:
    """How many deep learning accelerators the device tree has."""
    return len({path.name for path in (root / "sys/bus/platform/devices").glob("*.nvdla[0-9]*")})


def _gpu_advice(root: Path, on_jetson: bool) -> str | None:
    if on_jetson:
        return "in a container: docker run --runtime nvidia"
    if (root / "proc/driver/nvidia/version").is_file() or (root / "dev/nvidiactl").exists():
        return "there is a driver: look at CUDA_VISIBLE_DEVICES; in a container: docker run --gpus all"
    return None


def _tensorrt(here: Device, on_jetson: bool) -> Iterator[Finding]:
    for name, version, extra in (
        ("TensorRT", here.tensorrt, "tensorrt"),
        ("TensorRT for RTX", here.tensorrt_rtx, "tensorrt-rtx"),
    ):
        if version is None and on_jetson and extra == "tensorrt-rtx":
            continue  # not made for Jetson
        advice = None
        if version is None and here.gpu:
            apt = "sudo apt install python3-libnvinfer, with a virtual environment of --system-site-packages"
            advice = apt if on_jetson else f"pip install 'roadedge[{extra}]'"
        yield Finding(SECTION, name, version or "not installed", OK if version else NOTE, advice, {"version": version})
    libraries = {name: version for name in MEMORY_LIBRARIES if (version := installed(name))}
    if here.gpu or libraries:
        told = ", ".join(f"{name} {version}" for name, version in libraries.items()) or "none"
        lacking = None if libraries else "engines need one of them: pip install cuda-python, or pycuda"
        yield Finding(SECTION, "CUDA from Python", told, OK if libraries else WARNING, lacking, dict(libraries))


def _jetson(root: Path, here: Device) -> Iterator[Finding]:
    packages = debian_versions(text_or_none(root / "var/lib/dpkg/status") or "", JETPACK_PACKAGES)
    told = here.jetpack or "unknown"
    if "nvidia-jetpack" in packages:
        told += f", nvidia-jetpack {packages['nvidia-jetpack']}"
    release = text_or_none(root / "etc/nv_tegra_release") or ""
    detail = {"release": release.splitlines()[0] if release else "", "packages": packages}
    yield Finding(SECTION, "JetPack", told, detail=detail)
    mode = power_mode_of_files(
        text_or_none(root / "var/lib/nvpmodel/status") or "", text_or_none(root / "etc/nvpmodel.conf") or ""
    ) or power_mode((said("nvpmodel", "-q") if root == Path("/") else None) or "")
    yield Finding(SECTION, "power mode", mode or "unknown; nvpmodel -q says it", OK if mode else NOTE)
    cores = dla_cores(root)
    yield Finding(SECTION, "DLA", f"{cores} cores" if cores else "none", OK if cores else NOTE, detail={"cores": cores})
