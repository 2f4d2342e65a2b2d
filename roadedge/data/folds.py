"""Cross-validation: the same k parts each time, by place, so that no place is trained on and scored."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace

from roadedge.data.folder import Entry
from roadedge.errors import DataError


def folded(entries: Sequence[Entry], fold: int, folds: int) -> list[Entry]:
    """The entries of one fold: part `fold` of the places is `test`, all others are `train`.

    What a data set set aside as its test stays out of it altogether.

    Args:
        entries: of all splits.
        fold: from 1 to `folds`.
        folds: how many parts.

    Raises:
        DataError: fewer places than folds.
    """
    known = [entry for entry in entries if entry.split != "test"]
    order = sorted({entry.group for entry in known}, key=lambda name: (zlib.crc32(name.encode()), name))
    if len(order) < folds:
        raise DataError(f"{folds} folds need as many places at least, this data set has {len(order)}; take fewer folds")
    tested = set(order[fold - 1 :: folds])
    return [replace(entry, split="test" if entry.group in tested else "train") for entry in known]
