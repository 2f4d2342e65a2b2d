"""What the doctor finds on machines built for it: desktops, Jetsons, broken installations."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from roadedge.doctor import nvidia, pictures, programs, runtimes, system
from roadedge.doctor.finding import FAULT, NOTE, OK, WARNING, Finding
from roadedge.doctor.nvidia import cuda_toolkit, debian_versions, dla_cores, nvidia_findings
from roadedge.doctor.pictures import origin, places, video_back_ends
from roadedge.doctor.runtimes import extra_findings, extras_of, own_requirements
from roadedge.doctor.system import system_findings
from roadedge.runners.device import Device
from tests.latency.trees import orin_nano, plant

BUILD = """
General configuration for OpenCV 4.8.0 =====================================
  Video I/O:
    DC1394:                      NO
    FFMPEG:                      YES
      avcodec:                   YES (58.134.100)
      avformat:                  YES (58.76.100)
    GStreamer:                   YES (1.20.3)
    v4l/v4l2:                    YES (linux/videodev2.h)

  Parallel framework:            pthreads
"""
ORIN = Device("Orin (NVIDIA Jetson Orin Nano Developer Kit)", "8.7", None, "12.6", "6.2 (L4T 36.4.3)", "10.3.0")


def by_name(findings: Iterable[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make `installed` know these distributions alone."""

    def know(**versions: str) -> None:
        for module in (nvidia, pictures, runtimes):
            monkeypatch.setattr(module, "installed", lambda name: versions.get(name.replace("-", "_")))

    return know


def opencv(monkeypatch: pytest.MonkeyPatch, file: str, build: str = BUILD) -> None:
    module = ModuleType("cv2")
    vars(module).update(__version__="4.8.0", __file__=file, getBuildInformation=lambda: build)
    monkeypatch.setitem(sys.modules, "cv2", module)


def test_the_video_section_of_a_build_is_read() -> None:
    assert video_back_ends(BUILD) == {
        "DC1394": "NO",
        "FFMPEG": "YES",
        "GStreamer": "YES (1.20.3)",
        "v4l/v4l2": "YES (linux/videodev2.h)",
    }
    assert video_back_ends("no such section") == {}


@pytest.mark.parametrize(
    ("file", "versions", "told"),
    [
        ("/venv/lib/python3.11/site-packages/cv2/__init__.py", {"opencv-python": "4.10"}, "pip: opencv-python 4.10"),
        ("/usr/lib/python3/dist-packages/cv2/__init__.py", {}, "the system's (a Debian package or JetPack)"),
        ("/usr/local/lib/python3.10/dist-packages/cv2/__init__.py", {"opencv-python": "4.10"}, "pip, in the system's"),
        ("/home/me/opencv/build/cv2.so", {}, "built or copied by hand"),
    ],
)
def test_where_an_opencv_comes_from(file: str, versions: dict[str, str], told: str) -> None:
    assert origin(file, versions).startswith(told)


def test_two_opencv_packages_are_a_warning_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, packages: Callable[..., None]
) -> None:
    opencv(monkeypatch, "/venv/lib/python3.11/site-packages/cv2/__init__.py")
    packages(opencv_python="4.10.0", opencv_python_headless="4.11.0")
    found = by_name(pictures.picture_findings())["OpenCV"]
    assert found.state == WARNING
    assert found.advice is not None
    assert "pip uninstall -y opencv-python opencv-python-headless; pip install opencv-python" in found.advice


def test_a_pip_opencv_on_a_jetson_hides_jetpacks(
    monkeypatch: pytest.MonkeyPatch, packages: Callable[..., None]
) -> None:
    opencv(monkeypatch, "/venv/lib/python3.10/site-packages/cv2/__init__.py")
    packages(opencv_python="4.10.0")
    found = by_name(pictures.picture_findings(on_jetson=True))["OpenCV"]
    assert (found.state, "hides JetPack's" in (found.advice or "")) == (WARNING, True)


def test_jetpacks_own_opencv_is_as_it_should_be(monkeypatch: pytest.MonkeyPatch, packages: Callable[..., None]) -> None:
    opencv(monkeypatch, "/usr/lib/python3/dist-packages/cv2/__init__.py")
    monkeypatch.setattr("sys.path", [])
    packages()
    found = by_name(pictures.picture_findings(on_jetson=True))["OpenCV"]
    assert found.state == OK
    assert "video: FFMPEG, GStreamer, v4l/v4l2" in found.value


@pytest.mark.parametrize(
    ("sentence", "advice"),
    [
        ("libGL.so.1: cannot open shared object file", "opencv-python-headless"),
        ("numpy.core.multiarray failed to import", "numpy<2"),
        ("No module named 'cv2'", "pip install opencv-python"),
    ],
)
def test_an_opencv_that_does_not_load_is_a_fault_with_its_cure(
    monkeypatch: pytest.MonkeyPatch, packages: Callable[..., None], sentence: str, advice: str
) -> None:
    def broken(name: str) -> Any:
        raise ImportError(sentence)

    packages()
    monkeypatch.setattr(pictures, "importlib", SimpleNamespace(import_module=broken))
    found = pictures._opencv(on_jetson=False)
    assert found.state == FAULT
    assert advice in (found.advice or "")


def test_each_folder_of_the_path_with_a_cv2_is_found(tmp_path: Path) -> None:
    plant(tmp_path, {"a/cv2/__init__.py": "", "b/other.py": "", "c/cv2.abi3.so": ""})
    paths = [str(tmp_path / name) for name in ("b", "c", "a", "c", "missing")]
    assert places("cv2", paths) == [paths[1], paths[2]]


def test_a_desktop_without_a_gpu_has_notes_and_no_faults(tmp_path: Path, packages: Callable[..., None]) -> None:
    packages()
    found = by_name(nvidia_findings(tmp_path, Device(absent=("there is no NVIDIA driver here",))))
    assert found["GPU"].value == "there is no NVIDIA driver here"
    assert {finding.state for finding in found.values()} == {NOTE}
    assert "JetPack" not in found


def test_a_gpu_without_tensorrt_is_told_what_to_install(tmp_path: Path, packages: Callable[..., None]) -> None:
    packages()
    found = by_name(nvidia_findings(tmp_path, Device("RTX 4090", "8.9", "580.65.06", "13.0")))
    assert found["GPU"].value == "RTX 4090, compute capability 8.9"
    assert found["driver"].value == "driver 580.65.06, serves CUDA 13.0"
    assert found["TensorRT"].advice == "pip install 'roadedge[tensorrt]'"
    assert found["CUDA from Python"].state == WARNING


def test_a_jetson_is_described(tmp_path: Path, packages: Callable[..., None]) -> None:
    status = "Package: nvidia-jetpack\nStatus: install ok installed\nVersion: 6.2+b77\n\nPackage: libnvinfer10\n"
    status += "Status: deinstall ok config-files\nVersion: 10.3.0\n"
    plant(
        orin_nano(tmp_path),
        {"var/lib/dpkg/status": status, "usr/local/cuda/version.json": '{"cuda": {"version": "12.6.68"}}'},
    )
    plant(tmp_path, {"sys/bus/platform/devices/15880000.nvdla0/x": 1, "sys/bus/platform/devices/158c0000.nvdla1/x": 1})
    packages(cuda_python="12.6.2")
    found = by_name(nvidia_findings(tmp_path, ORIN))
    assert found["JetPack"].value == "6.2 (L4T 36.4.3), nvidia-jetpack 6.2+b77"
    assert found["JetPack"].detail["packages"] == {"nvidia-jetpack": "6.2+b77"}
    assert found["power mode"].value == "25W (1)"
    assert found["DLA"].value == "2 cores"
    assert found["CUDA toolkit"].value == "12.6.68"
    assert found["CUDA from Python"].value == "cuda-python 12.6.2"
    assert "TensorRT for RTX" not in found


def test_an_orin_nano_has_no_dla(tmp_path: Path) -> None:
    assert dla_cores(orin_nano(tmp_path)) == 0


def test_a_container_on_a_jetson_that_sees_no_gpu_is_told_the_runtime(
    tmp_path: Path, packages: Callable[..., None]
) -> None:
    packages()
    found = by_name(nvidia_findings(orin_nano(tmp_path), Device(absent=("the NVIDIA driver shows no GPU",))))
    assert (found["GPU"].state, found["GPU"].advice) == (WARNING, "in a container: docker run --runtime nvidia")


@pytest.mark.parametrize("content", ["", "not json", "{}", '{"cuda": 5}', "null"])
def test_a_version_file_that_holds_nothing_is_no_toolkit(tmp_path: Path, content: str) -> None:
    assert cuda_toolkit(plant(tmp_path, {"usr/local/cuda/version.json": content})) is None


def test_only_installed_debian_packages_count() -> None:
    assert debian_versions(
        "Package: a\nStatus: install ok installed\nVersion: 1\n\nPackage: b\nVersion: 2", ("a", "b")
    ) == {"a": "1"}


def test_little_memory_and_a_full_disk_are_warnings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path, {"proc/meminfo": "MemTotal: 3900000 kB\nMemAvailable: 900000 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB"})
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=2**28, total=2**34))
    found = by_name(system_findings(tmp_path, tmp_path))
    assert (found["memory"].state, found["disk"].state) == (WARNING, WARNING)
    assert "swap" in (found["memory"].advice or "")


def test_a_folder_that_is_gone_and_a_meminfo_that_is_none_are_said(tmp_path: Path) -> None:
    plant(tmp_path, {"proc/meminfo": "nonsense"})
    found = by_name(system_findings(tmp_path, tmp_path / "gone"))
    assert "No such file" in found["disk"].value
    assert found["memory"].value.startswith("unknown:")


def test_a_containers_quota_stands_beside_the_processors(tmp_path: Path) -> None:
    plant(tmp_path, {"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "50000 100000"})
    plant(tmp_path, {"sys/fs/cgroup/cpu.stat": "nr_throttled 0"})
    assert "of which a container may use 0.5" in by_name(system_findings(tmp_path))["processor"].value


def test_to_root_jetson_clocks_says_more_than_sysfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    orin_nano(tmp_path)
    monkeypatch.setattr(system, "said", lambda *command: None)  # to anybody else it says nothing
    found = by_name(system_findings(tmp_path, tmp_path))["clocks"]
    assert (found.state, found.detail["locked"]) == (NOTE, False)
    assert found.advice == "for figures to compare: sudo nvpmodel -m 2; sudo jetson_clocks"
    shown = "cpu0: Online=1 MinFreq=5 MaxFreq=5 X\nGPU MinFreq=7 MaxFreq=7 X\nEMC MinFreq=1 MaxFreq=9 FreqOverride=1"
    monkeypatch.setattr(system, "said", lambda *command: shown)
    found = by_name(system_findings(tmp_path, tmp_path))["clocks"]
    assert (found.state, found.advice) == (OK, None)


def test_extras_are_read_from_requirements() -> None:
    lines = [
        "numpy>=2.0",
        'tomli>=2.0; python_version < "3.1"',
        'av>=14; extra == "video"',
        "rasterio>=1.4; extra == 'geo'",
        "roadedge[video,geo]; extra == 'all'",
        'scipy; python_version >= "3.10" and extra == "geo"',
    ]
    assert extras_of(lines) == {"": ["numpy"], "video": ["av"], "geo": ["rasterio", "scipy"]}


def test_what_an_extra_lacks_is_named_with_its_command(packages: Callable[..., None]) -> None:
    packages(numpy="2.1", av="15")
    lines = ["numpy", "rich", 'av; extra == "video"', 'ray; extra == "ray"', 'pytest; extra == "dev"']
    found = by_name(extra_findings(lines))
    assert found["video"].value == "complete"
    assert (found["ray"].value, found["ray"].advice) == ("without ray", "pip install 'roadedge[ray]'")
    assert (found["base"].state, found["base"].advice) == (WARNING, "pip install rich")
    assert "dev" not in found


def test_jetpacks_opencv_counts_as_opencv(packages: Callable[..., None]) -> None:
    packages()
    assert by_name(extra_findings(["opencv-python"]))["base"].value == "complete"


def test_a_checkout_knows_its_requirements() -> None:
    assert "numpy" in extras_of(own_requirements())[""]


def test_a_program_that_is_absent_fails_or_hangs_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "PATIENCE_S", 0.1)
    assert programs.said("roadedge-no-such-program") is None
    assert programs.said("false") is None
    assert programs.said("sleep", "5") is None
    assert programs.said("echo", "yes") == "yes\n"
    assert programs.first_line("\n\n  two \n") == "two"
