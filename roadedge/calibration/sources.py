"""Where calibration samples come from: the train split of a folder, or the built-in city as it is trained on."""

from __future__ import annotations

import abc
import functools
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from roadedge.data.city import City
from roadedge.data.folder import Entry, FolderDataset, lidar_folder, read_entry
from roadedge.errors import DataError
from roadedge.sample import Sample
from roadedge.spec import ModelSpec

CITY = "city"
CITY_SEEDS, CITY_TILES, CITY_SIDE, CITY_GSD_M = 16, 256, 512, 0.46  # those that `roadedge train` draws by itself


@dataclass(frozen=True, slots=True)
class CalibrationSet:
    """A data set: its folder's name and place; `second` is the raster folder of a LiDAR network.

    Of the built-in city `kind` is `city` and `root` its metres per pixel.
    """

    name: str
    root: str
    second: str = "trajectory"
    kind: str = "folder"


class Source(abc.ABC):
    """The training samples of one set."""

    @abc.abstractmethod
    def ids(self) -> list[str]:
        """All of them, in a fixed order."""

    @abc.abstractmethod
    def sample(self, name: str) -> Sample:
        """Read one; raises DataError where it is gone or cannot be read."""

    @abc.abstractmethod
    def parts(self, name: str) -> Iterable[bytes]:
        """The bytes that decide what is fed."""

    def digest(self, name: str) -> str:
        """SHA-256 of one sample."""
        digest = hashlib.sha256()
        for part in self.parts(name):
            digest.update(len(part).to_bytes(8, "little") + part)
        return digest.hexdigest()


class FolderSource(Source):
    """The train split of a folder."""

    def __init__(self, one: CalibrationSet) -> None:
        self.root = one.root
        if not Path(one.root).is_dir():
            raise DataError(f"the calibration data set {one.name} is not at {one.root}; say with --data where it lies")
        self._entries: dict[str, Entry] = {}
        for entry in FolderDataset(one.root, "train", one.second).entries:
            if entry.id in self._entries:
                raise DataError(f"{one.root} has two training samples of the name {entry.id}; rename one")
            self._entries[entry.id] = entry

    def ids(self) -> list[str]:
        """Of the train split, sorted."""
        return sorted(self._entries)

    def sample(self, name: str) -> Sample:
        """Read one."""
        return read_entry(self._entry(name)).sample

    def parts(self, name: str) -> Iterable[bytes]:
        """Of image and second modality; the mask is not fed."""
        entry = self._entry(name)
        try:
            return [path.read_bytes() for path in (entry.image, entry.points or entry.raster) if path is not None]
        except OSError as error:
            raise DataError(f"cannot read {error.filename}, a calibration sample: {error.strerror or error}") from error

    def _entry(self, name: str) -> Entry:
        if name not in self._entries:
            raise DataError(f"{self.root} has no training sample {name} any more; draw the calibration list again")
        return self._entries[name]


class CitySource(Source):
    """Windows of the cities of the training seeds."""

    def __init__(self, one: CalibrationSet) -> None:
        self.gsd_m = float(one.root)

    def ids(self) -> list[str]:
        """As the training draws them."""
        step = 3 * CITY_SIDE
        corners = [(i % CITY_SEEDS, i // CITY_SEEDS) for i in range(CITY_TILES)]
        return [f"city{seed}_{nth % 32 * step}_{nth // 32 * step}" for seed, nth in corners]

    def sample(self, name: str) -> Sample:
        """Draw one."""
        match = re.fullmatch(r"city(\d+)_(\d+)_(\d+)", name)
        if match is None:
            raise DataError(f"{name!r} is no window of the built-in city; draw the calibration list again")
        seed, x, y = map(int, match.groups())
        tile = _city(seed, self.gsd_m).window(x, y, CITY_SIDE, CITY_SIDE)
        return Sample(tile.image, tile.points, gsd_m=self.gsd_m, id=name)

    def parts(self, name: str) -> Iterable[bytes]:
        """Of what draws it, which is known without drawing: a list of 256 windows takes no minute."""
        return (name.encode(), str(self.gsd_m).encode(), _drawn_by())


@functools.lru_cache(CITY_SEEDS)
def _city(seed: int, gsd_m: float) -> City:
    """Kept from one source to the next: ranges are measured on the windows that the result is then proved on."""
    return City(seed, gsd_m)


@functools.cache
def _drawn_by() -> bytes:
    """Digest of the code that draws the city: another one draws other samples."""
    package = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for path in sorted([*package.glob("data/city*.py"), package / "trajectory" / "trips.py"]):
        digest.update(path.read_bytes())
    return digest.digest()


def set_of(root: str | Path, spec: ModelSpec) -> CalibrationSet:
    """The set that a user names: a folder, or `city`.

    Raises:
        DataError: there is no such folder, or it or the city lacks the raster that a LiDAR network needs.
    """
    if str(root) == CITY:
        if spec.second == "lidar":
            raise DataError(
                f"the built-in city has no LiDAR to calibrate {spec.name} on; give a data set that has it with --data"
            )
        return CalibrationSet(CITY, str(spec.gsd_m or CITY_GSD_M), kind=CITY)
    path = Path(root).expanduser().resolve()
    if not path.is_dir():
        raise DataError(f"there is no data set folder {root} to calibrate on; give one with a train split, or `city`")
    second = "trajectory"
    if spec.second == "lidar":
        second = lidar_folder(path, "" if spec.lidar is None else spec.lidar.quantity)
    return CalibrationSet(path.name, str(path), second)


def open_set(one: CalibrationSet) -> Source:
    """List a set; raises DataError where it is missing or has no train split."""
    return CitySource(one) if one.kind == CITY else FolderSource(one)
