"""The command line: parse, call one function, print. What a command does stands in the module that it calls."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

import roadedge
from roadedge.errors import RoadEdgeError

app = typer.Typer(
    name="roadedge",
    help="From an overhead image and the trajectories that fall on it to a road mask, on the edge.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]


def say(text: str) -> None:
    """Log a line on stderr; stdout is for data."""
    print(text, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """The result as JSON on stdout."""
    print(json.dumps(value, indent=2, allow_nan=False))


def _version(wanted: bool) -> None:
    if wanted:
        print(f"roadedge {roadedge.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Options of every command."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code: one sentence for an error that we know, a traceback with -v else."""
    arguments = sys.argv[1:] if arguments is None else arguments
    verbose = any(a in ("-v", "--verbose") for a in arguments)
    try:
        app(args=arguments, standalone_mode=True)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    except RoadEdgeError as error:
        if verbose:
            raise
        say(f"error: {error}")
        return error.exit_code
    except Exception as error:
        if verbose:
            raise
        say(f"error: unexpected {type(error).__name__}: {error}; run again with -v for the traceback")
        return 1
    return 0


def entry() -> None:
    """What the installed `roadedge` script calls."""
    sys.exit(main())


if __name__ == "__main__":
    entry()
