"""Autzen with LiDAR: the scene as GeoTIFF, a data set whose rasters are drawn from its point cloud, and its scores.

`python benchmarks/autzen.py scene DATA/autzen -o FOLDER` writes FOLDER/scene.tif (1 ft, EPSG:2992).
`python benchmarks/autzen.py tiles DATA/autzen -o FOLDER` writes the folder data set of DATA/autzen, its nine tiles,
with `lidar_intensity` and `lidar_height` drawn anew from the thinned cloud of half a point per square metre.

The pixels are CC BY 4.0, Watershed Sciences / Hobu, by way of PDAL/data.
"""

from __future__ import annotations

import argparse
import csv
import shutil
from pathlib import Path

import cv2

from roadedge.imagery import read_image
from roadedge.lidar.cloud import look_at_clouds
from roadedge.lidar.raster import Drawing, LidarGrid, drawn_strips, study
from roadedge.spec import LidarSpec

CRS, FOOT_M = "EPSG:2992", 0.3048
LEFT, TOP = 635_613.0, 853_365.0  # corner of the scene in feet
INTENSITY = LidarSpec("intensity", 0.0, 255.0)


def write_scene(data: Path, folder: Path) -> Path:
    """The orthophoto with its place."""
    import rasterio

    image = read_image(data / "full" / "ortho_1ft.jpg")
    path = folder / "scene.tif"
    folder.mkdir(parents=True, exist_ok=True)
    transform = rasterio.Affine(1, 0, LEFT, 0, -1, TOP)
    height, width = image.shape[:2]
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=3, dtype="uint8", crs=CRS, transform=transform,
        tiled=True, compress="jpeg", photometric="ycbcr", jpeg_quality=92,
    ) as raster:  # fmt: skip
        raster.write(image.transpose(2, 0, 1))
    return path


def write_tiles(data: Path, folder: Path) -> None:
    """The nine tiles, with rasters of the thinned cloud."""
    size = cv2.imread(str(data / "full" / "mask_1ft.png"), cv2.IMREAD_GRAYSCALE).shape
    grid = LidarGrid((LEFT, 2.0, 0.0, TOP, 0.0, -2.0), CRS, (size[0] // 2, size[1] // 2), 2 * FOOT_M)
    clouds = look_at_clouds([data / "full" / "autzen_thin16.laz"], CRS)
    drawing = Drawing({"intensity": INTENSITY, "height": LidarSpec.height()})
    strips = [planes for _, planes in drawn_strips(clouds, grid, drawing, study(clouds, grid, drawing, print))]
    with (data / "split.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for name in ("image", "mask", "lidar_intensity", "lidar_height"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for row in rows:
        for name in ("image", "mask"):
            shutil.copyfile(data / row[name], folder / row[name])
        _, x, y = Path(row["image"]).stem.split("_")
        for name in ("intensity", "height"):
            plane = cv2.vconcat([strip[name] for strip in strips])
            tile = plane[int(y) : int(y) + 512, int(x) : int(x) + 512]
            cv2.imwrite(str(folder / row[f"lidar_{name}"]), tile)
    shutil.copyfile(data / "split.csv", folder / "split.csv")
    shutil.copyfile(data / "LICENSE", folder / "LICENSE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("scene", "tiles"))
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    {"scene": write_scene, "tiles": write_tiles}[given.what](given.data, given.output)


if __name__ == "__main__":
    main()
