"""From an overhead image and the trajectories that fall on it to a road mask."""

__version__ = "0.1.0"
