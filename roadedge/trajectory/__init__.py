"""GPS points in, and the rasters that a network sees of them."""

from roadedge.trajectory.points import Points
from roadedge.trajectory.readers import READERS, read_points

__all__ = ["READERS", "Points", "read_points"]
