"""ModelSpec: what comes out of JSON is what went in, and what does not fit is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadedge.errors import DataError, ModelFileError, SpecMismatchError
from roadedge.spec import HeatmapSpec, ModelSpec, read_sidecar, sha256_of, sidecar_path, write_sidecar

positive = st.floats(1e-3, 1e3)
bands = st.none() | st.tuples(positive, positive).map(lambda band: (min(band), max(band)))
levels = st.integers(0, 255)
specs = st.builds(
    ModelSpec,
    name=st.text('ab-ü."\\', min_size=1, max_size=8),
    inputs=st.sampled_from([("image",), ("trajectory",), ("image", "trajectory"), ("image", "lidar")]),
    size=st.none() | st.tuples(st.integers(1, 40), st.integers(1, 40)).map(lambda s: (s[0] * 32, s[1] * 32)),
    batch=st.none() | st.integers(1, 8),
    gsd_m=st.none() | positive,
    gsd_band_m=bands,
    density_band_per_mpx=bands,
    heatmap=st.builds(HeatmapSpec, n_max=positive, sigma_px=positive, window_s=st.none() | positive),
    mean=st.tuples(positive, positive, positive, positive),
    blank_rgb=st.tuples(levels, levels, levels),
    threshold=st.floats(0.01, 0.99),
    licence=st.sampled_from(["", "research-only", "CC BY 4.0 — „ü“"]),
    semi_synthetic=st.booleans(),
)


@settings(deadline=None, max_examples=25)
@given(specs)
def test_a_spec_comes_back_from_json_as_it_was(spec: ModelSpec) -> None:
    assert ModelSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_the_second_modality_is_named() -> None:
    assert ModelSpec("a").second == "trajectory"
    assert ModelSpec("a", ("image", "lidar")).second == "lidar"
    assert ModelSpec("a", ("image",)).second is None


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "needs a name"),
        ({"name": "a", "colour": 1}, r"unknown \['colour'\]"),
        ({"name": "a", "heatmap": {"n_max": 5, "blur": 1}}, "does not fit: .*blur"),
        ({"name": "a", "heatmap": 5}, "does not fit"),
        ({"name": "a", "heatmap": {"n_max": 0}}, "must be positive"),
        ({"name": "a", "inputs": []}, "each once"),
        ({"name": "a", "inputs": ["image", "image"]}, "each once"),
        ({"name": "a", "inputs": ["radar"]}, "some of"),
        ({"name": "a", "inputs": "image"}, "some of"),
        ({"name": "a", "inputs": 3}, "does not fit"),
        ({"name": "a", "threshold": 1.0}, "between 0 and 1"),
        ({"name": "a", "threshold": "0.5"}, "does not fit"),
        ({"name": "a", "threshold": None}, "does not fit"),
        ({"name": "a", "stride": 0}, "stride must be a whole number"),
        ({"name": "a", "stride": 32.0}, "stride must be a whole number"),
        ({"name": "a", "size": [500, 512]}, "multiples of the stride 32"),
        ({"name": "a", "size": [512]}, r"must be \(H, W\)"),
        ({"name": "a", "size": 512}, "does not fit"),
        ({"name": "a", "gsd_m": -0.5}, "positive metres"),
        ({"name": "a", "gsd_band_m": [0.7, 0.3]}, r"gsd_band_m must be \(lowest, highest\)"),
        ({"name": "a", "density_band_per_mpx": [1]}, "density_band_per_mpx must be"),
        ({"name": "a", "blank_rgb": [0, 0, 256]}, "levels of 0 to 255"),
        ([], "an object with named values, got a list"),
        ("roadedge-s", "got a str"),
    ],
)
def test_a_spec_that_does_not_fit_is_refused(values: Any, sentence: str) -> None:
    with pytest.raises(SpecMismatchError, match=sentence):
        ModelSpec.from_dict(values)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "roadedge-s.onnx"
    path.write_bytes(b"a network")
    write_sidecar(path, ModelSpec("roadedge-s", size=(512, 512)), {"command": "roadedge export"})
    return path


def change(model: Path, **values: Any) -> None:
    path = sidecar_path(model)
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_the_sidecar_lies_beside_the_model_and_comes_back(model: Path) -> None:
    assert sidecar_path(model).name == "roadedge-s.onnx.json"
    assert read_sidecar(model) == (ModelSpec("roadedge-s", size=(512, 512)), {"command": "roadedge export"})
    content = json.loads(sidecar_path(model).read_text())
    assert content["sha256"] == sha256_of(model)
    assert (content["schema_version"], content["file"]) == (1, "roadedge-s.onnx")


def test_a_model_without_a_sidecar_has_none(tmp_path: Path) -> None:
    assert read_sidecar(tmp_path / "other.onnx") is None


def test_a_sidecar_without_a_digest_is_taken_on_trust(model: Path) -> None:
    change(model, sha256=None)
    assert read_sidecar(model) is not None


def test_the_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_sidecar_of_other_bytes_is_refused(model: Path) -> None:
    model.write_bytes(b"another network")
    with pytest.raises(ModelFileError, match=r"describes other bytes than those of .*roadedge-s\.onnx; export"):
        read_sidecar(model)


def test_a_sidecar_whose_model_is_gone_says_so(model: Path) -> None:
    model.unlink()
    with pytest.raises(ModelFileError, match=r"cannot read the model .*roadedge-s\.onnx: No such file"):
        read_sidecar(model)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'"text"', b"{}", b'{"schema_version": 1}', b"\xff\xfe\x00", b"null", b"[" * 100_000]
)
def test_a_sidecar_that_is_none_is_refused_with_its_path(model: Path, content: bytes) -> None:
    sidecar_path(model).write_bytes(content)
    with pytest.raises(ModelFileError, match=r"roadedge-s\.onnx\.json is not a sidecar .*; export the model again"):
        read_sidecar(model)


@pytest.mark.parametrize("version", [2, 0, "1", None])
def test_a_sidecar_of_another_schema_is_refused(model: Path, version: Any) -> None:
    change(model, schema_version=version)
    with pytest.raises(ModelFileError, match=f"schema version {version}, this roadedge reads 1; update roadedge"):
        read_sidecar(model)


@pytest.mark.parametrize(
    "spec", [{}, [], None, {"name": "a", "colour": 1}, {"name": "a", "heatmap": []}, {"name": "a", "threshold": "x"}]
)
def test_a_sidecar_with_a_spec_that_does_not_fit_is_refused_with_its_path(model: Path, spec: Any) -> None:
    change(model, spec=spec)
    with pytest.raises(ModelFileError, match=r"roadedge-s\.onnx\.json holds a spec that cannot be read") as raised:
        read_sidecar(model)
    assert raised.value.exit_code == 8
    assert isinstance(raised.value, DataError)
