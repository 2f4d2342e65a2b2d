"""Real engines of every network in every precision, and of a free size: TensorRT for RTX builds without a GPU."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import onnx
import pytest
import torch

from roadedge.calibration.emissions import half_remainder
from roadedge.calibration.flow import flow_of
from roadedge.calibration.insert import Scales, insert_qdq, weight_scales
from roadedge.export import DynamicSize, export_model
from roadedge.export.build_progress import Progress
from roadedge.export.graph import write_graph
from roadedge.export.lint import blocking, lint_graph
from roadedge.export.plan import Plan, PlanOptions, build_plan
from roadedge.export.precision import halved
from roadedge.models import create_model
from roadedge.models.placement import place
from roadedge.runners.engine_facts import Range
from tests.export.artefacts import Artefacts, samples

SIZE = (64, 64)
CONVOLUTIONS = {"roadedge-n": 40, "roadedge-s": 42, "roadedge-m": 42, "cmipnet": 109}


@pytest.fixture(scope="module")
def tensorrt() -> ModuleType:
    module: ModuleType = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    return module


def built(trt: ModuleType, path: Path, profiles: dict[str, Range] | None = None) -> Plan:
    options = PlanOptions("tensorrt-rtx", "", ("8.6",), profiles=profiles or {})
    return build_plan(trt, path, options, Progress(shown=False))


@pytest.fixture(scope="module", params=list(CONVOLUTIONS))
def graphs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Path]]:
    """A network with fresh weights in its four emissions, all of 64 x 64 pixels."""
    torch.manual_seed(0)
    folder, deployed = tmp_path_factory.mktemp("rtx"), create_model(request.param).eval().deployed()
    paths = {name: folder / f"{name}.onnx" for name in ("fp32", "fp16", "int8", "int8-fp16")}
    model = write_graph(deployed, paths["fp32"], SIZE, 1, simplify=False)
    write_graph(halved(deployed), paths["fp16"], SIZE, 1, simplify=False)
    placement = place(flow_of(model), [p.name for p in model.graph.input], [p.name for p in model.graph.output])
    values = {point.value: 2.0**-5 for point in placement.points}
    quantised = insert_qdq(model, placement, Scales(values, weight_scales(model, placement)))
    onnx.save(quantised, paths["int8"])
    onnx.save(half_remainder(quantised), paths["int8-fp16"])
    return request.param, paths


def test_every_network_builds_in_every_precision_as_it_was_asked(
    tensorrt: ModuleType, graphs: tuple[str, dict[str, Path]]
) -> None:
    name, paths = graphs
    total = CONVOLUTIONS[name]
    plans = {precision: built(tensorrt, path) for precision, path in paths.items()}
    layers = {precision: plan.layers_by_precision for precision, plan in plans.items()}
    assert layers["fp32"] == {"fp32": total}
    assert layers["fp16"] == {"fp16": total}
    assert layers["int8"].keys() == {"int8", "fp32"}
    assert layers["int8-fp16"].keys() == {"int8", "fp16"}
    assert layers["int8"]["int8"] == layers["int8-fp16"]["int8"] >= 0.8 * total
    assert {sum(counts.values()) for counts in layers.values()} == {total}
    sizes = {precision: len(plan.engine) for precision, plan in plans.items()}
    assert sizes["fp16"] < sizes["fp32"]


def test_every_emission_passes_the_lint(graphs: tuple[str, dict[str, Path]]) -> None:
    for precision, path in graphs[1].items():
        found = lint_graph(onnx.load(path))
        assert blocking(found, "10.3") == [], precision
        assert [one.rule for one in found if not one.blocks] == (["remainder"] if precision == "int8" else [])
        if precision != "int8-fp16":  # FP16 scales came with opset 19, which 8.6 does not read
            assert blocking(found, "8.6") == [], precision


@pytest.mark.parametrize("wanted", [False, True])
def test_real_configurations_forbid_tf32_until_it_is_asked_for(
    tensorrt: ModuleType, artefacts: Artefacts, wanted: bool
) -> None:
    configurations = []

    class Builder:
        """The module's, whose configurations are kept to be looked at after the build."""

        def __init__(self, log: Any) -> None:
            self._own = tensorrt.Builder(log)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._own, name)

        def create_builder_config(self) -> Any:
            configurations.append(self._own.create_builder_config())
            before.append(configurations[-1].get_flag(tensorrt.BuilderFlag.TF32))
            return configurations[-1]

    before: list[bool] = []
    module = SimpleNamespace(**{**vars(tensorrt), "Builder": Builder})
    options = PlanOptions("tensorrt-rtx", "fp32", ("8.6",), tf32=wanted)
    assert build_plan(module, artefacts.fp32, options, Progress(shown=False)).layers_by_precision == {"fp32": 40}
    assert before == [True]  # what a build would have been, had nobody asked
    assert [one.get_flag(tensorrt.BuilderFlag.TF32) for one in configurations] == [wanted]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_free_size_builds_with_a_profile(
    tensorrt: ModuleType, artefacts: Artefacts, tmp_path: Path, precision: str
) -> None:
    bounds = DynamicSize((32, 32), (64, 64), (128, 128))
    path = export_model(artefacts.checkpoint, tmp_path, precision, dynamic=bounds, samples=samples()).onnx
    profiles: dict[str, Range] = {
        name: ((1, 32, 32, channels), (1, 64, 64, channels), (1, 128, 128, channels))
        for name, channels in (("image", 3), ("trajectory", 1))
    }
    assert built(tensorrt, path, profiles).layers_by_precision == {precision: 40}
