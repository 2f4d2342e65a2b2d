"""LAS and LAZ point clouds → rasters of intensity and of height above the ground. Extras `lidar` and `geo`."""
