"""What `pip install roadedge` brings: one global name, the stages as data, no research-only weights."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel_files(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of the files in the wheel that this checkout builds."""
    pytest.importorskip("hatchling", reason="hatchling is not installed: pip install 'roadedge[dev]'")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return set(archive.namelist())


def test_the_wheel_claims_one_name(wheel_files: set[str]) -> None:
    top = {name.split("/")[0] for name in wheel_files}
    assert {name for name in top if not name.endswith(".dist-info")} == {"roadedge"}


def test_every_module_of_the_package_is_in_the_wheel(wheel_files: set[str]) -> None:
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "roadedge").rglob("*.py")}
    assert modules <= wheel_files
    assert "roadedge/py.typed" in wheel_files


@pytest.mark.parametrize("stage", ["training", "export", "calibration"])
def test_the_stages_are_carried_as_data(wheel_files: set[str], stage: str) -> None:
    mine = {path.name for path in (ROOT / stage).iterdir() if path.is_file()}
    assert {f"roadedge/stages/{stage}/{name}" for name in mine} <= wheel_files


def test_no_research_only_weights_are_in_the_wheel(wheel_files: set[str]) -> None:
    weights = {name for name in wheel_files if name.endswith((".pt", ".onnx", ".onnx.json"))}
    assert all(name.startswith("roadedge/carried/") and "research" not in name for name in weights)
