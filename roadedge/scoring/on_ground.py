"""Two road graphs of any CRS → one metric plane, cut to the ground that both sides speak of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from roadedge.errors import SpecMismatchError
from roadedge.roadgraph import RoadGraph
from roadedge.roadgraph.graph import LONLAT, measure
from roadedge.scoring.extent import Extent, check_near, cut_to, rectangle
from roadedge.scoring.vectors import in_lonlat
from roadedge.trajectory.plane import LocalPlane


def on_one_plane(
    prediction: RoadGraph, truth: RoadGraph, names: tuple[str, str], extents: Sequence[Extent] = ()
) -> tuple[RoadGraph, RoadGraph]:
    """Both graphs in metres of the plane that touches the Earth in their midst, lengths measured anew there.

    Args:
        prediction: in a CRS that pyproj knows; an empty one may lie anywhere.
        truth: the same.
        names: of both, for messages.
        extents: of rasters; roads are cut where one of them ends.

    Raises:
        SpecMismatchError: they have no place in common.
        DataError: coordinates that are no places of their CRS.
    """
    lonlat = [in_lonlat(graph, name) for graph, name in zip((prediction, truth), names, strict=True)]
    plane = LocalPlane(*extents[0].centre()) if extents else _plane_of(lonlat[1] if lonlat[1].lines else lonlat[0])
    own, other = (_onto(graph, plane, name) for graph, name in zip(lonlat, names, strict=True))
    if extents:
        area = extents[0].polygon(plane)
        for graph, name in ((own, names[0]), (other, names[1])):
            check_near(graph, area, name, extents[0].name)
        for more in extents[1:]:
            area = area.intersection(more.polygon(plane))
        if area.is_empty:
            known = " and ".join(one.name for one in extents)
            raise SpecMismatchError(f"{known} have no place in common; check the CRS of both")
        return cut_to(own, area), cut_to(other, area)
    if own.lines and other.lines:
        check_near(own, _box(other), *names)
    return own, other


def _plane_of(lonlat: RoadGraph) -> LocalPlane:
    return LocalPlane.about(lonlat.nodes) if lonlat.lines else LocalPlane(0.0, 0.0)


def _onto(lonlat: RoadGraph, plane: LocalPlane, name: str) -> RoadGraph:
    if not lonlat.lines:
        return RoadGraph.empty(plane.crs, "m")
    every = plane.from_lonlat(np.concatenate([lonlat.nodes, *lonlat.lines]))
    if not np.isfinite(every).all():
        raise SpecMismatchError(f"{name} lies on another side of the Earth than the other file; check the CRS of both")
    moved = lonlat.moved(lambda _: every, plane.crs)
    return replace(moved, length=measure(moved.lines))


def _box(graph: RoadGraph) -> Any:
    every = np.concatenate(graph.lines)
    return rectangle(*every.min(axis=0), *every.max(axis=0))


def has_place(graph: RoadGraph) -> bool:
    """Whether its coordinates are those of a CRS by name, and not pixels or a plane that nobody named."""
    return graph.crs == LONLAT or graph.crs not in ("pixel", "local")
