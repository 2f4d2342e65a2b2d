"""The error tree: exit codes of the command line, and errors that survive the way back from a worker process."""

from __future__ import annotations

import errno
import os
import pickle

import pytest

from roadedge import errors
from roadedge.errors import (
    DataError,
    MissingExtraError,
    NonFiniteError,
    OutputError,
    RoadEdgeError,
    SourceError,
    UnknownNameError,
    UsageError,
)

CODES = {  # of the command line's surface
    "RoadEdgeError": 1,
    "UsageError": 2,
    "UnknownNameError": 2,
    "EnvironmentFault": 3,
    "MissingExtraError": 3,
    "BackendMismatchError": 3,
    "EngineIncompatibleError": 4,
    "AccuracyGateError": 5,
    "RunInvalidError": 6,
    "SourceError": 7,
    "DataError": 8,
    "ShapeError": 8,
    "PointsError": 8,
    "ModelFileError": 8,
    "SpecMismatchError": 8,
    "RecipeError": 8,
    "PartialFailureError": 8,
    "ExportError": 1,
    "ParityError": 1,
    "OutputError": 9,
    "NonFiniteError": 10,
}


def tree() -> dict[str, type[RoadEdgeError]]:
    return {
        name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, RoadEdgeError)
    }


def test_each_error_has_the_exit_code_of_the_command_line() -> None:
    assert {name: kind.exit_code for name, kind in tree().items()} == CODES


def test_the_codes_in_the_docstring_are_those_of_the_classes() -> None:
    written = {}
    for line in (errors.__doc__ or "").splitlines():
        words = line.strip("│├└─ ").split()
        if len(words) > 1 and words[1].isdigit():
            written[words[0]] = int(words[1])
    assert written == CODES


@pytest.mark.parametrize("kind", tree().values(), ids=lambda kind: kind.__name__)
def test_each_error_is_a_builtin_kind_too(kind: type[RoadEdgeError]) -> None:
    builtin = (ValueError, LookupError, RuntimeError, ImportError, OSError, ArithmeticError)
    assert kind is RoadEdgeError or issubclass(kind, builtin)


@pytest.mark.parametrize(
    "error",
    [
        UnknownNameError("model", "roadege-s", {"roadedge-s": 1}),
        MissingExtraError("torch", "train", "training"),
        OutputError.from_os("mask.png", OSError(errno.ENOSPC, "No space left on device")),
        SourceError("the camera was lost"),
        DataError("bad"),
        NonFiniteError("NaN"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_comes_back_from_a_worker_process_as_it_was(error: RoadEdgeError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert back.exit_code == error.exit_code


def test_an_unknown_name_lists_the_known_ones_and_suggests_the_nearest() -> None:
    text = str(UnknownNameError("model", "roadege-s", {"roadedge-s": 1, "cmipnet": 2}))
    assert text == "unknown model 'roadege-s' (did you mean 'roadedge-s'?); choose from cmipnet, roadedge-s"


def test_an_unknown_name_like_no_other_suggests_nothing() -> None:
    assert str(UnknownNameError("backend", "zzz", ["onnx"])) == "unknown backend 'zzz'; choose from onnx"


def test_a_missing_package_names_the_extra_that_brings_it() -> None:
    text = str(MissingExtraError("torch", "train", "training"))
    assert text == "training needs torch, which is not installed; pip install 'roadedge[train]'"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_or_quota_is_named_as_such(code: int) -> None:
    error = OutputError.from_os("runs/a.png", OSError(code, os.strerror(code)))
    assert str(error) == "cannot write runs/a.png: the disk is full; free some space and run again"
    assert error.exit_code == 9


def test_another_failure_to_write_says_what_the_system_said() -> None:
    error = OutputError.from_os("a.png", PermissionError(errno.EACCES, "Permission denied"))
    assert str(error) == "cannot write a.png: Permission denied; choose another -o/--output"
    assert "odd" in str(OutputError.from_os("a.png", OSError("odd")))


def test_a_usage_error_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="together"):
        raise UsageError("these do not go together")


def test_an_unknown_name_is_told_the_nearest_one_whatever_its_case() -> None:
    assert "did you mean 'cmipnet'?" in str(UnknownNameError("model", "CMIPNet", ("cmipnet", "unet")))
    assert "did you mean 'Alpha'?" in str(UnknownNameError("model", "alhpa", ("Alpha", "unet")))
    assert "did you mean" not in str(UnknownNameError("model", "zzz", ("cmipnet", "unet")))
