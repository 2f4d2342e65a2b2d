"""The commands of maps, added to those of `cli.py`: points at scale, scenes, vectors and the page to look at them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from roadedge.errors import PartialFailureError
from roadedge.terminal import print_json, say

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Show the traceback of an error.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is at -o.")]

points_app = typer.Typer(name="points", help="Points at scale: sort them by place once, read any tile of them at once.")
data_app = typer.Typer(name="data", help="Data sets out of scenes and vectors of one's own.")


@points_app.command("ingest")
def points_ingest(
    files: Annotated[list[Path], typer.Argument(help="CSV, Parquet, GPX, NMEA (.gz too), or folders of them.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The store: NAME.parquet.")],
    crs: Annotated[str | None, typer.Option(help="CRS of columns x, y, such as EPSG:32616.")] = None,
    datum: Annotated[str, typer.Option(help="Of longitude and latitude: wgs84, gcj02 or bd09.")] = "wgs84",
    column: Annotated[
        list[str] | None, typer.Option(help="FIELD=NAME: x, y, lon, lat, t, vid, speed or heading; repeat it.")
    ] = None,
    header: Annotated[str | None, typer.Option(help="Names of the columns of a table without a header.")] = None,
    file_format: Annotated[str | None, typer.Option("--format", help="csv, parquet, gpx or nmea, of any name.")] = None,
    trip_per_file: Annotated[bool, typer.Option("--trip-per-file", help="Each file is one trip.")] = False,
    swap_xy: Annotated[bool, typer.Option("--swap-xy", help="The two coordinates are in the other order.")] = False,
    speed_unit: Annotated[str, typer.Option(help="Of the files: ms, kmh, mph or knots.")] = "ms",
    time_unit: Annotated[str, typer.Option(help="Of times that are numbers: s, ms or us.")] = "s",
    box: Annotated[str | None, typer.Option(help="x0,y0,x1,y1 in the store's CRS: leave out what is beyond.")] = None,
    max_gap: Annotated[float, typer.Option(help="Longest step, s, that speed and heading are derived from.")] = 60.0,
    tile: Annotated[float | None, typer.Option(help="Side of the tiles to sort by, in the unit of the CRS.")] = None,
    rows_in_memory: Annotated[int, typer.Option(help="Rows sorted at a time; memory goes with it.")] = 2_000_000,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="Leave out files that cannot be read.")] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Sort files of points by place into one store, in bounded memory; bad rows are counted by reason."""
    from roadedge.trajectory.ingest.options import IngestOptions, parse_box, parse_columns
    from roadedge.trajectory.ingest.run import ingest

    options = IngestOptions(
        crs, datum, parse_columns(column or []), tuple(header.split(",")) if header else (), file_format,
        trip_per_file, swap_xy, speed_unit, time_unit, parse_box(box), max_gap, tile, rows_in_memory, keep_going,
    )  # fmt: skip
    info = ingest(files, output, options, overwrite, None if quiet else say)
    points_info(output, None, as_json) if not as_json else print_json({"path": str(output.resolve()), **info})
    say(f"Results saved to {output.resolve()}")
    if info["failed"]:
        failed = len(info["failed"])
        raise PartialFailureError(f"{failed} of {info['files']} files could not be read; the rest is stored")
    say(f"Next: roadedge points info {output} --picture points.png")


@points_app.command("info")
def points_info(
    store: Annotated[Path, typer.Argument(help="A store that `roadedge points ingest` made.")],
    picture: Annotated[Path | None, typer.Option(help="Also draw where the points lie: NAME.png.")] = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Say what a store of points holds, where and when, and what was left out of it."""
    from roadedge.trajectory.point_store import PointStore
    from roadedge.trajectory.store_report import describe, described_lines, write_picture

    with PointStore.open(store) as opened:
        facts = describe(opened)
        if picture is not None:
            write_picture(opened, picture)
            facts["picture"] = str(picture.resolve())
    if as_json:
        print_json(facts)
        return
    print("\n".join(described_lines(facts)))
    if picture is not None:
        say(f"Results saved to {picture.resolve()}")


@data_app.command("prepare")
def data_prepare(
    scene: Annotated[Path, typer.Argument(help="A GeoTIFF, COG or VRT of any CRS, or a folder of them.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the data set.")],
    roads: Annotated[Path | None, typer.Option(help="Lines: GeoPackage, Shapefile, FlatGeobuf, GeoParquet …")] = None,
    areas: Annotated[Path | None, typer.Option(help="Carriageways as polygons, beside --roads or alone.")] = None,
    ignore: Annotated[Path | None, typer.Option(help="Polygons of zones that are neither road nor not.")] = None,
    points: Annotated[Path | None, typer.Option(help="A store that `roadedge points ingest` made.")] = None,
    lidar: Annotated[list[str] | None, typer.Option(help="LAS, LAZ, or NAME=FILE.tif; may be repeated.")] = None,
    layer: Annotated[str | None, typer.Option(help="Layer of --roads, where it has several of lines.")] = None,
    width_attribute: Annotated[str | None, typer.Option(help="Attribute of --roads with widths in metres.")] = None,
    width: Annotated[float, typer.Option(help="Metres of roads whose width is not known.")] = 8.0,
    size: Annotated[int, typer.Option(help="Side of the tiles, pixels.")] = 512,
    gsd: Annotated[float | None, typer.Option(help="Metres per pixel of the tiles; default the scene's own.")] = None,
    crs: Annotated[str | None, typer.Option(help="Of a scene that does not say its own: EPSG:….")] = None,
    val_share: Annotated[float, typer.Option(help="Share of the tiles to set aside, in whole blocks.")] = 0.2,
    block: Annotated[float | None, typer.Option(help="Side of the blocks, metres; default by the scene.")] = None,
    seed: Annotated[int, typer.Option(help="Another one sets other blocks aside.")] = 0,
    min_valid: Annotated[float, typer.Option(help="Least share of a tile that must be image.")] = 0.25,
    image_format: Annotated[str, typer.Option(help="png or jpg.")] = "png",
    points_format: Annotated[str, typer.Option(help="parquet or csv.gz.")] = "parquet",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Make a folder data set to train on, out of a scene and vectors of its roads."""
    from roadedge.roadmap.dataset.options import PrepareOptions, PrepareOrder
    from roadedge.roadmap.dataset.prepare import prepare
    from roadedge.roadmap.dataset.report import manifest_lines
    from roadedge.roadmap.dataset.tile_lidar import parse_lidar

    order = PrepareOrder(scene, roads, output, areas, ignore, points, parse_lidar(lidar or []))
    options = PrepareOptions(
        size, gsd, crs, layer, width_attribute, width, val_share, block, seed, min_valid, image_format, points_format
    )
    try:
        result = prepare(order, options, resume, overwrite, None if quiet else say)
    except KeyboardInterrupt as stop:
        say(f"interrupted: {stop}" if stop.args else "interrupted")
        raise typer.Exit(130) from None
    if as_json:
        print_json({"folder": str(result.folder), **result.manifest})
    else:
        print("\n".join(manifest_lines(result.manifest)))
    say(f"Results saved to {result.folder}; look at {result.folder / 'overview.jpg'}")
    say(f"Next: roadedge train {output}")


def view(
    folder: Annotated[Path, typer.Argument(help="What `roadedge map` or `roadedge vectorize` wrote.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The page; default FOLDER/index.html.")] = None,
    backdrop: Annotated[Path | None, typer.Option(help="A georeferenced picture to draw under everything.")] = None,
    raster_mb: Annotated[float, typer.Option(help="Most that all rasters take in the page.")] = 24.0,
    tolerance: Annotated[float, typer.Option(help="Metres that a drawn road may leave the file's.")] = 0.3,
    open_it: Annotated[bool, typer.Option("--open", help="Show the page in a browser.")] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Write one HTML page of a map, to be looked at without a network: rasters, roads, what is known of each."""
    from roadedge.roadmap.page import PageOptions, write_page

    result = write_page(folder, output, PageOptions(backdrop, raster_mb, tolerance, overwrite), say)
    if as_json:
        print_json(result.to_dict())
    else:
        print(f"{result.edges} roads, {result.length_km:.1f} km, {result.size_bytes / 1e6:.1f} MB")
    say(f"Results saved to {result.path}")
    if open_it:
        import webbrowser

        if not webbrowser.open(result.path.as_uri()):
            say("no browser answered; open that file in one")


def map_scene(
    scene: Annotated[Path, typer.Argument(help="A GeoTIFF, COG or VRT of any CRS and size, or a folder of them.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the map.")],
    points: Annotated[Path | None, typer.Option(help="A store that `roadedge points ingest` made.")] = None,
    lidar: Annotated[
        list[Path] | None, typer.Option(help="LAS or LAZ files, repeated, or a folder of them; or a raster of LiDAR.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="A carried network or a file; default roadedge-s, in INT8 where OpenVINO is.")
    ] = None,
    backend: Annotated[str, typer.Option(help="auto, torch, onnxruntime, openvino or tensorrt.")] = "auto",
    precision: Annotated[str | None, typer.Option(help="fp32, bf16 or fp16; default the file's own.")] = None,
    gsd: Annotated[float | None, typer.Option(help="Metres per pixel to feed; default the network's own.")] = None,
    tile: Annotated[int | None, typer.Option(help="Side of the windows at most, pixels; default 1024.")] = None,
    overlap: Annotated[int, typer.Option(help="Pixels that neighbouring windows share at least.")] = 128,
    batch: Annotated[int, typer.Option(help="Windows to a call of the network.")] = 1,
    executor: Annotated[str, typer.Option(help="serial, threads, processes or ray.")] = "threads",
    workers: Annotated[int | None, typer.Option(help="How many; default as many as processors.")] = None,
    threads: Annotated[int | None, typer.Option(help="Of the back-end in each worker.")] = None,
    ray_address: Annotated[str | None, typer.Option(help="Of a Ray cluster; default one of this machine.")] = None,
    ray_gpus: Annotated[float, typer.Option(help="GPUs of each Ray worker; 1 keeps one engine loaded on each.")] = 0.0,
    shard: Annotated[str | None, typer.Option(help="i/n: this run's share of the tiles; the last run joins.")] = None,
    join: Annotated[bool, typer.Option("--join", help="Compute no tile; join what the shards have made.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a map that was begun.")] = False,
    overwrite: Overwrite = False,
    crs: Annotated[str | None, typer.Option(help="Of a scene that does not say its own: EPSG:….")] = None,
    roads: Annotated[
        str, typer.Option(help="Vectors to write: gpkg, parquet, geojson, with commas; or none.")
    ] = "gpkg",
    threshold: Annotated[float | None, typer.Option(help="Probability from which on roads are traced.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="A GSD that was not trained is an error.")] = False,
    keep_tiles: Annotated[bool, typer.Option("--keep-tiles", help="Do not delete the tiles at the end.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Map a scene of any size: road probability as a COG, roads as a GeoPackage. Killed runs go on with --resume."""
    from roadedge.roadmap.make_map import make_map
    from roadedge.roadmap.map_order import MapOrder
    from roadedge.roadmap.settings import MapSettings, Shard, default_model
    from roadedge.roadmap.show import road_maker, summary

    settings = MapSettings(
        model or default_model(), backend, precision, gsd, tile, overlap, batch, executor, workers, threads,
        ray_address, ray_gpus, crs, strict, keep_tiles,
    )  # fmt: skip
    share = None if shard is None else Shard.parse(shard)
    order = MapOrder(scene, output, points, tuple(lidar or ()), resume, overwrite, share, join)
    tell = (lambda line: None) if quiet else say
    try:
        result = make_map(order, settings, tell, road_maker(roads, threshold, tell))
    except KeyboardInterrupt as stop:
        say(f"interrupted: {stop}" if stop.args else "interrupted")
        raise typer.Exit(130) from None
    if as_json:
        print_json({"folder": str(result.folder), "missing_tiles": result.missing, **result.metrics})
    else:
        print("\n".join(summary(result)))
    say(f"Results saved to {result.folder}")
    if result.metrics:
        say(f"Next: roadedge view {output}")


def vectorize(
    source: Annotated[Path, typer.Argument(help="A folder of `roadedge map`, or a probability raster with a CRS.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="A folder or a .gpkg, .parquet or .geojson; default beside."),
    ] = None,
    formats: Annotated[str, typer.Option("--format", help="gpkg, parquet, geojson, with commas.")] = "gpkg",
    points: Annotated[
        Path | None, typer.Option(help="A store of `roadedge points ingest`: trips, speed and one-way of each road.")
    ] = None,
    threshold: Annotated[float, typer.Option(help="Probability from which on a pixel is road.")] = 0.5,
    low_threshold: Annotated[
        float | None, typer.Option(help="The same, of what hangs together with road; default 0.7 of --threshold.")
    ] = None,
    cell: Annotated[float, typer.Option(help="Metres of the cells that are traced, at most.")] = 1.0,
    spur: Annotated[float, typer.Option(help="Dead ends that reach less metres beyond their road go.")] = 6.0,
    least_length: Annotated[float, typer.Option(help="Roads that hang together and are shorter go, metres.")] = 20.0,
    simplify: Annotated[float, typer.Option(help="Metres that a line may leave the skeleton.")] = 1.0,
    close_gaps: Annotated[
        float | None, typer.Option(help="Close gaps of so many metres that trips vouch for; needs --points.")
    ] = None,
    gap_trips: Annotated[int, typer.Option(help="Trips that must pass both ends of a gap.")] = 3,
    gap_reach: Annotated[float, typer.Option(help="Metres within which a trip passes an end.")] = 10.0,
    snap: Annotated[float, typer.Option(help="Metres beyond half its width at which a point follows a road.")] = 8.0,
    oneway_trips: Annotated[int, typer.Option(help="Trips without which no road is said to be one-way or not.")] = 10,
    workers: Annotated[int, typer.Option(help="Threads.")] = 2,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Trace roads in a probability raster of any size: a GeoPackage for QGIS, with widths, speeds and directions."""
    from roadedge.roadgraph.trace import TraceOptions
    from roadedge.roadmap.gaps import GapOptions
    from roadedge.roadmap.road_order import make_roads, parse_formats, summary_lines
    from roadedge.roadmap.roads import RoadsOptions
    from roadedge.roadmap.traffic import TrafficOptions

    low = 0.7 * threshold if low_threshold is None else low_threshold
    traced = TraceOptions(threshold, low, spur_m=spur, least_length_m=least_length, simplify_m=simplify)
    gaps = None if close_gaps is None else GapOptions(close_gaps, gap_trips, gap_reach)
    traffic = TrafficOptions(snap, oneway_trips=oneway_trips)
    options = RoadsOptions(parse_formats(formats), traced, traffic, gaps, cell, workers)
    result = make_roads(source, output, options, points, overwrite, (lambda line: None) if quiet else say)
    if as_json:
        print_json(result.to_dict())
    else:
        print("\n".join(summary_lines(result)))
    say(f"Results saved to {', '.join(str(path) for path in result.files.values())}")
    if source.is_dir() and output is None:
        say(f"Next: roadedge view {source}")


def lidar_rasters(
    files: Annotated[list[Path], typer.Argument(help="LAS or LAZ files, or folders of them.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the rasters.")],
    like: Annotated[Path | None, typer.Option(help="A scene on whose pixels to draw.")] = None,
    gsd: Annotated[float | None, typer.Option(help="Metres per pixel; default those of --like.")] = None,
    quantity: Annotated[str, typer.Option(help="intensity, height, or both with a comma.")] = "intensity,height",
    intensity_range: Annotated[
        str | None, typer.Option(help="LOW,HIGH that levels 1 to 255 stand for; default the middle 98 percent.")
    ] = None,
    height_range: Annotated[str, typer.Option(help="LOW,HIGH in metres above the ground.")] = "0,25.4",
    fill: Annotated[float, typer.Option(help="Metres over which gaps take the nearest cell with a point.")] = 2.0,
    crs: Annotated[str | None, typer.Option(help="Of files that do not say their own: EPSG:….")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Draw point clouds as rasters of intensity and of height above the ground, of 8 bits; 0 is no point."""
    from roadedge.lidar.raster import Drawing
    from roadedge.roadmap.clouds import RasterOrder, parse_quantities, parse_range, rasterise

    given = {
        "intensity": parse_range(intensity_range, "intensity"),
        "height": parse_range(height_range, "height"),
    }
    drawing = Drawing({name: given[name] for name in parse_quantities(quantity)}, fill)
    order = RasterOrder(tuple(files), output, like, gsd, crs)
    drawn = rasterise(order, drawing, overwrite, None if quiet else say)
    if as_json:
        print_json(drawn.to_dict())
    else:
        print("\n".join(drawn.lines()))
    say(f"Results saved to {output.resolve()}")
    say("Next: roadedge data prepare SCENE --lidar " + " --lidar ".join(f"{n}={p}" for n, p in drawn.files.items()))


def add_to(app: typer.Typer) -> None:
    """Give `app` the commands of maps."""
    app.command("map")(map_scene)
    app.command("lidar")(lidar_rasters)
    for group in (points_app, data_app):
        if group.registered_commands:
            app.add_typer(group, no_args_is_help=True)
    app.command("vectorize")(vectorize)
    app.command("view")(view)
