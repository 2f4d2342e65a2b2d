"""The command line: parse, call one function, print. What a command does stands in the module that it calls."""

from __future__ import annotations

import json
import sys
from pathlib import Path
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
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Show the traceback of an error.")]
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


@app.command()
def train(
    data: Annotated[list[Path] | None, typer.Argument(help="Folder data sets; none: the built-in city.")] = None,
    recipe: Annotated[str | None, typer.Option(help="A recipe: a TOML file, or the name of one in training/.")] = None,
    model: Annotated[str | None, typer.Option(help="Network to train; `roadedge models` lists them.")] = None,
    inputs: Annotated[str | None, typer.Option(help="image,trajectory (default), image, or trajectory.")] = None,
    steps: Annotated[int | None, typer.Option(help="Updates of the weights.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the training samples, instead of --steps.")] = None,
    batch: Annotated[int | None, typer.Option(help="Samples per update.")] = None,
    crop: Annotated[int | None, typer.Option("--crop", "--size", help="Side of the training squares, pixels.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of all randomness.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, bf16 or fp32.")] = None,
    init: Annotated[str | None, typer.Option(help="Start from the weights of this .pt; what did not fit is listed.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in -o, or the newest one, exactly.")] = False,
    threads: Annotated[int | None, typer.Option(help="Threads of torch; default all.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Run folder; default runs/train/NAME.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Empty a run folder that is in the way.")] = False,
    dump_recipe: Annotated[bool, typer.Option("--dump-recipe", help="Print the recipe as TOML and stop.")] = False,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")] = False,
    verbose: Verbose = False,
) -> None:
    """Train a network on folders of image, trajectory and mask, or on the built-in city."""
    from roadedge.training.session import Session

    session = Session.plan(
        data or [], recipe, output, resume, overwrite, init, epochs,
        model=model, inputs=tuple(inputs.split(",")) if inputs else None, steps=steps, batch=batch, crop=crop, lr=lr,
        seed=seed, precision=precision,
    )  # fmt: skip
    if dump_recipe:
        print(session.toml(), end="")
        return
    result = session.run(threads=threads, report=(lambda text: None) if quiet else say, progress=not quiet)
    if as_json:
        print_json(result)
        return
    say(f"best G_IoU {100 * result['best_g_iou']:.2f} at step {result['best_step']} on the samples set aside")
    say(f"Results saved to {result['folder']}")
    say(f"Next: roadedge export {result['best']}")


@app.command("eval")
def evaluate(
    model: Annotated[str, typer.Argument(help="A .pt or .onnx file, or the name of a carried network.")],
    data: Annotated[list[str], typer.Argument(help="Folder data sets; `city` or `city:SEED` is the built-in city.")],
    split: Annotated[str, typer.Option(help="train, val, or all.")] = "val",
    inputs: Annotated[str, typer.Option(help="Fed are both, image, or trajectory; the rest is blank.")] = "both",
    corruptions: Annotated[
        list[str] | None, typer.Option("--corrupt", help="fog:0.8, trees:0.3, points:0.05, shift:10; several in order.")
    ] = None,
    panels: Annotated[int, typer.Option(help="Panels of the worst samples.")] = 8,
    backend: Annotated[str, typer.Option(help="auto, torch, onnxruntime or openvino.")] = "auto",
    precision: Annotated[str | None, typer.Option(help="What must be computed in; default the back-end's own.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of the back-end.")] = None,
    threshold: Annotated[float | None, typer.Option(help="On the probability; default the model's.")] = None,
    bootstrap: Annotated[int, typer.Option(help="Draws of places for the 95 % interval; 0 for none.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of corruptions and bootstrap.")] = 0,
    windows: Annotated[int, typer.Option(help="Windows of 512 pixels of a built-in city.")] = 32,
    second: Annotated[str | None, typer.Option(help="Raster folder of a LiDAR network, such as lidar_height.")] = None,
    measured: Annotated[
        bool, typer.Option("--measured-trajectories", help="The points come from real receivers: not semi-synthetic.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at a bad sample or an untrained resolution.")] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Run folder; default runs/eval/NAME.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Empty a run folder that is in the way.")] = False,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")] = False,
    verbose: Verbose = False,
) -> None:
    """Score a network on labelled data by the path that is deployed, with panels of the worst samples."""
    from roadedge.data.corrupt import parse_corruptions
    from roadedge.evaluation import EvalSettings, evaluate_model, print_table

    settings = EvalSettings(
        split, inputs, parse_corruptions(corruptions or []), threshold, seed, bootstrap, panels, windows, second,
        measured, strict,
    )  # fmt: skip
    result = evaluate_model(model, data, settings, backend, precision, threads, output, overwrite, progress=not quiet)
    if as_json:
        print_json(result.to_dict())
    else:
        print_table(result)
    for failure in result.failures:
        say(f"failed: {failure.set} {failure.id}: {failure.error}")
    say(f"Results saved to {result.output}")
    result.check_complete()


@app.command()
def models(
    count: Annotated[bool, typer.Option("--count", help="Count the costs afresh with torch.")] = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """List the networks: paper, inputs, parameters, multiply-adds, licence."""
    from roadedge.models.catalogue import listed, print_table

    entries = listed(count)
    if as_json:
        print_json([entry.to_dict() for entry in entries])
    else:
        print_table(entries)


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
