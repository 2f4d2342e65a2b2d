"""Which samples the ranges are measured on: drawn from the train split, written down, and checked when used again.

Each sample is seen under one of the conditions that the accuracy gate scores: clear, in fog, with sparse points, with
none at all. A range measured on clear samples alone clips what the others bring.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from roadedge.atomic import write_json
from roadedge.calibration.sources import CITY, CalibrationSet, Source, open_set, set_of
from roadedge.data.corrupt import corrupt, parse_corruption
from roadedge.errors import DataError, UsageError
from roadedge.preprocess import Feeds, fit, preprocess
from roadedge.sample import Sample
from roadedge.spec import ModelSpec

SCHEMA_VERSION = 1
COUNT = 512  # NVIDIA advises 500 and more
CONDITIONS = {"clear": "", "fog": "fog:0.8", "sparse": "points:0.05", "empty": ""}  # what each does to a sample
TOUCHED = {"fog": "image", "sparse": "second", "empty": "second"}  # the modality without which it changes nothing
LARGEST_SIDE = 1024  # pixels fed at once to a network of any size
WINDOWS = 4  # of one sample, at most


@dataclass(frozen=True, slots=True)
class CalibrationEntry:
    """One sample: name of its set, id there, digest of what is fed, the condition that it is seen in, and its seed."""

    set: str
    id: str
    sha256: str
    condition: str
    seed: int


@dataclass(frozen=True, slots=True)
class CalibrationList:
    """What is calibrated on. Two lists of one `digest` hold the same samples, wherever their folders lie."""

    sets: tuple[CalibrationSet, ...]
    entries: tuple[CalibrationEntry, ...]

    def __post_init__(self) -> None:
        if not self.entries:
            raise DataError("a calibration list holds no samples; draw one from the train split of a data set")

    def __len__(self) -> int:
        """Count of entries."""
        return len(self.entries)

    @property
    def digest(self) -> str:
        """SHA-256 over the entries and what their conditions mean; not over where the folders lie."""
        said = {"conditions": CONDITIONS, "entries": [dataclasses.astuple(e) for e in self.entries]}
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    @property
    def has_city(self) -> bool:
        """Whether some of it is drawn, not seen."""
        return any(one.kind == CITY for one in self.sets)

    @property
    def conditions(self) -> dict[str, int]:
        """Count of entries by condition."""
        return {name: sum(e.condition == name for e in self.entries) for name in CONDITIONS}

    def to_dict(self) -> dict[str, object]:
        """What a sidecar says of it, as JSON values."""
        sets = {one.name: sum(e.set == one.name for e in self.entries) for one in self.sets}
        return {"digest": self.digest, "samples": len(self), "sets": sets, "conditions": self.conditions}


def draw_list(roots: Sequence[str | Path], spec: ModelSpec, count: int | None = None, seed: int = 0) -> CalibrationList:
    """Draw samples from the train splits, their conditions in turn.

    Args:
        roots: folder data sets, or `city`, the built-in one as it is trained on; none: the city.
        spec: of the network, which says what it is fed.
        count: default all samples, at most COUNT; more than there are shows some under several conditions.
        seed: of the order and the corruptions.

    Raises:
        DataError: a folder is missing, cannot be read, or has no train split.
        UsageError: a count below one, or two folders of one name.
    """
    if count is not None and count < 1:
        raise UsageError(f"calibration needs at least one sample, got {count}")
    sets = tuple(set_of(root, spec) for root in (roots or [CITY]))
    names = [one.name for one in sets]
    if len(set(names)) < len(names):
        raise UsageError(f"calibration sets are told apart by their folders' names, got {names}; rename or drop one")
    sources = {one.name: open_set(one) for one in sets}
    known = [(name, sample) for name, source in sources.items() for sample in source.ids()]
    conditions = [c for c in CONDITIONS if c == "clear" or _changes(c, spec)]
    wanted = min(COUNT, max(len(known), len(conditions))) if count is None else count
    order = np.random.default_rng([seed, 0xCA11]).permutation(len(known)).tolist()
    digests: dict[int, str] = {}
    entries = []
    for index, turn in itertools.islice(_rounds(order, len(conditions)), wanted):
        name, sample = known[index]
        if index not in digests:
            digests[index] = sources[name].digest(sample)
        entries.append(CalibrationEntry(name, sample, digests[index], conditions[turn], seed))
    return CalibrationList(sets, tuple(entries))


def read_list(path: str | Path, roots: Sequence[str | Path] = ()) -> CalibrationList:
    """Read a list that `write_list` wrote.

    Args:
        path: of the JSON file.
        roots: where its data sets lie now, told apart by their folders' names; default where they lay.

    Raises:
        DataError: missing, not such a list, changed by hand, or of a data set that is not among `roots`.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version, digest = content["schema_version"], content["digest"]
        sets = tuple(CalibrationSet(**one) for one in content["sets"])
        entries = tuple(CalibrationEntry(**one) for one in content["entries"])
    except OSError as error:
        raise DataError(f"cannot read the calibration list {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path} is not a calibration list ({error!r}); draw it again") from error
    if version != SCHEMA_VERSION:
        raise DataError(f"{path} has schema version {version}, this roadedge reads {SCHEMA_VERSION}; draw it again")
    named = {one.name for one in sets}
    if any(entry.condition not in CONDITIONS or entry.set not in named for entry in entries):
        raise DataError(f"{path} has an entry of no known condition or of no set that it lists; draw it again")
    found = CalibrationList(tuple(_moved(one, roots) for one in sets), entries)
    if found.digest != digest:
        raise DataError(f"{path} does not have the digest that it states: it was changed, or conditions mean another "
                        "thing now; draw it again")  # fmt: skip
    return found


def write_list(path: str | Path, samples: CalibrationList) -> None:
    """Write a list as JSON with its digest; raises OutputError."""
    content = {
        "schema_version": SCHEMA_VERSION,
        "digest": samples.digest,
        "conditions": CONDITIONS,
        "sets": [dataclasses.asdict(one) for one in samples.sets],
        "entries": [dataclasses.asdict(entry) for entry in samples.entries],
    }
    write_json(path, content)


def samples_of(samples: CalibrationList) -> Iterator[Sample]:
    """Read the samples of a list, each under its condition.

    Raises:
        DataError: a folder or sample is gone, or is another one than when the list was drawn.
    """
    sets = {one.name: one for one in samples.sets}
    sources: dict[str, Source] = {name: open_set(sets[name]) for name in {e.set for e in samples.entries}}
    for entry in samples.entries:
        source = sources[entry.set]
        if source.digest(entry.id) != entry.sha256:
            raise DataError(
                f"sample {entry.id} of {sets[entry.set].name} is not what it was when the calibration list was drawn; "
                "restore it, or draw the list again"
            )
        yield _under(entry, source.sample(entry.id))


def feeds_of(samples: CalibrationList, spec: ModelSpec) -> Iterator[Feeds]:
    """What the network is fed for each entry: the deployed preprocessing, at most WINDOWS windows of a sample.

    Raises:
        DataError: see `samples_of`.
    """
    for sample in samples_of(samples):
        feeds = preprocess(sample, bounded(spec, sample))
        windows = len(feeds[spec.inputs[0]])
        picked = sorted({round(i) for i in np.linspace(0, windows - 1, min(windows, WINDOWS))})
        yield {name: plane[picked] for name, plane in feeds.items()}


def bounded(spec: ModelSpec, sample: Sample) -> ModelSpec:
    """`spec`, with a size of at most LARGEST_SIDE where the network takes any: all maps of a frame are in memory."""
    grid = fit(sample.size, sample.gsd_m, spec).grid
    if spec.size is not None or max(grid) <= LARGEST_SIDE:
        return spec
    side = max(spec.stride, LARGEST_SIDE // spec.stride * spec.stride)
    return dataclasses.replace(spec, size=(side, side))


def _rounds(order: Sequence[int], conditions: int) -> Iterator[tuple[int, int]]:
    """All samples under one condition each, in turn; then all again, each under the next one."""
    for lap in range(conditions):
        yield from ((index, (place + lap) % conditions) for place, index in enumerate(order))


def _changes(condition: str, spec: ModelSpec) -> bool:
    return "image" in spec.inputs if TOUCHED[condition] == "image" else spec.second is not None


def _moved(one: CalibrationSet, roots: Sequence[str | Path]) -> CalibrationSet:
    if not roots or one.kind == CITY:
        return one
    for root in roots:
        place = Path(root).expanduser().resolve()
        if place.name == one.name:
            return dataclasses.replace(one, root=str(place))
    raise DataError(f"the calibration list needs the data set {one.name}, which is not among {[str(r) for r in roots]}")


def _under(entry: CalibrationEntry, sample: Sample) -> Sample:
    if entry.condition == "empty":
        return dataclasses.replace(sample, second=None)
    change = CONDITIONS[entry.condition]
    return corrupt(sample, parse_corruption(change), entry.seed) if change else sample
