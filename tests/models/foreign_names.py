"""Names and shapes of the weights in files that others publish, written down from what their modules are called.

`width` makes all channels fewer, for tests that hold weights in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]


def drawn(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    """Random values, positive, so that variances are variances; counters are whole numbers."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.tensor(7) if name.endswith("num_batches_tracked") else torch.rand(shape, generator=generator) + 0.1
        for name, shape in shapes.items()
    }


def norm(name: str, width: int) -> Shapes:
    leaves = ("weight", "bias", "running_mean", "running_var")
    return {**{f"{name}.{leaf}": (width,) for leaf in leaves}, f"{name}.num_batches_tracked": ()}


def layer(name: str, *shape: int, bias: bool = True) -> Shapes:
    """A convolution or linear layer; the bias has its first side."""
    return {f"{name}.weight": shape, **({f"{name}.bias": (shape[0],)} if bias else {})}


def plain_norm(name: str, width: int) -> Shapes:
    """A layer or group norm."""
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def basic_layers(prefixes: tuple[str, ...], widths: tuple[int, ...]) -> Shapes:
    """ResNet-34's four layers, called `prefixes`."""
    found, inputs = Shapes(), widths[0]
    for prefix, width, depth in zip(prefixes, widths, (3, 4, 6, 3), strict=True):
        for block in range(depth):
            at = f"{prefix}.{block}"
            found |= layer(f"{at}.conv1", width, inputs, 3, 3, bias=False) | norm(f"{at}.bn1", width)
            found |= layer(f"{at}.conv2", width, width, 3, 3, bias=False) | norm(f"{at}.bn2", width)
            if inputs != width:
                found |= layer(f"{at}.downsample.0", width, inputs, 1, 1, bias=False) | norm(
                    f"{at}.downsample.1", width
                )
            inputs = width
    return found


def torchvision_resnet34() -> Shapes:
    found = layer("conv1", 64, 3, 7, 7, bias=False) | norm("bn1", 64)
    found |= basic_layers(("layer1", "layer2", "layer3", "layer4"), (64, 128, 256, 512))
    return found | layer("fc", 1000, 512)


def dlinknet_rest(suffix: str, widths: tuple[int, ...]) -> Shapes:
    """Centre, decoders and head of one of CMMPNet's streams."""
    found = Shapes()
    for i in range(1, 5):
        found |= layer(f"dblock{suffix}.dilate{i}", widths[3], widths[3], 3, 3)
    for i, (inputs, outputs) in enumerate(zip(widths[::-1], (*widths[2::-1], widths[0]), strict=True)):
        at, middle = f"decoder{4 - i}{suffix}", inputs // 4
        found |= layer(f"{at}.conv1", middle, inputs, 1, 1) | norm(f"{at}.norm1", middle)
        found |= layer(f"{at}.deconv2", middle, middle, 3, 3) | norm(f"{at}.norm2", middle)
        found |= layer(f"{at}.conv3", outputs, middle, 1, 1) | norm(f"{at}.norm3", outputs)
    fine = widths[0] // 2
    return {
        **found,
        f"finaldeconv1{suffix}.weight": (widths[0], fine, 4, 4),
        f"finaldeconv1{suffix}.bias": (fine,),
        **layer(f"finalconv2{suffix}", fine, fine, 3, 3),
    }


def cmmpnet(width: float = 1.0) -> Shapes:
    widths = tuple(int(width * channels) for channels in (64, 128, 256, 512))
    found = layer("firstconv1", widths[0], 3, 7, 7, bias=False) | layer("firstconv1_add", widths[0], 1, 7, 7)
    for suffix in ("", "_add"):
        found |= norm(f"firstbn{suffix}", widths[0])
        found |= basic_layers(tuple(f"encoder{i}{suffix}" for i in range(1, 5)), widths)
        found |= dlinknet_rest(suffix, widths)
    places = zip(("e1", "e2", "e3", "e4", "d4", "d3", "d2", "d1"), (0, 1, 2, 3, 2, 1, 0, 0), strict=True)
    for place, number in places:
        channels = widths[number]
        for sender in ("rgb", "add"):
            at = f"dem_{place}.{sender}"
            found |= layer(f"{at}_local_message.0", channels, channels, 1, 1) | norm(f"{at}_local_message.1", channels)
            found |= layer(f"{at}_global_message.0", channels, 21 * channels)
            for gate in ("local", "global"):
                found |= layer(f"{at}_{gate}_gate.0", channels, 2 * channels, 1, 1)
    return found | layer("finalconv", 1, widths[0], 3, 3)


def parallel(found: Shapes) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The same with CMIPNet's names: a norm for each stream, shared convolutions in a `module`."""
    norms = {name.rsplit(".", 1)[0] for name in found if name.endswith("running_mean")}
    for name, shape in found.items():
        at, leaf = name.rsplit(".", 1)
        if at in norms:
            yield from ((f"{at}.bn_{stream}.{leaf}", shape) for stream in (0, 1))
        else:
            yield f"{at}.module.{leaf}", shape


def cmipnet(width: float = 1.0) -> Shapes:
    widths = tuple(int(width * channels) for channels in (64, 128, 256, 512))
    shared = basic_layers(("layer1", "layer2", "layer3", "layer4"), widths)
    rest = dlinknet_rest("", widths)
    unbiased = {f"decoder{i}.conv{j}.bias" for i in range(1, 5) for j in (1, 3)}
    shared |= {name: shape for name, shape in rest.items() if name not in unbiased}
    found = layer("firstconv1", widths[0], 3, 7, 7, bias=False) | norm("firstbn", widths[0])
    found |= layer("firstconv1_g", widths[0], 1, 7, 7) | norm("firstbn_g", widths[0])
    return found | dict(parallel(shared)) | layer("finalconv", 1, widths[0], 3, 3)


def hrnet_trunk(width: float = 1.0) -> tuple[Shapes, Shapes]:
    """What lies behind the stem of HRNet-W18: what CMIPNet shares with norms of its own, and the fuse layers."""
    stem, widths = int(width * 64), [int(width * channels) for channels in (18, 36, 72, 144)]
    found, fuse = Shapes(), Shapes()
    for block in range(4):
        at, inputs = f"layer1.{block}", stem if block == 0 else 4 * stem
        found |= layer(f"{at}.conv1", stem, inputs, 1, 1, bias=False) | norm(f"{at}.bn1", stem)
        found |= layer(f"{at}.conv2", stem, stem, 3, 3, bias=False) | norm(f"{at}.bn2", stem)
        found |= layer(f"{at}.conv3", 4 * stem, stem, 1, 1, bias=False) | norm(f"{at}.bn3", 4 * stem)
        if block == 0:
            at = "layer1.0.downsample"
            found |= layer(f"{at}.0", 4 * stem, inputs, 1, 1, bias=False) | norm(f"{at}.1", 4 * stem)
    transitions = {
        "transition1.0": (widths[0], 4 * stem),
        "transition1.1.0": (widths[1], 4 * stem),
        "transition2.2.0": (widths[2], widths[1]),
        "transition3.3.0": (widths[3], widths[2]),
    }
    for at, (outputs, inputs) in transitions.items():
        found |= layer(f"{at}.0", outputs, inputs, 3, 3, bias=False) | norm(f"{at}.1", outputs)
    for stage, modules in ((2, 1), (3, 4), (4, 3)):
        for module in range(modules):
            for i in range(stage):
                for block in range(4):
                    at = f"stage{stage}.{module}.branches.{i}.{block}"
                    for k in (1, 2):
                        found |= layer(f"{at}.conv{k}", widths[i], widths[i], 3, 3, bias=False)
                        found |= norm(f"{at}.bn{k}", widths[i])
                for j in range(stage):
                    at = f"stage{stage}.{module}.fuse_layers.{i}.{j}"
                    if j > i:
                        fuse |= layer(f"{at}.0", widths[i], widths[j], 1, 1, bias=False) | norm(f"{at}.1", widths[i])
                    for k in range(i - j):
                        outputs = widths[i] if k == i - j - 1 else widths[j]
                        fuse |= layer(f"{at}.{k}.0", outputs, widths[j], 3, 3, bias=False)
                        fuse |= norm(f"{at}.{k}.1", outputs)
    return found, fuse


def hrnet_w18(width: float = 1.0) -> Shapes:
    """The authors' file and timm's, with parts of the classifier that timm names alike."""
    stem = int(width * 64)
    found = layer("conv1", stem, 3, 3, 3, bias=False) | norm("bn1", stem)
    found |= layer("conv2", stem, stem, 3, 3, bias=False) | norm("bn2", stem)
    trunk, fuse = hrnet_trunk(width)
    found |= trunk | fuse | layer("incre_modules.0.0.conv1", 32, 18, 1, 1, bias=False)
    return found | layer("final_layer.0", 2048, 1024, 1, 1) | layer("classifier", 1000, 2048)


def cmip_hrnet(width: float = 1.0) -> Shapes:
    stem = int(width * 64)
    found = Shapes()
    for suffix, channels in (("", 3), ("_add", 1)):
        found |= layer(f"conv1{suffix}", stem, channels, 3, 3, bias=False) | norm(f"bn1{suffix}", stem)
        found |= layer(f"conv2{suffix}", stem, stem, 3, 3, bias=False) | norm(f"bn2{suffix}", stem)
    trunk, fuse = hrnet_trunk(width)
    joined = 2 * sum(int(width * channels) for channels in (18, 36, 72, 144))
    found |= dict(parallel(trunk)) | fuse
    found |= layer("last_layer.0", joined, joined, 1, 1) | norm("last_layer.1", joined)
    return found | layer("last_layer.3", 1, joined, 3, 3)


CONVNEXT = {
    "tiny": ((96, 192, 384, 768), (3, 3, 9, 3)),
    "small": ((96, 192, 384, 768), (3, 3, 27, 3)),
    "base": ((128, 256, 512, 1024), (3, 3, 27, 3)),
    "large": ((192, 384, 768, 1536), (3, 3, 27, 3)),
    "xlarge": ((256, 512, 1024, 2048), (3, 3, 27, 3)),
}


def convnext(size: str = "tiny", timm: bool = False) -> Shapes:
    """Either the authors' names or timm's."""
    widths, depths = CONVNEXT[size]
    stem = "stem" if timm else "downsample_layers.0"
    found = layer(f"{stem}.0", widths[0], 3, 4, 4) | plain_norm(f"{stem}.1", widths[0])
    for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        if i:
            at = f"stages.{i}.downsample" if timm else f"downsample_layers.{i}"
            found |= plain_norm(f"{at}.0", widths[i - 1]) | layer(f"{at}.1", width, widths[i - 1], 2, 2)
        for block in range(depth):
            at = f"stages.{i}.blocks.{block}" if timm else f"stages.{i}.{block}"
            names = ("conv_dw", "mlp.fc1", "mlp.fc2") if timm else ("dwconv", "pwconv1", "pwconv2")
            found |= {f"{at}.gamma": (width,)}
            found |= layer(f"{at}.{names[0]}", width, 1, 7, 7) | plain_norm(f"{at}.norm", width)
            found |= layer(f"{at}.{names[1]}", 4 * width, width) | layer(f"{at}.{names[2]}", width, 4 * width)
    head = "head." if timm else ""
    return found | plain_norm(f"{head}norm", widths[3]) | layer("head.fc" if timm else "head", 1000, widths[3])


MSCAN = {
    "t": ((32, 64, 160, 256), (3, 3, 5, 2), 256),
    "s": ((64, 128, 320, 512), (2, 2, 4, 2), 256),
    "b": ((64, 128, 320, 512), (3, 3, 12, 3), 512),
}


def mscan(size: str = "t", dilated: bool = False, newer: bool = False) -> Shapes:
    """The backbone with its ImageNet classifier; `newer` as mmsegmentation 1 calls the middle of the MLP."""
    widths, depths, _ = MSCAN[size]
    found = layer("patch_embed1.proj.0", widths[0] // 2, 3, 3, 3) | norm("patch_embed1.proj.1", widths[0] // 2)
    found |= layer("patch_embed1.proj.3", widths[0], widths[0] // 2, 3, 3) | norm("patch_embed1.proj.4", widths[0])
    for i, (width, depth, ratio) in enumerate(zip(widths, depths, (8, 8, 4, 4), strict=True), 1):
        if i > 1:
            found |= layer(f"patch_embed{i}.proj", width, widths[i - 2], 3, 3) | norm(f"patch_embed{i}.norm", width)
        for block in range(depth):
            at, gate = f"block{i}.{block}", f"block{i}.{block}.attn.spatial_gating_unit"
            found |= norm(f"{at}.norm1", width) | norm(f"{at}.norm2", width)
            found |= {f"{at}.layer_scale_1": (width,), f"{at}.layer_scale_2": (width,)}
            found |= layer(f"{at}.attn.proj_1", width, width, 1, 1) | layer(f"{at}.attn.proj_2", width, width, 1, 1)
            if dilated:
                for k in range(1, 5):
                    found |= layer(f"{gate}.conv1_{k}", width, 1, 5, 5)
                found |= layer(f"{gate}.conv2", width, 4 * width, 1, 1)
            else:
                found |= layer(f"{gate}.conv0", width, 1, 5, 5) | layer(f"{gate}.conv3", width, width, 1, 1)
                for k, length in enumerate((7, 11, 21)):
                    found |= layer(f"{gate}.conv{k}_1", width, 1, 1, length)
                    found |= layer(f"{gate}.conv{k}_2", width, 1, length, 1)
            wide = ratio * width
            found |= layer(f"{at}.mlp.fc1", wide, width, 1, 1) | layer(f"{at}.mlp.fc2", width, wide, 1, 1)
            found |= layer(f"{at}.mlp.dwconv" if newer else f"{at}.mlp.dwconv.dwconv", wide, 1, 3, 3)
        found |= plain_norm(f"norm{i}", width)
    return found | layer("head", 1000, widths[3])


def segnext(size: str = "t", dilated: bool = True, classes: int = 2) -> Shapes:
    """A whole network as mmsegmentation saves it, D-SegNeXt with the classifier that nothing reads."""
    widths, _, head = MSCAN[size]
    found = {f"backbone.{name}": shape for name, shape in mscan(size, dilated).items() if dilated or name[:4] != "head"}
    at = "decode_head"
    for name, outputs, inputs in (
        ("squeeze", head, sum(widths[1:])),
        ("hamburger.ham_out", head, head),
        ("align", head, head),
    ):
        found |= layer(f"{at}.{name}.conv", outputs, inputs, 1, 1, bias=False) | plain_norm(f"{at}.{name}.gn", outputs)
    found |= layer(f"{at}.hamburger.ham_in.conv", head, head, 1, 1)
    return found | layer(f"{at}.conv_seg", classes, head, 1, 1)
