"""Columns of text or numbers, as pyarrow gives them, → columns of points. One bad cell spoils its own row only."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.trajectory.iso_time import iso_seconds

Floats = NDArray[np.float64]


def floats(column: Any, decimal_comma: bool = False) -> tuple[Floats, NDArray[np.bool_] | None]:
    """An arrow column → float64, NaN where a cell is empty, and which cells are no number (None: all are)."""
    import pyarrow as pa
    from pyarrow import compute

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    if text and decimal_comma:
        column = compute.replace_substring(column, ",", ".")
    try:
        return _numpy(column.cast(pa.float64())), None
    except pa.ArrowInvalid:
        if not text:
            raise
    trimmed = compute.utf8_trim_whitespace(_readable(column))
    parsed = np.array([_number(cell) for cell in trimmed.to_pylist()], np.float64)
    absent = np.asarray(compute.fill_null(compute.equal(trimmed, ""), True).to_numpy(zero_copy_only=False), np.bool_)
    return parsed, np.isnan(parsed) & ~absent


def times(column: Any, unit: float) -> Floats:
    """An arrow column → seconds: numbers times `unit`, timestamps, or ISO 8601 text; NaN where a cell is no time."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        return _moments(column)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return _numpy(column.cast(pa.float64(), safe=False)) * unit
    for kind in (pa.float64(), pa.timestamp("us"), pa.timestamp("us", "UTC")):
        try:
            read = column.cast(kind)
        except pa.ArrowInvalid:
            continue
        return _numpy(read) * unit if kind == pa.float64() else _moments(read)
    return np.array([_time(cell, unit) for cell in _readable(column).to_pylist()], np.float64)


def vehicles(column: Any) -> NDArray[np.int64]:
    """An arrow column → numbers of vehicles: whole numbers as they are, -1 where absent, other names by their digest.

    A digest of 63 bits, so that a name has the same number in each file and no table of names grows with the data.
    """
    import pyarrow as pa
    from pyarrow import compute

    try:
        if not pa.types.is_floating(column.type):
            return np.asarray(compute.fill_null(column.cast(pa.int64()), -1).to_numpy(zero_copy_only=False), np.int64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        pass
    encoded = _readable(column.cast(pa.string())).dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    numbers = np.array([name_number(name) for name in encoded.dictionary.to_pylist()] or [-1], np.int64)
    places = np.asarray(compute.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False), np.int64)
    return np.where(places >= 0, numbers[places], -1)


def name_number(name: str | None) -> int:
    """The number that stands for a vehicle's name."""
    text = (name or "").strip()
    if text in ("", "nan", "NaN"):
        return -1
    whole = text[:-2] if text.endswith(".0") else text
    if whole.lstrip("-").isdecimal() and len(whole) < 19:
        return int(whole)
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "big") >> 1


def _readable(column: Any) -> Any:
    """Text of which bytes that are no UTF-8 were replaced: one Latin-1 letter must not end the run."""
    import pyarrow as pa

    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        cells = column.cast(pa.binary()).to_pylist()
        return pa.array([None if cell is None else cell.decode("utf-8", "replace") for cell in cells], pa.string())
    return column


def _numpy(column: Any) -> Floats:
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)


def _moments(column: Any) -> Floats:
    import pyarrow as pa
    from pyarrow import compute

    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s"))
    microseconds = column.cast(pa.timestamp("us", column.type.tz), safe=False).cast(pa.int64())
    return np.asarray(compute.divide(microseconds.cast(pa.float64()), 1e6).to_numpy(zero_copy_only=False), np.float64)


def _number(cell: str | None) -> float:
    try:
        return float(cell) if cell else float("nan")
    except ValueError:
        return float("nan")


def _time(cell: str | None, unit: float) -> float:
    number = _number(cell)
    if not np.isnan(number) or not cell:
        return number * unit
    try:
        return iso_seconds(cell.replace("/", "-"))
    except ValueError:
        return float("nan")
