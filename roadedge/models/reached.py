"""What the networks reached here: scores of weights that were trained with this package, out of committed results.

`reached.json` is written by `benchmarks/models_page.py` from `benchmarks/results/`, never by hand. Where nothing was
measured there is nothing.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("reached.json")
REAL = ("tianjin", "epfl")  # the sets of measured imagery whose validation splits all are scored on


@dataclass(frozen=True, slots=True)
class Reached:
    """One score of one set of weights on the clear validation splits.

    `g_iou` is percent, `interval` its 95 % bounds over whole places where they are known. `label` is semi-synthetic
    where trajectories were fed, since they are simulated.
    """

    network: str
    weights: str
    inputs: tuple[str, ...]
    data: tuple[str, ...]
    g_iou: float
    interval: tuple[float, float] | None
    label: str
    source: str  # file below benchmarks/results/

    def to_dict(self) -> dict[str, object]:
        """As JSON values."""
        interval = None if self.interval is None else list(self.interval)
        lists: dict[str, object] = {"inputs": list(self.inputs), "data": list(self.data), "interval": interval}
        own = {"network": self.network, "weights": self.weights, **lists}
        return own | {"g_iou": self.g_iou, "label": self.label, "source": self.source}


@functools.cache
def reached() -> tuple[Reached, ...]:
    """All of them, in the order of the file."""
    found = []
    for one in json.loads(FILE.read_text(encoding="utf-8"))["reached"]:
        interval = None if one["interval"] is None else (one["interval"][0], one["interval"][1])
        fixed = {"inputs": tuple(one["inputs"]), "data": tuple(one["data"]), "interval": interval}
        found.append(Reached(**(one | fixed)))
    return tuple(found)


def best(network: str, inputs: tuple[str, ...]) -> Reached | None:
    """The highest score of a network with these inputs on the imagery that was measured; None where there is none."""
    own = [one for one in reached() if (one.network, one.inputs, one.data) == (network, inputs, REAL)]
    return max(own, key=lambda one: one.g_iou, default=None)
