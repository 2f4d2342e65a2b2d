"""ImageNet weights go by name into the trunks that the papers start from, and what is not matched is said."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from roadedge.errors import ModelFileError
from roadedge.models import create_model
from roadedge.models.blocks import RoadNet
from roadedge.models.imagenet import IMAGENET, load_imagenet
from roadedge.models.key_maps import COUNTER, match
from roadedge.models.start import recognised
from roadedge.spec import ModelSpec
from tests.models import foreign_names as names

BOTH, IMAGE = ("image", "trajectory"), ("image",)
RESNETS = ("dlinknet34", "linknet34-1d", "resunet34", "deepdualmapper", "cmipnet")
FILES = [
    *((name, BOTH, names.torchvision_resnet34()) for name in RESNETS),
    ("dlinknet34", ("trajectory",), names.torchvision_resnet34()),
    ("cmipnet-hrnet18", BOTH, names.hrnet_w18()),
    ("cu-dgcn-tiny", IMAGE, names.convnext("tiny")),
    ("cu-dgcn-small", IMAGE, names.convnext("small", timm=True)),
    ("cu-dgcn", IMAGE, names.convnext("base")),
    ("cu-dgcn-xlarge", IMAGE, names.convnext("xlarge", timm=True)),
    *((f"segnext-{size}", IMAGE, names.mscan(size, newer=size == "s")) for size in "sb"),
    *((f"d-segnext-{size}", IMAGE, names.mscan(size, dilated=True)) for size in "sb"),
]


def made(name: str, inputs: tuple[str, ...] = BOTH) -> RoadNet:
    torch.manual_seed(0)
    return create_model(name, ModelSpec(name, inputs))


def values(network: RoadNet) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


@pytest.mark.parametrize(("name", "inputs", "shapes"), FILES, ids=lambda value: str(value)[:20])
def test_every_trunk_of_full_size_has_the_names_of_its_file(
    name: str, inputs: tuple[str, ...], shapes: names.Shapes
) -> None:
    with torch.device("meta"):
        network = made(name, inputs)
        weights = {key: torch.empty(shape) for key, shape in shapes.items()}
    key_map = recognised(weights, IMAGENET, network)
    assert key_map is not None
    found = match(network, weights, key_map)
    stems = {"conv1.weight"} if name == "cmipnet" or inputs == ("trajectory",) else set()  # which keep their own
    assert (found.wrong, set(found.left)) == ((), stems)
    used = set(found.pairs.values()) - {key for key in shapes if key.endswith(COUNTER)}
    classifier = ("fc.", "head.", "norm.", "classifier.", "final_layer.", "incre_modules.")
    assert used == {key for key in shapes if not key.startswith(classifier) and not key.endswith(COUNTER)} - stems


class TestResNet:
    def test_each_stream_starts_from_it_but_for_the_stem_of_a_raster(self) -> None:
        network, weights = made("dlinknet34-late-slim"), names.drawn(small_resnet())
        before = values(network)
        loaded = load_imagenet(network, weights)
        own = network.state_dict()
        for stream in BOTH:
            for key in ("layer3.3.conv2.weight", "layer4.0.downsample.1.running_var"):
                assert torch.equal(own[f"streams.{stream}.{key}"], weights[key])
            assert torch.equal(own[f"streams.{stream}.stem.bn1.bias"], weights["bn1.bias"])
        assert torch.equal(own["streams.image.stem.conv1.weight"], weights["conv1.weight"])
        raster = "streams.trajectory.stem.conv1.weight"
        assert torch.equal(own[raster], before[raster])
        assert any(note.startswith(raster) and "stays as drawn" in note for note in loaded.notes)

    def test_of_early_fusion_the_image_s_convolution_starts_from_it(self) -> None:
        network, weights = made("dlinknet34-slim"), names.drawn(small_resnet())
        before = values(network)
        loaded = load_imagenet(network, weights)
        own = network.state_dict()
        assert torch.equal(own["stream.stem.conv1.weight"], weights["conv1.weight"])
        assert torch.equal(own["stream.stem.second.weight"], before["stream.stem.second.weight"])
        assert "  stream.stem: 2 weights stay as drawn" in loaded.lines()

    def test_cmipnet_s_norms_of_every_stream_and_not_its_stems_convolutions(self) -> None:
        network, weights = made("cmipnet-slim"), names.drawn(small_resnet())
        before = values(network)
        load_imagenet(network, weights)
        own = network.state_dict()
        assert torch.equal(own["layers.2.3.second.conv.weight"], weights["layer3.3.conv2.weight"])
        assert torch.equal(own["layers.1.0.shortcut.conv.weight"], weights["layer2.0.downsample.0.weight"])
        for stream in (0, 1):
            assert torch.equal(own[f"layers.3.2.first.norms.{stream}.bias"], weights["layer4.2.bn1.bias"])
            assert torch.equal(own[f"layers.3.0.shortcut.norms.{stream}.bias"], weights["layer4.0.downsample.1.bias"])
        assert torch.equal(own["stems.trajectory.1.bias"], weights["bn1.bias"])
        assert torch.equal(own["stems.image.0.weight"], before["stems.image.0.weight"])

    def test_files_of_before_the_counters_load_too(self) -> None:
        weights = {key: value for key, value in names.drawn(small_resnet()).items() if not key.endswith(COUNTER)}
        assert load_imagenet(made("dlinknet34-slim"), weights).copied["stream.layer1.0.bn1.weight"]

    @pytest.mark.parametrize("name", ["dlinknet34-slim", "cmipnet-slim"])
    def test_a_weight_that_is_absent_is_named_and_nothing_changes(self, name: str) -> None:
        network, weights = made(name), names.drawn(small_resnet())
        before = values(network)
        del weights["layer4.2.conv2.weight"]
        with pytest.raises(ModelFileError, match=r"layer4\.2\.conv2\.weight' is not there"):
            load_imagenet(network, weights)
        assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())

    def test_another_width_is_refused(self) -> None:
        shapes = names.torchvision_resnet34()
        with torch.device("meta"):
            network, weights = made("dlinknet34-slim"), {key: torch.empty(shape) for key, shape in shapes.items()}
        with pytest.raises(ModelFileError, match=r"\(64, 3, 7, 7\), and \(16, 3, 7, 7\) was expected.*full width"):
            load_imagenet(network, weights)

    def test_a_network_without_such_a_trunk_is_refused(self) -> None:
        with pytest.raises(ModelFileError, match="no trunk"):
            load_imagenet(made("roadedge-n"), names.drawn(small_resnet()))


class TestHRNet:
    def test_both_streams_start_from_it_but_for_the_first_convolution_of_the_raster(self) -> None:
        network, weights = made("cmipnet-hrnet18-slim"), names.drawn(names.hrnet_w18(0.25))
        before = values(network)
        load_imagenet(network, weights)
        own = network.state_dict()
        pairs = {
            "stems.image.0.weight": "conv1.weight",
            "stems.trajectory.3.weight": "conv2.weight",
            "first.0.shortcut.norms.1.bias": "layer1.0.downsample.1.bias",
            "first.2.expand.conv.weight": "layer1.2.conv3.weight",
            "split.conv.weight": "transition1.0.0.weight",
            "coarser.2.norms.0.weight": "transition3.3.0.1.weight",
            "stages.1.3.branches.2.1.second.norms.1.running_mean": "stage3.3.branches.2.1.bn2.running_mean",
            "stages.2.1.paths.0.3.1.bias": "stage4.1.fuse_layers.0.3.1.bias",
            "stages.2.0.paths.3.0.3.weight": "stage4.0.fuse_layers.3.0.1.0.weight",
            "stages.2.0.paths.3.0.7.running_var": "stage4.0.fuse_layers.3.0.2.1.running_var",
        }
        for ours, theirs in pairs.items():
            assert torch.equal(own[ours], weights[theirs]), ours
        assert torch.equal(own["stems.trajectory.0.weight"], before["stems.trajectory.0.weight"])


class TestConvNeXt:
    @pytest.mark.parametrize("timm", [False, True])
    def test_linear_layers_become_convolutions(self, timm: bool) -> None:
        network, weights = made("cu-dgcn-tiny", IMAGE), names.drawn(names.convnext("tiny", timm))
        loaded = load_imagenet(network, weights)
        own, block = network.state_dict(), "stages.2.blocks.4" if timm else "stages.2.4"
        wide, scale = weights[f"{block}.{'mlp.fc1' if timm else 'pwconv1'}.weight"], weights[f"{block}.gamma"]
        assert torch.equal(own["encoder.stages.2.5.body.2.weight"], wide[:, :, None, None])
        assert torch.equal(own["encoder.stages.2.5.scale"], scale[:, None, None])
        assert "  encoder.norms: 8 weights stay as drawn" in loaded.lines()

    def test_the_channel_of_a_raster_stays_as_drawn_wherever_it_stands(self) -> None:
        for inputs, image in ((BOTH, slice(0, 3)), (("trajectory", "image"), slice(1, 4))):
            network, weights = made("cu-dgcn-tiny", inputs), names.drawn(names.convnext("tiny"))
            first = "encoder.stages.0.0.0.weight"
            before = network.state_dict()[first].clone()
            loaded = load_imagenet(network, weights)
            after = network.state_dict()[first]
            assert torch.equal(after[:, image], weights["downsample_layers.0.0.weight"])
            raster = 3 if inputs == BOTH else 0
            assert torch.equal(after[:, raster], before[:, raster])
            assert f"{first}: 1 of 4 input channels stay as drawn, the file has none" in loaded.notes


class TestMSCAN:
    @pytest.mark.parametrize(("name", "dilated"), [("segnext-t", False), ("d-segnext-t", True)])
    @pytest.mark.parametrize("newer", [False, True])
    def test_each_part_goes_where_it_belongs(self, name: str, dilated: bool, newer: bool) -> None:
        network, weights = made(name, IMAGE), names.drawn(names.mscan("t", dilated, newer))
        loaded = load_imagenet(network, weights)
        own, gate = network.state_dict(), "block3.1.attn.spatial_gating_unit"
        pairs = {
            "stages.0.0.2.1.running_mean": "patch_embed1.proj.4.running_mean",
            "stages.2.0.0.weight": "patch_embed3.proj.weight",
            "stages.2.2.mlp.1.weight": "block3.1.mlp.dwconv.weight" if newer else "block3.1.mlp.dwconv.dwconv.weight",
            "stages.2.2.second.bias": "block3.1.norm2.bias",
            "stages.3.3.weight": "norm4.weight",
            "stages.2.2.attention.outer.bias": "block3.1.attn.proj_2.bias",
        }
        if dilated:
            pairs |= {"stages.2.2.attention.gate.chain.3.weight": f"{gate}.conv1_4.weight"}
            pairs |= {"stages.2.2.attention.gate.mix.weight": f"{gate}.conv2.weight"}
        else:
            pairs |= {"stages.2.2.attention.gate.strips.1.0.weight": f"{gate}.conv1_1.weight"}
            pairs |= {"stages.2.2.attention.gate.mix.weight": f"{gate}.conv3.weight"}
        for ours, theirs in pairs.items():
            assert torch.equal(own[ours], weights[theirs]), ours
        assert torch.equal(own["stages.1.1.mlp_scale"].flatten(), weights["block2.0.layer_scale_2"])
        assert set(loaded.left) == {"head.weight", "head.bias"}

    def test_segnext_s_weights_are_not_d_segnext_s(self) -> None:
        with pytest.raises(ModelFileError, match="do not fit d-segnext-t"):
            load_imagenet(made("d-segnext-t", IMAGE), names.drawn(names.mscan("t")))


def small_resnet() -> names.Shapes:
    """ResNet-34 at a quarter of its width."""
    widths = (16, 32, 64, 128)
    found = names.layer("conv1", 16, 3, 7, 7, bias=False) | names.norm("bn1", 16)
    return found | names.basic_layers(("layer1", "layer2", "layer3", "layer4"), widths) | names.layer("fc", 1000, 128)
