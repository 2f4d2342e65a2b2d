"""The error tree as it is drawn is the error tree as it is, and every error is one sentence with its exit code."""

from __future__ import annotations

import errno
import os
import re

import pytest
import typer.main

from roadedge import errors
from roadedge.cli import app, main
from roadedge.errors import MissingExtraError, OutputError, RoadEdgeError, UnknownNameError

CODES = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}


def all_errors(root: type[RoadEdgeError] = RoadEdgeError) -> list[type[RoadEdgeError]]:
    """The classes of errors.py, parents first."""
    found = [root]
    for child in root.__subclasses__():
        found += all_errors(child) if child.__module__ == errors.__name__ else []
    return found


def drawn() -> list[tuple[int, str, int]]:
    """(depth, name, exit code) of each line of the tree in the module's docstring."""
    lines = re.findall(r"^([│├└─ ]*)([A-Z]\w+) +(\d+)  \S", errors.__doc__ or "", re.MULTILINE)
    return [(len(indent) // 4, name, int(code)) for indent, name, code in lines]


def test_the_drawn_tree_is_the_real_one() -> None:
    real = {(len(kind.__mro__[: kind.__mro__.index(RoadEdgeError)]), kind.__name__) for kind in all_errors()}
    codes = {kind.__name__: kind.exit_code for kind in all_errors()}
    assert {(depth, name) for depth, name, _ in drawn()} == real
    assert {name: code for _, name, code in drawn()} == codes
    assert set(codes.values()) <= CODES


def test_every_error_is_also_a_builtin_kind() -> None:
    builtin = (ValueError, LookupError, RuntimeError, ImportError, OSError, ArithmeticError)
    assert [kind.__name__ for kind in all_errors() if not issubclass(kind, builtin)] == ["RoadEdgeError"]


def test_an_unknown_name_suggests_the_nearest() -> None:
    error = UnknownNameError("back-end", "openvin", ["torch", "openvino"])
    assert str(error) == "unknown back-end 'openvin' (did you mean 'openvino'?); choose from openvino, torch"


def test_a_missing_package_names_its_extra() -> None:
    error = MissingExtraError("av", "video", "reading a video")
    assert str(error) == "reading a video needs av, which is not installed; pip install 'roadedge[video]'"


@pytest.mark.parametrize(
    ("number", "told"),
    [(errno.ENOSPC, "the disk is full; free some space"), (errno.EACCES, "Permission denied; choose another -o")],
)
def test_what_the_system_said_about_writing_becomes_a_sentence(number: int, told: str) -> None:
    error = OutputError.from_os("out/mask.png", OSError(number, os.strerror(number)))
    assert told in str(error)
    assert error.exit_code == 9


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__name__)
def test_the_command_line_gives_an_error_its_sentence_and_its_code(
    kind: type[RoadEdgeError], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = kind.__new__(kind)
    error.args = ("what came, what was expected, what to do",)

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("roadedge.cli.app", fail)
    assert main([]) == kind.exit_code
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"error: {error}\n")


@pytest.mark.parametrize(("raised", "code"), [(KeyboardInterrupt(), 130), (ZeroDivisionError("a slip of ours"), 1)])
def test_an_interruption_and_an_unexpected_error_have_codes_too(
    raised: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr("roadedge.cli.app", fail)
    assert main([]) == code
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_verbose_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a slip of ours")

    monkeypatch.setattr("roadedge.cli.app", fail)
    with pytest.raises(ZeroDivisionError, match="a slip of ours"):
        main(["-v"])


@pytest.mark.parametrize("arguments", [["no-such-command"], ["--no-such-option"]])
def test_a_usage_error_is_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().out == ""


def test_every_option_of_every_command_is_explained() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    silent = [f"{name} {p.name}" for name, command in commands.items() for p in command.params if not p.help]
    assert not silent
    assert all(command.help for command in commands.values())
