"""The command line: parse, call one function, print. What a command does stands in the module that it calls."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import roadedge
from roadedge import cli_map
from roadedge.errors import RoadEdgeError, UsageError
from roadedge.terminal import print_json, say

if TYPE_CHECKING:
    from roadedge.calibration.session import QuantizeResult
    from roadedge.stream.outcome import InferResult

app = typer.Typer(
    name="roadedge",
    help="From an overhead image and the trajectories that fall on it to a road mask, on the edge.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Show the traceback of an error.")]
BACKEND_HELP = "auto, torch, onnxruntime, openvino, tensorrt or tensorrt-rtx."
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
AcceptRejected = Annotated[
    bool, typer.Option("--accept-rejected", help="Use a network that the accuracy gate rejected.")
]
MinIouRatio = Annotated[
    float, typer.Option("--min-iou-ratio", help="Share of the reference's G_IoU to keep: the interval's lower end.")
]
AplsSpacing = Annotated[
    float, typer.Option("--apls-spacing", help="Control points along roads, m (px without a GSD); inf: nodes only.")
]
AplsSnap = Annotated[float, typer.Option("--apls-snap", help="Farthest that one may lie from the other graph.")]
AplsPoints = Annotated[int, typer.Option("--apls-points", help="Of more control points so many are drawn.")]
TopoRadius = Annotated[float, typer.Option("--topo-radius", help="How far walks go.")]
TopoInterval = Annotated[float, typer.Option("--topo-interval", help="What is dropped on the way: one every so often.")]
TopoHole = Annotated[float, typer.Option("--topo-hole", help="Within how much a marble finds its hole.")]
TopoOrigins = Annotated[int, typer.Option("--topo-origins", help="Walks of each tile.")]
JunctionTolerance = Annotated[float, typer.Option("--junction-tolerance", help="Junctions match within so much.")]
Tta = Annotated[
    int, typer.Option("--tta", help="Views of an image: 2 mirrored, 4 quarter turns, 8 both; so many times the cost.")
]
Scales = Annotated[
    str | None, typer.Option("--scales", help="Of the network's grid, such as 0.75,1,1.25; their mean counts.")
]
SlidingWindow = Annotated[
    str | None, typer.Option("--sliding-window", help="Side or HEIGHTxWIDTH of windows over larger images, pixels.")
]
Margin = Annotated[
    int | None, typer.Option("--margin", help="Pixels at a window's rim that do not count; default an eighth.")
]
Merge = Annotated[str, typer.Option("--merge", help="How windows meet: crop or blend.")]
Average = Annotated[str, typer.Option("--average", help="What views and scales are the mean of: logits, probability.")]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"roadedge {roadedge.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Options of every command."""


@app.command()
def train(
    data: Annotated[list[Path] | None, typer.Argument(help="Folder data sets; none: the built-in city.")] = None,
    recipe: Annotated[str | None, typer.Option(help="A recipe: a TOML file, or the name of one in training/.")] = None,
    model: Annotated[str | None, typer.Option(help="Network to train; `roadedge models` lists them.")] = None,
    inputs: Annotated[
        str | None, typer.Option(help="One or two of image, trajectory, lidar; default the model's own.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Updates of the weights.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the training samples, instead of --steps.")] = None,
    batch: Annotated[int | None, typer.Option(help="Samples per update, over all processes of torchrun.")] = None,
    crop: Annotated[int | None, typer.Option("--crop", "--size", help="Side of the training squares, pixels.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of all randomness.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, bf16 or fp32.")] = None,
    init: Annotated[str | None, typer.Option(help="Start from weights: file, address, or name; #sha256=.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in -o, or the newest, exactly.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda; auto: the GPU of each process, if any.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="Threads of torch in each process; default all.")] = None,
    folds: Annotated[int | None, typer.Option(help="Cross-validate over so many parts of the places.")] = None,
    fold: Annotated[int | None, typer.Option(help="Only this part, from 1 on; into the same -o as the others.")] = None,
    qat: Annotated[bool, typer.Option("--qat", help="Then fine-tune it for INT8 and judge the result.")] = False,
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
        model=model, inputs=tuple(map(str.strip, inputs.split(","))) if inputs else None, steps=steps, batch=batch,
        crop=crop, lr=lr, seed=seed, precision=precision, folds=folds, fold=fold,
    )  # fmt: skip
    if qat and session.recipe.folds:
        raise UsageError("--qat fine-tunes one network; leave --folds out, or fine-tune a fold's best.pt by quantize")
    if dump_recipe:
        print(session.toml(), end="")
        return
    tell = (lambda text: None) if quiet else say
    if qat:
        from roadedge.calibration.session import train_and_quantize

        result, quantized = train_and_quantize(session, threads, tell, not quiet, device)
        _show_quantized(quantized, as_json, {"float": result})
        return
    result = session.run(threads, tell, not quiet, device)
    if session.follows:  # under torchrun the first process says what came of it
        return
    if as_json:
        print_json(result)
        return
    if "per_fold" in result:
        _show_folds(result)
        return
    if result["best_g_iou"] is None:
        say(f"nothing was set aside to choose by: the last of {result['steps']} steps was taken")
    else:
        say(f"best G_IoU {100 * result['best_g_iou']:.2f} at step {result['best_step']} on the samples set aside")
    say(f"Results saved to {result['folder']}")
    say(f"Next: roadedge export {result['best']}")


def _show_folds(result: dict[str, Any]) -> None:
    deviation = result["deviation"]["g_iou"]
    spread = "" if deviation is None else f" ± {100 * deviation:.2f}"
    count = f"{len(result['done'])} of {result['folds']} folds"
    say(f"G_IoU {100 * result['mean']['g_iou']:.2f}{spread} over {count}, each on places never seen")
    say(f"Results saved to {result['folder']}")


@app.command()
def quantize(
    model: Annotated[str, typer.Argument(help="A .pt or .onnx file, or the name of a carried network.")],
    data: Annotated[list[str] | None, typer.Option(help="A folder data set, or city; may be repeated.")] = None,
    mode: Annotated[str, typer.Option(help="ptq: find ranges. qat: find them, then fine-tune the weights.")] = "ptq",
    method: Annotated[
        str | None, typer.Option(help="max, entropy, percentile[:99.99] or mse; default percentile, or the recipe's.")
    ] = None,
    calib: Annotated[int | None, typer.Option(help="Calibration samples; default all of train, at most 512.")] = None,
    samples: Annotated[Path | None, typer.Option(help="A calibration list that was drawn before.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Ranges measured before for this very model and list.")] = None,
    keep_float: Annotated[
        str | None, typer.Option(help="Convolutions that stay float, comma-separated; auto: by their sensitivity.")
    ] = None,
    keep_float32: Annotated[
        str | None, typer.Option(help="Parts that stay float32 in FP16 graphs, with commas; auto: as few as needed.")
    ] = None,
    quantize_products: Annotated[
        bool, typer.Option("--quantize-products", help="Also what reads sums over all pixels; float by default.")
    ] = False,
    sensitivity: Annotated[bool, typer.Option("--sensitivity", help="Rank layers by what INT8 costs.")] = False,
    steps: Annotated[int | None, typer.Option(help="Updates of the weights in fine-tuning.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the training samples, instead of --steps.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate of fine-tuning.")] = None,
    learned: Annotated[bool, typer.Option("--learned-scales", help="Learn the step sizes too.")] = False,
    recipe: Annotated[str | None, typer.Option(help="Fine-tune by this recipe; default that of the training.")] = None,
    size: Annotated[str, typer.Option(help="HEIGHTxWIDTH of the static graphs in pixels.")] = "512x512",
    seed: Annotated[int, typer.Option(help="Of the list, the corruptions and the bootstrap.")] = 0,
    gate: Annotated[bool, typer.Option("--gate/--no-gate", help="Judge the result on the validation split.")] = True,
    min_iou_ratio: Annotated[float, typer.Option(help="Share of FP32's G_IoU that must be kept.")] = 0.99,
    device: Annotated[str, typer.Option(help="Of fine-tuning: auto, cpu or cuda.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="Threads; default all.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the fine-tuning in -o, or the newest.")] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Default runs/quantize/NAME.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Empty a run folder that is in the way.")] = False,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")] = False,
    verbose: Verbose = False,
) -> None:
    """Make INT8 graphs of a network and prove that they are harmless; exit 5 where they are not."""
    from roadedge.calibration.session import QuantizeOptions
    from roadedge.calibration.session import quantize as run
    from roadedge.export import parse_size

    kept = tuple(keep_float.split(",")) if keep_float else ()
    options = QuantizeOptions(
        model, tuple(data or []), mode, method, calib, samples, cache, kept, sensitivity,
        steps, epochs, lr, learned or None, recipe, parse_size(size), seed, gate, min_iou_ratio, threads,
        output, overwrite, resume, device, not quantize_products, _names(keep_float32),
    )  # fmt: skip
    _show_quantized(run(options, (lambda text: None) if quiet else say, not quiet), as_json)


@app.command()
def crops(
    data: Annotated[Path, typer.Argument(help="A published data set in its own layout.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", help="A new folder.", show_default=False)],
    crop: Annotated[int, typer.Option(help="Side of the crops, pixels.")] = 512,
    overlap: Annotated[int, typer.Option(help="Of neighbours in the train split, pixels.")] = 256,
    resize: Annotated[int, typer.Option(help="Bring the longer side of tiles to so many pixels first; 0: not.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin anew; replace crops that are there.")] = False,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")] = False,
    verbose: Verbose = False,
) -> None:
    """Cut a published data set into crops, written as a folder data set; training itself needs none."""
    from roadedge.data.crops import CropOptions, write_crops

    options = CropOptions(crop, overlap, resize)
    counts = write_crops(data, output, options, resume, overwrite, None if quiet else say)
    if as_json:
        print_json({"folder": str(output.resolve()), **counts})
        return
    written = ", ".join(f"{counts[split]} {split}" for split in ("train", "val", "test") if split in counts)
    say(f"{written}; {counts['left_out']} tiles with empty frames left out")
    say(f"Results saved to {output.resolve()}")


@app.command("eval")
def evaluate(
    model: Annotated[str, typer.Argument(help="A .pt, .onnx or .engine file, or the name of a carried network.")],
    data: Annotated[list[str], typer.Argument(help="Folder data sets; `city` or `city:SEED` is the built-in city.")],
    split: Annotated[str, typer.Option(help="train, val, test, or all.")] = "val",
    inputs: Annotated[str, typer.Option(help="Fed are both, image, or trajectory; the rest is blank.")] = "both",
    corruptions: Annotated[
        list[str] | None, typer.Option("--corrupt", help="fog:0.8, trees:0.3, points:0.05, shift:10; several in order.")
    ] = None,
    panels: Annotated[int, typer.Option(help="Panels of the worst samples.")] = 8,
    backend: Annotated[str, typer.Option(help=BACKEND_HELP)] = "auto",
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
    with_graph: Annotated[
        bool, typer.Option("--graph", help="Also trace the roads, and score APLS, TOPO and junctions.")
    ] = False,
    apls_spacing: AplsSpacing = 50.0,
    apls_snap: AplsSnap = 4.0,
    apls_points: AplsPoints = 1000,
    topo_radius: TopoRadius = 150.0,
    topo_interval: TopoInterval = 30.0,
    topo_hole: TopoHole = 4.0,
    topo_origins: TopoOrigins = 20,
    junction_tolerance: JunctionTolerance = 10.0,
    tta: Tta = 1,
    scales: Scales = None,
    sliding_window: SlidingWindow = None,
    margin: Margin = None,
    merge: Merge = "crop",
    average: Average = "logits",
    strict: Annotated[bool, typer.Option("--strict", help="Stop at a bad sample or an untrained resolution.")] = False,
    accept_rejected: AcceptRejected = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Run folder; default runs/eval/NAME.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Empty a run folder that is in the way.")] = False,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")] = False,
    verbose: Verbose = False,
) -> None:
    """Score a network on labelled data by the path that is deployed, with panels of the worst samples."""
    from roadedge.data.corrupt import parse_corruptions
    from roadedge.evaluation import EvalSettings, evaluate_model, print_table
    from roadedge.metrics.graph_scores import choose_graph_scores
    from roadedge.runners.augmentation import parse_augmentation

    graph = choose_graph_scores(
        True, True, True, apls_spacing, apls_snap, apls_points, topo_radius, topo_interval,
        topo_hole, topo_origins, junction_tolerance, seed,
    ) if with_graph else None  # fmt: skip
    settings = EvalSettings(
        split, inputs, parse_corruptions(corruptions or []), threshold, seed, bootstrap, panels, windows, second,
        measured, strict, graph,
    )  # fmt: skip
    views = parse_augmentation(tta, scales, sliding_window, margin, merge, average)
    result = evaluate_model(
        model, data, settings, backend, precision, threads, output, overwrite, not quiet, accept_rejected, views
    )
    if as_json:
        print_json(result.to_dict())
    else:
        print_table(result)
    for failure in result.failures:
        say(f"failed: {failure.set} {failure.id}: {failure.error}")
    say(f"Results saved to {result.output}")
    result.check_complete()


@app.command("score")
def score_roads(
    prediction: Annotated[Path, typer.Argument(metavar="PRED", help="Mask, probability, lines, a folder, a map's.")],
    truth: Annotated[Path, typer.Argument(metavar="GT", help="The same kind of thing; tiles are paired by name.")],
    with_apls: Annotated[bool, typer.Option("--apls", help="Average path length similarity of the roads.")] = False,
    with_time: Annotated[bool, typer.Option("--apls-time", help="APLS by travel time, of lines with speeds.")] = False,
    with_topo: Annotated[bool, typer.Option("--topo", help="Holes and marbles along walks on the graphs.")] = False,
    with_junctions: Annotated[bool, typer.Option("--junctions", help="Crossings, matched one to one.")] = False,
    relaxed: Annotated[
        str | None, typer.Option(help="Relaxed precision, recall, F1, IoU with this buffer: 3, 3px or 1.5m.")
    ] = None,
    relaxed_on: Annotated[str, typer.Option(help="What is relaxed: centre lines (lines) or masks.")] = "lines",
    gsd: Annotated[float | None, typer.Option(help="Metres per pixel of files that do not say their own.")] = None,
    within: Annotated[
        str | None, typer.Option(help="Where lines of two files end: a raster, or WEST,SOUTH,EAST,NORTH in degrees.")
    ] = None,
    pred_layer: Annotated[str | None, typer.Option(help="Layer of PRED; default edges, or its only lines.")] = None,
    gt_layer: Annotated[str | None, typer.Option(help="Layer of GT; the same.")] = None,
    threshold: Annotated[float, typer.Option(help="Probabilities from here on are road.")] = 0.5,
    protocol: Annotated[
        str, typer.Option(help="true; or published, which adds what published scripts print, bugs included.")
    ] = "true",
    apls_spacing: AplsSpacing = 50.0,
    apls_snap: AplsSnap = 4.0,
    apls_points: AplsPoints = 1000,
    default_speed: Annotated[
        float | None, typer.Option(help="km/h of roads without a speed; default the mean of those that have one.")
    ] = None,
    topo_radius: TopoRadius = 150.0,
    topo_interval: TopoInterval = 30.0,
    topo_hole: TopoHole = 4.0,
    topo_origins: TopoOrigins = 20,
    junction_tolerance: JunctionTolerance = 10.0,
    bootstrap: Annotated[int, typer.Option(help="Draws of tiles for the 95 % intervals; 0 for none.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of drawn control points, walks and tiles.")] = 0,
    workers: Annotated[int | None, typer.Option(help="Processes; default one a processor for many tiles.")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write scores, a picture of each tile and index.html.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Empty a run folder that is in the way.")] = False,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")] = False,
    verbose: Verbose = False,
) -> None:
    """Score masks or road graphs: pixels, relaxed, APLS, TOPO, junctions, with pictures of what went wrong."""
    from roadedge.metrics.graph_scores import choose_graph_scores
    from roadedge.metrics.relaxed import parse_buffer
    from roadedge.scoring import ScoreSettings, print_scores, score_files

    graph = choose_graph_scores(
        with_apls, with_topo, with_junctions, apls_spacing, apls_snap, apls_points, topo_radius,
        topo_interval, topo_hole, topo_origins, junction_tolerance, seed, with_time, default_speed,
    )  # fmt: skip
    buffer = None if relaxed is None else parse_buffer(relaxed, relaxed_on)
    settings = ScoreSettings(graph.at(threshold), buffer, gsd, threshold, protocol, bootstrap, seed, within)
    layers = (pred_layer, gt_layer)
    result = score_files(prediction, truth, settings, output, workers, overwrite, not quiet, layers)
    if as_json:
        print_json(result.to_dict())
    else:
        print_scores(result)
    for failure in result.failures:
        say(f"failed: {failure.name}: {failure.error}")
    for lack in result.lacking:
        say(lack)
    if result.output is not None and result.trouble is None:
        say(f"Results saved to {result.output}")
    result.check_complete()


@app.command()
def models(
    count: Annotated[bool, typer.Option("--count", help="Count the costs afresh with torch.")] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Count afresh and compare with the published networks; exit 8 if one differs."),
    ] = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """List the networks: paper, inputs, parameters, multiply-adds, licence, and what was reached here."""
    from roadedge.models.catalogue import listed, print_table
    from roadedge.models.specified import check_all, model_documents
    from roadedge.weights import names

    if check:
        checked = check_all(say)
        if as_json:
            print_json(checked.to_dict())
        else:
            checked.print_table()
        checked.check()
        return
    if count:
        say("counting all networks, which takes half a minute")
    entries = listed(count)
    if as_json:
        print_json(model_documents(entries))
    else:
        print_table(entries)
        say(f"weights at hand: {', '.join(names()) or 'none'}")


@app.command()
def export(
    checkpoint: Annotated[
        str | None, typer.Argument(help="A .pt file or a network's name; none: the newest run, else roadedge-s.")
    ] = None,
    fp16: Annotated[bool, typer.Option("--fp16", help="Write the typed FP16 graph.")] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="Write the INT8 graph of a NAME.int8.pt; with --fp16 its FP16 remainder.")
    ] = False,
    precision: Annotated[str | None, typer.Option(help="Instead: fp32, fp16, int8 or int8-fp16.")] = None,
    keep_float32: Annotated[
        str | None, typer.Option(help="Parts that stay float32 in an FP16 graph, with commas; auto: as few as needed.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="A device of export/: its precision and size, its engine.")] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="onnx, engine or both; default the engine too, where it can be.")
    ] = None,
    triton: Annotated[Path | None, typer.Option(help="Also write an entry of this Triton model repository.")] = None,
    size: Annotated[str | None, typer.Option(help="HEIGHTxWIDTH in pixels; default the target's, 512x512.")] = None,
    batch: Annotated[int, typer.Option(help="Windows that the static graph takes at once.")] = 1,
    dynamic: Annotated[str | None, typer.Option(help="MIN,OPT,MAX: leave size and batch free.")] = None,
    opset: Annotated[int, typer.Option(help="ONNX opset.")] = 17,
    simplify: Annotated[bool, typer.Option("--simplify/--no-simplify", help="Run onnxsim.")] = True,
    fold: Annotated[
        bool | None, typer.Option("--fold/--no-fold", help="Fold private batch-norms, where a network has the choice.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Compare on samples of this data set or folder of images; default the city.")
    ] = None,
    gate: Annotated[
        bool, typer.Option("--gate/--no-gate", help="Judge the file's accuracy on labelled samples; exit 5, marked.")
    ] = True,
    min_iou_ratio: MinIouRatio = 0.99,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder; default runs/export/NAME.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are in the way.")] = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Write a checkpoint as ONNX with its sidecar, after comparing both on real samples."""
    from roadedge.evaluation.gate_report import print_gate
    from roadedge.export import asked_precision, export_model, parse_dynamic, parse_size
    from roadedge.export.building import check_format, deliver, settled
    from roadedge.export.checked import check_gate, exported_document, gate_export
    from roadedge.export.engine_report import delivery_lines
    from roadedge.export.report import export_lines
    from roadedge.export.targets import read_target
    from roadedge.weights import find_checkpoint

    path = find_checkpoint(checkpoint)
    device = None if target is None else read_target(target)
    check_format(form, device, triton)
    asked, side = settled(device, asked_precision(precision, fp16, int8), size, path)
    if gate:
        check_gate(path, data)  # told before the work, not after it
    say(f"exporting {path}")
    result = export_model(
        path, output, asked, parse_size(side), batch,
        parse_dynamic(dynamic) if dynamic else None, opset, simplify, fold, data, overwrite,
        _names(keep_float32), progress=True,
    )  # fmt: skip
    if not as_json:
        print(*export_lines(result), sep="\n")
    found = gate_export(result, path, data, min_iou_ratio, progress=True) if gate else None
    if not as_json and found is not None:
        print_gate(found)
    say(f"Results saved to {result.onnx} and {result.sidecar}")
    kept = found is None or not any(verdict.reasons for verdict in found.verdicts)
    made = deliver(result.onnx, device, form, triton, overwrite=overwrite) if kept else None
    if as_json:
        print_json({**exported_document(result, found), "delivery": None if made is None else made.to_dict()})
    elif made is not None:
        print(*delivery_lines(made), sep="\n")
    if found is not None:
        found.check()
    say(f"Next: roadedge infer {result.onnx} IMAGE, or: roadedge eval {result.onnx} DATA")


@app.command("convert")
def convert_published(
    source: Annotated[
        str, typer.Argument(help="A published checkpoint: a file or an address; #sha256=DIGEST behind it is checked.")
    ],
    model: Annotated[str | None, typer.Option(help="What it holds; default told by its names and shapes.")] = None,
    second: Annotated[str, typer.Option(help="What it was fed beside the image: trajectory or lidar.")] = "trajectory",
    gsd: Annotated[float | None, typer.Option(help="Metres per pixel of its training images.")] = None,
    normalise: Annotated[
        str | None, typer.Option(help="Of SegNeXt: imagenet, open-pit, deepglobe, or three means, three deviations.")
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Of the weights; default research-only, not known.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder; default runs/convert/NAME.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Empty a run folder that is in the way.")] = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Make a published checkpoint of CMIPNet, CMMPNet, SegNeXt or D-SegNeXt one that every command takes."""
    from roadedge.errors import MissingExtraError

    try:
        from roadedge.models.conversion import LICENCE, ConvertOptions, convert
    except ImportError as error:
        raise MissingExtraError("torch", "train", "converting a checkpoint") from error
    options = ConvertOptions(source, model, second, gsd, normalise, licence or LICENCE, output, overwrite)
    made = convert(options, say)
    if as_json:
        print_json(made.to_dict())
    else:
        print(*made.lines(), sep="\n")
    say(f"Results saved to {made.path}")
    say(f"Next: roadedge eval {made.path} DATA, or: roadedge export {made.path}")


@app.command()
def build(
    model: Annotated[str, typer.Argument(help="An ONNX file, or a carried network's name such as roadedge-s:fp16.")],
    target: Annotated[
        str | None, typer.Option(help="A device of export/ or a TOML file; default what this machine is.")
    ] = None,
    capability: Annotated[
        str | None, typer.Option("--compute-capability", help="With --target rtx: what to build for, 8.6,8.9,12.0.")
    ] = None,
    workspace: Annotated[str | None, typer.Option(help="auto (of what is free), or MiB; default the target's.")] = None,
    timing_cache: Annotated[Path | None, typer.Option(help="File of timings; default beside the engine.")] = None,
    dla: Annotated[int | None, typer.Option(help="DLA core to build an FP16 graph for.")] = None,
    tf32: Annotated[bool, typer.Option("--tf32", help="Let FP32 layers be computed in TF32.")] = False,
    dynamic: Annotated[str | None, typer.Option(help="MIN,OPT,MAX of a graph of free size.")] = None,
    batch: Annotated[int, typer.Option(help="Windows at once, of a graph of free batch.")] = 1,
    check: Annotated[bool, typer.Option("--check/--no-check", help="Compare the engine with its ONNX file.")] = True,
    check_only: Annotated[bool, typer.Option("--check-only", help="Judge the ONNX file; needs no TensorRT.")] = False,
    triton: Annotated[Path | None, typer.Option(help="Also write an entry of this Triton model repository.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder or file; default beside MODEL.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Build anew what is there.")] = False,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")] = False,
    verbose: Verbose = False,
) -> None:
    """Build a TensorRT engine of an ONNX file, on the device, or ahead for desktop RTX cards."""
    from roadedge.export import parse_dynamic
    from roadedge.export.building import BuildOptions, build, parse_capabilities, parse_workspace
    from roadedge.export.engine_report import build_lines
    from roadedge.weights import find_model

    options = BuildOptions(
        parse_capabilities(capability), parse_workspace(workspace), timing_cache, dla,
        parse_dynamic(dynamic) if dynamic else None, batch, check, overwrite, tf32,
    )  # fmt: skip
    made = build(find_model(model, (".onnx",)), target, output, options, triton, check_only, progress=not quiet)
    if as_json:
        print_json(made.to_dict())
        return
    print(*build_lines(made), sep="\n")
    for line in made.next_lines():
        say(line)


@app.command("gate")
def judge(
    files: Annotated[list[str], typer.Argument(help="[LABEL=]FILE of each candidate; the first is the reference.")],
    data: Annotated[list[str] | None, typer.Option(help="Labelled data sets, several; default the city.")] = None,
    min_iou_ratio: MinIouRatio = 0.99,
    split: Annotated[str, typer.Option(help="train, val, test, or all.")] = "val",
    windows: Annotated[int, typer.Option(help="Windows of 512 pixels of a built-in city.")] = 32,
    backend: Annotated[str, typer.Option(help=BACKEND_HELP)] = "auto",
    precision: Annotated[str | None, typer.Option(help="What must be computed in; default the back-end's own.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of the back-end.")] = None,
    rounds: Annotated[int, typer.Option(help="Turns of timed calls; 0 measures no times.")] = 6,
    bootstrap: Annotated[int, typer.Option(help="Draws of places for the 95 % intervals; 0 for none.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of corruptions and bootstrap.")] = 0,
    mark: Annotated[
        bool, typer.Option("--mark", help="Write the verdicts into the sidecars of the candidates.")
    ] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write FILE.json and FILE.md.")] = None,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")] = False,
    verbose: Verbose = False,
) -> None:
    """Compare artefacts of one network on labelled samples; exit 5 where one lost too much."""
    from roadedge.evaluation import EvalSettings
    from roadedge.evaluation.candidates import check_asked
    from roadedge.evaluation.gate import parse_candidates, run_gate
    from roadedge.evaluation.gate_report import print_gate, write_gate

    settings = EvalSettings(split, seed=seed, bootstrap=bootstrap, windows=windows)
    candidates = parse_candidates(files, backend, precision)
    check_asked(candidates, mark, bootstrap)
    found = run_gate(candidates, data or ["city"], min_iou_ratio, settings, threads, rounds, not quiet)
    if as_json:
        print_json(found.to_dict())
    else:
        print_gate(found)
    for path in found.mark() if mark else []:
        say(f"marked {path}")
    for path in write_gate(found, output) if output else []:
        say(f"Results saved to {path}")
    found.check()


@app.command()
def doctor(
    backend: Annotated[str, typer.Option(help="Try this one: " + BACKEND_HELP)] = "auto",
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Say what this machine has and lacks, and run one frame; exit 3 where the back-end asked for cannot run."""
    from roadedge.doctor import examine

    found = examine(backend)
    if as_json:
        print_json(found.to_dict())
    else:
        found.show()
    found.check()


@app.command()
def info(
    model: Annotated[str, typer.Argument(help="A .pt, .onnx or .engine file, or a network's name.")],
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Say what a model file holds, where it came from, and whether it would load here."""
    from roadedge.export.describe import describe_model
    from roadedge.export.report import info_lines
    from roadedge.weights import find_model

    found = describe_model(find_model(model))
    if as_json:
        print_json(found)
    else:
        print(*info_lines(found), sep="\n")


@app.command()
def infer(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="[MODEL] SOURCE",
            help="A network (default roadedge-s); an image, folder, glob or video, rtsp://…, v4l2://…, csi://…, "
            "gst:…, bag:PATH#topic, ortho:SCENE.tif@TRACK.gpx or synth:WIDTHxHEIGHT@RATE.",
            show_default=False,
        ),
    ],
    trajectory: Annotated[
        list[str] | None,
        typer.Option(
            help="Points; several: FILE or prior:FILE (all at once), replay:FILE (on its own clock), udp://HOST:PORT "
            "(NMEA or JSON), bag:PATH#topic; or a folder with a file for each image, or a raster."
        ),
    ] = None,
    gsd: Annotated[float | None, typer.Option(help="Metres per pixel of the images.")] = None,
    points_crs: Annotated[str | None, typer.Option(help="What x, y of the points are; default pixels.")] = None,
    datum: Annotated[str, typer.Option(help="Of longitudes and latitudes: wgs84, gcj02 or bd09.")] = "wgs84",
    centre: Annotated[str | None, typer.Option(help="LON,LAT of a still camera that looks down; with --gsd.")] = None,
    heading: Annotated[float, typer.Option(help="Degrees clockwise from north of that image's top.")] = 0.0,
    camera: Annotated[
        Path | None, typer.Option(help="Camera file (TOML): lens, mount, inverse perspective; docs/georeferencing.md.")
    ] = None,
    telemetry: Annotated[
        str | None,
        typer.Option(
            help="Where the camera was: DJI subtitles (default those beside the video), a track, bag:PATH#topic, or "
            "udp://HOST:PORT of its own receiver."
        ),
    ] = None,
    sync_tolerance: Annotated[
        str, typer.Option(help="Furthest in time that points may lie from their frame; 100ms, 2s, inf.")
    ] = "1s",
    headings: Annotated[
        str, typer.Option(help="Yaw tags of photos: trust them, check them against the pictures, or fix reversed ones.")
    ] = "trust",
    time_offset: Annotated[str, typer.Option(help="Added to the times of points and telemetry; -18s.")] = "0s",
    window: Annotated[str | None, typer.Option(help="How long a live point stays; default the network's.")] = None,
    backend: Annotated[str, typer.Option(help=BACKEND_HELP)] = "auto",
    precision: Annotated[str | None, typer.Option(help="What must be computed in; default the back-end's own.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of the back-end.")] = None,
    threshold: Annotated[float | None, typer.Option(help="On the probability; default the model's.")] = None,
    save: Annotated[
        str | None, typer.Option(help="Of mask,overlay,video,csv,geojson,geotiff; or none; default what suits SOURCE.")
    ] = None,
    send: Annotated[
        list[str] | None, typer.Option(help="Each frame's roads as JSON to udp://HOST:PORT or stdout.")
    ] = None,
    policy: Annotated[
        str, typer.Option(help="Frames that come while busy: latest drops them, all queues, max-age:MS drops the old.")
    ] = "latest",
    rate: Annotated[
        str | None, typer.Option(help="Frames of files are due at this many a second, or pts: at their own times.")
    ] = None,
    max_frames: Annotated[int | None, typer.Option(help="Stop after this many frames.")] = None,
    duration: Annotated[str | None, typer.Option(help="Stop after this time; 30, 90s, 5min.")] = None,
    source_timeout: Annotated[str, typer.Option(help="A live source without a frame for so long is lost.")] = "5s",
    reconnect: Annotated[
        str, typer.Option(help="For how long a lost source is dialled again; 0 gives up at once.")
    ] = "1min",
    tta: Tta = 1,
    scales: Scales = None,
    sliding_window: SlidingWindow = None,
    margin: Margin = None,
    merge: Merge = "crop",
    average: Average = "logits",
    profile: Annotated[
        bool, typer.Option("--profile/--no-profile", help="Watch the machine, and write the report.")
    ] = True,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at a bad file or an untrained resolution.")] = False,
    require_valid: Annotated[bool, typer.Option("--require-valid", help="Exit 6 on an INVALID verdict.")] = False,
    accept_rejected: AcceptRejected = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Run folder; default runs/infer/NAME.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Empty a run folder that is in the way.")] = False,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")] = False,
    verbose: Verbose = False,
) -> None:
    """Extract the roads of images, a video, a camera or a stream, with a latency profile."""
    from roadedge.runners.augmentation import parse_augmentation
    from roadedge.stream.inputs import SourceOptions, live_options, parse_centre, parse_seconds
    from roadedge.stream.outcome import InferOptions
    from roadedge.stream.plan import Plan, parse_rate
    from roadedge.stream.session import infer as run
    from roadedge.stream.session import model_and_source

    model, source = model_and_source(arguments)
    inputs = SourceOptions(
        tuple(trajectory or ()), gsd, points_crs, datum, parse_centre(centre), heading, camera, telemetry,
        parse_seconds("--sync-tolerance", sync_tolerance), parse_seconds("--time-offset", time_offset),
        None if window is None else parse_seconds("--window", window), live_options(source_timeout, reconnect),
        headings,
    )  # fmt: skip
    rate_hz, realtime = parse_rate(rate)
    seconds = None if duration is None else parse_seconds("--duration", duration)
    options = InferOptions(
        source, model, inputs, Plan(policy, rate_hz, max_frames, seconds, threshold, strict, realtime), backend,
        precision, threads, tuple(save.split(",")) if save is not None else None, output, overwrite,
        accept_rejected=accept_rejected, send=tuple(send or ()), profile=profile,
        augmentation=parse_augmentation(tta, scales, sliding_window, margin, merge, average),
    )  # fmt: skip
    if as_json and "stdout" in " ".join(send or ()):
        raise UsageError("--json and --send stdout both write to stdout; give one of them")
    _show(lambda: run(options, (lambda text: None) if quiet else say), as_json, require_valid, bool(send))


@app.command()
def benchmark(
    context: typer.Context,
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL | compare A.json B.json",
            help="A .pt, .onnx or .engine file or a carried network; or the word compare and two results.",
            show_default=False,
        ),
    ],
    scenario: Annotated[str, typer.Option(help="single, fixed-rate, offline or multi.")] = "single",
    source: Annotated[
        str | None, typer.Option(help="What is fed: images, a video, synth:WIDTHxHEIGHT@RATE; default a flight.")
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Frames a second of fixed-rate and multi; default 30.")] = None,
    duration: Annotated[str, typer.Option(help="How long, as in 60s or 10min; single and offline: when warm.")] = "60s",
    policy: Annotated[str, typer.Option(help="Of fixed-rate: latest, all or max-age:MS.")] = "latest",
    include: Annotated[
        str | None, typer.Option(help="Timed beside the network in single and multi: decode,pre,post.")
    ] = None,
    batch: Annotated[str | None, typer.Option(help="Of offline; default 1,2,4,8 where the graph takes them.")] = None,
    streams: Annotated[int | None, typer.Option(help="Of multi: measure so many; default search the most.")] = None,
    against: Annotated[str | None, typer.Option(help="A second network, measured in turns with the first.")] = None,
    repeats: Annotated[int, typer.Option(help="Turns of each with --against.")] = 3,
    backend: Annotated[str, typer.Option(help=BACKEND_HELP)] = "auto",
    precision: Annotated[str | None, typer.Option(help="What must be computed in; default the back-end's own.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of the back-end.")] = None,
    layers: Annotated[bool, typer.Option("--layers", help="Times of single layers, in a pass of their own.")] = False,
    power: Annotated[bool, typer.Option("--power", help="Idle power first; joules an image.")] = False,
    slo: Annotated[
        str | None, typer.Option(help="Targets, exit 6 where missed: p99=33ms,drop=1%,throughput=30/s,streams=4.")
    ] = None,
    require_valid: Annotated[bool, typer.Option("--require-valid", help="Exit 6 on an INVALID verdict.")] = False,
    submit_json: Annotated[
        Path | None, typer.Option(help="Also write a result to pass on: no host, user or folder in it.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Compare unlike or INVALID runs all the same.")] = False,
    accept_rejected: AcceptRejected = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Default runs/benchmark/NAME.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Empty a run folder that is in the way.")] = False,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")] = False,
    verbose: Verbose = False,
) -> None:
    """Measure a network: closed loop, at a rate, by batches, by streams; or compare two results.

    roadedge benchmark roadedge-s --duration 60s --slo p99=33ms
    roadedge benchmark roadedge-s:int8 --against roadedge-s --repeats 3
    roadedge benchmark compare runs/benchmark/A runs/benchmark/B
    """
    from roadedge.benchmark.command import check_compare, run_benchmark, run_comparison, the_model
    from roadedge.benchmark.options import BenchmarkOptions, parse_batches, parse_duration, parse_include

    tell = (lambda text: None) if quiet else say
    if arguments[0] == "compare":
        sources = {name: context.get_parameter_source(name) for name in context.params}
        given = [name for name, kind in sources.items() if kind is not None and kind.name != "DEFAULT"]
        run_comparison(*check_compare(arguments[1:], given), force, print_json if as_json else None)
        return
    options = BenchmarkOptions(
        the_model(arguments), scenario, source, rate, parse_duration(duration), policy, parse_include(include),
        parse_batches(batch), streams, backend, precision, threads, accept_rejected, layers, power, slo, against,
        repeats, output, overwrite, submit_json,
    )  # fmt: skip
    if run_benchmark(options, force, require_valid, tell, say, print_json if as_json else None):
        raise typer.Exit(130)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="The folder of a run, also of one that was killed.", show_default=False)],
    html: Annotated[bool, typer.Option("--html", help="Draw report.html anew of frames.csv and metrics.json.")] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the report here; default report.html of the run.")
    ] = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Show the latency of a run again."""
    from roadedge.latency.rebuild import print_run, rebuild_report
    from roadedge.latency.saved import load_run

    saved = load_run(run)
    path = rebuild_report(saved, output) if html or output is not None else None
    if as_json:
        print_json({**saved.metrics, "missing": list(saved.missing), "report": None if path is None else str(path)})
    else:
        print_run(saved)
    for lack in saved.missing:
        say(f"note: {lack}")
    say(f"Next: roadedge report {run} --html" if path is None else f"Report written to {path}")


@app.command("check-headings")
def check_headings(
    photos: Annotated[str, typer.Argument(help="A folder or quoted glob of successive drone photos.")],
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Hold the yaw tags of photos against how their pictures shift; exit 8 where some are reversed or wrong."""
    from roadedge.georeference.heading import check_photos
    from roadedge.stream.opening import images_of

    found = check_photos(images_of(photos))
    if as_json:
        print_json(found.to_dict())
    else:
        print(*found.lines(), sep="\n")
    found.check()


@app.command()
def demo(
    seconds: Annotated[float, typer.Option(help="How long to fly.")] = 20.0,
    model: Annotated[
        str | None, typer.Option(help="A carried network or a file; default roadedge-s, in INT8 where OpenVINO is.")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Run folder; default in runs/demo.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Empty a run folder that is in the way.")] = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Fly a synthetic drone over the built-in city and watch roads being extracted, on this processor."""
    from roadedge.demo import fly

    _show(lambda: fly(seconds, output, say, model, overwrite), as_json)


def _names(text: str | None) -> tuple[str, ...]:
    """What stands between the commas; nothing where nothing was given."""
    return () if text is None else tuple(part.strip() for part in text.split(","))


def _show_quantized(result: QuantizeResult, as_json: bool, more: dict[str, Any] | None = None) -> None:
    """Print what quantizing gave, and leave with the exit code of the gate."""
    from roadedge.evaluation.gate_report import print_gate
    from roadedge.training.launch import is_follower

    if is_follower():  # under torchrun the first process says what came of it
        return
    if as_json:
        print_json({**(more or {}), **result.to_dict()})
    elif result.gate is not None:
        print_gate(result.gate)
    for note in result.notes:
        say(f"note: {note}")
    say(f"Results saved to {result.folder}")
    result.check()
    say(f"Next: roadedge infer {result.best} IMAGE, or on a device: roadedge build {result.best_for_gpu}")


def _show(run: Callable[[], InferResult], as_json: bool, require_valid: bool = False, on_stderr: bool = False) -> None:
    """Run, print the result, and leave with the exit code that it deserves."""
    from roadedge.stream.show import next_command, print_result

    try:
        result = run()
    except KeyboardInterrupt as stop:
        say(str(stop) or "interrupted before the first frame")
        raise typer.Exit(130) from None
    if as_json:
        print_json({"folder": str(result.folder), **result.metrics})
    else:
        print_result(result, sys.stderr if on_stderr else sys.stdout)
    for failure in result.run.failures:
        say(f"failed: {failure}")
    say(f"Results saved to {result.folder}")
    say(f"Next: {next_command(result)}")
    if result.run.interrupted:
        raise typer.Exit(130)
    result.check(require_valid)


cli_map.add_to(app)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; an error is one sentence, with -v a traceback."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")  # its lines about a bad image would stand beside our sentence
    arguments = sys.argv[1:] if arguments is None else arguments
    verbose = any(a in ("-v", "--verbose") for a in arguments)
    warnings.showwarning = lambda message, *_, **__: say(f"warning: {message}")  # one line, without our source
    try:
        app(args=arguments, standalone_mode=True)
    except SystemExit as stop:
        context = stop.__context__
        if context is not None and isinstance(context.__cause__, KeyboardInterrupt):  # typer ends in silence after it
            say(f"interrupted: {context.__cause__}" if context.__cause__.args else "interrupted")
            return 130
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
        if isinstance(error, SystemError) and isinstance(error.__cause__, KeyboardInterrupt):
            say("interrupted")  # within a function that C called, where Python names it otherwise
            return 130
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
