"""ImageNet weights for the trunks that the papers start from: ResNet-34, HRNet-W18, ConvNeXt, MSCAN."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from roadedge.errors import ModelFileError
from roadedge.models.blocks import RoadNet
from roadedge.models.cmipnet import CMIPNet
from roadedge.models.cu_dgcn import CUdGCN
from roadedge.models.hrnet import CMIPHRNet
from roadedge.models.key_maps import KeyMap, Loaded, load_mapped
from roadedge.models.segnext import SegNeXt
from roadedge.models.trunk_names import (
    FIRST_BLOCK,
    cmipnet_sources,
    convnext_sources,
    hrnet_imagenet_sources,
    mscan_sources,
    resnet_sources,
    resnet_trunks,
)

RASTER = "the first convolution of a raster stays as drawn, the file has none for it"
RESNET = "ImageNet weights of ResNet-34 (torchvision's names)"
IMAGENET = (
    KeyMap(
        RESNET,
        (FIRST_BLOCK,),
        resnet_sources,
        lambda network: bool(resnet_trunks(network)),
        ("fc.",),
        {"stem.second.weight": RASTER, "stem.conv1.weight": RASTER},
    ),
    KeyMap(
        RESNET,
        (FIRST_BLOCK,),
        cmipnet_sources,
        lambda network: isinstance(network, CMIPNet),
        ("fc.",),
        {
            "stems.image.0.weight": "the first convolutions stay as drawn, as published",
            "stems.trajectory.0.weight": RASTER,
            "stems.lidar.0.weight": RASTER,
        },
    ),
    KeyMap(
        "ImageNet weights of HRNet-W18",
        ("stage2.0.branches.0.0.conv1.weight",),
        hrnet_imagenet_sources,
        lambda network: isinstance(network, CMIPHRNet),
        ("incre_modules.", "downsamp_modules.", "final_layer.", "classifier."),
        {"stems.trajectory.0.weight": RASTER, "stems.lidar.0.weight": RASTER},
    ),
    KeyMap(
        "ImageNet weights of ConvNeXt",
        ("stages.0.0.dwconv.weight", "stages.0.blocks.0.conv_dw.weight"),
        convnext_sources,
        lambda network: isinstance(network, CUdGCN),
        ("head.", "norm."),
        {"encoder.stages.0.0.0.weight": RASTER},
    ),
    KeyMap(
        "ImageNet weights of MSCAN",
        ("patch_embed1.proj.0.weight", "backbone.patch_embed1.proj.0.weight"),
        mscan_sources,
        lambda network: isinstance(network, SegNeXt),
        ("head.", "decode_head."),
        {"stages.0.0.0.0.weight": RASTER},
    ),
)


def load_imagenet(network: RoadNet, weights: Mapping[str, Tensor]) -> Loaded:
    """Start every trunk of a network from ImageNet.

    Args:
        network: changed in place.
        weights: a state dict with the names of its authors, torchvision or timm; the classifier is not read.

    Raises:
        ModelFileError: the network has no such trunk, or a weight is absent or of another shape; nothing is changed.
    """
    for key_map in IMAGENET:
        if key_map.serves(network) and key_map.recognises(weights):
            return load_mapped(network, weights, key_map)
    raise ModelFileError(f"{network.spec.name} has no trunk that these ImageNet weights are for; start without them")
