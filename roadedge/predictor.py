"""The Python face: `roadedge.load("roadedge-s").predict(image, points)` → RoadMask."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import ShapeError, SpecMismatchError
from roadedge.place import Place
from roadedge.postprocess import postprocess
from roadedge.preprocess import preprocess
from roadedge.runners import Augmentation, Runner, open_runner
from roadedge.sample import RoadMask, Sample, check_array
from roadedge.spec import ModelSpec

if TYPE_CHECKING:
    from typing_extensions import Self


class Predictor:
    """A loaded network and the way from an image to its road mask. A context manager; `runner` says what runs."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    @property
    def spec(self) -> ModelSpec:
        """What the network takes."""
        return self.runner.spec

    def predict(
        self,
        image: NDArray[np.uint8] | None,
        points_or_raster: NDArray[Any] | None = None,
        gsd_m: float | None = None,
        place: Place | None = None,
    ) -> RoadMask:
        """Extract the roads of one image of any size.

        Args:
            image: (H, W, 3) uint8 RGB, as `roadedge.read_image` gives it; None where only a raster is at hand.
            points_or_raster: points (N, >= 2) floating, x right and y down in pixels of the image from its upper left
                corner; or a raster (H, W) uint8; or None.
            gsd_m: metres per pixel where known; the image is then resampled to what the network was trained on.
            place: georeference, handed on to the mask; its own ground sample distance counts where `gsd_m` is None.

        Returns:
            The mask on the grid of the image.

        Raises:
            ShapeError: image or second modality of another shape or type, or of differing sizes.
            SpecMismatchError: a second modality was given and the network takes none.
        """
        if points_or_raster is not None and self.spec.second is None:
            raise SpecMismatchError(
                f"{self.spec.name} looks at images alone; leave points and raster out, or take another network"
            )
        if points_or_raster is not None:
            check_array("points_or_raster", points_or_raster)
        raster_size = (0, 0)
        if image is None:
            if points_or_raster is None or points_or_raster.dtype != np.uint8 or points_or_raster.ndim != 2:
                raise ShapeError("without an image a raster (H, W) uint8 must say the size; give one of them")
            raster_size = (points_or_raster.shape[0], points_or_raster.shape[1])
        sample = Sample(image, points_or_raster, raster_size, place=place, gsd_m=gsd_m)
        return postprocess(self.runner.infer(preprocess(sample, self.spec)), self.spec, sample)

    def close(self) -> None:
        """Give memory and threads back."""
        self.runner.close()

    def __enter__(self) -> Self:
        """The predictor itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


def load(
    model: str | Path = "roadedge-s",
    backend: str = "auto",
    precision: str | None = None,
    threads: int | None = None,
    accept_rejected: bool = False,
    augmentation: Augmentation | None = None,
) -> Predictor:
    """Load a network by name or path; arguments and errors are those of `roadedge.runners.open_runner`.

    `augmentation=roadedge.Augmentation(tta=8, scales=(0.75, 1.0, 1.25), window=(512, 512), margin=64)` predicts by
    eight views at three scales in windows, at that many times the cost.
    """
    return Predictor(open_runner(model, backend, precision, threads, accept_rejected, augmentation))
