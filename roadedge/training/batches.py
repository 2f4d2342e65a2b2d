"""Training batches as a pure function of (recipe, step), so that a resumed run sees what it would have seen.

Each sample of a batch is drawn by itself, from (seed, stream, step, number in the batch). So several processes share
one batch without drawing a sample twice, and together they draw what one process would.
"""

from __future__ import annotations

import dataclasses
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.data.augment import draw_placement, placed_crop
from roadedge.data.city import City
from roadedge.data.folder import Entry, FolderDataset, LabelledSample, hold_out, read_entry, second_of
from roadedge.data.road_labels import LABELS, Wanted, label_key, moved_roads
from roadedge.data.traced_roads import drawn_roads, roads_of
from roadedge.errors import DataError, UsageError
from roadedge.preprocess import Feeds, preprocess
from roadedge.roadgraph import RoadGraph
from roadedge.sample import Sample
from roadedge.spec import ModelSpec
from roadedge.training.recipe import Recipe

CITY = "city"  # name of the pool
CITY_TILE = 512
CITY_VALIDATION_SEED = 7919  # no training city has it
CITY_VALIDATION_TILES = 16
HOLD_OUT_SHARE = 0.1
CACHE_BYTES = 4 << 30  # of one machine; its processes share it
DRAWING = 3  # changes whenever a step's samples are drawn otherwise than before; the state of a run knows its own
TRAINING, OBSERVING = 0, 1  # streams: what is trained on, and what is looked at before fine-tuning


@dataclass(frozen=True, slots=True)
class Batch:
    """`feeds` of `preprocess`, stacked over the samples, and `target` (N, H, W) uint8 with 128 ignored."""

    feeds: Feeds
    target: NDArray[np.uint8]
    labels: dict[str, NDArray[np.uint8]] = field(default_factory=dict)  # classes (N, H / s, W / s) by `label_key`


class Pool:
    """Labelled samples that can be drawn by index, read once and kept while memory allows.

    `share` is how often it is drawn from, against the shares of the other pools.
    """

    def __init__(self, name: str, share: float, readers: list[Callable[[], LabelledSample]]) -> None:
        self.name, self.share, self.readers = name, share, readers
        self.cache_bytes = CACHE_BYTES
        self._kept: OrderedDict[int, LabelledSample] = OrderedDict()
        self._roads: dict[int, RoadGraph] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Count of samples."""
        return len(self.readers)

    def __getitem__(self, index: int) -> LabelledSample:
        """Read or remember one sample."""
        with self._lock:
            if index in self._kept:
                self._kept.move_to_end(index)
                return self._kept[index]
        item = self.readers[index]()
        with self._lock:
            self._kept[index] = item
            self._bytes += _bytes_of(item)
            while self._bytes > self.cache_bytes and len(self._kept) > 1:
                self._bytes -= _bytes_of(self._kept.popitem(last=False)[1])
        return item

    def roads(self, index: int) -> RoadGraph:
        """The road graph of one sample's truth, in its pixels: its centre lines, or what its mask shows."""
        with self._lock:
            if index in self._roads:
                return self._roads[index]
        item = self[index]
        found = roads_of(item.mask, item.sample.gsd_m) if item.roads is None else drawn_roads(item.roads)
        with self._lock:
            self._roads[index] = found
        return found


def training_pools(recipe: Recipe, folders: list[Path]) -> tuple[list[Pool], Pool]:
    """The pools to train on and the one to choose checkpoints by.

    The latter holds the places set aside of each folder (`recipe.hold_out`, by default a tenth of them), and windows of
    a city that is not trained on where the city is.

    Raises:
        DataError: a data set cannot be read, or the recipe sets places aside of one that was not given.
        UsageError: a network that takes LiDAR is to be trained on the city, which has none.
    """
    pools, aside = [], []
    for folder in folders:
        entries, held = divided(recipe, folder)
        share = recipe.weights.get(folder.name, 1.0) * len(entries)
        pools.append(Pool(folder.name, share, [_reader(e) for e in entries]))
        aside += [_reader(e) for e in held]
    unknown = set(recipe.hold_out) - {f.name for f in folders}
    if unknown and folders:
        raise DataError(f"the recipe sets places aside of {sorted(unknown)}, which is not among the data sets given")
    if recipe.city > 0 or not folders:
        if "lidar" in recipe.inputs:  # its points would be drawn into that input
            raise UsageError(
                f"the built-in city has trajectories and no LiDAR, the inputs are {', '.join(recipe.inputs)}; "
                "give data sets that have LiDAR (and city = 0 in the recipe), or other --inputs"
            )
        against = sum(pool.share for pool in pools)  # the city's weight is against all folders together
        share = recipe.city * against if against else 1.0
        seeds = [recipe.seed * 1000 + i for i in range(recipe.city_seeds)]
        pools.append(Pool(CITY, share, city_readers(seeds, recipe.city_tiles, recipe.gsd_m)))
        aside += city_readers([CITY_VALIDATION_SEED], min(CITY_VALIDATION_TILES, recipe.city_tiles), recipe.gsd_m)
    step = max(1, math.ceil(len(aside) / recipe.evaluate_most))  # where there are too many, some of each set
    return [p for p in pools if len(p)], Pool("validation", 1.0, aside[::step])


def divided(recipe: Recipe, folder: Path) -> tuple[list[Entry], list[Entry]]:
    """What of a data set is trained on, and what checkpoints are chosen by.

    The latter are places of the train split; where the data set has a test split and the recipe sets none aside, its
    own val split.
    """
    where = (second_of(folder, recipe.inputs, recipe.lidar.quantity), recipe.fold, recipe.folds)
    dataset = FolderDataset(folder, "train", *where)
    if {"val", "test"} <= dataset.splits and folder.name not in recipe.hold_out:
        return dataset.entries, FolderDataset(folder, "val", *where).entries
    return hold_out(dataset.entries, places_aside(recipe, folder.name, dataset.entries))


def unseen_pool(recipe: Recipe, folders: list[Path]) -> Pool:
    """The samples of one fold that were neither trained on nor chosen by."""
    entries: list[Entry] = []
    for folder in folders:
        where = (second_of(folder, recipe.inputs, recipe.lidar.quantity), recipe.fold, recipe.folds)
        entries += FolderDataset(folder, "test", *where).entries
    return Pool("test", 1.0, [_reader(entry) for entry in entries])


def places_aside(recipe: Recipe, folder: str, entries: list[Entry]) -> int:
    """How many places of a folder's train split are set aside: as the recipe says, else a tenth; none of one."""
    places = len({entry.group for entry in entries})
    return recipe.hold_out.get(folder, max(1, round(HOLD_OUT_SHARE * places)) if places > 1 else 0)


def city_readers(
    seeds: list[int], tiles: int, gsd_m: float, side: int = CITY_TILE
) -> list[Callable[[], LabelledSample]]:
    """Readers of `tiles` windows of the built-in cities of these seeds, spread so that no two overlap."""
    cities = [City(seed, gsd_m) for seed in seeds]

    def reader(index: int) -> Callable[[], LabelledSample]:
        city, nth = cities[index % len(cities)], index // len(cities)
        x, y = (nth % 32) * 3 * side, (nth // 32) * 3 * side

        def read() -> LabelledSample:
            tile = city.window(x, y, side, side)
            name = f"city{city.seed}_{x}_{y}"
            return LabelledSample(Sample(tile.image, tile.points, gsd_m=gsd_m, id=name), tile.mask, name, "train")

        return read

    return [reader(i) for i in range(tiles)]


def make_batch(
    recipe: Recipe,
    spec: ModelSpec,
    pools: list[Pool],
    step: int,
    samples: Sequence[int] | None = None,
    wanted: Wanted = (),
    stream: int = TRAINING,
) -> Batch:
    """The batch of one step, with the labels `wanted`. Nothing but the arguments decides what it holds.

    Args:
        recipe: seed, batch, crop and augmentation.
        spec: of the network.
        pools: to draw from, by their shares.
        step: counted from 0.
        samples: which of the batch's `recipe.batch` samples; default all.
        wanted: labels beside the road mask.
        stream: TRAINING, or OBSERVING, which shares no sample with it.
    """
    shares = np.array([pool.share for pool in pools])
    shares = shares / shares.sum()
    augment = recipe.augment
    if len(spec.inputs) == 1:  # the only input is never left out: nothing would be left to find the road by
        augment = dataclasses.replace(augment, drop_second_p=0.0, drop_image_p=0.0)
    drawn: list[tuple[Feeds, NDArray[np.uint8]]] = []
    labels: dict[str, list[NDArray[np.uint8]]] = {label_key(*one): [] for one in wanted}
    for number in range(recipe.batch) if samples is None else samples:
        rng = np.random.default_rng([recipe.seed, stream, step, number])
        pool = pools[int(rng.choice(len(pools), p=shares))]
        index = int(rng.integers(len(pool)))
        item = pool[index]
        matrix = draw_placement(item, recipe.crop, recipe.gsd_m, recipe.augment, rng)
        sample, mask = placed_crop(item, matrix, recipe.crop, augment, rng)
        drawn.append((preprocess(sample, spec), mask))
        if wanted:
            roads = moved_roads(pool.roads(index), matrix, recipe.crop)
            for task, scale in wanted:
                labels[label_key(task, scale)].append(LABELS[task](roads, mask, scale))
    feeds: dict[str, NDArray[Any]] = {name: np.concatenate([f[name] for f, _ in drawn]) for name in spec.inputs}
    stacked = {key: np.stack(planes) for key, planes in labels.items()}
    return Batch(feeds, np.stack([mask for _, mask in drawn]), stacked)


def share_of(recipe: Recipe, rank: int, count: int) -> list[int]:
    """The numbers in a batch of the samples that one of `count` processes takes: its share of each part in turn.

    Raises:
        UsageError: the batch does not divide.
    """
    whole = recipe.batch // recipe.accumulate
    side, rest = divmod(whole, count)
    if rest:
        what = "batch" if recipe.accumulate == 1 else f"part (of {recipe.accumulate}) of a batch"
        raise UsageError(
            f"a {what} of {whole} samples does not divide into {count} processes; --batch is that of all processes "
            f"together, such as {recipe.accumulate * count * max(1, side)}"
        )
    return [part * whole + rank * side + i for part in range(recipe.accumulate) for i in range(side)]


def prefetched(
    recipe: Recipe,
    spec: ModelSpec,
    pools: list[Pool],
    start: int,
    stop: int,
    samples: Sequence[int] | None = None,
    wanted: Wanted = (),
) -> Iterator[tuple[int, Batch]]:
    """(step, batch) from `start` up to `stop`, made ahead by two threads, in order; arguments as of `make_batch`."""
    ahead = 4
    with ThreadPoolExecutor(2) as executor:
        waiting = [
            executor.submit(make_batch, recipe, spec, pools, s, samples, wanted)
            for s in range(start, min(start + ahead, stop))
        ]
        for step in range(start, stop):
            batch = waiting.pop(0).result()
            if step + ahead < stop:
                waiting.append(executor.submit(make_batch, recipe, spec, pools, step + ahead, samples, wanted))
            yield step, batch


def _reader(entry: Entry) -> Callable[[], LabelledSample]:
    return lambda: read_entry(entry)


def _bytes_of(item: LabelledSample) -> int:
    arrays = [item.sample.image, item.sample.second, item.mask]
    return sum(a.nbytes for a in arrays if a is not None)
