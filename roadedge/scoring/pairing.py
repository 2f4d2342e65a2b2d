"""Two files, folders or tables → pairs of things to be compared, and what has no partner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from roadedge.errors import DataError, UsageError
from roadedge.roadgraph.wkt_csv import read_wkt_csv
from roadedge.scoring.layers import EXPECTED, SUFFIXES, TABLE_SUFFIX, LayerFile

MAP = "map.json"  # what tells the folder of a map
NAMED = 3  # examples in a sentence


@dataclass(frozen=True, slots=True)
class Pair:
    """A tile: what was predicted and what is true."""

    name: str
    prediction: LayerFile
    truth: LayerFile


@dataclass(frozen=True, slots=True)
class Pairs:
    """All tiles in the order of their names; names of truths without a prediction and of predictions without a truth.

    `together` says that one file was given for each side.
    """

    found: tuple[Pair, ...]
    unpredicted: tuple[str, ...] = ()
    untrue: tuple[str, ...] = ()
    together: bool = False

    def lines(self) -> list[str]:
        """A sentence for each kind of what has no partner."""
        said = []
        if self.unpredicted:
            said.append(
                f"{tiles_of(len(self.unpredicted))} of the truth without a prediction: {some(self.unpredicted)}"
            )
        if self.untrue:
            said.append(f"{tiles_of(len(self.untrue))} predicted without a truth: {some(self.untrue)}; left out")
        return said


def pair(prediction: Path, truth: Path, layers: tuple[str | None, str | None] = (None, None)) -> Pairs:
    """Pair a file with a file, or the files of a folder, or images of a CSV, by their names without suffix.

    A folder that holds a map (`map.json`) is its roads. `layers` are those of the prediction and of the truth, where
    they are files of several.

    Raises:
        DataError: one is missing or of another kind, two files of one name, or no name on both sides.
        UsageError: one file with many things.
    """
    sides = (prediction, truth)
    own, theirs = (_in_layer(files_of(path), layer, path) for path, layer in zip(sides, layers, strict=True))
    single = [_is_map(path) or not (path.is_dir() or path.suffix.lower() == TABLE_SUFFIX) for path in sides]
    if any(single):
        if len(own) == len(theirs) == 1:
            ((name, one),), (other,) = own.items(), theirs.values()
            return Pairs((Pair(name, one, other),), together=True)
        many, one_file = (truth, prediction) if single[0] else (prediction, truth)
        count = max(len(own), len(theirs))
        raise UsageError(f"{many} holds {count} tiles and {one_file} is one; give two files, or two folders or tables")
    common = [name for name in own if name in theirs]
    if not common:
        raise DataError(
            f"{prediction} and {truth} have no name in common, such as {some(list(own))} against {some(list(theirs))}; "
            "tiles are paired by their names without suffix"
        )
    found = tuple(Pair(name, own[name], theirs[name]) for name in common)
    return Pairs(found, tuple(n for n in theirs if n not in own), tuple(n for n in own if n not in theirs))


def files_of(path: Path) -> dict[str, LayerFile]:
    """What can be scored at a path, by name.

    Raises:
        DataError: nothing, another kind of file, or two files of one name.
    """
    if _is_map(path):
        return {path.resolve().name: _of_map(path)}
    if path.is_dir():
        return _of_folder(path)
    if not path.exists():
        raise DataError(f"there is no {path}; expected {EXPECTED}, or a folder of such files")
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path} is of no kind that can be scored; expected {EXPECTED}")
    if path.suffix.lower() == TABLE_SUFFIX:
        found = {name: LayerFile(path, name) for name in sorted(read_wkt_csv(path))}
        if not found:
            raise DataError(f"{path} names no image")
        return found
    return {path.stem: LayerFile(path)}


def _is_map(path: Path) -> bool:
    return (path / MAP).is_file()


def _of_map(folder: Path) -> LayerFile:
    """The roads of a map, and how far it goes."""
    for name in ("roads.gpkg", "roads.parquet", "roads.geojson"):
        if (folder / name).is_file():
            raster = folder / "probability.tif"
            return LayerFile(folder / name, within=raster if raster.is_file() else None)
    raise DataError(f"the map {folder} holds no roads yet; make them with roadedge vectorize {folder}")


def _in_layer(files: dict[str, LayerFile], layer: str | None, path: Path) -> dict[str, LayerFile]:
    if layer is None:
        return files
    if not any(file.is_vector for file in files.values()):
        raise UsageError(f"{path} has no layers, and layer {layer!r} was asked for")
    return {name: replace(file, layer=layer) if file.is_vector else file for name, file in files.items()}


def _of_folder(folder: Path) -> dict[str, LayerFile]:
    others = (TABLE_SUFFIX, ".json", ".parquet")  # which hold other things too
    kinds = [suffix for suffix in SUFFIXES if suffix not in others]
    found: dict[str, LayerFile] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in kinds or path.name.startswith(".") or not path.is_file():
            continue
        if path.stem in found:
            raise DataError(f"{folder} holds {found[path.stem].path.name} and {path.name}; leave one file of that name")
        found[path.stem] = LayerFile(path)
    if not found:
        inner = [name for name in ("mask", "masks") if (folder / name).is_dir()]
        hint = f"; did you mean {folder / inner[0]}?" if inner else ""
        raise DataError(f"{folder} holds no file that can be scored, expected {EXPECTED}{hint}")
    return found


def tiles_of(count: int) -> str:
    """`1 tile`, `3 tiles`."""
    return f"{count} tile{'s' * (count != 1)}"


def some(names: Sequence[str]) -> str:
    """The first few names."""
    return ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
