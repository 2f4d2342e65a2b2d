"""Networks by name. A network is one file here and one line in `MODELS`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from roadedge.errors import SpecMismatchError, UnknownNameError
from roadedge.spec import ModelSpec

if TYPE_CHECKING:
    from roadedge.models.blocks import RoadNet


def _roadedge(spec: ModelSpec) -> RoadNet:
    from roadedge.models.roadedge_net import SIZES, RoadEdgeNet

    return RoadEdgeNet(spec, SIZES[spec.name])


def _cmipnet(spec: ModelSpec) -> RoadNet:
    from roadedge.models.cmipnet import CMIPNet

    return CMIPNet(spec)


def _segnext(spec: ModelSpec) -> RoadNet:
    from roadedge.models.segnext import segnext

    return segnext(spec)


MODELS: dict[str, Callable[[ModelSpec], RoadNet]] = {
    "roadedge-n": _roadedge,
    "roadedge-s": _roadedge,
    "roadedge-m": _roadedge,
    "cmipnet": _cmipnet,
    "segnext-t": _segnext,
    "segnext-s": _segnext,
    "segnext-b": _segnext,
    "d-segnext-t": _segnext,
    "d-segnext-s": _segnext,
    "d-segnext-b": _segnext,
}


def create_model(name: str, spec: ModelSpec | None = None) -> RoadNet:
    """A network with fresh weights.

    Args:
        name: a key of MODELS.
        spec: its inputs, normalisation and geometry; default those of `ModelSpec(name)`.

    Raises:
        UnknownNameError: no such network.
        SpecMismatchError: more inputs than the two that our networks fuse.
    """
    if name not in MODELS:
        raise UnknownNameError("model", name, MODELS)
    if spec is not None and len(spec.inputs) > 2:
        raise SpecMismatchError(f"{name} has one or two inputs, got {spec.inputs}; leave one out")
    return MODELS[name](dataclasses.replace(spec, name=name) if spec is not None else ModelSpec(name))
