"""What readers of published data sets share: sorted listings, partners of one name, lists of ids, tiles held out."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from roadedge.errors import DataError


def files_ending(folder: Path, *endings: str) -> dict[str, Path]:
    """The files of a folder by their name without its ending, in alphabetical order; hidden ones are left out.

    Raises:
        DataError: there is no such folder, or two files have one id.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}, which this data set's layout needs")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        ending = next((e for e in endings if path.name.lower().endswith(e)), None)
        if ending is None or path.name.startswith("."):
            continue
        name = path.name[: -len(ending)]
        if name in found:
            raise DataError(f"{folder} holds both {found[name].name} and {path.name}; keep one of them")
        found[name] = path
    return found


def partners(root: Path, **columns: Mapping[str, Path]) -> list[str]:
    """The ids that all columns have, in alphabetical order.

    Raises:
        DataError: one of them lacks an id that another has, or there are none at all.
    """
    every = sorted(set().union(*columns.values()))
    for name, files in columns.items():
        missing = [one for one in every if one not in files]
        if missing:
            raise DataError(f"{root} has no {name} of {missing[0]} ({len(missing)} are missing); each image needs one")
    if not every:
        raise DataError(f"{root} holds no files of the names that its layout prescribes: {', '.join(columns)}")
    return every


def read_ids(path: Path) -> list[str]:
    """The ids of a list, one in a line; line ends of any system, a last line without one, blanks around them.

    Raises:
        DataError: unreadable, empty, or an id twice.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the list of samples {path}: {error}") from error
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise DataError(f"the list of samples {path} is empty; expected one id in a line")
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise DataError(f"{path} lists {twice} twice; its samples would count double")
    return names


def disjoint(lists: Mapping[str, Collection[str]], where: Path) -> None:
    """Raise DataError where an id stands in two lists: it would be trained on and scored."""
    seen: dict[str, str] = {}
    for split, names in lists.items():
        for name in names:
            if name in seen:
                raise DataError(f"{where} lists {name} in {seen[name]} and in {split}; take it out of one of them")
            seen[name] = split


def held_out(ids: Iterable[str], share: float) -> set[str]:
    """The share of the ids that is not trained on: those with the smallest digest of their name.

    So the same tiles whatever the order of a listing, the loss of which makes published splits unrepeatable.
    """
    order = sorted(ids, key=lambda name: (zlib.crc32(name.encode()), name))
    return set(order[: round(share * len(order))])
