"""The names of the published checkpoints: CMIPNet (both trunks), CMMPNet, SegNeXt and D-SegNeXt.

Names only; what they name is described in the networks' own files. CMIPNet: yuqiuyuqiu/CMIPNet at 5fbfbff; CMMPNet:
liulingbo918/CMMPNet at 7d19283; D-SegNeXt: D-SegNeXt/D-SegNeXt at 63d4ea0, on the names of SegNeXt in mmsegmentation.
"""

from __future__ import annotations

from collections.abc import Sequence

from roadedge.models.blocks import RoadNet
from roadedge.models.cmipnet import CMIPNet
from roadedge.models.cmmpnet import CMMPNet
from roadedge.models.hrnet import CMIPHRNet
from roadedge.models.key_maps import KeyMap, Source
from roadedge.models.segnext import SegNeXt
from roadedge.models.trunk_names import Render, cmipnet_layers, hrnet_sources, mscan_sources

DECODER_UNITS = (("squeeze", "conv1", "norm1"), ("enlarge", "deconv2", "norm2"), ("widen", "conv3", "norm3"))
ENHANCED = ("e1", "e2", "e3", "e4", "d4", "d3", "d2", "d1")
MESSAGES = {
    "local": "local_message",
    "squeeze": "global_message.0",
    "gates.of_local": "local_gate.0",
    "gates.of_global": "global_gate.0",
}


def parallel(name: str, stream: int | None) -> str:
    """CMIPNet's shared layers stand in a `module`, its private norms are numbered: 0 of the image, 1 of a raster."""
    return f"{name}.module" if stream is None else f"{name}.bn_{stream}"


def parallel_of(inputs: Sequence[str]) -> Render:
    """`parallel` for streams in the order of `inputs`, which may be another, or one alone."""
    return lambda name, stream: parallel(name, None if stream is None else int(inputs[stream] != "image"))


def turned(inputs: Sequence[str]) -> bool:
    """Whether the image comes second here; in the published files it is first."""
    return tuple(inputs)[1:] == ("image",)


def cmipnet_sources(network: RoadNet) -> dict[str, Source]:
    """CMIPNet on D-LinkNet34. Its stem takes blue first, and so does ours."""
    render = parallel_of(network.spec.inputs)
    found = cmipnet_layers(network, render)
    for key in network.state_dict():
        room, *rest = key.split(".")
        if room == "stems":
            stem = ("firstconv1" if rest[1] == "0" else "firstbn") + ("" if rest[0] == "image" else "_g")
            found[key] = Source((f"{stem}.{rest[2]}",))
        elif room == "centre":
            found[key] = Source((f"dblock.dilate{int(rest[1]) + 1}.module.{rest[2]}",))
        elif room == "decoders":
            found[key] = Source((f"decoder{4 - int(rest[0])}.{shared_decoder_name(rest[1:], render)}",))
        elif room in ("enlarge", "smooth"):
            found[key] = Source((f"{'finaldeconv1' if room == 'enlarge' else 'finalconv2'}.module.{rest[0]}",))
        elif room == "fuse":
            swaps = turned(network.spec.inputs) and rest[0] == "weight"
            found[key] = Source((f"finalconv.{rest[0]}",), halves_turned=swaps)
    return found


def shared_decoder_name(rest: list[str], render: Render) -> str:
    """`enlarge.norms.1.bias` → `norm2.bn_1.bias`."""
    conv, norm = {ours: names for ours, *names in DECODER_UNITS}[rest[0]]
    return f"{render(norm, int(rest[2])) if rest[1] == 'norms' else render(conv, None)}.{rest[-1]}"


def cmip_hrnet_sources(network: RoadNet) -> dict[str, Source]:
    """CMIPNet on HRNet-W18; its stem takes blue first."""
    found = hrnet_sources(network, parallel_of(network.spec.inputs))
    layer_of = {"0": "conv1", "1": "bn1", "3": "conv2", "4": "bn2"}
    for key in network.state_dict():
        room, *rest = key.split(".")
        if room == "stems":
            name = layer_of[rest[1]] + ("" if rest[0] == "image" else "_add")
            found[key] = Source((f"{name}.{rest[2]}",), blue_first=rest[:2] == ["image", "0"])
        elif room == "join":
            swaps = turned(network.spec.inputs) and key == "join.0.weight"
            found[key] = Source((f"last_layer.{rest[0]}.{rest[1]}",), halves_turned=swaps)
        elif room == "fuse":
            found[key] = Source((f"last_layer.3.{rest[0]}",))
    return found


def cmmpnet_sources(network: RoadNet) -> dict[str, Source]:
    """CMMPNet on D-LinkNet34; its stem takes blue first."""
    found = {}
    for key in network.state_dict():
        room, *rest = key.split(".")
        if room == "streams":
            name, blue_first = stream_name(rest[1:], "" if rest[0] == "image" else "_add"), rest[0] == "image"
            found[key] = Source((name,), blue_first=blue_first and key.endswith("stem.conv1.weight"))
        elif room == "enhance":
            found[key] = Source((message_name(rest, network.spec.inputs),))
        elif room == "fuse":
            swaps = turned(network.spec.inputs) and rest[0] == "weight"
            found[key] = Source((f"finalconv.{rest[0]}",), halves_turned=swaps)
    return found


def stream_name(rest: list[str], suffix: str) -> str:
    """`layer2.0.conv1.weight` → `encoder2.0.conv1.weight`, or of the other stream `encoder2_add.0.conv1.weight`."""
    room, *inner = rest
    tail = ".".join(inner)
    if room == "stem":
        return f"{'firstconv1' if inner[0] == 'conv1' else 'firstbn'}{suffix}.{inner[1]}"
    if room.startswith("layer"):
        return f"encoder{room.removeprefix('layer')}{suffix}.{tail}"
    if room == "centre":
        return f"dblock{suffix}.dilate{int(inner[1]) + 1}.{inner[2]}"
    if room == "decoders":
        layer = {"0": "conv1", "1": "norm1", "3": "deconv2", "4": "norm2", "6": "conv3", "7": "norm3"}[inner[1]]
        return f"decoder{4 - int(inner[0])}{suffix}.{layer}.{inner[2]}"
    return f"{'finaldeconv1' if room == 'enlarge' else 'finalconv2'}{suffix}.{tail}"


def message_name(rest: list[str], inputs: Sequence[str]) -> str:
    """`2.senders.1.gates.of_global.weight` → `dem_e3.add_global_gate.0.weight`."""
    number, _, place, *inner = rest
    sender = "rgb" if inputs[int(place)] == "image" else "add"
    part = ".".join(inner[:2]) if inner[0] == "gates" else inner[0]
    tail = inner[2:] if inner[0] == "gates" else inner[1:]
    return f"dem_{ENHANCED[int(number)]}.{sender}_{MESSAGES[part]}.{'.'.join(tail)}"


def segnext_sources(network: RoadNet) -> dict[str, Source]:
    """SegNeXt and D-SegNeXt, encoder and head, as mmsegmentation saves them; they take red first."""
    found = mscan_sources(network, ("backbone.",))
    for key in network.state_dict():
        room, *rest = key.split(".")
        if room == "classify":
            found[key] = Source((f"decode_head.conv_seg.{rest[1]}",))
        elif room == "head" and rest[0] != "factors":
            found[key] = Source((f"decode_head.{head_name(rest)}",))
    return found


def head_name(rest: list[str]) -> str:
    """A weight of the light Hamburger head, behind `decode_head.`."""
    part, *inner = rest
    if part == "lower":
        return f"hamburger.ham_in.conv.{inner[0]}"
    at = "hamburger.ham_out" if part == "upper" else part
    return f"{at}.{'conv' if inner[0] == '0' else 'gn'}.{inner[1]}"


def full_dlinknet(network: RoadNet) -> bool:
    """CMMPNet with all its messages on the trunk that was published; variants have other shapes or parts."""
    return isinstance(network, CMMPNet) and network.spec.name in ("cmmpnet", "cmmpnet-slim")


PUBLISHED = (
    KeyMap(
        "published weights of CMIPNet",
        ("firstconv1_g.weight",),
        cmipnet_sources,
        lambda network: isinstance(network, CMIPNet),
        networks=("cmipnet",),
    ),
    KeyMap(
        "published weights of CMIPNet on HRNet",
        ("conv1_add.weight",),
        cmip_hrnet_sources,
        lambda network: isinstance(network, CMIPHRNet),
        networks=("cmipnet-hrnet18",),
    ),
    KeyMap(
        "published weights of CMMPNet",
        ("dem_e1.rgb_local_message.0.weight",),
        cmmpnet_sources,
        full_dlinknet,
        networks=("cmmpnet",),
    ),
    KeyMap(
        "published weights of SegNeXt or D-SegNeXt",
        ("decode_head.hamburger.ham_in.conv.weight",),
        segnext_sources,
        lambda network: isinstance(network, SegNeXt),
        ("backbone.head.",),
        {"head.factors.bases": "the bases are drawn once and fixed here; the authors draw them anew at each pass"},
        tuple(f"{family}-{size}" for family in ("d-segnext", "segnext") for size in "tsb"),
    ),
)
