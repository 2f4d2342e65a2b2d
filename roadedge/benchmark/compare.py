"""`benchmark compare A B`: two results held against each other, where they may be."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from roadedge.benchmark.bootstrap import Difference, difference
from roadedge.benchmark.header import CONTEXT, differing
from roadedge.errors import DataError, RunInvalidError, SourceError, SpecMismatchError

ONE_RUN_EACH = (
    "one run each, not taken in turns: the interval knows nothing of what the machine did in between; "
    "roadedge benchmark A --against B measures in turns"
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `compare` found. `unlike` are the fields under test, `following` those that go with them."""

    names: tuple[str, str]
    unlike: tuple[str, ...]
    following: tuple[str, ...]
    values: dict[str, tuple[Any, Any]]
    difference: Difference
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "first": self.names[0],
            "second": self.names[1],
            "under_test": list(self.unlike),
            "follows": list(self.following),
            "values": {name: list(pair) for name, pair in self.values.items()},
            **self.difference.to_dict(),
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """For a terminal."""
        found = self.difference
        lines = [f"A {self.names[0]}", f"B {self.names[1]}"]
        for name, (first, second) in self.values.items():
            lines.append(f"  {name}: {_shown(first)} | {_shown(second)}{'' if name in self.unlike else ' (follows)'}")
        lines.append(f"median A {found.first_ms:.3f} ms, B {found.second_ms:.3f} ms")
        turns = "one run each" if found.repeats == 1 else f"{found.repeats} turns each"
        lines.append(
            f"B - A = {found.value_ms:+.3f} ms, 95 % interval {found.low_ms:+.3f} to {found.high_ms:+.3f} ms "
            f"({turns}; {found.samples[0]} and {found.samples[1]} frames)"
        )
        lines.append(verdict_of(found))
        return [*lines, *(f"note: {note}" for note in self.notes)]


def verdict_of(found: Difference) -> str:
    """One sentence."""
    if not found.told_apart:
        return "A and B cannot be told apart by these runs"
    per_cent = 100 * abs(found.value_ms) / found.first_ms if found.first_ms > 0 else float("inf")
    return f"B takes {per_cent:.1f} % {'more' if found.value_ms > 0 else 'less'} time than A"


def compare(first: Path, second: Path, force: bool = False) -> Comparison:
    """Compare two metrics.json of `roadedge benchmark`, or files of --submit-json.

    Args:
        first: a file, or the run folder that holds it.
        second: likewise.
        force: compare all the same.

    Raises:
        SourceError: there is no such file.
        DataError: a file is not a result of a benchmark, or one without single times.
        SpecMismatchError: more than one field of their headers differs, and not `force`.
        RunInvalidError: one of them is INVALID, and not `force`.
    """
    both = read_result(first), read_result(second)
    own, following = differing(both[0]["header"], both[1]["header"])
    values = {n: (both[0]["header"].get(n), both[1]["header"].get(n)) for n in CONTEXT if n in (*own, *following)}
    notes = []
    if len(own) > 1:
        listed = "; ".join(f"{name}: {_shown(values[name][0])} | {_shown(values[name][1])}" for name in own)
        if not force:
            raise SpecMismatchError(
                f"the runs differ in {len(own)} respects, and only the one under test may differ ({listed}); "
                "measure again under like conditions, or pass --force"
            )
        notes.append(f"forced although {len(own)} respects differ: which of them made the difference is not known")
    for path, result in zip((first, second), both, strict=True):
        verdict = result["verdict"]
        if verdict["result"] != "VALID":
            if not force:
                reasons = "; ".join(verdict["reasons"])
                raise RunInvalidError(f"{path} is INVALID ({reasons}); measure it again, or pass --force")
            notes.append(f"forced although {path.name} is INVALID")
    left, right = _repeats(first, both[0]), _repeats(second, both[1])
    turns = both[0].get("turns"), both[1].get("turns")
    if turns[0] is None or turns[0] != turns[1]:
        left, right = [list(chain(*left))], [list(chain(*right))]
        notes.append(ONE_RUN_EACH)
    return Comparison(
        (str(first), str(second)), tuple(own), tuple(following), values, difference(left, right), tuple(notes)
    )


def read_result(path: Path) -> dict[str, Any]:
    """A result of a benchmark from its file, or from the run folder that holds it.

    Raises:
        SourceError: there is no such file.
        DataError: it is something else.
    """
    path = path.expanduser()
    if path.is_dir():
        path = path / "metrics.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SourceError(f"there is no {path}; compare takes two metrics.json of `roadedge benchmark`") from None
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); compare takes metrics.json of `roadedge benchmark`") from error
    wanted = {"header": dict, "verdict": dict, "samples_ms": list}
    if not isinstance(found, dict) or not all(isinstance(found.get(k), kind) for k, kind in wanted.items()):
        raise DataError(f"{path} is no result of `roadedge benchmark`: it lacks {', '.join(wanted)}")
    if not {"result", "reasons"} <= set(found["verdict"]):
        raise DataError(f"{path} has no whole verdict; it was changed or cut off, measure again")
    return found


def _repeats(path: Path, result: dict[str, Any]) -> list[list[float]]:
    repeats: list[Any] = result["samples_ms"]
    numbers = all(isinstance(one, list) and all(isinstance(t, int | float) for t in one) for one in repeats)
    if not repeats or not numbers:
        raise DataError(f"{path} holds no times of single frames to compare; an offline sweep has none")
    return repeats


def _shown(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text[:12] if len(text) == 64 else text  # a digest
