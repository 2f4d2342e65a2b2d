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


def _baseline(spec: ModelSpec) -> RoadNet:
    from roadedge.models import linknet, unet
    from roadedge.models.streams import EarlyFusion, LateFusion, Stream

    name, width = _width(spec.name)
    late = name.endswith("-late")
    name = name.removesuffix("-late")

    def make(inputs: tuple[str, ...]) -> Stream:
        if name in linknet.LAYOUTS:
            layout = dataclasses.replace(linknet.LAYOUTS[name], width=width)
            return linknet.LinkStream(inputs, layout, raster_bias=late)
        return unet.UStream(inputs, dataclasses.replace(unet.LAYOUTS[name], width=width))

    return LateFusion(spec, make) if late else EarlyFusion(spec, make)


def _deeplab(spec: ModelSpec) -> RoadNet:
    from roadedge.models.deeplab import DeepLab

    return DeepLab(spec)


def _cmipnet(spec: ModelSpec) -> RoadNet:
    from roadedge.models.cmipnet import CMIPNet

    return CMIPNet(spec, _width(spec.name)[1])


def _cmiphrnet(spec: ModelSpec) -> RoadNet:
    from roadedge.models.hrnet import CMIPHRNet

    return CMIPHRNet(spec, _width(spec.name)[1])


def _cmmpnet(spec: ModelSpec) -> RoadNet:
    from roadedge.models.cmmpnet import VARIANTS, CMMPNet

    return CMMPNet(spec, VARIANTS[spec.name])


def _segnext(spec: ModelSpec) -> RoadNet:
    from roadedge.models.segnext import segnext

    return segnext(spec)


def _deepdualmapper(spec: ModelSpec) -> RoadNet:
    from roadedge.models.deepdualmapper import DeepDualMapper

    return DeepDualMapper(spec, _width(spec.name)[1])


def _width(name: str) -> tuple[str, float]:
    """What a name is without `-slim`, and what that makes of all widths."""
    return (name.removesuffix("-slim"), 0.25) if name.endswith("-slim") else (name, 1.0)


def _cu_dgcn(spec: ModelSpec) -> RoadNet:
    from roadedge.models.cu_dgcn import SIZES, CUdGCN

    return CUdGCN(spec, SIZES[spec.name])


def _joint_connectivity(spec: ModelSpec) -> RoadNet:
    from roadedge.models.hourglass import VARIANTS, JointConnectivity

    return JointConnectivity(spec, VARIANTS[spec.name])


MODELS: dict[str, Callable[[ModelSpec], RoadNet]] = {
    "roadedge-n": _roadedge,
    "roadedge-s": _roadedge,
    "roadedge-m": _roadedge,
    "cmipnet": _cmipnet,
    "cmipnet-slim": _cmipnet,
    "cmipnet-hrnet18": _cmiphrnet,
    "cmipnet-hrnet18-slim": _cmiphrnet,
    "cmmpnet": _cmmpnet,
    "cmmpnet-slim": _cmmpnet,
    "cmmpnet-linknet34": _cmmpnet,
    "cmmpnet-resunet": _cmmpnet,
    "cmmpnet-local": _cmmpnet,
    "cmmpnet-local-global": _cmmpnet,
    "cmmpnet-local-gate": _cmmpnet,
    "cmmpnet-spp1": _cmmpnet,
    "cmmpnet-spp2": _cmmpnet,
    "cmmpnet-spp4": _cmmpnet,
    "linknet34": _baseline,
    "linknet34-1d": _baseline,
    "linknet34-late": _baseline,
    "dlinknet34": _baseline,
    "dlinknet34-1d": _baseline,
    "dlinknet34-late": _baseline,
    "dlinknet34-slim": _baseline,
    "dlinknet34-late-slim": _baseline,
    "resunet34": _baseline,
    "unet": _baseline,
    "unet-1d": _baseline,
    "resunet": _baseline,
    "resunet-1d": _baseline,
    "deeplabv3plus": _deeplab,
    "segnext-t": _segnext,
    "segnext-s": _segnext,
    "segnext-b": _segnext,
    "d-segnext-t": _segnext,
    "d-segnext-s": _segnext,
    "d-segnext-b": _segnext,
    "cu-dgcn-tiny": _cu_dgcn,
    "cu-dgcn-small": _cu_dgcn,
    "cu-dgcn": _cu_dgcn,
    "cu-dgcn-large": _cu_dgcn,
    "cu-dgcn-xlarge": _cu_dgcn,
    "joint-connectivity": _joint_connectivity,
    "joint-connectivity-plain": _joint_connectivity,
    "joint-connectivity-mb": _joint_connectivity,
    "deepdualmapper": _deepdualmapper,
    "deepdualmapper-slim": _deepdualmapper,
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
        raise SpecMismatchError(f"{name} has one or two inputs, got {', '.join(spec.inputs)}; leave one out")
    return MODELS[name](dataclasses.replace(spec, name=name) if spec is not None else ModelSpec(name))
