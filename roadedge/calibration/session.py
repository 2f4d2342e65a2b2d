"""What `roadedge quantize` does: float graph, ranges, INT8 graphs, fine-tuning where asked, and the gate over all."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from roadedge.atomic import write_json
from roadedge.calibration.ranges import parse_method
from roadedge.environment import environment
from roadedge.errors import DataError, ExportError, MissingExtraError, UnknownNameError, UsageError
from roadedge.resources import recipe_path
from roadedge.run_folder import newest_run, open_run_folder
from roadedge.spec import read_sidecar, sha256_of
from roadedge.training.launch import launched

if TYPE_CHECKING:
    from roadedge.calibration.ptq import PtqResult
    from roadedge.calibration.samples import CalibrationList
    from roadedge.evaluation.gate import GateResult
    from roadedge.export.parts import KeptFloat32
    from roadedge.training.processes import Processes
    from roadedge.training.recipe import Recipe
    from roadedge.training.session import Session

MODES = ("ptq", "qat")
SIZE = (512, 512)
METHOD = "percentile"
CITY = "city"
WINDOWS = 32  # of the built-in city, for the gate
Report = Callable[[str], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class QuantizeOptions:
    """How to quantize. None means what suits the model.

    `data` are folder data sets (or `city`): ranges and fine-tuning use their train splits, the gate the validation
    splits. `keep_float` are names of convolutions, or `auto`: as many as the sensitivity advises.
    """

    model: str
    data: tuple[str, ...] = ()
    mode: str = "ptq"
    method: str | None = None  # of the ranges; None: percentile, in fine-tuning what the recipe says
    calib: int | None = None  # samples
    samples: Path | None = None  # a list drawn before
    cache: Path | None = None
    keep_float: tuple[str, ...] = ()
    sensitivity: bool = False
    steps: int | None = None
    epochs: float | None = None
    lr: float | None = None
    learned: bool | None = None
    recipe: str | None = None
    size: tuple[int, int] = SIZE
    seed: int = 0
    gate: bool = True
    min_iou_ratio: float = 0.99
    threads: int | None = None
    output: Path | None = None
    overwrite: bool = False
    resume: bool = False
    device: str = "auto"  # of fine-tuning
    products_float: bool = True  # convolutions that read sums of products of two maps stay float
    keep_float32: tuple[str, ...] = ()  # parts of the FP16 graphs that stay float32, or `auto`

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UnknownNameError("mode", self.mode, MODES)
        if self.mode == "ptq" and self._tunes:
            raise UsageError("--steps, --epochs, --lr and --learned-scales belong to --mode qat; leave them out")
        if self.mode == "qat" and not self.products_float:
            raise UsageError("--quantize-products belongs to --mode ptq; fine-tuning keeps such convolutions float")
        if self.mode == "ptq" and self.resume:
            raise UsageError("--resume continues a fine-tuning; it belongs to --mode qat")
        if self.resume and (self.overwrite or self.recipe or self.keep_float or self.method or self._tunes):
            raise UsageError("--resume continues a fine-tuning as it was started; leave its other settings out")
        if self.steps is not None and self.epochs is not None:
            raise UsageError("--steps and --epochs say the same thing; give one of them")
        if "auto" in self.keep_float and len(self.keep_float) > 1:
            raise UsageError("--keep-float is auto or a list of convolutions, not both")
        self._check_values()

    def _check_values(self) -> None:
        """Raise for values that could never do, before any work."""
        if self.keep_float32:
            from roadedge.export.parts import check_asked

            check_asked(self.keep_float32, "int8-fp16")
        if self.method is not None:
            parse_method(self.method)
        if self.epochs is not None and not 0 < self.epochs < math.inf:
            raise UsageError(f"--epochs must be above 0, got {self.epochs:g}")
        if not 0 < self.min_iou_ratio <= 1:
            raise UsageError(f"--min-iou-ratio must lie above 0 and at most at 1, got {self.min_iou_ratio:g}")
        for name, count in (("--calib", self.calib), ("--threads", self.threads)):
            if count is not None and count < 1:
                raise UsageError(f"{name} must be at least 1, got {count}")

    @property
    def _tunes(self) -> bool:
        """Whether something is said of how to fine-tune."""
        return any(value is not None for value in (self.steps, self.epochs, self.lr, self.learned))

    @property
    def automatic(self) -> bool:
        """Whether the sensitivity decides what stays float."""
        return self.keep_float == ("auto",)


@dataclass(frozen=True, slots=True)
class QuantizeResult:
    """What was written. `files` by label: FP32, FP16, INT8-PTQ, INT8-QAT and those with an FP16 remainder."""

    folder: Path
    files: dict[str, Path]
    checkpoint: Path | None  # NAME.int8.pt, of fine-tuning
    gate: GateResult | None
    kept_float: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def best(self) -> Path:
        """The INT8 graph to deploy on a CPU: the fine-tuned one where there is one."""
        return self.files.get("INT8-QAT", self.files["INT8-PTQ"])

    @property
    def best_for_gpu(self) -> Path:
        """The same with an FP16 remainder."""
        return self.files.get("INT8-QAT+FP16", self.files["INT8-PTQ+FP16"])

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "folder": str(self.folder),
            "files": {label: str(path) for label, path in self.files.items()},
            "checkpoint": None if self.checkpoint is None else str(self.checkpoint),
            "kept_float": list(self.kept_float),
            "gate": None if self.gate is None else self.gate.to_dict(),
            "notes": list(self.notes),
        }

    def check(self) -> None:
        """Raise AccuracyGateError where the gate rejected an INT8 graph."""
        if self.gate is not None:
            self.gate.check()


def quantize(options: QuantizeOptions, report: Report, progress: bool = False) -> QuantizeResult:
    """Quantize a checkpoint or an ONNX file and judge what came of it.

    Args:
        options: see there.
        report: is told a line at each stage.
        progress: draw bars on stderr where that is a terminal.

    Returns:
        The files. That the gate rejected one is said by `check()`, after all was written.

    Where torchrun started several processes, they fine-tune together, and the first one does all else.

    Raises:
        RoadEdgeError: bad options, model, data or output; see the stages.
    """
    if options.mode != "qat":
        if launched() > 1:
            raise UsageError("only fine-tuning is the work of several processes; start --mode ptq without torchrun")
        return _opened(options, report, progress, None)
    try:
        from roadedge.training.processes import joined, one_voice
    except ImportError as error:
        raise MissingExtraError("torch", "train", "fine-tuning") from error
    with joined(options.device) as group, one_voice(group):
        tell = report if group.first else lambda text: None
        return _opened(options, tell, progress and group.first, group)


def _opened(options: QuantizeOptions, report: Report, progress: bool, group: Processes | None) -> QuantizeResult:
    """Open the run folder and quantize into it."""
    path = _found(options)
    if options.mode == "qat" and path.suffix != ".pt":
        raise UsageError(f"fine-tuning needs a checkpoint (.pt), got {path}; quantize it with --mode ptq")
    missing = [one for one in options.data if one != CITY and not Path(one).expanduser().is_dir()]
    if missing:
        raise DataError(f"there is no data set folder {missing[0]}")
    folder, fresh = _by_first(group, lambda: _folder(options, path))
    if options.resume and not options.data:  # ranges and verdict are of what is fine-tuned on, as they were to be
        options = dataclasses.replace(options, data=tuple(_stored_data(folder)))
    try:
        return _quantize(options, path, folder, report, progress, group)
    except BaseException:
        if (
            fresh and (group is None or group.first) and not list(folder.rglob("state.pt"))
        ):  # nothing that could be gone on with
            shutil.rmtree(folder, ignore_errors=True)
        raise


def train_and_quantize(
    session: Session, threads: int | None, report: Report, progress: bool, device: str = "auto"
) -> tuple[dict[str, Any], QuantizeResult]:
    """What `roadedge train --qat` does: train, and fine-tune what was trained in the folder `int8` of its run."""
    try:
        from roadedge.training.processes import joined
    except ImportError as error:
        raise MissingExtraError("torch", "train", "training") from error
    with joined(device):  # one group for both halves
        trained = session.run(threads, report, progress, device)
        data = tuple(str(folder) for folder in session.folders)
        output = Path(trained["folder"]) / "int8"
        options = QuantizeOptions(
            trained["best"], data, "qat", threads=threads, output=output, overwrite=True, device=device
        )
        return trained, quantize(options, report, progress)


def _by_first(group: Processes | None, work: Callable[[], T]) -> T:
    """What `work` gives on the first process, which alone does it, or here where there is no group."""
    return work() if group is None else group.from_first(work)


def _quantize(
    options: QuantizeOptions, path: Path, folder: Path, report: Report, progress: bool, group: Processes | None
) -> QuantizeResult:
    files, notes, kept = _by_first(group, lambda: _without_tuning(options, path, folder, report, progress))
    checkpoint = None
    if group is not None:
        checkpoint = _fine_tuned(options, path, kept, folder, report, progress, group)
    facts = (kept, notes)
    return _by_first(group, lambda: _judged(options, files, checkpoint, folder, facts, report, progress))


def _without_tuning(
    options: QuantizeOptions, path: Path, folder: Path, report: Report, progress: bool
) -> tuple[dict[str, Path], tuple[str, ...], tuple[str, ...]]:
    """Float graphs and those of post-training quantization; notes on these, and what stayed float."""
    files = _float_files(options, path, folder, report, progress)
    samples = _samples(options, files["FP32"], folder)
    counts = ", ".join(f"{count} {name}" for name, count in samples.conditions.items() if count)
    report(f"calibrating by {options.method or METHOD} on {len(samples)} samples of the train split: {counts}")
    kept = () if options.automatic else options.keep_float
    done = _post_training(options, files["FP32"], samples, kept, folder, options.cache, progress)
    if options.sensitivity or options.automatic:
        kept = _ranked(options, files["FP32"], samples, done, folder, report, progress) or kept
        if options.automatic and kept:
            done = _post_training(options, files["FP32"], samples, kept, folder, done.cache, progress)
    files |= {"INT8-PTQ": done.files["int8"], "INT8-PTQ+FP16": done.files["int8-fp16"]}
    return files, (*done.notes, *_float32_notes("the INT8 file for GPUs", done.float32)), kept


def _judged(
    options: QuantizeOptions,
    files: dict[str, Path],
    checkpoint: Path | None,
    folder: Path,
    facts: tuple[tuple[str, ...], tuple[str, ...]],
    report: Report,
    progress: bool,
) -> QuantizeResult:
    """Export what was fine-tuned, judge all graphs and write what came of it; `facts`: what stayed float, notes."""
    if checkpoint is not None:
        files |= _exported(options, checkpoint, folder, report)
    gate = _gate(options, files, folder, report, progress) if options.gate else None
    result = QuantizeResult(folder, files, checkpoint, gate, *facts)
    write_json(folder / "metrics.json", {"schema_version": 1, **result.to_dict(), "environment": environment()})
    return result


def _found(options: QuantizeOptions) -> Path:
    from roadedge.weights import find_model

    kinds = (".pt",) if options.mode == "qat" else (".pt", ".onnx")
    return find_model(options.model, kinds)


def _folder(options: QuantizeOptions, path: Path) -> tuple[Path, bool]:
    """The run folder, and whether it was made now."""
    if options.resume:
        folder = options.output or newest_run("quantize", "qat/state.pt")
        if folder is None or not (folder / "qat" / "state.pt").exists():
            raise UsageError(f"there is no fine-tuning to resume in {folder or 'runs/quantize'}; leave --resume out")
        start = folder / "qat" / "start.pt"
        if not start.exists() or sha256_of(start) != sha256_of(path):
            raise UsageError(f"the fine-tuning in {folder} did not start from {path}; give the checkpoint that it did")
        return folder.resolve(), False
    needed = [path, *(Path(one) for one in options.data)]
    return open_run_folder("quantize", _name(path), options.output, options.overwrite, needed), True


def _stored_data(folder: Path) -> list[str]:
    """The folders that a fine-tuning was started on; none for the city."""
    return [str(one) for one in json.loads((folder / "qat" / "data.json").read_text())["folders"]]


def _name(path: Path) -> str:
    """`roadedge-s.onnx` → `roadedge-s`; a run's best.pt and last.pt are called after their network."""
    from roadedge.export.exporter import RUN_NAMES

    stated = read_sidecar(path)
    return stated[0].name if path.stem in RUN_NAMES and stated is not None else path.stem


def _float32_notes(what: str, kept: KeptFloat32 | None) -> tuple[str, ...]:
    """Which parts stay float32 because that was asked for."""
    from roadedge.export.parts import float32_lines

    return () if kept is None else (f"{what} has {' '.join(line.strip() for line in float32_lines(kept.to_dict()))}",)


def _float_files(options: QuantizeOptions, path: Path, folder: Path, report: Report, progress: bool) -> dict[str, Path]:
    """FP32 and FP16 graphs of a checkpoint; an ONNX file is its own."""
    if path.suffix == ".onnx":
        return {"FP32": path}
    from roadedge.export import export_model

    report(f"exporting {path.name} in fp32")
    fold, samples = _fold(path), _proof(options)
    files = {"FP32": export_model(path, folder, "fp32", options.size, fold=fold, samples=samples, overwrite=True).onnx}
    report(f"exporting {path.name} in fp16")
    try:
        half = export_model(
            path, folder, "fp16", options.size, fold=fold, samples=samples, overwrite=True,
            keep_float32=options.keep_float32, progress=progress,
        )  # fmt: skip
    except ExportError as error:  # a network that does not bear FP16 may well bear INT8
        report(f"there is no FP16 to compare with: {error}")
    else:
        files["FP16"] = half.onnx
        for note in _float32_notes("the FP16 file", half.float32):
            report(note)
    return files


def _proof(options: QuantizeOptions) -> str | None:
    """Where the samples lie on which a written graph is compared with the network; None for the built-in city."""
    return next((one for one in options.data if one != CITY), None)


def _fold(path: Path) -> bool | None:
    """Whether the network leaves the choice of folding: INT8 weights are those of folded norms."""
    import inspect

    from roadedge.models.checkpoint import load_network

    network, _ = load_network(path)
    return True if "fold" in inspect.signature(network.deployed).parameters else None


def _samples(options: QuantizeOptions, onnx: Path, folder: Path) -> CalibrationList:
    from roadedge.calibration.ptq import face_of_file
    from roadedge.calibration.samples import draw_list, read_list, write_list

    if options.samples is not None:
        samples = read_list(options.samples, options.data)
    else:
        samples = draw_list(options.data, face_of_file(onnx).spec, options.calib, options.seed)
    write_list(folder / "calibration.json", samples)
    return samples


def _post_training(
    options: QuantizeOptions,
    onnx: Path,
    samples: CalibrationList,
    kept: tuple[str, ...],
    folder: Path,
    cache: Path | None,
    progress: bool,
) -> PtqResult:
    """The graphs by post-training quantization; beside a fine-tuned one they lie in a folder of their own."""
    from roadedge.calibration.ptq import quantize_onnx

    target = folder / "ptq" if options.mode == "qat" else folder
    return quantize_onnx(
        onnx, samples, options.method or METHOD, kept, True, cache, target, True, options.threads, True, progress,
        options.products_float, options.keep_float32,
    )  # fmt: skip


def _ranked(
    options: QuantizeOptions,
    onnx: Path,
    samples: CalibrationList,
    done: PtqResult,
    folder: Path,
    report: Report,
    progress: bool,
) -> tuple[str, ...]:
    """Rank the layers, write table and plot; returns what should stay float where that is asked for."""
    from roadedge.calibration.sensitivity import auto_keep_float
    from roadedge.calibration.sensitivity_report import sensitivity_lines, write_sensitivity
    from roadedge.calibration.subsets import measure_sensitivity

    report(f"ranking {len(done.placement.convolutions)} layers, each alone in INT8")
    found = measure_sensitivity(
        onnx, samples, options.data, options.method or METHOD, done.cache, threads=options.threads, progress=progress,
        products_float=options.products_float,
    )  # fmt: skip
    kept = auto_keep_float(found) if options.automatic else ()
    for line in sensitivity_lines(found, kept):
        report(line)
    write_sensitivity(found, folder, kept)
    return kept


def _fine_tuned(
    options: QuantizeOptions,
    path: Path,
    kept: tuple[str, ...],
    folder: Path,
    report: Report,
    progress: bool,
    group: Processes,
) -> Path:
    """Fine-tune, all processes together, and write `NAME.int8.pt`."""
    from roadedge.models.checkpoint import load_network, save_network
    from roadedge.training.loop import train
    from roadedge.training.session import Bar

    recipe, data = group.from_first(lambda: _recipe(options, path, kept, folder))
    report(f"fine-tuning for {recipe.steps} steps at {recipe.lr:g}")
    with Bar(recipe.steps, progress) as bar:
        result = train(
            recipe, data, folder / "qat", path, options.resume, options.threads, report, bar.step, options.device
        )
    target = folder / f"{_name(path)}.int8.pt"
    group.from_first(lambda: save_network(target, *load_network(result.best)))
    return target


def _exported(options: QuantizeOptions, checkpoint: Path, folder: Path, report: Report) -> dict[str, Path]:
    from roadedge.export import export_model

    files = {}
    for label, precision in (("INT8-QAT", "int8"), ("INT8-QAT+FP16", "int8-fp16")):
        report(f"exporting {checkpoint.name} in {precision}")
        keep = options.keep_float32 if precision == "int8-fp16" else ()
        exported = export_model(
            checkpoint, folder, precision, options.size, samples=_proof(options), overwrite=True, keep_float32=keep
        )
        files[label] = exported.onnx
        for note in _float32_notes(exported.onnx.name, exported.float32):
            report(note)
    return files


def _recipe(options: QuantizeOptions, path: Path, kept: tuple[str, ...], folder: Path) -> tuple[Recipe, list[Path]]:
    """Recipe and data of the fine-tuning: the user's recipe, or that of the checkpoint's training, shortened."""
    from roadedge.models.checkpoint import read_archive
    from roadedge.training.qat import qat_recipe
    from roadedge.training.recipe import override, read_recipe
    from roadedge.training.session import count_samples

    if options.resume:
        return read_recipe(folder / "qat" / "recipe.toml"), [Path(one) for one in _stored_data(folder)]
    data = [Path(one).resolve() for one in options.data if one != CITY]
    stated = {"recipe": recipe_path(options.recipe).read_text()} if options.recipe else read_archive(path)["provenance"]
    recipe = qat_recipe(
        stated, _name(path), steps=options.steps, lr=options.lr, learned=options.learned, keep_float=kept or None,
        method=options.method, city=1.0 if CITY in options.data and data else None,
    )  # fmt: skip
    aside = {name: count for name, count in recipe.hold_out.items() if name in {one.name for one in data}}
    recipe = override(recipe, hold_out=aside)
    if options.epochs is not None:
        steps = max(1, round(options.epochs * count_samples(data, recipe) / recipe.batch))
        recipe = override(recipe, steps=steps, evaluate_every=max(1, steps // 3))
    return recipe, data


def _gate(options: QuantizeOptions, files: dict[str, Path], folder: Path, report: Report, progress: bool) -> GateResult:
    """Judge each graph against FP32 and mark the sidecars of the INT8 ones."""
    from roadedge.evaluation.gate import Candidate, run_gate
    from roadedge.evaluation.gate_report import write_gate
    from roadedge.evaluation.settings import EvalSettings

    shown = [Candidate(label, file) for label, file in files.items()]
    report(f"judging {', '.join(one.label for one in shown[1:])} against {shown[0].label}")
    settings = EvalSettings(seed=options.seed, windows=WINDOWS)
    found = run_gate(
        shown, options.data or (CITY,), options.min_iou_ratio, settings, options.threads, progress=progress
    )
    found.mark([one.label for one in shown if one.label.startswith("INT8")])
    write_gate(found, folder)
    return found
