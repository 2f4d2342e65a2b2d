"""Where labelled samples come from, a folder or the built-in city, and whether their trajectories were measured."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadedge.data.folder import Entry, FolderDataset, LabelledSample, lidar_folder, read_entry
from roadedge.data.layouts import layout_of
from roadedge.errors import DataError, UsageError
from roadedge.evaluation.settings import EvalSettings
from roadedge.spec import ModelSpec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SEMI_SYNTHETIC, MEASURED, NONE_FED = "semi-synthetic", "measured", "no trajectories fed"
CITY_SEED = 424242  # of no city that a recipe trains on or chooses checkpoints by
CITY_WINDOW = 512
CITY_GSD_M = 0.46  # for a network that does not say its own


@dataclass(frozen=True, slots=True)
class Source:
    """A named set of labelled samples, read one at a time.

    `data` is what scores on it are called: semi-synthetic, measured or "no trajectories fed"; `why` says why so.
    """

    name: str
    origin: str
    ids: tuple[str, ...]
    places: tuple[str, ...]  # equal for samples that show the same ground
    readers: tuple[Callable[[], LabelledSample], ...]
    data: str
    why: str


def open_sources(roots: Sequence[str | Path], spec: ModelSpec, settings: EvalSettings) -> list[Source]:
    """List the samples of each of `roots`: a folder data set, `city`, or `city:SEED`.

    Raises:
        DataError: a folder is missing, of no known layout, or empty in this split.
        UsageError: none, or one of them twice.
    """
    if not roots:
        raise UsageError("give at least one data set: a folder with image/ and mask/, or `city`")
    sources = [_city(str(r), spec, settings) if _is_city(r) else _folder(Path(r), spec, settings) for r in roots]
    origins = [s.origin for s in sources]
    twice = [o for o in origins if origins.count(o) > 1]
    if twice:
        raise UsageError(f"{twice[0]} is given twice; its samples would count double")
    names = [s.name for s in sources]
    return [s if names.count(s.name) == 1 else dataclasses.replace(s, name=s.origin) for s in sources]


def declared_origin(root: Path) -> str | None:
    """What `dataset.toml` in a data set's folder says: `trajectories = "measured"` or "simulated"; None where nothing.

    Of the published data sets it is known without one.

    Raises:
        DataError: the file cannot be read or says something else.
    """
    path = root / "dataset.toml"
    if not path.exists():
        layout = layout_of(root)
        return "measured" if layout is not None and layout.trajectories_measured else None
    try:
        said: Any = tomllib.loads(path.read_text()).get("trajectories")
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as TOML ({error}); correct it or take it away") from error
    if said not in ("measured", "simulated", None):
        raise DataError(f'{path} has trajectories = {said!r}; expected "measured" or "simulated"')
    return None if said is None else str(said)


def _folder(root: Path, spec: ModelSpec, settings: EvalSettings) -> Source:
    drawn = "" if spec.lidar is None else spec.lidar.quantity
    second = settings.second or ("trajectory" if spec.second != "lidar" else lidar_folder(root, drawn))
    dataset = FolderDataset(root, None if settings.split == "all" else settings.split, second)
    readers = tuple(_entry_reader(entry) for entry in dataset.entries)
    ids, places = tuple(e.id for e in dataset.entries), tuple(e.group for e in dataset.entries)
    return Source(root.resolve().name, str(root.resolve()), ids, places, readers, *_origin(root, spec, settings))


def _origin(root: Path, spec: ModelSpec, settings: EvalSettings) -> tuple[str, str]:
    """What scores are called, and why. Trajectories of unknown origin count as simulated: the cautious way."""
    if "trajectory" not in settings.fed(spec):
        return NONE_FED, ""
    declared = declared_origin(root)
    if declared == "measured":
        return MEASURED, "dataset.toml, or the published data set, declares its trajectories measured"
    if settings.measured_trajectories and declared is None:
        return MEASURED, "the user declares its trajectories measured"
    if declared == "simulated":
        return SEMI_SYNTHETIC, "dataset.toml says that its trajectories are simulated"
    return SEMI_SYNTHETIC, "nothing declares its trajectories measured"


def _entry_reader(entry: Entry) -> Callable[[], LabelledSample]:
    return lambda: read_entry(entry)


def _is_city(root: str | Path) -> bool:
    text = str(root)
    return text == "city" or (text.startswith("city:") and not Path(text).exists())


def _city(text: str, spec: ModelSpec, settings: EvalSettings) -> Source:
    from roadedge.data.city import City

    _, colon, number = text.partition(":")
    if colon and not number.isdecimal():
        raise UsageError(f"a city is written city or city:SEED with a whole number, got {text!r}")
    if "lidar" in settings.fed(spec):  # its points would be drawn into that input
        raise UsageError(
            f"the built-in city has trajectories and no LiDAR, which {spec.name} takes; give a folder data set that "
            "has it"
        )
    seed = int(number) if colon else CITY_SEED
    city = City(seed, spec.gsd_m or CITY_GSD_M)
    side = CITY_WINDOW
    corners = [((i % 32) * 3 * side, (i // 32) * 3 * side) for i in range(settings.windows)]  # apart: no two overlap

    def reader(x: int, y: int) -> Callable[[], LabelledSample]:
        def read() -> LabelledSample:
            mask = city.window(x, y, side, side).mask
            return LabelledSample(city.sample(x, y, side, side), mask, f"city{seed}_{x}_{y}", settings.split)

        return read

    names = tuple(f"city{seed}_{x}_{y}" for x, y in corners)
    readers = tuple(reader(x, y) for x, y in corners)
    why = "the built-in city: drawn images, simulated trajectories"
    return Source(f"city:{seed}", f"city:{seed}", names, names, readers, SEMI_SYNTHETIC, why)
