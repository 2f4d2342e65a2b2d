"""What reads and shows pictures and videos: OpenCV, FFmpeg by PyAV, GStreamer."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from roadedge.doctor.finding import FAULT, NOTE, OK, WARNING, Finding
from roadedge.doctor.programs import first_line, said
from roadedge.environment import installed

SECTION = "pictures and video"
OPENCV_PACKAGES = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
CODECS = (("h264", "r"), ("hevc", "r"), ("mjpeg", "r"), ("av1", "r"), ("libx264", "w"), ("h264_v4l2m2m", "w"))
NEEDED = {"h264", "libx264"}  # to read cameras, to write overlay videos
ELEMENTS = ("rtspsrc", "v4l2src", "gdppay", "avdec_h264", "nvarguscamerasrc", "nvv4l2decoder", "nvvidconv")


def picture_findings(on_jetson: bool = False) -> Iterator[Finding]:
    """OpenCV with its video back-ends and its rivals, PyAV with its codecs, the ffmpeg program, GStreamer."""
    yield _opencv(on_jetson)
    yield _pyav()
    line = first_line(said("ffmpeg", "-version"))
    absent = "none; roadedge needs none, PyAV brings FFmpeg"
    yield Finding(SECTION, "ffmpeg program", line or absent, OK if line else NOTE)
    yield _gstreamer(on_jetson)


def video_back_ends(build: str) -> dict[str, str]:
    """Name → what stands beside it in the section `Video I/O` of cv2.getBuildInformation()."""
    section = re.search(r"^\s*Video I/O:\s*\n(.*?)(?:\n\s*\n|\Z)", build, re.DOTALL | re.MULTILINE)
    if section is None:
        return {}
    rows = re.findall(r"^( +)([\w/ .]+?):\s+(.*)$", section.group(1), re.MULTILINE)
    outer = min((len(indent) for indent, _, _ in rows), default=0)  # deeper rows are FFmpeg's own libraries
    return {name: value.strip() for indent, name, value in rows if len(indent) == outer}


def origin(file: str, packages: dict[str, str], prefix: str = sys.prefix) -> str:
    """Where a loaded cv2 comes from: `pip: opencv-python 4.10`, or the system's, which on a Jetson is JetPack's."""
    by_pip = "site-packages" in file or "/pip/" in file
    if by_pip and packages:
        return "pip: " + ", ".join(f"{name} {version}" for name, version in packages.items())
    if "dist-packages" in file and "/local/" in file and packages:
        return "pip, in the system's Python: " + ", ".join(packages)
    return "the system's (a Debian package or JetPack)" if "dist-packages" in file else "built or copied by hand"


def places(name: str, paths: list[str]) -> list[str]:
    """Folders of a search path that hold a package or extension of that name; the first one is loaded."""
    found = []
    for folder in dict.fromkeys(paths):
        here = Path(folder or ".")
        if (here / name / "__init__.py").is_file() or any(here.glob(f"{name}*.so")):
            found.append(str(here))
    return found


def _opencv(on_jetson: bool) -> Finding:
    packages = {name: version for name in OPENCV_PACKAGES if (version := installed(name))}
    try:
        cv2: Any = importlib.import_module("cv2")
        version, file, build = cv2.__version__, str(cv2.__file__), cv2.getBuildInformation()
    except Exception as error:  # a missing libGL, or NumPy 2 under an OpenCV built for NumPy 1: any import error at all
        reason = " ".join(str(error).split())[:300]
        advice = "pip install opencv-python-headless, which needs no libGL" if "libGL" in reason else None
        if "numpy" in reason.lower() or "multiarray" in reason:
            advice = "this OpenCV was built for NumPy 1: pip install 'numpy<2' beside JetPack's, else a newer OpenCV"
        advice = advice or ("sudo apt install libopencv-python" if on_jetson else "pip install opencv-python")
        return Finding(SECTION, "OpenCV", f"cannot be loaded: {reason}", FAULT, advice, {"packages": packages})
    folders = places("cv2", sys.path)
    back_ends = video_back_ends(build)
    ready = [name for name, value in back_ends.items() if value.startswith("YES")]
    detail = {"version": version, "file": file, "packages": packages, "places": folders, "video": back_ends}
    value = f"{version} ({origin(file, packages)}) in {Path(file).parent}; video: {', '.join(ready) or 'none'}"
    if len(packages) > 1:
        names = " ".join(packages)
        advice = f"they overwrite each other's files: pip uninstall -y {names}; pip install {next(iter(packages))}"
        return Finding(SECTION, "OpenCV", f"{value}; {len(packages)} packages: {names}", WARNING, advice, detail)
    if on_jetson and packages:
        advice = f"it hides JetPack's OpenCV, which has GStreamer: pip uninstall -y {next(iter(packages))}"
        return Finding(SECTION, "OpenCV", value, WARNING, advice, detail)
    if len(folders) > 1:
        return Finding(SECTION, "OpenCV", f"{value}; another one in {', '.join(folders[1:])}", NOTE, None, detail)
    return Finding(SECTION, "OpenCV", value, detail=detail)


def _pyav() -> Finding:
    if importlib.util.find_spec("av") is None:
        return Finding(SECTION, "PyAV", "not installed", NOTE, "video and RTSP need it: pip install 'roadedge[video]'")
    try:
        av: Any = importlib.import_module("av")
        libraries = {name: ".".join(map(str, version)) for name, version in av.library_versions.items()}
        have = [name for name, mode in CODECS if _has(av, name, mode)]
    except Exception as error:  # FFmpeg's libraries may be of another version, which any error may tell
        return Finding(SECTION, "PyAV", f"cannot be loaded: {error}", FAULT, "pip install --force-reinstall av")
    lacking = sorted(NEEDED - set(have))
    ffmpeg = getattr(av, "ffmpeg_version_info", None) or "libavcodec " + libraries.get("libavcodec", "unknown")
    return Finding(
        SECTION,
        "PyAV",
        f"{av.__version__} with FFmpeg {ffmpeg}; codecs: {', '.join(have) or 'none'}",
        WARNING if lacking else OK,
        f"codecs are missing: {', '.join(lacking)}; take PyAV's own wheel: pip install av" if lacking else None,
        {"version": av.__version__, "ffmpeg": ffmpeg, "libraries": libraries, "codecs": have},
    )


def _has(av: Any, name: str, mode: str) -> bool:
    try:
        av.codec.Codec(name, mode)
    except Exception:  # UnknownCodecError's place differs between the versions of PyAV
        return False
    return True


def _gstreamer(on_jetson: bool) -> Finding:
    version = re.search(r"GStreamer ([\d.]+)|version ([\d.]+)", said("gst-launch-1.0", "--version") or "")
    if version is None:
        advice = "csi:// and gst: need it: sudo apt install gstreamer1.0-tools gstreamer1.0-plugins-{base,good,bad}"
        return Finding(SECTION, "GStreamer", "not installed", WARNING if on_jetson else NOTE, advice)
    number = version.group(1) or version.group(2)
    if shutil.which("gst-inspect-1.0") is None:
        return Finding(SECTION, "GStreamer", number, detail={"version": number})
    have = [name for name in ELEMENTS if said("gst-inspect-1.0", "--exists", name) is not None]
    lacking = on_jetson and "nvarguscamerasrc" not in have
    return Finding(
        SECTION,
        "GStreamer",
        f"{number} with {', '.join(have) or 'none of ' + ', '.join(ELEMENTS)}",
        WARNING if lacking else OK,
        "csi:// needs nvarguscamerasrc: sudo apt install nvidia-l4t-gstreamer" if lacking else None,
        {"version": number, "elements": have},
    )
