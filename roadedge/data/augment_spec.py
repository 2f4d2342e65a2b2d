"""What one draw of a training square may do: the table [augment] of a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from roadedge.errors import RecipeError


@dataclass(frozen=True, slots=True)
class AugmentSpec:
    """Probabilities and ranges of one training draw; all lengths in pixels of the network's grid unless named."""

    scale: tuple[float, float] = (0.75, 1.33)  # of the ground sample distance, log-uniform
    scale_p: float = 1.0
    zoom: tuple[float, float] = (1.0, 1.0)  # a second factor like it, uniform: the side of a part that fills the crop
    zoom_p: float = 0.0
    aspect: float = 0.0  # half width of the ratio of both sides about 1, uniform; drawn with the scale
    rotate_p: float = 0.3  # by any angle; else by quarter turns
    turn_p: float = 1.0  # by 0, 1, 2 or 3 quarter turns, one as likely as the other; else not at all
    flip_p: float = 0.5  # left and right exchanged
    redraw_above: float = 1.0  # a place of which one class fills more than this share is drawn again, ten times at most
    redraw_empty: bool = False  # so is one without any road
    colour: float = 0.2  # half width of gain, contrast and gamma jitter
    hsv: tuple[float, float, float] = (0.0, 0.0, 0.0)  # half widths of shifts: hue of 180, saturation and value of 255
    hsv_p: float = 1.0
    distort_p: float = 0.0  # brightness, contrast, saturation and hue as object detectors do: `colours.distorted`
    fog_p: float = 0.1
    trees_p: float = 0.1
    density_p: float = 0.25
    density: tuple[float, float] = (0.001, 1.0)  # share of the points kept, log-uniform
    perturb_m: float = 2.0
    perturb_p: float = 0.15
    shift_m: float = 2.0
    shift_p: float = 0.15
    omission_p: float = 0.1
    coarse_m: float = 4.0  # coarsest step of quantised coordinates
    coarse_p: float = 0.05
    drop_second_p: float = 0.15
    drop_image_p: float = 0.05

    def __post_init__(self) -> None:
        for name in (name for name in self.__slots__ if name.endswith("_p")):
            if not 0 <= getattr(self, name) <= 1:
                raise RecipeError(f"augment.{name} is a probability in 0 ... 1, got {getattr(self, name)}")
        for name in ("scale", "zoom", "density"):
            low, high = _numbers(name, getattr(self, name), 2)
            if not 0 < low <= high:
                raise RecipeError(f"augment.{name} is a positive number and one not below it, got {low} and {high}")
        if min(_numbers("hsv", self.hsv, 3)) < 0:
            raise RecipeError(f"augment.hsv has half widths of 0 or more, got {list(self.hsv)}")
        if not 0 <= self.aspect < 1:
            raise RecipeError(f"augment.aspect must lie in 0 ... 1 (exclusive), got {self.aspect}")
        if not 0.5 < self.redraw_above <= 1:  # of two classes one always fills half
            raise RecipeError(f"augment.redraw_above is a share above 0.5, 1 for never, got {self.redraw_above}")

    @property
    def scales(self) -> tuple[float, float]:
        """The smallest and the largest factor of the ground sample distance that is drawn, but for the aspect."""
        low, high = 1.0, 1.0
        for (least, most), p in ((self.scale, self.scale_p), (self.zoom, self.zoom_p)):
            if p == 1:
                low, high = low * least, high * most
            elif p > 0:
                low, high = low * min(1.0, least), high * max(1.0, most)
        return low, high


def _numbers(name: str, values: tuple[Any, ...], count: int) -> tuple[float, ...]:
    if len(values) != count or any(type(one) not in (int, float) for one in values):
        raise RecipeError(f"augment.{name} is {count} numbers, got {list(values)}")
    return values
