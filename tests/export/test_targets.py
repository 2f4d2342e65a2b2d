"""Export targets: the carried ones, what a person writes wrong, and which of them a machine is."""

from __future__ import annotations

from pathlib import Path

import pytest

from roadedge.errors import RecipeError, UnknownNameError
from roadedge.export.targets import read_target, target_here, target_names

NAMES = ["cpu", "desktop-rtx", "jetson-agx-orin", "jetson-orin-nano", "jetson-orin-nx", "jetson-thor", "rtx"]
PLAIN = 'device = "a board"\nruntime = "tensorrt"\ncompute_capabilities = ["8.7"]\n'


def test_the_carried_targets_are_read() -> None:
    assert target_names() == NAMES
    for name in NAMES:
        target = read_target(name)
        assert target.name == name
        assert target.clocks
        assert target.builds == bool(target.compute_capabilities)


def test_no_target_claims_a_speed() -> None:
    folder = Path(__file__).parents[2] / "export"
    for path in folder.glob("*.toml"):
        assert not [word for word in ("fps", " ms", "TOPS", "faster than") if word in path.read_text()], path


@pytest.mark.parametrize(
    ("runtime", "board", "name"),
    [
        ("tensorrt", "NVIDIA Jetson Orin Nano Developer Kit\0", "jetson-orin-nano"),
        ("tensorrt", "NVIDIA Jetson AGX Orin Developer Kit\0", "jetson-agx-orin"),
        ("tensorrt", "NVIDIA Orin NX Developer Kit", "jetson-orin-nx"),
        ("tensorrt", "NVIDIA Jetson AGX Thor Developer Kit", "jetson-thor"),
        ("tensorrt", "", "desktop-rtx"),
        ("tensorrt-rtx", "", "rtx"),
    ],
)
def test_a_machine_is_told_by_its_board_or_its_tensorrt(runtime: str, board: str, name: str) -> None:
    found = target_here(runtime, board)
    assert found is not None
    assert found.name == name


def test_a_machine_without_tensorrt_is_no_target() -> None:
    assert target_here(None) is None


def test_a_target_of_ones_own_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(PLAIN + "size = [256, 512]\n")
    assert (read_target(path).name, read_target(path).size) == ("mine", (256, 512))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("device = [", "is not TOML"),
        ('runtime = "tensorrt"\n', "no compute_capabilities and no device"),
        (PLAIN + 'speed = "fast"\n', "unknown keys .*speed"),
        (PLAIN + 'precision = "int4"\n', "precision 'int4'"),
        (PLAIN.replace("tensorrt", "tflite"), "runtime 'tflite'"),
        (PLAIN + "size = [512]\n", r"size = \[512\]"),
        (PLAIN + 'size = ["512", "512"]\n', "size = "),
        (PLAIN + 'workspace_mib = "auto"\n', "workspace_mib = 'auto'"),
        (PLAIN + "dla_cores = -1\n", "out of range"),
        (PLAIN + "jetpack = [6.2]\n", "jetpack = "),
    ],
)
def test_a_mistake_in_a_target_is_a_sentence_with_the_key(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=said):
        read_target(path)


def test_an_unknown_target_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"jetson-orin-nano'\?\).*choose from cpu, desktop-rtx"):
        read_target("jetson-orin-nao")
