"""From an overhead image and the trajectories that fall on it to a road mask.

    import roadedge

    with roadedge.load("roadedge-s") as network:
        mask = network.predict(roadedge.read_image("tile.png"), points)

Names are loaded when first used: `import roadedge` brings NumPy and nothing heavier.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from roadedge.errors import RoadEdgeError
    from roadedge.export import export_model
    from roadedge.imagery import read_image
    from roadedge.place import Place
    from roadedge.predictor import Predictor, load
    from roadedge.runners import Augmentation, open_runner
    from roadedge.sample import RoadMask, Sample
    from roadedge.spec import ModelSpec

__all__ = [
    "Augmentation",
    "ModelSpec",
    "Place",
    "Predictor",
    "RoadEdgeError",
    "RoadMask",
    "Sample",
    "export_model",
    "load",
    "open_runner",
    "read_image",
]
_HOMES = {
    "Augmentation": "runners",
    "ModelSpec": "spec",
    "Place": "place",
    "Predictor": "predictor",
    "RoadEdgeError": "errors",
    "RoadMask": "sample",
    "Sample": "sample",
    "export_model": "export",
    "load": "predictor",
    "open_runner": "runners",
    "read_image": "imagery",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'roadedge' has no attribute {name!r}")
    return getattr(importlib.import_module(f"roadedge.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
