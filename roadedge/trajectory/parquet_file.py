"""Parquet tables of points."""

from __future__ import annotations

from pathlib import Path

from roadedge.errors import MissingExtraError, PointsError
from roadedge.trajectory.columns import lay_out
from roadedge.trajectory.csv_file import arrow_column
from roadedge.trajectory.points import Points


def read_parquet(path: Path) -> Points:
    """Read a Parquet file; columns and units as for CSV, timestamps of any resolution become seconds.

    Raises:
        PointsError: the file cannot be read or has other columns; the message lists found and expected.
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "points", "reading Parquet") from error
    path = Path(path)
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            layout = lay_out(names, path)
            table = file.read(columns=[names[i] for i in layout.fields.values()])
        columns = {field: arrow_column(table[names[i]], field) for field, i in layout.fields.items()}
    except (pa.ArrowException, OSError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PointsError(f"{path} is not a readable Parquet file of points: {said}") from error
    return Points.checked(columns, layout.crs)
