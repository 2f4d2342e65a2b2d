"""Published checkpoints load through their key maps, out of what training scripts wrap around them."""

from __future__ import annotations

import collections
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from roadedge.cli import main
from roadedge.errors import ModelFileError, UnknownNameError, UsageError
from roadedge.models import create_model
from roadedge.models.blocks import RoadNet
from roadedge.models.checkpoint import load_network, save_network
from roadedge.models.conversion import ConvertOptions, convert, parse_normalisation
from roadedge.models.key_maps import COUNTER, load_mapped, match
from roadedge.models.published import PUBLISHED
from roadedge.models.start import named_by, recognised, start_from_file
from roadedge.models.weight_file import read_weight_file
from roadedge.spec import ModelSpec
from tests.evaluation.bright_roads import write_data_set
from tests.models import foreign_names as names
from tests.models.networks import random_feeds

BOTH, IMAGE = ("image", "trajectory"), ("image",)
FULL = [
    ("cmipnet", BOTH, names.cmipnet()),
    ("cmipnet-hrnet18", BOTH, names.cmip_hrnet()),
    ("cmmpnet", BOTH, names.cmmpnet()),
    *((f"d-segnext-{size}", IMAGE, names.segnext(size)) for size in "sb"),
    *((f"segnext-{size}", IMAGE, names.segnext(size, dilated=False)) for size in "ts"),
]
SMALL = [
    ("cmipnet-slim", BOTH, names.cmipnet(0.25)),
    ("cmipnet-hrnet18-slim", BOTH, names.cmip_hrnet(0.25)),
    ("cmmpnet-slim", BOTH, names.cmmpnet(0.25)),
    ("d-segnext-t", IMAGE, names.segnext("t")),
]
PAIRS: dict[str, dict[str, str]] = {
    "cmipnet-slim": {
        "stems.trajectory.0.bias": "firstconv1_g.bias",
        "stems.trajectory.1.running_var": "firstbn_g.running_var",
        "layers.2.4.first.norms.1.bias": "layer3.4.bn1.bn_1.bias",
        "layers.1.0.shortcut.conv.weight": "layer2.0.downsample.0.module.weight",
        "layers.1.0.shortcut.norms.0.weight": "layer2.0.downsample.1.bn_0.weight",
        "centre.convs.3.bias": "dblock.dilate4.module.bias",
        "decoders.0.enlarge.conv.weight": "decoder4.deconv2.module.weight",
        "decoders.3.widen.norms.1.running_mean": "decoder1.norm3.bn_1.running_mean",
        "enlarge.weight": "finaldeconv1.module.weight",
        "fuse.bias": "finalconv.bias",
        "stems.image.0.weight": "firstconv1.weight",  # which takes blue first, as ours does
    },
    "cmipnet-hrnet18-slim": {
        "stems.trajectory.3.weight": "conv2_add.weight",
        "first.0.shortcut.norms.1.bias": "layer1.0.downsample.1.bn_1.bias",
        "first.3.middle.conv.weight": "layer1.3.conv2.module.weight",
        "coarser.0.conv.weight": "transition1.1.0.0.module.weight",
        "stages.1.2.branches.0.3.second.norms.0.weight": "stage3.2.branches.0.3.bn2.bn_0.weight",
        "stages.2.2.paths.3.1.4.bias": "stage4.2.fuse_layers.3.1.1.1.bias",
        "join.1.running_var": "last_layer.1.running_var",
        "fuse.weight": "last_layer.3.weight",
    },
    "cmmpnet-slim": {
        "streams.image.layer2.0.downsample.0.weight": "encoder2.0.downsample.0.weight",
        "streams.trajectory.layer4.2.bn2.running_var": "encoder4_add.2.bn2.running_var",
        "streams.trajectory.stem.conv1.weight": "firstconv1_add.weight",
        "streams.image.decoders.1.3.weight": "decoder3.deconv2.weight",
        "streams.trajectory.decoders.3.7.bias": "decoder1_add.norm3.bias",
        "streams.trajectory.centre.convs.2.weight": "dblock_add.dilate3.weight",
        "enhance.0.senders.0.local.1.running_mean": "dem_e1.rgb_local_message.1.running_mean",
        "enhance.4.senders.1.gates.of_local.weight": "dem_d4.add_local_gate.0.weight",
        "enhance.7.senders.0.gates.of_global.bias": "dem_d1.rgb_global_gate.0.bias",
        "streams.trajectory.smooth.weight": "finalconv2_add.weight",
        "fuse.weight": "finalconv.weight",
    },
    "d-segnext-t": {
        "stages.0.0.0.0.weight": "backbone.patch_embed1.proj.0.weight",
        "stages.3.2.attention.gate.mix.weight": "backbone.block4.1.attn.spatial_gating_unit.conv2.weight",
        "head.squeeze.1.bias": "decode_head.squeeze.gn.bias",
        "head.lower.bias": "decode_head.hamburger.ham_in.conv.bias",
        "head.upper.0.weight": "decode_head.hamburger.ham_out.conv.weight",
        "head.align.1.weight": "decode_head.align.gn.weight",
        "classify.1.weight": "decode_head.conv_seg.weight",
    },
}


@pytest.fixture(scope="module")
def of_a_mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of D-SegNeXt-T."""
    path = tmp_path_factory.mktemp("mine") / "w.pth"
    torch.save(names.drawn(names.segnext("t")), path)
    return path


def made(name: str, inputs: tuple[str, ...] = BOTH) -> RoadNet:
    torch.manual_seed(0)
    return create_model(name, ModelSpec(name, inputs))


@pytest.mark.parametrize(("name", "inputs", "shapes"), FULL, ids=[one[0] for one in FULL])
def test_a_network_of_full_size_is_known_by_its_names_and_shapes_alone(
    name: str, inputs: tuple[str, ...], shapes: names.Shapes
) -> None:
    with torch.device("meta"):
        weights = {key: torch.empty(shape) for key, shape in shapes.items()}
        network = made(name, inputs)
    key_map = recognised(weights, PUBLISHED, network)
    assert key_map is not None
    found = match(network, weights, key_map)
    assert (found.wrong, found.left) == ((), ())
    fresh = {key for key in network.state_dict() if key not in found.pairs and not key.endswith(COUNTER)}
    assert fresh == ({"head.factors.bases"} if "segnext" in name else set())


@pytest.mark.parametrize(("name", "inputs", "shapes"), SMALL, ids=[one[0] for one in SMALL])
def test_each_weight_goes_where_it_belongs(name: str, inputs: tuple[str, ...], shapes: names.Shapes) -> None:
    network, weights = made(name, inputs), names.drawn(shapes)
    key_map = recognised(weights, PUBLISHED, network)
    assert key_map is not None
    loaded = load_mapped(network, weights, key_map, whole=True)
    own = network.state_dict()
    for ours, theirs in PAIRS[name].items():
        assert torch.equal(own[ours], weights[theirs]), ours
    taken = sorted(float(weights[key].double().sum()) for key in set(loaded.copied.values()))
    has = sorted({float(own[key].double().sum()) for key in loaded.copied})
    assert len(taken) > 300
    assert len(has) > 0.99 * len({*taken})  # every one of them is somewhere
    out = network.eval()(random_feeds(network, 64, 64, 1))["logits"]
    assert out.shape == (1, 1, 64, 64)


def test_stems_that_take_blue_first_are_turned() -> None:
    for name, shapes, ours, theirs in (
        ("cmmpnet-slim", names.cmmpnet(0.25), "streams.image.stem.conv1.weight", "firstconv1.weight"),
        ("cmipnet-hrnet18-slim", names.cmip_hrnet(0.25), "stems.image.0.weight", "conv1.weight"),
    ):
        network, weights = made(name), names.drawn(shapes)
        key_map = recognised(weights, PUBLISHED, network)
        assert key_map is not None
        load_mapped(network, weights, key_map)
        assert torch.equal(network.state_dict()[ours], weights[theirs].flip(1))


def test_a_global_message_is_the_linear_layer_that_it_was() -> None:
    network, weights = made("cmmpnet-slim").eval(), names.drawn(names.cmmpnet(0.25))
    key_map = recognised(weights, PUBLISHED, network)
    assert key_map is not None
    load_mapped(network, weights, key_map)
    message = network.get_submodule("enhance.1.senders.0")
    local = torch.rand(2, 32, 8, 12)
    cells = [torch.nn.functional.adaptive_max_pool2d(local, level).flatten(1) for level in (1, 2, 4)]
    layer = weights["dem_e2.rgb_global_message.0.weight"], weights["dem_e2.rgb_global_message.0.bias"]
    want = torch.nn.functional.linear(torch.cat(cells, 1), *layer)
    got = message.get_submodule("squeeze")(message.get_submodule("pyramid")(local)).flatten(1)
    assert torch.allclose(got, want, rtol=1e-4)


class TestWeightFile:
    @pytest.mark.parametrize(
        "wrap",
        [
            lambda w: w,
            lambda w: collections.OrderedDict(w),
            lambda w: {"state_dict": w, "meta": {"epoch": 3, "CLASSES": ("background", "road")}, "optimizer": {}},
            lambda w: {"model": w},
            lambda w: {f"module.{key}": value for key, value in w.items()},
            lambda w: {"epoch": 2, "net": {"state_dict": {f"module.model.{key}": value for key, value in w.items()}}},
        ],
    )
    def test_weights_come_out_of_what_is_wrapped_around_them(self, tmp_path: Path, wrap: Any) -> None:
        weights = {"a.weight": torch.rand(3, 2), "a.bias": torch.rand(3)}
        torch.save(wrap(weights), tmp_path / "w.pth")
        read = read_weight_file(tmp_path / "w.pth").weights
        assert list(read) == list(weights)
        assert all(torch.equal(read[key], value) for key, value in weights.items())

    def test_a_part_that_is_called_model_is_no_wrapper(self, tmp_path: Path) -> None:
        torch.save({"model.a": torch.rand(2), "head": torch.rand(2), "step": 5}, tmp_path / "w.pth")
        file = read_weight_file(tmp_path / "w.pth")
        assert (list(file.weights), file.not_tensors) == (["model.a", "head"], ("step",))

    def test_safetensors_are_read(self, tmp_path: Path) -> None:
        safetensors = pytest.importorskip("safetensors.torch")
        weights = {"a.weight": torch.rand(3, 2)}
        safetensors.save_file(weights, tmp_path / "w.safetensors")
        assert torch.equal(read_weight_file(tmp_path / "w.safetensors").weights["a.weight"], weights["a.weight"])
        (tmp_path / "cut.safetensors").write_bytes((tmp_path / "w.safetensors").read_bytes()[:40])
        with pytest.raises(ModelFileError, match="cannot be read as safetensors"):
            read_weight_file(tmp_path / "cut.safetensors")

    def test_a_file_that_would_run_code_is_refused_with_a_way_out(self, tmp_path: Path) -> None:
        torch.save({"state_dict": {"a": torch.rand(1)}, "args": Path("x")}, tmp_path / "w.pth")
        with pytest.raises(ModelFileError, match=r"could run code .*; where you trust it.*weights_only=False"):
            read_weight_file(tmp_path / "w.pth")

    @pytest.mark.parametrize("content", [{}, {"epoch": 1}, {"state_dict": {}}, [1, 2]])
    def test_a_file_without_weights_says_so(self, tmp_path: Path, content: Any) -> None:
        torch.save(content, tmp_path / "w.pth")
        with pytest.raises(ModelFileError):
            read_weight_file(tmp_path / "w.pth")

    def test_a_page_that_was_fetched_instead_is_called_one(self, tmp_path: Path) -> None:
        (tmp_path / "w.pth").write_text("<!DOCTYPE html><html>please confirm</html>")
        with pytest.raises(ModelFileError, match="is a web page"):
            read_weight_file(tmp_path / "w.pth")

    @pytest.mark.parametrize("content", [b"", b"not a file of weights", b"PK\x03\x04 cut off", b"\x80\x02 cut off"])
    def test_rubbish_is_one_sentence(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "w.pth").write_bytes(content)
        with pytest.raises(ModelFileError):
            read_weight_file(tmp_path / "w.pth")


class TestStart:
    def test_of_a_published_checkpoint_what_fits_is_taken_and_the_rest_is_named(self, tmp_path: Path) -> None:
        weights = names.drawn(names.segnext("t", classes=150))
        torch.save({"state_dict": weights}, tmp_path / "w.pth")
        network = made("d-segnext-t", IMAGE)
        loaded = start_from_file(network, tmp_path / "w.pth")
        assert "classify.1.weight" in loaded.fresh
        assert "decode_head.conv_seg.weight" in loaded.left
        assert any("(150, 256, 1, 1), and (2, 256, 1, 1) was expected" in note for note in loaded.notes)
        assert "  classify.1: 2 weights stay as drawn" in loaded.lines()

    def test_of_ours_what_agrees_is_taken(self, tmp_path: Path) -> None:
        save_network(tmp_path / "both.pt", made("roadedge-n"), {})
        loaded = start_from_file(made("roadedge-n", IMAGE), tmp_path / "both.pt")
        assert loaded.copied
        assert loaded.notes

    def test_weights_of_another_kind_are_named(self, tmp_path: Path) -> None:
        torch.save(names.drawn(names.mscan("t")), tmp_path / "mscan.pth")
        with pytest.raises(ModelFileError, match="holds ImageNet weights of MSCAN, and roadedge-n starts from no such"):
            start_from_file(made("roadedge-n"), tmp_path / "mscan.pth")
        torch.save({"conv.weight": torch.rand(1, 1)}, tmp_path / "other.pth")
        with pytest.raises(ModelFileError, match=r"no kind known here \(conv.weight, ...\) for d-segnext-t; it starts"):
            start_from_file(made("d-segnext-t", IMAGE), tmp_path / "other.pth")


class TestConvert:
    def test_what_is_written_can_be_evaluated_and_says_where_it_comes_from(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        weights = {f"module.{key}": value for key, value in names.drawn(names.segnext("t")).items()}
        source, out, free = tmp_path / "epoch_7.pth", tmp_path / "out", ("--licence", "free to use")
        torch.save({"meta": {"epoch": 7}, "state_dict": weights}, source)
        assert main(["convert", str(source), "--normalise", "open-pit", "--gsd", "0.46", *free, "-o", str(out)]) == 0
        said = capsys.readouterr().out
        assert "epoch_7.pth is d-segnext-t, out of state_dict, module." in said
        assert "backbone.head: 2 weights of the file are not read" in said
        assert "head.factors.bases: the bases are drawn once" in said
        network, provenance = load_network(out / "d-segnext-t.pt")
        assert network.spec.mean[:3] == (105.20, 109.26, 88.26)
        assert network.spec.licence == "free to use"
        assert provenance["converted"]["file"] == "epoch_7.pth"
        assert torch.equal(
            network.state_dict()["head.lower.bias"], weights["module.decode_head.hamburger.ham_in.conv.bias"]
        )
        data = write_data_set(tmp_path / "bright")
        arguments = ["eval", str(out / "d-segnext-t.pt"), str(data), "--threads", "1", "-o", str(tmp_path / "eval")]
        assert main([*arguments, "--bootstrap", "0", "--panels", "0"]) == 0

    def test_json_is_one_document_with_every_weight(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        torch.save(names.drawn(names.cmipnet()), tmp_path / "best.pth")
        assert (
            main(["convert", str(tmp_path / "best.pth"), "--second", "lidar", "--json", "-o", str(tmp_path / "o")]) == 0
        )
        found = json.loads(capsys.readouterr().out)
        assert found["model"] == "cmipnet"
        assert found["weights"]["copied"]["stems.lidar.0.weight"] == "firstconv1_g.weight"
        assert found == json.loads((tmp_path / "o" / "conversion.json").read_text())

    @pytest.mark.parametrize(
        ("change", "match_"),
        [
            (lambda w: w.pop("decode_head.align.gn.bias"), "'decode_head.align.gn.bias' is not there"),
            (
                lambda w: w.update({"backbone.decoderBlock1.0.x": torch.rand(1)}),
                "decoderBlock1.0.x' has no place in it",
            ),
        ],
    )
    def test_a_file_that_is_not_quite_that_network_is_refused(self, tmp_path: Path, change: Any, match_: str) -> None:
        weights = names.drawn(names.segnext("t"))
        change(weights)
        torch.save(weights, tmp_path / "w.pth")
        options = ConvertOptions(str(tmp_path / "w.pth"), normalise="deepglobe", output=tmp_path / "out")
        with pytest.raises(ModelFileError, match=match_):
            convert(ConvertOptions(options.source, "d-segnext-t", normalise="deepglobe", output=tmp_path / "out"))
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({"model": "unet"}, UnknownNameError),
            ({"second": "radar"}, UnknownNameError),
            ({"gsd_m": 0.0}, UsageError),
            ({"gsd_m": float("nan")}, UsageError),
            ({"normalise": "mars"}, UnknownNameError),
            ({"normalise": "1,2,3"}, UsageError),
            ({"normalise": "1,2,3,0,1,1"}, UsageError),
            ({}, UsageError),  # D-SegNeXt without a normalisation
        ],
    )
    def test_options_are_looked_at(
        self, of_a_mine: Path, tmp_path: Path, options: dict[str, Any], error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            convert(ConvertOptions(str(of_a_mine), output=tmp_path / "out", **options))
        assert not (tmp_path / "out").exists()

    def test_a_checkpoint_of_ours_needs_none(self, tmp_path: Path) -> None:
        save_network(tmp_path / "own.pt", made("roadedge-n"), {})
        with pytest.raises(UsageError, match="already"):
            convert(ConvertOptions(str(tmp_path / "own.pt")))

    def test_what_it_looks_like_is_said_where_no_network_is_quite_it(self, tmp_path: Path) -> None:
        weights = names.drawn(names.cmipnet(0.25))
        torch.save(weights, tmp_path / "w.pth")
        with pytest.raises(ModelFileError, match="it looks like published weights of CMIPNet; give --model"):
            convert(ConvertOptions(str(tmp_path / "w.pth"), output=tmp_path / "out"))

    def test_numbers_are_a_normalisation_too(self) -> None:
        assert parse_normalisation("1,2,3,4,5,6") == ((1, 2, 3), (4, 5, 6))

    def test_weights_of_nothing_known_have_no_name(self) -> None:
        assert named_by({"a": torch.rand(1)}, BOTH) == []
