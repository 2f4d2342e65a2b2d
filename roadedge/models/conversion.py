"""`roadedge convert`: a published checkpoint becomes one of ours, with its spec, so that all commands take it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadedge.atomic import write_json
from roadedge.environment import environment, masked
from roadedge.errors import ModelFileError, UnknownNameError, UsageError
from roadedge.models import create_model
from roadedge.models.blocks import RoadNet
from roadedge.models.checkpoint import save_network
from roadedge.models.imagenet import IMAGENET
from roadedge.models.key_maps import Loaded, load_mapped
from roadedge.models.published import PUBLISHED
from roadedge.models.start import CONVERTIBLE, inputs_of, is_own, named_by, recognised
from roadedge.models.weight_file import WeightFile, read_weight_file
from roadedge.run_folder import open_run_folder
from roadedge.spec import ModelSpec, sha256_of
from roadedge.weights import find_weights

SECONDS = ("trajectory", "lidar")
LICENCE = "research-only: the licence of these published weights is not known here"
# grey levels that an image is normalised by, mean and deviation of red, green, blue, by what it was trained on
NORMALISATIONS = {
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "open-pit": ((105.20, 109.26, 88.26), (44.23, 36.57, 38.39)),
    "deepglobe": ((105.066, 98.210, 74.203), (33.345, 27.466, 25.293)),
}


@dataclass(frozen=True, slots=True)
class ConvertOptions:
    """What to convert and what the file itself does not say.

    `model` None: told by names and shapes. `second` is what the network was fed beside the image. `gsd_m` None: not
    known, and nothing is resampled. `normalise` is a key of NORMALISATIONS, or six numbers.
    """

    source: str
    model: str | None = None
    second: str = "trajectory"
    gsd_m: float | None = None
    normalise: str | None = None
    licence: str = LICENCE
    output: Path | None = None
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class Conversion:
    """The checkpoint that was written, and what became of each weight."""

    path: Path
    model: str
    loaded: Loaded
    file: WeightFile
    sha256: str
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "schema_version": 1,
            "checkpoint": str(self.path),
            "model": self.model,
            "from": {"file": self.file.path.name, "sha256": self.sha256, "unwrapped": list(self.file.unwrapped)},
            "not_weights": list(self.file.not_tensors),
            "weights": self.loaded.to_dict(),
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """For the log."""
        opened = f", out of {', '.join(self.file.unwrapped)}" if self.file.unwrapped else ""
        return [f"{self.file.path.name} is {self.model}{opened}", *self.loaded.lines(), *self.notes]


def convert(options: ConvertOptions, tell: Callable[[str], None] = lambda text: None) -> Conversion:
    """Read a published checkpoint and write it as one of ours, with its sidecar and `conversion.json`.

    Raises:
        UsageError, UnknownNameError: options that do not go together or are not known.
        ModelFileError: the file is none of a network known here, or does not hold that network as a whole.
        SourceError, OutputError: it cannot be fetched, or nothing can be written.
    """
    _check(options)
    path = find_weights(options.source, tell)
    if is_own(path):
        raise UsageError(f"{path} is a checkpoint of roadedge already; there is nothing to convert")
    file = read_weight_file(path)
    name = _name(options, file)
    network = create_model(name, _spec(options, name))
    key_map = recognised(file.weights, PUBLISHED, network)
    if key_map is None:
        raise ModelFileError(f"{path} does not hold published weights of {name}: its first name is {_first(file)}")
    loaded = load_mapped(network, file.weights, key_map, whole=True)
    folder = open_run_folder("convert", name, options.output, options.overwrite, [path])
    made = Conversion(folder / f"{name}.pt", name, loaded, file, sha256_of(path), tuple(_notes(options, network)))
    save_network(made.path, network, _provenance(options, made))
    write_json(folder / "conversion.json", made.to_dict())
    write_json(folder / "env.json", environment())
    return made


def parse_normalisation(text: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """`open-pit`, or `105.2,109.3,88.3,44.2,36.6,38.4`: mean and deviation of red, green, blue in grey levels.

    Raises:
        UsageError, UnknownNameError: neither.
    """
    if text in NORMALISATIONS:
        return NORMALISATIONS[text]
    words = text.split(",")
    if len(words) == 1:
        raise UnknownNameError("normalisation", text, NORMALISATIONS)
    try:
        numbers = tuple(float(word) for word in words)
    except ValueError:
        numbers = ()
    if len(numbers) != 6 or not all(0 <= n <= 255 for n in numbers) or not all(n > 0 for n in numbers[3:]):
        raise UsageError(
            f"--normalise is one of {', '.join(NORMALISATIONS)}, or three means and three deviations in grey levels "
            f"of 0 to 255; got {text!r}"
        )
    return numbers[:3], numbers[3:]


def _check(options: ConvertOptions) -> None:
    if options.model is not None and options.model not in CONVERTIBLE:
        raise UnknownNameError("published network", options.model, CONVERTIBLE)
    if options.second not in SECONDS:
        raise UnknownNameError("second input", options.second, SECONDS)
    if options.gsd_m is not None and not 0 < options.gsd_m < 1e4:
        raise UsageError(f"--gsd is metres per pixel, got {options.gsd_m:g}")
    if options.normalise is not None:
        parse_normalisation(options.normalise)


def _name(options: ConvertOptions, file: WeightFile) -> str:
    """The network that the file holds."""
    if options.model is not None:
        return options.model
    found = named_by(file.weights, ("image", options.second))
    if len(found) != 1:
        raise ModelFileError(
            f"{file.path} holds no network as it was published, of {', '.join(CONVERTIBLE)}: {_looks_like(file)}"
        )
    return found[0]


def _looks_like(file: WeightFile) -> str:
    """What else it may be, and what to do with that."""
    if kinds := [one.called for one in PUBLISHED if one.recognises(file.weights)]:
        return f"it looks like {kinds[0]}; give --model to hear what does not fit"
    if kinds := [one.called for one in IMAGENET if one.recognises(file.weights)]:
        return f"it looks like {kinds[0]}, which roadedge train --init takes"
    return f"it has {_first(file)}"


def _spec(options: ConvertOptions, name: str) -> ModelSpec:
    """What the network is fed; nothing that the file does not say is made up."""
    inputs = inputs_of(name, ("image", options.second))
    plain = ModelSpec(name, inputs, gsd_m=options.gsd_m, gsd_band_m=None, licence=options.licence)
    if len(inputs) == 2:
        if options.normalise is not None:
            raise UsageError(f"{name} has its normalisation built in; leave --normalise out")
        return plain
    normalise = options.normalise or ("imagenet" if name.startswith("segnext") else None)
    if normalise is None:
        raise UsageError(
            f"{name} was published for two data sets, each with a normalisation of its own, and the file does not say "
            "which: give --normalise open-pit or --normalise deepglobe"
        )
    mean, std = parse_normalisation(normalise)
    blank = tuple(round(level) for level in mean)
    return dataclasses.replace(plain, mean=(*mean, 0.0), std=(*std, 1.0), blank_rgb=blank)  # type: ignore[arg-type]


def _notes(options: ConvertOptions, network: RoadNet) -> list[str]:
    """What a person must know who goes on with it."""
    notes = []
    if options.gsd_m is None:
        notes.append("metres per pixel are not known, so images are fed as they are; --gsd says them")
    if network.spec.second == "trajectory":
        notes.append(
            "the heat-maps that it was trained on were drawn by its authors, whose constants are not published; feed "
            "theirs, or take scores on heat-maps drawn here with care"
        )
    return notes


def _provenance(options: ConvertOptions, made: Conversion) -> dict[str, Any]:
    """Where the weights come from, for the sidecar."""
    return {
        "converted": {
            "file": made.file.path.name,
            "source": masked(options.source) if "://" in options.source else made.file.path.name,
            "sha256": made.sha256,
            "kind": made.loaded.called,
            "as_drawn": list(made.loaded.fresh),
        },
        "environment": environment(),
    }


def _first(file: WeightFile) -> str:
    return repr(next(iter(file.weights)))
