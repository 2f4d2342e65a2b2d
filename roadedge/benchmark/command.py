"""What the command line calls: a measurement or a comparison, printed as text or as one JSON document."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from roadedge.benchmark.against import measure_against
from roadedge.benchmark.compare import compare
from roadedge.benchmark.options import BenchmarkOptions
from roadedge.benchmark.outcome import BenchmarkResult
from roadedge.benchmark.progress import Tell
from roadedge.benchmark.session import benchmark
from roadedge.benchmark.show import print_result
from roadedge.errors import UsageError

PrintJson = Callable[[Any], None]
OF_COMPARE = ("context", "arguments", "force", "as_json", "quiet", "verbose")


def the_model(arguments: Sequence[str]) -> str:
    """The one model of the command line; UsageError for more."""
    if len(arguments) != 1:
        raise UsageError(
            f"benchmark takes one MODEL, or compare and two results; got {len(arguments)} arguments. "
            "To measure two networks in turns: roadedge benchmark A --against B"
        )
    return arguments[0]


def check_compare(files: Sequence[str], given: Sequence[str]) -> tuple[Path, Path]:
    """The two results; UsageError for another count, and for options that measure."""
    if len(files) != 2:
        raise UsageError(
            f"compare takes two results, as in: roadedge benchmark compare A.json B.json; got {len(files)}"
        )
    strange = [name for name in given if name not in OF_COMPARE]
    if strange:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in strange)
        raise UsageError(f"compare measures nothing, so {names} has no place there; it takes --force and --json")
    return Path(files[0]), Path(files[1])


def run_comparison(first: Path, second: Path, force: bool, print_json: PrintJson | None) -> None:
    """Compare two results and print what was found."""
    found = compare(first, second, force)
    if print_json is not None:
        print_json(found.to_dict())
    else:
        print(*found.lines(), sep="\n")


def run_benchmark(
    options: BenchmarkOptions, force: bool, require_valid: bool, tell: Tell, say: Tell, print_json: PrintJson | None
) -> bool:
    """Measure, print, and raise what the exit code should say; True where Ctrl-C ended it.

    Raises:
        RunInvalidError: a target was missed, or an INVALID run where a valid one was asked for.
        UsageError: --force without anything to compare.
        and what the measurement raises.
    """
    if options.against is None:
        if force:
            raise UsageError("--force belongs to compare and to --against")
        return _shown([benchmark(options, tell)], require_valid, say, print_json)
    first, second, comparison = measure_against(options, force, tell)
    if print_json is None and comparison is not None:
        print(*comparison.lines(), sep="\n")
    return _shown([first, second], require_valid, say, print_json)


def _shown(results: list[BenchmarkResult], require_valid: bool, say: Tell, print_json: PrintJson | None) -> bool:
    if print_json is not None:
        print_json({"folder": str(results[0].folder), **results[0].metrics, "missed": list(results[0].missed)})
    else:
        for result in results:
            print_result(result)
    for result in results:
        say(f"Results saved to {result.folder}")
        for line in result.missed if print_json is not None else ():  # else it stands on stdout
            say(f"SLO missed: {line}")
    say(f"Next: open {results[0].folder / 'report.html'}")
    if any(result.interrupted for result in results):
        return True
    for result in results:
        result.check(require_valid)
    return False
