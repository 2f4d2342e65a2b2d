"""The names that others give to the weights of trunks: ResNet-34, HRNet-W18, ConvNeXt, MSCAN.

The names are those of torchvision (ResNet), of the authors' and timm's files (HRNet, ConvNeXt), and of the authors' and
mmsegmentation's (MSCAN, and the dilated one of D-SegNeXt, whose gate has names of its own).
"""

from __future__ import annotations

from collections.abc import Callable

from roadedge.models.blocks import RoadNet
from roadedge.models.cu_dgcn import CUdGCN
from roadedge.models.key_maps import Source, image_channels
from roadedge.models.segnext import SegNeXt

FIRST_BLOCK = "layer1.0.conv1.weight"
Render = Callable[[str, int | None], str]  # a layer's name, and of a norm whose stream it is → its name in the file


def resnet_trunks(network: RoadNet) -> list[str]:
    """What stands before torchvision's names in each ResNet-34 of a network."""
    return sorted(key[: -len(FIRST_BLOCK)] for key in network.state_dict() if key.endswith(FIRST_BLOCK))


def resnet_sources(network: RoadNet) -> dict[str, Source]:
    """Every trunk with torchvision's names. The stem of a raster keeps its own first convolution, as published."""
    own, found = network.state_dict(), dict[str, Source]()
    for trunk in resnet_trunks(network):
        for key in (key for key in own if key.startswith(trunk)):
            name = key.removeprefix(trunk).removeprefix("stem.")
            raster = name.startswith("conv1.") and own[f"{trunk}stem.conv1.weight"].shape[1] != 3
            if name.startswith(("conv1.", "bn1.", "layer")) and not raster:
                found[key] = Source((name,))
    return found


def cmipnet_sources(network: RoadNet) -> dict[str, Source]:
    """The shared layers, and the norms of every stream, those of the stems too; stems keep their convolutions."""
    found = cmipnet_layers(network, plain)
    for key in network.state_dict():
        room, *rest = key.split(".")
        if room == "stems" and rest[1] == "1":
            found[key] = Source((f"bn1.{rest[2]}",))
    return found


def cmipnet_layers(network: RoadNet, render: Render) -> dict[str, Source]:
    """The residual layers of CMIPNet under torchvision's names, as `render` writes them."""
    found = {}
    for key in network.state_dict():
        room, *rest = key.split(".")
        if room == "layers":
            layer, block, *inner = rest
            found[key] = Source((f"layer{int(layer) + 1}.{block}.{block_name(inner, render)}",))
    return found


def block_name(inner: list[str], render: Render) -> str:
    """A weight of an exchanging block, basic or bottleneck, in the file: `first.norms.1.bias` → `bn1.bias`."""
    part, kind, *tail = inner
    stream = int(tail[0]) if kind == "norms" else None
    if part == "shortcut":
        return f"{render('downsample.0' if stream is None else 'downsample.1', stream)}.{tail[-1]}"
    number = {"first": 1, "second": 2, "reduce": 1, "middle": 2, "expand": 3}[part]
    return f"{render(f'conv{number}' if stream is None else f'bn{number}', stream)}.{tail[-1]}"


def plain(name: str, stream: int | None) -> str:
    """One network for one input: all streams start from its weights."""
    return name


def hrnet_sources(network: RoadNet, render: Render = plain) -> dict[str, Source]:
    """HRNet-W18 behind the stems, under its authors' names, which timm keeps."""
    found = {}
    for key in network.state_dict():
        room, *rest = key.split(".")
        if room == "first":
            found[key] = Source((f"layer1.{rest[0]}.{block_name(rest[1:], render)}",))
        elif room in ("split", "coarser"):
            found[key] = Source((transition_name(room, rest, render),))
        elif room == "stages":
            stage, module, part, *inner = rest
            at = f"stage{int(stage) + 2}.{module}"
            if part == "branches":
                found[key] = Source((f"{at}.branches.{inner[0]}.{inner[1]}.{block_name(inner[2:], render)}",))
            else:
                found[key] = Source((f"{at}.fuse_layers.{path_name(inner)}",))
    return found


def transition_name(room: str, rest: list[str], render: Render) -> str:
    """A weight that opens a resolution; the convolution's name ends in 0, its norm's in 1."""
    if room == "split":
        at, inner = "transition1.0", rest
    else:
        number = int(rest[0])
        at, inner = f"transition{number + 1}.{number + 1}.0", rest[1:]
    stream = int(inner[1]) if inner[0] == "norms" else None
    return f"{render(f'{at}.{0 if stream is None else 1}', stream)}.{inner[-1]}"


def path_name(inner: list[str]) -> str:
    """Between resolutions: ours stand in one row, theirs in groups of convolution, norm, ReLU on the way down."""
    target, source, number, leaf = inner
    if int(source) > int(target):
        return f"{target}.{source}.{number}.{leaf}"
    return f"{target}.{source}.{int(number) // 3}.{int(number) % 3}.{leaf}"


def hrnet_imagenet_sources(network: RoadNet) -> dict[str, Source]:
    """The trunk, and the stems of all inputs but for the first convolution of a raster."""
    found = hrnet_sources(network)
    layer_of = {"0": "conv1", "1": "bn1", "3": "conv2", "4": "bn2"}
    for key in network.state_dict():
        room, *rest = key.split(".")
        if room == "stems" and not (rest[1] == "0" and rest[0] != "image"):
            found[key] = Source((f"{layer_of[rest[1]]}.{rest[2]}",))
    return found


def convnext_sources(network: RoadNet) -> dict[str, Source]:
    """The encoder under its authors' names, or timm's. Its four norms stand in segmentation backbones alone."""
    assert isinstance(network, CUdGCN)
    image = image_channels(network.spec.inputs)
    layers = {
        "0": ("dwconv", "conv_dw"),
        "1": ("norm", "norm"),
        "2": ("pwconv1", "mlp.fc1"),
        "4": ("pwconv2", "mlp.fc2"),
    }
    found = {}
    for key in network.state_dict():
        if not key.startswith("encoder."):
            continue
        _, room, number, *rest = key.split(".")
        if room == "norms":
            found[key] = Source((f"norm{number}.{rest[0]}", f"backbone.norm{number}.{rest[0]}"), needed=False)
        elif rest[0] == "0":
            place, leaf = rest[1:]
            timm = f"stem.{place}" if number == "0" else f"stages.{number}.downsample.{place}"
            first = number == "0" and place == "0" and leaf == "weight"
            if first and not image:
                continue
            names = (f"downsample_layers.{number}.{place}.{leaf}", f"{timm}.{leaf}")
            found[key] = Source(names, channels=image if first else None)
        else:
            block = int(rest[0]) - 1
            theirs, timms = ("gamma", "gamma") if rest[1] == "scale" else layers[rest[2]]
            leaf = "" if rest[1] == "scale" else f".{rest[3]}"
            found[key] = Source(
                (f"stages.{number}.{block}.{theirs}{leaf}", f"stages.{number}.blocks.{block}.{timms}{leaf}")
            )
    return found


def mscan_sources(network: RoadNet, prefixes: tuple[str, ...] = ("", "backbone.")) -> dict[str, Source]:
    """The encoder of SegNeXt or D-SegNeXt; behind `backbone.` in a checkpoint of the whole network."""
    assert isinstance(network, SegNeXt)
    image, found = image_channels(network.spec.inputs), dict[str, Source]()
    last = {str(i): str(len(stage) - 1) for i, stage in enumerate(network.stages)}  # type: ignore[arg-type]
    for key in network.state_dict():
        room, *rest = key.split(".")
        if room != "stages":
            continue
        first = key == "stages.0.0.0.0.weight"
        if first and not image:
            continue
        names = mscan_names(rest, last[rest[0]])
        every = tuple(prefix + name for prefix in prefixes for name in names)
        found[key] = Source(every, channels=image if first else None)
    return found


def mscan_names(rest: list[str], last: str) -> tuple[str, ...]:
    """`0.2.attention.inner.weight` → `block1.1.attn.proj_1.weight`; the names a file may have for it."""
    stage, place, *inner = rest
    number = int(stage) + 1
    if place == "0":
        leaf = inner[-1]
        if stage == "0":  # two halvings with a GELU between them
            return (f"patch_embed1.proj.{ {'00': 0, '01': 1, '20': 3, '21': 4}[inner[0] + inner[1]] }.{leaf}",)
        return (f"patch_embed{number}.{'proj' if inner[0] == '0' else 'norm'}.{leaf}",)
    if place == last:
        return (f"norm{number}.{inner[0]}",)
    block = f"block{number}.{int(place) - 1}"
    return tuple(f"{block}.{name}" for name in mscan_block_names(inner))


def mscan_block_names(inner: list[str]) -> tuple[str, ...]:
    """Names inside a block; in newer files the middle of the MLP is one layer less deep."""
    part, leaf = inner[0], inner[-1]
    if part in ("first", "second"):
        return (f"norm{1 if part == 'first' else 2}.{leaf}",)
    if part.endswith("_scale"):
        return (f"layer_scale_{1 if part == 'attention_scale' else 2}",)
    if part == "mlp":
        names = {"0": ("fc1",), "1": ("dwconv.dwconv", "dwconv"), "3": ("fc2",)}[inner[1]]
        return tuple(f"mlp.{name}.{leaf}" for name in names)
    if inner[1] != "gate":
        return (f"attn.proj_{1 if inner[1] == 'inner' else 2}.{leaf}",)
    gate = "attn.spatial_gating_unit"
    if inner[2] == "chain":
        return (f"{gate}.conv1_{int(inner[3]) + 1}.{leaf}",)
    if inner[2] == "strips":
        return (f"{gate}.conv{inner[3]}_{int(inner[4]) + 1}.{leaf}",)
    # the layer that mixes is conv3 behind strips and conv2 behind a chain: shapes tell them apart where both are tried
    return (f"{gate}.conv0.{leaf}",) if inner[2] == "square" else (f"{gate}.conv3.{leaf}", f"{gate}.conv2.{leaf}")
