"""INT8 export: the scales of the file are those of the checkpoint, and the two graphs that we can write agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from roadedge.calibration.emissions import compare_scales
from roadedge.calibration.flow import ends_of, flow_of
from roadedge.calibration.insert import scales_by_reader
from roadedge.errors import UsageError
from roadedge.export import asked_precision, export_model
from roadedge.export.exporter import ExportResult
from roadedge.export.graph import write_graph
from roadedge.models import create_model
from roadedge.models.blocks import RoadNet
from roadedge.models.checkpoint import load_network, save_network
from roadedge.models.dual_graph import DualGraph
from roadedge.models.layers import joined
from roadedge.models.placement import Placement, place
from roadedge.models.quantized import Quantization, QuantizedNet
from roadedge.runners import open_runner
from roadedge.spec import ModelSpec, read_sidecar
from roadedge.training.qat import quantized
from roadedge.training.recipe import QatSpec
from tests.export.artefacts import SIZE, network, noise, samples
from tests.models.networks import disturb_norms


@pytest.fixture(scope="module")
def int8_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quantized roadedge-n whose ranges come from noise."""
    path = tmp_path_factory.mktemp("int8") / "tiny.int8.pt"
    save_network(path, quantized(network(), QatSpec(on=True, method="max"), [noise(2, seed=1)]), {"by": "a test"})
    return path


@pytest.fixture(scope="module")
def exported(int8_checkpoint: Path) -> dict[str, ExportResult]:
    """Both emissions."""
    folder = int8_checkpoint.parent
    return {p: export_model(int8_checkpoint, folder, p, SIZE, samples=samples()) for p in ("int8", "int8-fp16")}


@pytest.mark.parametrize("precision", ["int8", "int8-fp16"])
def test_the_file_holds_exactly_the_scales_of_the_checkpoint(
    int8_checkpoint: Path, exported: dict[str, ExportResult], precision: str
) -> None:
    torch_net, _ = load_network(int8_checkpoint)
    assert isinstance(torch_net, QuantizedNet)
    values, weights = scales_by_reader(onnx.load(exported[precision].onnx))
    want_values, want_weights = torch_net.scales()
    assert values == want_values
    assert weights.keys() == want_weights.keys()
    for name, scales in weights.items():
        assert np.array_equal(scales, want_weights[name])


def test_the_file_holds_the_integers_that_torch_rounds_its_weights_to(
    int8_checkpoint: Path, exported: dict[str, ExportResult]
) -> None:
    torch_net, _ = load_network(int8_checkpoint)
    assert isinstance(torch_net, QuantizedNet)
    stored = {one.name: onnx.numpy_helper.to_array(one) for one in onnx.load(exported["int8"].onnx).graph.initializer}
    checked = 0
    for name, scales in torch_net.scales()[1].items():
        weight = torch_net.body.get_submodule(name).weight.detach().numpy()  # type: ignore[operator]
        want = np.clip(np.round(weight / scales.reshape(-1, 1, 1, 1)), -128, 127)
        found = [
            array for key, array in stored.items() if f".{name}." in key and array.dtype == np.int8 and array.ndim == 4
        ]
        assert len(found) == 1
        assert np.array_equal(found[0], want)
        checked += 1
    assert checked == 37


def test_both_emissions_hold_the_same_scales_and_differ_in_what_is_between(exported: dict[str, ExportResult]) -> None:
    plain, half = (onnx.load(exported[p].onnx) for p in ("int8", "int8-fp16"))
    assert compare_scales(plain, half) == []
    assert exported["int8"].opset == 17
    assert exported["int8-fp16"].opset >= 19
    assert exported["int8"].convolutions["fp32"] == 3
    assert exported["int8-fp16"].convolutions["fp16"] == 3
    zero_points = [one for one in plain.graph.initializer if one.data_type == onnx.TensorProto.INT8 and not one.dims]
    assert all(not onnx.numpy_helper.to_array(one).any() for one in zero_points)


@pytest.mark.parametrize("name", ["roadedge-n", "roadedge-s", "roadedge-m", "cmipnet"])
def test_torch_and_onnx_are_quantized_in_the_same_places(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = create_model(name).eval()
    disturb_norms(net)  # equal weights of two streams would be stored once, under one name
    ours = QuantizedNet(net, quantization := Quantization())
    graph = write_graph(ours.unquantized(), tmp_path / "float.onnx", (64, 64), 1)
    theirs = place(flow_of(graph), *ends_of(graph), quantization.keep_float, quantization.borders_float)
    assert set(theirs.reads) == set(ours.placement.reads)
    assert set(theirs.convolutions) == set(ours.placement.convolutions)
    assert set(theirs.float_convolutions) == set(ours.placement.float_convolutions)
    shared = [_sharing(placement) for placement in (theirs, ours.placement)]
    assert shared[0] == shared[1]


class Reasoning(RoadNet):
    """A graph of pixels between a stem and a head."""

    def __init__(self) -> None:
        super().__init__(ModelSpec("reasoning", inputs=("image",)))
        self.inputs, self.stem = joined(self.spec), nn.Conv2d(3, 8, 3, 1, 1)
        self.reason, self.head = DualGraph(8), nn.Conv2d(8, 1, 1)

    def forward(self, feeds: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"logits": self.head(self.reason(torch.relu(self.stem(self.inputs(feeds)))))}


def test_what_reads_sums_over_all_pixels_is_left_float_by_both(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Reasoning().eval()
    disturb_norms(net)
    ours = QuantizedNet(net, Quantization())
    graph = write_graph(ours.unquantized(), tmp_path / "float.onnx", (64, 64), 1)
    theirs = place(flow_of(graph), *ends_of(graph))
    parts = ("between_nodes", "between_states", "back")
    for placement in (theirs, ours.placement):
        assert set(placement.behind_products) == {f"reason.feature.{part}.0" for part in parts}
        assert "reason.spatial.mix.0" in placement.convolutions  # what a softmax has bounded
    assert QuantizedNet(net, Quantization(products_float=False)).placement.behind_products == ()


def test_the_runner_says_int8(exported: dict[str, ExportResult]) -> None:
    with open_runner(exported["int8"].onnx, "openvino") as runner:
        assert runner.precision.split("+")[0] == "int8"
        assert np.isfinite(runner.infer(noise(), logits=True)["logits"]).all()
    stated = read_sidecar(exported["int8"].onnx)
    assert stated is not None
    assert stated[1]["precision"]["effective"].startswith("int8")


def test_a_float_checkpoint_has_no_scales_to_export(tmp_path: Path) -> None:
    save_network(tmp_path / "float.pt", network(), {})
    with pytest.raises(UsageError, match="roadedge quantize"):
        export_model(tmp_path / "float.pt", tmp_path, "int8", SIZE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["float.pt", "float.pt.json"]


def test_a_quantized_checkpoint_is_not_exported_as_float(int8_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--int8"):
        export_model(int8_checkpoint, tmp_path, "fp16", SIZE)


def test_flags_that_ask_for_different_precisions_are_refused() -> None:
    assert asked_precision(None, True, True) == "int8-fp16"
    assert asked_precision("fp16", True, False) == "fp16"
    assert asked_precision(None, False, False) is None
    with pytest.raises(UsageError, match="different things"):
        asked_precision("fp32", False, True)


def _sharing(placement: Placement) -> set[frozenset[str]]:
    """Which readers read one scale."""
    found: dict[int, set[str]] = {}
    for reader, group in placement.reads.items():
        found.setdefault(group, set()).add(reader)
    return {frozenset(readers) for readers in found.values()}
