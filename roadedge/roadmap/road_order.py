"""`roadedge vectorize`: which raster, which files, whose points; and what is said of the result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from roadedge.atomic import write_json
from roadedge.environment import environment
from roadedge.errors import DataError, UnknownNameError, UsageError
from roadedge.roadmap.road_files import FORMATS
from roadedge.roadmap.roads import PROBABILITY, RoadsOptions, RoadsResult, Tell, vectorize
from roadedge.trajectory.point_store import PointStore

SUMMARY = "roads.json"
_SUFFIXES = {".gpkg": "gpkg", ".parquet": "parquet", ".geojson": "geojson", ".json": "geojson"}


def parse_formats(text: str) -> tuple[str, ...]:
    """`gpkg,parquet` → names of FORMATS, each once; raises UnknownNameError."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in FORMATS:
            raise UnknownNameError("format of roads", name, FORMATS)
    if not names:
        raise UsageError(f"--format needs at least one of {', '.join(FORMATS)}")
    return names


def make_roads(
    source: Path,
    output: Path | None,
    options: RoadsOptions,
    points: Path | None,
    overwrite: bool,
    tell: Tell,
) -> RoadsResult:
    """Make roads of a map's folder or of a probability raster.

    Args:
        source: a folder with PROBABILITY, or a raster.
        output: a folder for files named by FORMATS and SUMMARY, or one file, whose suffix is its format. Default: the
            folder in which the raster lies.
        options: its formats are those of a folder; a single file has its own.
        points: a store of points.
        overwrite: replace files that are there.
        tell: is told lines of progress.

    Raises:
        UsageError: a file is there already, or its suffix is no format.
        DataError: there is no raster, or it or the points cannot be used.
        OutputError: a file cannot be written.
    """
    raster = source / PROBABILITY if source.is_dir() else source
    if not raster.is_file():
        wanted = f"{PROBABILITY} in it, as `roadedge map` writes it" if source.is_dir() else "a probability raster"
        raise DataError(f"there is no {raster}; expected {wanted}")
    files, summary = _places(raster, output, options)
    options = replace(options, formats=tuple(files))
    taken = [path for path in files.values() if path.exists()]
    if taken and not overwrite:
        raise UsageError(f"{taken[0]} is there already; pass --overwrite to replace it, or choose another -o/--output")
    if raster.resolve() in [path.resolve() for path in files.values()]:
        raise UsageError(f"{raster} is what is read; choose another -o/--output")
    if points is None:
        result = vectorize(raster, files, options, None, tell)
    else:
        with PointStore.open(points) as store:
            result = vectorize(raster, files, options, store, tell)
    if summary is not None:
        write_json(summary, {**result.to_dict(), "source": raster.name, "environment": environment()})
        for kind in FORMATS.keys() - files.keys():
            if (summary.parent / FORMATS[kind]).exists():
                tell(f"{FORMATS[kind]} in {summary.parent} is of an earlier run")
    return result


def summary_lines(result: RoadsResult) -> list[str]:
    """What a person wants to know of the result."""
    height, width = result.cells
    lines = [
        f"{result.length_km:.1f} km of roads in {result.edges} edges, {result.junctions} junctions; {result.crs}",
        f"traced {width} x {height} cells of {result.cell_m:g} m in {sum(result.seconds.values()):.1f} s "
        f"({', '.join(f'{name} {seconds:.1f}' for name, seconds in result.seconds.items())})",
    ]
    if any(result.dropped.values()):
        lines.append("left out: " + ", ".join(f"{count} {name}" for name, count in result.dropped.items() if count))
    if result.options.gaps is not None:
        lines.append(f"{result.bridged} of {result.gaps} gaps closed, since trips cross them")
    if result.points is not None:
        share = 100 * (result.points_on_roads or 0) / max(result.points, 1)
        lines.append(
            f"{result.points} points near roads, {share:.0f} % of them follow one; "
            f"{result.edges_with_trips} edges have trips, {result.oneway_edges} are one-way"
        )
    return lines


def _places(raster: Path, output: Path | None, options: RoadsOptions) -> tuple[dict[str, Path], Path | None]:
    """Files by format, and where the summary goes: beside the files of a folder."""
    if output is not None and output.suffix and not output.is_dir():
        kind = _SUFFIXES.get(output.suffix.lower())
        if kind is None:
            raise UsageError(f"-o {output} is no folder, and {output.suffix} is none of {', '.join(_SUFFIXES)}")
        return {kind: output}, None
    folder = raster.parent if output is None else output
    return {kind: folder / FORMATS[kind] for kind in options.formats}, folder / SUMMARY
