"""Road graphs: from a mask or a probability to nodes and edges, and to and from the files that hold them.

graph = trace(mask.probability, gsd_m=0.5)
document = geojson(graph.to_ground(place).to_lonlat(plane))
"""

from __future__ import annotations

from roadedge.roadgraph.geojson import from_geojson, geojson, read_geojson, write_geojson
from roadedge.roadgraph.graph import RoadGraph
from roadedge.roadgraph.trace import TraceOptions, trace

__all__ = ["RoadGraph", "TraceOptions", "from_geojson", "geojson", "read_geojson", "trace", "write_geojson"]
