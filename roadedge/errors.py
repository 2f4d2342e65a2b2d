"""Every failure that a user can cause, with the exit code that the command line gives for it.

RoadEdgeError                    1  unexpected
├── UsageError                   2  options that do not go together
├── UnknownNameError             2  a model, backend or corruption that does not exist
├── EnvironmentFault             3  the machine lacks something
│   ├── MissingExtraError        3  an optional package is absent; names the extra that mends it
│   └── BackendMismatchError     3  asked for one back-end or precision, another would run
├── EngineIncompatibleError      4  an engine that this device cannot load
├── AccuracyGateError            5  an artefact lost more accuracy than allowed
├── RunInvalidError              6  a latency target missed, or a run that proves nothing
├── SourceError                  7  a camera, stream or file source failed or was lost
├── DataError                    8  bad data
│   ├── ShapeError               8  an array of the wrong shape or type
│   ├── PointsError              8  a trajectory file that cannot be read
│   ├── ModelFileError           8  a model file that cannot be used
│   ├── SpecMismatchError        8  a model and an input, or two files, that do not belong together
│   ├── RecipeError              8  a recipe with a wrong key or value
│   └── PartialFailureError      8  a folder finished, but some of its items failed
├── ExportError                  1  the exporter could not write a faithful graph
│   └── ParityError              1  a graph was written, and it does not say what its network says
├── OutputError                  9  an output that cannot be written, a full disk
└── NonFiniteError              10  training became NaN or infinite
"""

from __future__ import annotations

import errno
from typing import Any


class RoadEdgeError(Exception):
    """The root of all errors that roadedge raises on purpose; `exit_code` is what the command line returns."""

    exit_code = 1

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by its message: some constructors take more, and an error must come back from a worker process."""
        return _restored, (type(self), *self.args)


def _restored(kind: type[RoadEdgeError], *args: Any) -> RoadEdgeError:
    return kind.__new__(kind, *args)


class UsageError(RoadEdgeError, ValueError):
    """Options that do not go together, or a value outside its range."""

    exit_code = 2


class UnknownNameError(RoadEdgeError, LookupError):
    """A name that is not in its dict; the message lists the names that are."""

    exit_code = 2

    def __init__(self, kind: str, name: str, known: object) -> None:
        import difflib

        names = sorted(str(key) for key in known)  # type: ignore[attr-defined]
        by_lower = {one.lower(): one for one in names}  # CMIPNet, as the paper writes it, is near too
        near = [by_lower[one] for one in difflib.get_close_matches(name.lower(), by_lower, n=1)]
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        super().__init__(f"unknown {kind} {name!r}{hint}; choose from {', '.join(names)}")


class EnvironmentFault(RoadEdgeError, RuntimeError):
    """The machine lacks something that the command needs."""

    exit_code = 3


class MissingExtraError(EnvironmentFault, ImportError):
    """An optional package is absent; the message names the extra that brings it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {package}, which is not installed; pip install 'roadedge[{extra}]'")


class BackendMismatchError(EnvironmentFault):
    """The back-end or precision that would run is not the one that was asked for."""


class EngineIncompatibleError(RoadEdgeError, RuntimeError):
    """An engine that this device cannot load."""

    exit_code = 4


class AccuracyGateError(RoadEdgeError, RuntimeError):
    """An artefact lost more accuracy than the gate allows."""

    exit_code = 5


class RunInvalidError(RoadEdgeError, RuntimeError):
    """A latency target was missed, or the run proves nothing."""

    exit_code = 6


class SourceError(RoadEdgeError, OSError):
    """A camera, stream or file source failed or was lost."""

    exit_code = 7


class DataError(RoadEdgeError, ValueError):
    """Bad data: says what came, what was expected and what to do."""

    exit_code = 8


class ShapeError(DataError):
    """An array of the wrong shape or type."""


class PointsError(DataError):
    """A trajectory file that cannot be read."""


class ModelFileError(DataError):
    """A model file that cannot be used."""


class SpecMismatchError(DataError):
    """A model and an input, or two files, that do not belong together."""


class RecipeError(DataError):
    """A recipe with a wrong key or value."""


class PartialFailureError(DataError):
    """A folder finished, but some of its items failed."""


class ExportError(RoadEdgeError, RuntimeError):
    """The exporter could not write a faithful graph."""


class ParityError(ExportError):
    """A graph that does not say what its network says, by NaN, infinity or more than its tolerance."""


class OutputError(RoadEdgeError, OSError):
    """An output that cannot be written, a full disk among others."""

    exit_code = 9

    @classmethod
    def from_os(cls, path: object, error: OSError) -> OutputError:
        """Turn what the system said about writing `path` into one sentence."""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return cls(f"cannot write {path}: the disk is full; free some space and run again")
        return cls(f"cannot write {path}: {error.strerror or error}; choose another -o/--output")


class NonFiniteError(RoadEdgeError, ArithmeticError):
    """Training became NaN or infinite; the step's inputs were saved."""

    exit_code = 10
