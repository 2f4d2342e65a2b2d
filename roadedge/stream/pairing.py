"""Which file of the second modality belongs to which image: by name, a provider's suffix aside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from roadedge.errors import DataError, SourceError, UsageError
from roadedge.imagery import IMAGE_SUFFIXES
from roadedge.trajectory.readers import READERS


def pair(images: Sequence[Path], trajectory: Path) -> dict[Path, Path]:
    """Find the file of points, or the raster, of each image.

    Args:
        images: at least one.
        trajectory: a file, which belongs to the only image; or a folder of files, one for an image. `NAME.csv` belongs
            to the image `NAME` and to `NAME_anything` (the same place seen by another provider); the longest name
            wins, and points win over a raster of the same name.

    Returns:
        The files by image; an image without one is left out.

    Raises:
        SourceError: there is no such file or folder.
        UsageError: one file for several images.
        DataError: a folder in which no file belongs to any of the images.
    """
    if trajectory.is_dir():
        files = by_name(trajectory)
        found = {image: file for image in images if (file := _longest(image.stem, files)) is not None}
        if not found:
            raise DataError(
                f"no file in {trajectory} is named after one of the {len(images)} images (NAME.csv goes with NAME.png "
                f"and NAME_provider.png; the first image is {images[0].name}); it has {len(files)} points or rasters"
            )
        return found
    if not trajectory.exists():
        raise SourceError(f"there is no trajectory {trajectory}")
    if len(images) > 1:
        raise UsageError(
            f"one file of points, {trajectory.name}, cannot lie on {len(images)} images; "
            "give a folder with one file for each"
        )
    return {images[0]: trajectory}


def by_name(folder: Path) -> dict[str, Path]:
    """Files of points and rasters in a folder by their name without suffix; points win."""
    found: dict[str, Path] = {}
    for suffixes in (IMAGE_SUFFIXES, tuple(READERS)):
        for path in sorted(folder.iterdir()):
            suffix = next((s for s in suffixes if path.name.lower().endswith(s)), None)
            if suffix is not None and path.is_file():
                found[path.name[: -len(suffix)]] = path
    return found


def is_raster(path: Path) -> bool:
    """Whether a file of the second modality is a raster, not points."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def _longest(stem: str, files: dict[str, Path]) -> Path | None:
    name = stem
    while name not in files:
        if "_" not in name:
            return None
        name = name.rpartition("_")[0]
    return files[name]
