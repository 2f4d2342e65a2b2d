"""The command line gives every error one sentence and its exit code, and explains all its options."""

from __future__ import annotations

import pytest
import typer.main

from roadedge import errors
from roadedge.cli import app, main
from roadedge.errors import RoadEdgeError


def all_errors(root: type[RoadEdgeError] = RoadEdgeError) -> list[type[RoadEdgeError]]:
    """The classes of errors.py, parents first."""
    found = [root]
    for child in root.__subclasses__():
        found += all_errors(child) if child.__module__ == errors.__name__ else []
    return found


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


@pytest.mark.parametrize(("said", "line"), [((), "interrupted"), (("2 are in out",), "interrupted: 2 are in out")])
def test_ctrl_c_within_a_command_is_said(
    said: tuple[str, ...], line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def listed(count: bool) -> None:
        raise KeyboardInterrupt(*said)

    monkeypatch.setattr("roadedge.models.catalogue.listed", listed)
    assert main(["models"]) == 130
    assert capsys.readouterr().err.splitlines() == [line]


def test_ctrl_c_that_python_names_otherwise_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Within a Python function that C called, as in converting a path, it comes out as the cause of a SystemError."""

    def listed(count: bool) -> None:
        raise SystemError("returned a result with an exception set") from KeyboardInterrupt()

    monkeypatch.setattr("roadedge.models.catalogue.listed", listed)
    assert main(["models", "-v"]) == 130
    assert capsys.readouterr().err.splitlines() == ["interrupted"]


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
