"""Networks by name. A network is one file here and one line in `MODELS`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from roadedge.errors import UnknownNameError
from roadedge.spec import ModelSpec

if TYPE_CHECKING:
    from roadedge.models.blocks import RoadNet


def _roadedge(spec: ModelSpec) -> RoadNet:
    from roadedge.models.roadedge_net import SIZES, RoadEdgeNet

    return RoadEdgeNet(spec, SIZES[spec.name])


MODELS: dict[str, Callable[[ModelSpec], RoadNet]] = {
    "roadedge-n": _roadedge,
    "roadedge-s": _roadedge,
    "roadedge-m": _roadedge,
}


def create_model(name: str, spec: ModelSpec | None = None) -> RoadNet:
    """A network with fresh weights.

    Args:
        name: a key of MODELS.
        spec: its inputs, normalisation and geometry; default those of `ModelSpec(name)`.

    Raises:
        UnknownNameError: no such network.
    """
    if name not in MODELS:
        raise UnknownNameError("model", name, MODELS)
    return MODELS[name](dataclasses.replace(spec, name=name) if spec is not None else ModelSpec(name))
