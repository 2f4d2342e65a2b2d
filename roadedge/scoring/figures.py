"""The figures of a result by their names, and every setting that they hang on, for table, CSV and page alike."""

from __future__ import annotations

from collections.abc import Sequence

from roadedge.metrics.pixel import EMPTY_RULE
from roadedge.metrics.published import BUFFER_PX
from roadedge.scoring.pairing import tiles_of
from roadedge.scoring.report import INTERVAL_RULE, ScoreResult, notes_of
from roadedge.scoring.tile import TileScore

MOST_NOTES = 12
Figures = dict[str, float | None]


def tile_figures(tile: TileScore) -> Figures:
    """The main scores of a tile by the names of the columns; None is what was not asked for or cannot be told."""
    pixels, relaxed, graph = tile.pixels, tile.relaxed, tile.graph
    found: Figures = {
        "IoU": None if pixels is None else pixels.iou,
        "P": None if pixels is None else pixels.precision,
        "R": None if pixels is None else pixels.recall,
        "F1": None if pixels is None else pixels.f1,
        "accuracy": None if pixels is None else pixels.accuracy,
        "mIoU": None if pixels is None else pixels.miou,
        "relaxed P": None if relaxed is None else relaxed.precision,
        "relaxed R": None if relaxed is None else relaxed.recall,
        "relaxed F1": None if relaxed is None else relaxed.f1,
        "relaxed IoU": None if relaxed is None else relaxed.iou,
        "APLS": None if graph is None or graph.apls is None else graph.apls.apls,
        "APLS time": None if graph is None or graph.apls_time is None else graph.apls_time.apls,
    }
    for name, matches in (
        ("TOPO", None if graph is None or graph.topo is None else graph.topo.matches),
        ("junction", None if graph is None else graph.junctions),
    ):
        for short, attribute in (("P", "precision"), ("R", "recall"), ("F1", "f1")):
            found[f"{name} {short}"] = None if matches is None else getattr(matches, attribute)
    return found


def pooled_figures(result: ScoreResult) -> list[tuple[str, float, tuple[float, float] | None]]:
    """Name, value and interval of each score of the whole set."""
    rows: list[tuple[str, float, tuple[float, float] | None]] = []
    pixels, relaxed, graph, published = result.pixels(), result.relaxed(), result.graph(), result.published()
    if pixels is not None:
        rows.append(("G_IoU", pixels.g_iou, result.pixel_interval()))
        rows += [("A_IoU", pixels.a_iou, None), ("precision", pixels.precision, None), ("recall", pixels.recall, None)]
        rows += [("F1", pixels.f1, None), ("accuracy", pixels.accuracy, None)]
        rows.append(("mIoU with background", pixels.miou, None))
    if relaxed is not None:
        shares = (relaxed.precision, relaxed.recall, relaxed.f1, relaxed.iou)
        rows += [(f"relaxed {n}", v, None) for n, v in zip(("precision", "recall", "F1", "IoU"), shares, strict=True)]
    if graph is not None and graph.apls is not None:
        rows.append(("APLS", graph.apls, graph.apls_interval))
    if graph is not None and graph.apls_time is not None:
        rows.append(("APLS by time", graph.apls_time, graph.apls_time_interval))
    if graph is not None:
        for name, matches, interval in (
            ("TOPO", graph.topo, graph.topo_interval),
            ("junction", graph.junctions, graph.junctions_interval),
        ):
            if matches is not None:
                rows += [(f"{name} precision", matches.precision, None), (f"{name} recall", matches.recall, None)]
                rows.append((f"{name} F1", matches.f1, interval))
    if published is not None:
        rows += [(f"published {name}", value, None) for name, value in published.items() if name != "rules"]
    return rows


def setting_lines(result: ScoreResult) -> list[str]:
    """Everything that the scores hang on, and what must be known beside them."""
    settings, graph = result.settings, result.graph()
    lines = [] if result.complete else ["stopped before its end: only part of the tiles was scored"]
    gsds = sorted({round(tile.gsd_m, 4) for tile in result.tiles if tile.gsd_m is not None})
    if gsds:
        known = f"{gsds[0]:g}" + (f" to {gsds[-1]:g}" if len(gsds) > 1 else "")
        lines.append(f"metres per pixel: {known}")
    if result.counts():
        lines.append(f"probabilities from {settings.threshold:g} on are road; pixels of 128 left out")
    if settings.relaxed is not None:
        what = "centre lines" if settings.relaxed.on == "lines" else "masks"
        lines.append(f"relaxed: {what}, Euclidean buffer of {settings.relaxed}, summed")
    lines += settings.graph.lines(result.unit) if graph is not None else []
    if graph is not None:
        lines += _untimed(result)
        if graph.empty_pairs:
            rest = "–" if graph.apls_of_roads is None else f"{100 * graph.apls_of_roads:.2f}"
            empty = f"{tiles_of(graph.empty_pairs)} without a road graph on either side, which scores 1 by rule"
            lines.append(f"{empty}; APLS without: {rest}")
        if "px" in graph.units:
            lines.append("no metres per pixel are known: distances of graphs are pixels; give --gsd")
    lines.append(EMPTY_RULE)
    published = result.published()
    if published is not None:
        lines += [f"published protocol: {rule}" for rule in published["rules"]]
        buffer = f"{BUFFER_PX} px" if settings.relaxed is None else str(settings.relaxed)
        lines.append(f"published protocol: buffer of the square window {buffer}")
        lines.append("published protocol: APLS, TOPO and junctions have no such form; their settings are those above")
    if settings.bootstrap and len(result.tiles) > 1:
        lines.append(f"{INTERVAL_RULE}, {settings.bootstrap} draws, seed {settings.seed}")
    notes = notes_of(result.tiles)
    more = [f"and {len(notes) - MOST_NOTES} more notes on single tiles, see --json"] if len(notes) > MOST_NOTES else []
    return lines + notes[:MOST_NOTES] + more


def _untimed(result: ScoreResult) -> list[str]:
    """How much of the roads scored by time has no speed of its own, and what was taken instead."""
    scored = [tile.graph for tile in result.tiles if tile.graph is not None]
    timed = [(one, one.apls_time.timing) for one in scored if one.apls_time and one.apls_time.timing]
    missing = [(one, timing, timing.kmh) for one, timing in timed if timing.kmh is not None]
    if not missing:
        return []
    true, proposed = sum(one.true_length for one, _ in timed), sum(one.proposed_length for one, _ in timed)
    own = sum(timing.truth_untimed for _, timing, _ in missing) / true
    theirs = sum(timing.proposal_untimed for _, timing, _ in missing) / proposed
    speeds = [kmh for *_, kmh in missing]
    least, most = f"{min(speeds):.4g}", f"{max(speeds):.4g}"
    taken = least if least == most else f"{least} to {most}"
    origins = ", ".join(dict.fromkeys(timing.origin for _, timing, _ in missing))
    return [
        f"no speed of their own have {100 * own:.1f} % of the true length and {100 * theirs:.1f} % of the proposed: "
        f"driven at {taken} km/h ({origins})"
    ]


def worst_first(tiles: Sequence[TileScore]) -> list[TileScore]:
    """By APLS where it was scored, else by the first score that all have."""
    names = ["APLS", "APLS time", *(tile_figures(tiles[0]) if tiles else ())]
    for name in names:
        figures = [(tile_figures(tile)[name], tile) for tile in tiles]
        if all(value is not None for value, _ in figures):
            return [tile for _, tile in sorted(figures, key=lambda one: (one[0], one[1].name))]
    return list(tiles)
