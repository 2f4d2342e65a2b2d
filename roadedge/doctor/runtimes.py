"""What networks run on, the extras of roadedge that are missing, and the trial of a back-end."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import roadedge
from roadedge.doctor.finding import FAULT, NOTE, OK, WARNING, Finding
from roadedge.environment import installed
from roadedge.errors import EnvironmentFault, RoadEdgeError, UnknownNameError
from roadedge.preprocess import preprocess
from roadedge.runners import BACKENDS, open_runner
from roadedge.runners.device import Device
from roadedge.sample import Sample

SECTION = "runtimes"
NETWORK = "roadedge-s"
TRIAL_PX = 256
# Modules that may be there without the package: by apt, by JetPack, or by another package that does as well.
STAND_INS = {
    "opencv-python": ("cv2",),
    "onnxruntime": ("onnxruntime",),
    "tensorrt": ("tensorrt",),
    "pycuda": ("pycuda", "cuda"),
}
DEVICE_EXTRAS = ("tensorrt", "tensorrt-rtx")  # for machines with NVIDIA's libraries
DEVELOPER_EXTRAS = ("all", "dev")


def runtime_findings() -> Iterator[Finding]:
    """ONNX Runtime and OpenVINO with what they offer; torch by its version alone, since loading it takes seconds."""
    yield _asked("ONNX Runtime", "onnxruntime", _onnxruntime, FAULT, "pip install onnxruntime")
    yield _asked("OpenVINO", "openvino", _openvino, NOTE, "the fastest here for INT8: pip install 'roadedge[openvino]'")
    torch = installed("torch")
    advice = None if torch else "training and export need it, inference does not: pip install 'roadedge[train,export]'"
    yield Finding(SECTION, "PyTorch", torch or "not installed", OK if torch else NOTE, advice, {"version": torch})


def extra_findings(requirements: list[str] | None = None) -> Iterator[Finding]:
    """Which extras are complete, and what the others lack.

    Args:
        requirements: lines of `Requires-Dist`; None for those of this roadedge.
    """
    requirements = own_requirements() if requirements is None else requirements
    for extra, packages in sorted(extras_of(requirements).items()):
        if extra in DEVELOPER_EXTRAS:
            continue
        missing = [name for name in packages if not _present(name)]
        if not missing:
            yield Finding("extras", extra or "base", "complete")
        elif not extra:
            advice = f"pip install {' '.join(missing)}"
            yield Finding("extras", "base", f"without {', '.join(missing)}", WARNING, advice)
        else:
            advice = f"pip install 'roadedge[{extra}]'" + (" (with an NVIDIA GPU)" if extra in DEVICE_EXTRAS else "")
            yield Finding("extras", extra, f"without {', '.join(missing)}", NOTE, advice)


def own_requirements() -> list[str]:
    """Lines of `Requires-Dist` of the installed roadedge; of a checkout that was not installed, of its pyproject."""
    try:
        return importlib.metadata.requires("roadedge") or []
    except importlib.metadata.PackageNotFoundError:
        project = _toml(Path(roadedge.__file__).parent.parent / "pyproject.toml").get("project", {})
    extras = project.get("optional-dependencies", {})
    return [
        *project.get("dependencies", []),
        *(f"{package}; extra == '{extra}'" for extra, packages in extras.items() for package in packages),
    ]


def extras_of(requirements: list[str]) -> dict[str, list[str]]:
    """Extra → its packages, "" for what is always needed; what is for another Python is left out with its marker.

    Args:
        requirements: `av>=14; extra == "video"` and the like.
    """
    found: dict[str, list[str]] = {}
    for line in requirements:
        wanted, _, marker = line.partition(";")
        name = re.match(r"[A-Za-z0-9._-]+", wanted.strip())
        if name is None or name.group(0) == "roadedge":
            continue
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", marker)
        if "python_version" in marker and not _for_this_python(marker):
            continue
        found.setdefault(extra.group(1) if extra else "", []).append(name.group(0))
    return found


def try_backend(backend: str = "auto", network: str = NETWORK) -> Finding:
    """Load the carried network and run one frame, as `infer --backend` would.

    Returns:
        A finding, with state FAULT and what to do where it cannot.

    Raises:
        UnknownNameError: there is no such back-end.
    """
    if backend not in (*BACKENDS, "auto"):
        raise UnknownNameError("backend", backend, ["auto", *BACKENDS])
    title = f"trial of {backend}"
    try:
        value, detail = _trial(backend, network)
    except RoadEdgeError as error:
        told, _, advice = str(error).partition("; ")
        return Finding(SECTION, title, f"{network} does not run: {told}", FAULT, advice or None, {"backend": backend})
    except Exception as error:  # a runtime whose libraries are broken fails in any way it likes
        told = " ".join(f"{type(error).__name__}: {error}".split())[:400]
        advice = "mend what is marked X above, else install the package of that back-end again"
        return Finding(SECTION, title, f"{network} does not run: {told}", FAULT, advice, {"backend": backend})
    return Finding(SECTION, title, value, detail=detail)


def _trial(backend: str, network: str) -> tuple[str, dict[str, Any]]:
    if BACKENDS.get(backend) == ".engine" and (here := Device.here()).gpu is None:
        raise EnvironmentFault(f"an engine needs an NVIDIA GPU: {'; '.join(here.absent)}; choose another --backend")
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about speed and licences: not what is asked here
        runner = open_runner(network, backend)
    with runner:
        loaded_s = time.perf_counter() - began
        side = runner.spec.size or (TRIAL_PX, TRIAL_PX)
        ramp = np.linspace(0, 255, side[0] * side[1] * 3).astype(np.uint8).reshape(*side, 3)
        second = None if runner.spec.second is None else np.zeros(side, np.uint8)
        feeds = preprocess(Sample(ramp, second), runner.spec)
        began = time.perf_counter()
        probability = runner.infer(feeds)["probability"]
        first_ms = (time.perf_counter() - began) * 1e3
        if probability.shape[1:] != side or probability.dtype != np.uint8:
            raise RoadEdgeError(f"it answered {probability.dtype} {probability.shape}, expected uint8 (N, {side})")
        told = runner.describe()
    value = (
        f"{network} ran one frame of {side[1]} x {side[0]} pixels in {told['backend']} {told['version']} on "
        f"{told['device']}, {told['precision']}: loaded in {loaded_s:.1f} s, first frame {first_ms:.0f} ms"
    )
    return value, {**told, "load_s": round(loaded_s, 3), "first_frame_ms": round(first_ms, 1)}


def _asked(title: str, module: str, ask: Any, absent: str, advice: str) -> Finding:
    if importlib.util.find_spec(module) is None:
        return Finding(SECTION, title, "not installed", absent, advice)
    try:
        value, detail = ask(importlib.import_module(module))
    except Exception as error:  # broken native libraries
        told = " ".join(str(error).split())[:300]
        return Finding(SECTION, title, f"cannot be loaded: {told}", FAULT, f"pip install --force-reinstall {module}")
    return Finding(SECTION, title, value, detail=detail)


def _onnxruntime(module: Any) -> tuple[str, dict[str, Any]]:
    providers = list(module.get_available_providers())
    return (
        f"{module.__version__}: {', '.join(providers)}; roadedge takes CPUExecutionProvider",
        {"version": module.__version__, "providers": providers},
    )


def _openvino(module: Any) -> tuple[str, dict[str, Any]]:
    devices = list(module.Core().available_devices)
    return f"{module.__version__}: {', '.join(devices)}", {"version": module.__version__, "devices": devices}


def _present(package: str) -> bool:
    if installed(package) is not None:
        return True
    return any(importlib.util.find_spec(module) is not None for module in STAND_INS.get(package, ()))


def _toml(path: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError:
        return {}


def _for_this_python(marker: str) -> bool:
    here = sys.version_info[:2]
    for sign, major, minor in re.findall(r"python_version\s*(<=|>=|<|>|==|!=)\s*['\"](\d+)\.(\d+)", marker):
        than = (int(major), int(minor))
        fits = {"<": here < than, "<=": here <= than, ">": here > than, ">=": here >= than, "==": here == than}
        if not fits.get(sign, here != than):
            return False
    return True
