"""What one city looks like: widths, greys, greens, roofs, sun and camera, all drawn from the seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roadedge.data.city_plan import generator

Floats = NDArray[np.float64]

# Roof colours by family; each building jitters around one of them.
ROOFS = np.array(
    [
        [118, 116, 112], [146, 143, 138], [92, 90, 88], [198, 196, 191], [224, 223, 219], [66, 64, 64],  # greys, white
        [128, 108, 92], [106, 90, 78], [150, 130, 110], [88, 77, 70],  # browns
        [150, 92, 76], [166, 110, 88], [128, 82, 72], [178, 130, 108],  # tiles
        [86, 106, 142], [110, 130, 154], [88, 126, 122], [120, 134, 130],  # painted metal
    ],
    np.float64,
)  # fmt: skip
FAMILIES = {
    "grey": slice(0, 3),
    "white": slice(3, 5),
    "brown": slice(6, 10),
    "tile": slice(10, 14),
    "metal": slice(14, 18),
}


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """The domain of a city. Colours are (3,) RGB in 0-255, lengths in metres."""

    cell_m: float
    angle: float
    bend: float
    width_scale: float
    asphalt: Floats
    asphalt_spread: float
    concrete_share: float
    pavement: Floats
    soil: Floats
    grass: Floats
    crown: Floats
    leafless: float
    greenery: float
    height_scale: float
    sun: Floats  # (2,) direction in which shadows fall, times metres of shadow per metre of height
    shade: Floats  # (3,) share of light that shadows take
    gain: Floats  # (3,)
    haze: float
    gamma: float
    saturation: float
    blur_px: float
    noise: float
    texture: float
    jpeg_quality: int
    traffic: float

    @classmethod
    def draw(cls, seed: int) -> Look:
        """The look of city `seed`."""
        rng = generator(seed, 2)
        u = rng.uniform
        level = u(72, 128) if rng.random() < 0.75 else u(125, 165)
        bearing = u(0, 2 * np.pi)
        depth = u(0.48, 0.85)
        dry = u(0, 1)
        soil = (1 - dry) * np.array([128.0, 116, 98]) + dry * np.array([168.0, 146, 116])
        lush = u(0, 1)
        grass = (1 - lush) * np.array([124.0, 120, 84]) + lush * np.array([78.0, 98, 54])
        return cls(
            cell_m=u(160, 222),
            angle=u(-np.pi, np.pi),
            bend=u(0.1, 0.24),
            width_scale=u(0.9, 1.15),
            asphalt=level + np.array([u(-2, 6), u(-2, 3), u(-6, 4)]),
            asphalt_spread=u(6, 15),
            concrete_share=u(0.04, 0.3),
            pavement=level + u(18, 52) + np.array([u(0, 8), u(0, 4), u(-10, 0)]),
            soil=soil * u(0.85, 1.1),
            grass=grass * u(0.8, 1.1),
            crown=np.array([u(44, 70), u(58, 84), u(32, 50)]),
            leafless=u(0, 0.5) if rng.random() < 0.4 else 0.0,
            greenery=u(0.45, 1.5),
            height_scale=u(0.75, 1.25),
            sun=np.array([np.cos(bearing), np.sin(bearing)]) * u(0.35, 1.25),
            shade=depth * np.array([1.0, 0.97, u(0.84, 0.93)]),
            gain=u(0.86, 1.12) * np.array([u(0.95, 1.08), 1.0, u(0.9, 1.05)]),
            haze=u(0, 0.16) ** 1.3,
            gamma=u(0.9, 1.18),
            saturation=u(0.6, 1.1),
            blur_px=u(0.45, 0.9),
            noise=u(1.0, 4.0),
            texture=u(0.75, 1.3),
            jpeg_quality=int(rng.integers(72, 96)),
            traffic=float(np.exp(rng.normal(0, 0.25))),
        )

    def camera(self) -> NDArray[np.float32]:
        """(3, 4) from the scene's RGB to the camera's: saturation, gain and haze in one affine map."""
        matrix = np.eye(3) * self.saturation + (1 - self.saturation) / 3
        scale = (self.gain * (1 - self.haze))[:, None]
        return np.concatenate([matrix * scale, np.full((3, 1), 205 * self.haze)], 1).astype(np.float32)
