"""What the pages promise: their commands exist, the blocks marked `run` run, their links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from roadedge.cli import app
from roadedge.spec import read_sidecar

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path
    for folder in (".", "docs", "docs/adr", "training", "export", "calibration", "weights", "benchmarks")
    for path in (ROOT / folder).glob("*.md")
)
PATHS = {**os.environ, "PYTHONPATH": str(ROOT)}  # the pages speak of this checkout, installed or not
FENCE = re.compile(r"^```(\w+)?( run)?[ \t]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(page: Path, language: str, run_only: bool = False) -> list[str]:
    found = FENCE.findall(page.read_text())
    return [body for kind, run, body in found if kind == language and (run or not run_only)]


def shell_lines(program: str) -> list[tuple[str, str]]:
    """(page, line) of each line in a `sh` block that calls `program`; a line that ends in a backslash goes on."""
    lines = []
    for page in PAGES:
        for body in blocks(page, "sh"):
            whole = [line.strip() for line in body.replace("\\\n", " ").splitlines()]
            lines += [(name_of(page), line) for line in whole if re.match(rf"(\S+=\S* )*{program} ", line)]
    return lines


def words(line: str) -> list[str]:
    """The words after the program's name, without its environment and without the comment."""
    split = shlex.split(line, comments=True)
    while "=" in split[0]:
        split.pop(0)
    return split[1:]


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, env=PATHS, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(("page", "line"), shell_lines("roadedge"))
def test_a_shown_command_exists_with_its_options(page: str, line: str) -> None:
    command, *rest = words(line)
    if command.startswith("-"):
        return
    assert command in COMMANDS, f"{page} shows `{line}`, and there is no such command"
    called = COMMANDS[command]
    while (group := getattr(called, "commands", {})) and rest:  # `points ingest`
        name, *rest = rest
        assert name in group, f"{page} shows `{line}`, and `roadedge {command}` has no {name}"
        called = group[name]
    known = {option for parameter in called.params for option in parameter.opts}
    shown = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
    assert shown <= known, f"{page} shows `{line}`, and `roadedge {command}` has no {sorted(shown - known)}"


@pytest.mark.parametrize(("page", "line"), shell_lines("make"))
def test_a_shown_make_target_exists(page: str, line: str) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    shown = [word for word in words(line) if "=" not in word]
    assert set(shown) <= set(targets), f"{page} shows `{line}`"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text())
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    broken = [t for t in targets if t and "://" not in t and not (page.parent / t).exists()]
    assert not broken, f"{name_of(page)} links to {broken}"


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python", True)], ids=name_of)
def test_python_blocks_run(page: Path, tmp_path: Path) -> None:
    code = "\n".join(blocks(page, "python", run_only=True))
    done = run([sys.executable, "-c", code], tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "sh", True)], ids=name_of)
def test_shell_blocks_run(page: Path, tmp_path: Path) -> None:
    lines = "\n".join(blocks(page, "sh", run_only=True))
    script = f'set -eu\nroadedge() {{ {shlex.quote(sys.executable)} -m roadedge.cli "$@"; }}\n{lines}'
    done = run(["bash", "-c", script], tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_readme_gives_its_two_commands_and_its_band() -> None:
    first_screen = "\n".join((ROOT / "README.md").read_text().splitlines()[:20])
    assert "make demo" in first_screen
    assert "make test" in first_screen
    carried = read_sidecar(ROOT / "roadedge" / "carried" / "roadedge-s.onnx")
    assert carried is not None
    assert carried[0].gsd_band_m is not None
    low, high = carried[0].gsd_band_m
    assert f"{low:.2f} to {high:.2f} m per pixel" in first_screen
