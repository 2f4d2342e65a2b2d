"""Does TensorRT's parser take our graphs, and does a builder make an engine of them? Needs no GPU, only the package."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from roadedge.export import DynamicSize, export_model
from tests.export.artefacts import Artefacts, samples


@pytest.fixture(scope="module")
def tensorrt() -> ModuleType:
    module: ModuleType = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    return module


def engine_bytes(trt: ModuleType, path: Path, bounds: DynamicSize | None = None) -> int:
    """Parse, strongly typed, and build for one architecture."""
    log = trt.Logger(trt.Logger.ERROR)  # logger, builder and network must outlive the parser
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    assert parser.parse_from_file(str(path)), [parser.get_error(i).desc() for i in range(parser.num_errors)]
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    if bounds is not None:
        profile = builder.create_optimization_profile()
        for name, channels in (("image", 3), ("trajectory", 1)):
            sizes = (bounds.smallest, bounds.best, bounds.largest)
            profile.set_shape(name, *[(1, *size, channels) for size in sizes])
        config.add_optimization_profile(profile)
    assert {str(network.get_input(i).dtype) for i in range(network.num_inputs)} == {str(trt.uint8)}
    engine = builder.build_serialized_network(network, config)
    assert engine is not None
    return int(engine.nbytes)


def test_fp32_and_fp16_build(tensorrt: ModuleType, artefacts: Artefacts) -> None:
    fp32, fp16 = (engine_bytes(tensorrt, path) for path in (artefacts.fp32, artefacts.fp16))
    assert fp16 < fp32


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_free_size_builds_with_a_profile(
    tensorrt: ModuleType, artefacts: Artefacts, tmp_path: Path, precision: str
) -> None:
    bounds = DynamicSize((32, 32), (64, 64), (128, 128))
    path = export_model(artefacts.checkpoint, tmp_path, precision, dynamic=bounds, samples=samples()).onnx
    assert engine_bytes(tensorrt, path, bounds) > 0
