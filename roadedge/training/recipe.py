"""A training recipe: a TOML file read into a frozen dataclass, so that a run can be repeated from one page."""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roadedge.data.augment_spec import AugmentSpec
from roadedge.errors import RecipeError
from roadedge.spec import LidarSpec
from roadedge.training.plateau import PlateauSpec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True, slots=True)
class QatSpec:
    """Quantization-aware fine-tuning of a trained network: what `train --qat` and `quantize --mode qat` do.

    `on` marks the recipe of a fine-tuning itself; there `steps` and `lr` of the recipe count, not these.
    """

    on: bool = False
    steps: int = 300
    lr: float = 3e-5  # ten times more unlearns what the long training found
    observe: int = 24  # batches that the ranges of values are read from before the first step; then they stay
    method: str = "percentile"  # how a range is chosen, a key of calibration.ranges.METHODS
    learned: bool = False  # learned step size instead of fixed scales
    keep_float: tuple[str, ...] = ()  # convolutions that stay float, beside the first and last ones
    distil: float = 4.0  # weight of the distance from what the float network says

    def __post_init__(self) -> None:
        for name in ("observe", "steps"):
            if getattr(self, name) < 1:
                raise RecipeError(f"qat.{name} must be at least 1, got {getattr(self, name)}")
        if not self.lr > 0:
            raise RecipeError(f"qat.lr must be positive, got {self.lr}")
        if self.distil < 0:
            raise RecipeError(f"qat.distil must not be negative, got {self.distil}")


@dataclass(frozen=True, slots=True)
class LossSpec:
    """The loss: which one on roads, and what the outputs beside the logits weigh against it.

    A network without such outputs is trained on its logits alone, whatever the weights.
    """

    road: str = "bce-dice"  # whose `dice` weighs the second term; or soft-iou
    intermediate: float = 1.0  # of roads at coarser scales and from earlier stages, each
    connectivity: float = 1.0  # each scale
    orientation: float = 1.0

    def __post_init__(self) -> None:
        if self.road not in ("bce-dice", "soft-iou"):
            raise RecipeError(f"loss.road must be bce-dice or soft-iou, got {self.road!r}")
        for name in ("intermediate", "connectivity", "orientation"):
            if not getattr(self, name) >= 0:
                raise RecipeError(f"loss.{name} must be zero or more, got {getattr(self, name)}")

    def weight(self, task: str) -> float:
        """Of an output of a task: road, connectivity or orientation."""
        return {"road": self.intermediate}.get(task, getattr(self, task, 0.0))


@dataclass(frozen=True, slots=True)
class Recipe:
    """All settings of one run. Steps count optimiser updates; shares and weights need not sum to one."""

    name: str = "roadedge-s"
    model: str = "roadedge-s"
    inputs: tuple[str, ...] = ("image", "trajectory")
    gsd_m: float = 0.46
    steps: int = 4000
    batch: int = 8  # samples of one update, over all processes
    accumulate: int = 1  # parts that a batch is taken in, one after the other, where memory does not hold it
    crop: int = 256
    optimiser: str = "adamw"  # adam, adamw, or sgd with a momentum of 0.9
    eps: float = 1e-8  # of Adam
    amsgrad: bool = False  # of Adam
    schedule: str = "cosine"  # after the warm-up: cosine, linear to 0, steps (x 0.1 at `drops`), or constant
    drops: tuple[float, ...] = ()  # where `steps` drops, as shares of all steps
    final_rate: float = 0.01  # share of lr that a cosine ends at
    rate_every: int = 1  # steps between two values of the rate: those of an epoch where it changes once in each
    lr: float = 2e-3
    rates: dict[str, float] = field(default_factory=dict)  # multiples of lr, of weights by how their names begin
    weight_decay: float = 0.02
    decayed: str = "weights"  # weights (neither norms nor biases), no-norms (all but norms), or all
    warmup_steps: int = 200
    warmup_within: bool = False  # the schedule counts from the first step, and the warm-up takes a share of it
    ema: float = 0.999
    clip: float = 2.0
    dice: float = 1.0
    precision: str = "auto"  # bf16 where the processor has it; fp32, bf16
    seed: int = 0
    city: float = 0.0  # weight of the built-in city beside the folders' 1.0; alone where there are no folders
    city_tiles: int = 256  # how many 512 x 512 windows of it are drawn from
    city_seeds: int = 16
    weights: dict[str, float] = field(default_factory=dict)  # of a folder by its name; default 1.0
    folds: int = 0  # parts of a cross-validation; 0: the data sets' own splits
    fold: int = 0  # which of them is tested, from 1 on; 0: all, one after the other
    hold_out: dict[str, int] = field(
        default_factory=dict
    )  # places set aside of a folder's train split, to choose by; a tenth
    init: str = ""  # weights to start from: a file, an address, a network's name; #sha256=DIGEST is checked
    evaluate_every: int = 500
    evaluate_most: int = 48  # samples
    save_every: int = 250
    panels: int = 6
    licence: str = ""
    lidar: LidarSpec = field(default_factory=LidarSpec)  # which raster of a data set, and what its levels stand for
    augment: AugmentSpec = field(default_factory=AugmentSpec)
    loss: LossSpec = field(default_factory=LossSpec)
    plateau: PlateauSpec = field(default_factory=PlateauSpec)  # cuts of the rate and an end before the last step
    qat: QatSpec = field(default_factory=QatSpec)

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "accumulate", "crop", "rate_every", "evaluate_every", "save_every"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.crop % 32:
            raise RecipeError(f"crop must be a multiple of 32, got {self.crop}")
        if self.batch % self.accumulate:
            raise RecipeError(f"a batch of {self.batch} does not divide into {self.accumulate} parts (accumulate)")
        if self.optimiser not in ("adam", "adamw", "sgd"):
            raise RecipeError(f"optimiser must be adam, adamw or sgd, got {self.optimiser!r}")
        if self.schedule not in ("cosine", "linear", "steps", "constant"):
            raise RecipeError(
                f"schedule must be cosine, linear, steps or constant, got {self.schedule!r}; cuts on a plateau are a "
                "table of their own, [plateau], beside any of them"
            )
        if any(type(share) is not float or not 0 < share < 1 for share in self.drops):
            raise RecipeError(f"drops are shares of all steps between 0 and 1, such as 0.5, got {self.drops}")
        if self.folds < 0 or self.folds == 1 or not 0 <= self.fold <= self.folds:
            raise RecipeError(f"fold must lie in 1 ... folds and folds be at least 2, got {self.fold} of {self.folds}")
        if self.precision not in ("auto", "bf16", "fp32"):
            raise RecipeError(f"precision must be auto, bf16 or fp32, got {self.precision!r}")
        if not self.lr > 0:
            raise RecipeError(f"lr must be positive, got {self.lr}")
        self._check_rates()

    def _check_rates(self) -> None:
        if not 0 <= self.final_rate <= 1:
            raise RecipeError(f"final_rate is a share of lr in 0 ... 1, got {self.final_rate}")
        if not self.eps > 0:
            raise RecipeError(f"eps must be positive, got {self.eps}")
        if self.optimiser == "sgd" and (self.amsgrad or self.eps != 1e-8):
            raise RecipeError("eps and amsgrad are settings of adam and adamw, the optimiser is sgd; leave them out")
        if self.decayed not in ("weights", "no-norms", "all"):
            raise RecipeError(f"decayed must be weights, no-norms or all, got {self.decayed!r}")
        for name, multiple in self.rates.items():
            if type(multiple) not in (int, float) or not multiple > 0:
                raise RecipeError(f"[rates] has {name} = {multiple!r}; expected a multiple of lr, such as 10.0")
        if self.plateau.restart and self.warmup_steps:
            raise RecipeError("plateau.restart goes back to lr, which a warm-up rules out; set warmup_steps = 0")


TABLES = {"lidar": LidarSpec, "augment": AugmentSpec, "loss": LossSpec, "plateau": PlateauSpec, "qat": QatSpec}


def read_recipe(path: str | Path) -> Recipe:
    """Read a TOML file.

    Raises:
        RecipeError: missing, not TOML, an unknown key or a value of the wrong type; the message names it.
    """
    try:
        text = Path(path).read_text()
    except OSError as error:
        raise RecipeError(f"cannot read the recipe {path}: {error.strerror or error}") from error
    return recipe_of_text(text, str(path))


def recipe_of_text(text: str, where: str = "the recipe") -> Recipe:
    """Read TOML text; raises RecipeError."""
    try:
        return recipe_from(tomllib.loads(text), where)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{where} is not TOML: {error}") from error


def recipe_from(values: dict[str, Any], where: str = "the recipe") -> Recipe:
    """Check plain values and make a Recipe of them; raises RecipeError."""
    plain = dict(values)
    for name, kind in TABLES.items():
        if isinstance(plain.get(name), dict):
            plain[name] = _checked(kind, plain[name], f"[{name}] of {where}")
    recipe: Recipe = _checked(Recipe, plain, where)
    return recipe


def override(recipe: Recipe, **changes: Any) -> Recipe:
    """The recipe with the given settings changed; None means unchanged."""
    return dataclasses.replace(recipe, **{key: value for key, value in changes.items() if value is not None})


def to_toml(recipe: Recipe) -> str:
    """The recipe as TOML text that `read_recipe` reads back as the same value."""
    tables: list[str] = []
    lines: list[str] = []
    for f in dataclasses.fields(recipe):
        value = getattr(recipe, f.name)
        if dataclasses.is_dataclass(value) or isinstance(value, dict):
            inner = (
                value
                if isinstance(value, dict)
                else {g.name: getattr(value, g.name) for g in dataclasses.fields(value)}
            )
            if inner:
                tables.append(
                    "\n".join([f"\n[{f.name}]", *(f"{_key(key)} = {_literal(v)}" for key, v in inner.items())])
                )
        else:
            lines.append(f"{f.name} = {_literal(value)}")
    return "\n".join(lines + tables) + "\n"


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else json.dumps(name)


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(_literal(v) for v in value) + "]"
    if isinstance(value, str):
        return json.dumps(value)
    return repr(value)


def _checked(kind: type[Any], values: dict[str, Any], where: str) -> Any:
    defaults = kind()
    known = {f.name for f in dataclasses.fields(kind)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise RecipeError(f"{where} has the unknown keys {unknown}; known are {sorted(known)}")
    plain = {}
    for key, value in values.items():
        want = getattr(defaults, key)
        given = tuple(value) if isinstance(value, list) else value
        if isinstance(want, float) and type(given) is int:
            given = float(given)
        if type(given) is not type(want):
            if dataclasses.is_dataclass(want):
                raise RecipeError(f"{where} has {key} = {value!r}; expected a table, [{key}] and its keys below it")
            raise RecipeError(f"{where} has {key} = {value!r}; expected {type(want).__name__} such as {want!r}")
        plain[key] = given
    return kind(**plain)
