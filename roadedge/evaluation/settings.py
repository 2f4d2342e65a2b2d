"""What an evaluation was asked to do; every value of it is written beside the scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from roadedge.data.corrupt import CHANGES, Corruption
from roadedge.errors import UnknownNameError, UsageError
from roadedge.metrics.graph_scores import GraphSettings
from roadedge.spec import ModelSpec

INPUTS = ("both", "image", "trajectory")


@dataclass(frozen=True, slots=True)
class EvalSettings:
    """How to evaluate. Nothing here depends on the machine.

    `split` is train, val or all. `inputs` says what is fed: both, or one of the two, the other one blank. `seed` is
    that of corruptions and bootstrap. `second` names the raster folder of a LiDAR network. `measured_trajectories`
    declares that the points were measured by real receivers, so that the scores need not be called semi-synthetic.
    `graph` asks for scores of the road graphs too, which are traced at the threshold of the masks.
    """

    split: str = "val"
    inputs: str = "both"
    corruptions: tuple[Corruption, ...] = ()
    threshold: float | None = None  # None: the model's own
    seed: int = 0
    bootstrap: int = 1000  # draws; 0 for no interval
    panels: int = 8
    windows: int = 32  # of a built-in city
    second: str | None = None
    measured_trajectories: bool = False
    strict: bool = False
    graph: GraphSettings | None = None

    def __post_init__(self) -> None:
        if self.inputs not in INPUTS:
            raise UnknownNameError("choice of inputs", self.inputs, INPUTS)
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise UsageError(f"the threshold must lie between 0 and 1, got {self.threshold:g}")
        for name, least in (("bootstrap", 0), ("panels", 0), ("windows", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} must be at least {least}, got {getattr(self, name)}")

    def fed(self, spec: ModelSpec) -> tuple[str, ...]:
        """The inputs of the network that get the sample's data, not their blank.

        Raises:
            UsageError: the network has no such input, or a corruption changes one that is not fed.
        """
        wanted = {"both": spec.inputs, "image": ("image",), "trajectory": (spec.second,)}[self.inputs]
        names = tuple(name for name in spec.inputs if name in wanted)
        if not names:
            takes = " and ".join(spec.inputs)
            raise UsageError(f"{spec.name} takes {takes} only; --inputs {self.inputs} would feed it nothing")
        for corruption in self.corruptions:
            changes_image = CHANGES[corruption.name] == "image"
            if not any((name == "image") == changes_image for name in names):
                missing = "the image" if changes_image else "the second modality"
                raise UsageError(f"{corruption} changes {missing}, which is not fed here; leave it out")
        return names

    def to_dict(self, spec: ModelSpec) -> dict[str, Any]:
        """As plain JSON values, the threshold filled in."""
        return {
            "split": self.split,
            "inputs": self.inputs,
            "fed": list(self.fed(spec)),
            "corruptions": [str(c) for c in self.corruptions],
            "threshold": spec.threshold if self.threshold is None else self.threshold,
            "seed": self.seed,
            "bootstrap": self.bootstrap,
            "windows": self.windows,
            "second": self.second,
            "measured_trajectories": self.measured_trajectories,
            "test_time_augmentation": None,  # of a runner with one: filled in where the runner is known
            "graph": None if self.graph is None else self.graph.to_dict(),
        }
