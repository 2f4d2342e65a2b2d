"""What was found (green), missed (blue) and invented (red): areas of road on the left, lines and junctions beside."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from roadedge.metrics.graph_scores import GraphScores, GraphSettings
from roadedge.metrics.pixel import PixelCounts
from roadedge.metrics.relaxed import near
from roadedge.metrics.road_network import prepare
from roadedge.pictures import Picture, panel
from roadedge.roadgraph import RoadGraph
from roadedge.roadgraph.drawing import draw
from roadedge.roadgraph.graph import PIXEL
from roadedge.scoring.aligned import Aligned
from roadedge.scoring.settings import ScoreSettings

FOUND_RGB, MISSED_RGB, INVENTED_RGB, IGNORED_RGB = (52, 199, 89), (64, 132, 255), (255, 59, 48), (96, 96, 96)
SIDE_PX = 768  # the longer side of one picture, at most
_LEAST_SIDE_PX = 256
_NEAR_M = 4.0  # of lines to one another, where no score says


def error_pictures(
    both: Aligned,
    graphs: tuple[RoadGraph, RoadGraph] | None,
    settings: ScoreSettings,
    pixels: PixelCounts | None,
    scores: GraphScores | None,
) -> Picture:
    """The picture of a tile, with captions.

    Args:
        both: the tile.
        graphs: the true one and the proposed one, where graphs were scored.
        settings: whose distances say what counts as found.
        pixels: written under the areas.
        scores: written under the lines.
    """
    pictures, captions = [], []
    predicted, truth = both.predicted.area, both.truth.area
    if predicted is not None and truth is not None and pixels is not None:
        pictures.append(_shrunk(area_picture(predicted, truth, both.ignored)))
        captions.append(f"pixels: IoU {100 * pixels.iou:.1f} %; found green, missed blue, invented red")
    if graphs is not None:
        pictures.append(graph_picture(graphs[0], graphs[1], both, settings.graph))
        captions.append(_said(scores))
    elif settings.relaxed is not None and both.size is not None:
        within = settings.relaxed.pixels(both.gsd_m)
        pictures.append(_shrunk(line_picture(both.predicted.lines(both.size), both.truth.lines(both.size), within)))
        captions.append(f"centre lines, found within {settings.relaxed}")
    return panel(pictures, captions)


def area_picture(predicted: NDArray[np.bool_], truth: NDArray[np.bool_], ignored: NDArray[np.bool_] | None) -> Picture:
    """Areas (H, W) bool against each other on black."""
    picture = np.zeros((*truth.shape, 3), np.uint8)
    picture[truth & predicted] = FOUND_RGB
    picture[truth & ~predicted] = MISSED_RGB
    picture[predicted & ~truth] = INVENTED_RGB
    if ignored is not None:
        picture[ignored] = IGNORED_RGB
    return picture


def line_picture(predicted: NDArray[np.bool_], truth: NDArray[np.bool_], within_px: float) -> Picture:
    """Lines (H, W) bool against each other on black, three pixels wide: what counts as found lies within a distance."""
    import cv2

    picture = np.zeros((*truth.shape, 3), np.uint8)
    found = near(predicted, within_px)
    thick = np.ones((3, 3), np.uint8)
    parts = [
        (truth & found, FOUND_RGB),
        (truth & ~found, MISSED_RGB),
        (predicted & ~near(truth, within_px), INVENTED_RGB),
    ]
    for part, colour in parts:
        picture[cv2.dilate(part.view(np.uint8), thick).view(np.bool_)] = colour
    return picture


def graph_picture(truth: RoadGraph, proposal: RoadGraph, both: Aligned, settings: GraphSettings) -> Picture:
    """Two graphs against each other, on the grid where there is one; with junctions as rings where those are scored."""
    import cv2

    if both.size is not None:
        truth, proposal = both.truth.roads(), both.predicted.roads()
        low, high = np.zeros(2), np.array([both.size[1], both.size[0]], np.float64)
        per_unit = 1 / both.gsd_m if both.gsd_m is not None and truth.unit == "m" else 1.0
    else:
        truth, proposal = prepare(truth, proposal)
        low, high = _extent(truth, proposal)
        per_unit = 1.0
    largest = float((high - low).max())
    scale = min(SIDE_PX, max(_LEAST_SIDE_PX, largest)) / largest if largest else 1.0
    width, height = np.maximum(np.ceil((high - low) * scale), 1).astype(int)
    turned = truth.crs != PIXEL  # y runs up on the ground and down in a picture

    def onto(xy: object) -> NDArray[np.float64]:
        moved = (np.asarray(xy, np.float64) - low) * scale
        return np.stack([moved[:, 0], height - moved[:, 1]], axis=1) if turned else moved

    drawn = [graph.moved(onto, PIXEL) for graph in (truth, proposal)]
    lines = [draw(graph, (int(height), int(width))) for graph in drawn]
    picture = line_picture(lines[1], lines[0], max(_within(settings) * per_unit * scale, 1.0))
    if settings.junction_tolerance is not None:
        reach = max(settings.junction_tolerance * per_unit * scale, 1.0)
        own, theirs = (graph.nodes[graph.degree > 2] for graph in drawn)
        for nodes, others, missing in ((own, theirs, MISSED_RGB), (theirs, own, INVENTED_RGB)):
            for node in nodes:
                met = bool(len(others)) and float(np.linalg.norm(others - node, axis=1).min()) <= reach
                if not met or missing == MISSED_RGB:
                    cv2.circle(picture, np.rint(node).astype(int).tolist(), 6, FOUND_RGB if met else missing, 2)
    return picture


def _extent(*graphs: RoadGraph) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corners of what the lines reach over, with a margin."""
    lines = [line for graph in graphs for line in graph.lines]
    if not lines:
        return np.zeros(2), np.ones(2)
    every = np.concatenate(lines)
    margin = 0.02 * float(np.ptp(every, axis=0).max())
    return every.min(axis=0) - margin, every.max(axis=0) + margin


def _within(settings: GraphSettings) -> float:
    by_path = settings.apls or settings.apls_time
    if by_path is not None:
        return by_path.snap
    return settings.topo.hole if settings.topo is not None else _NEAR_M


def _said(scores: GraphScores | None) -> str:
    parts = []
    if scores is not None and scores.apls is not None:
        parts.append(f"APLS {100 * scores.apls.apls:.1f}")
    if scores is not None and scores.apls_time is not None:
        parts.append(f"APLS by time {100 * scores.apls_time.apls:.1f}")
    if scores is not None and scores.topo is not None:
        parts.append(f"TOPO F1 {100 * scores.topo.matches.f1:.1f}")
    if scores is not None and scores.junctions is not None:
        parts.append(f"junctions F1 {100 * scores.junctions.f1:.1f}")
    return "roads: " + ", ".join(parts)


def _shrunk(picture: Picture) -> Picture:
    import cv2

    scale = SIDE_PX / max(picture.shape[:2])
    if scale >= 1:
        return picture
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
