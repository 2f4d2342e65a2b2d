"""From a float ONNX file to two INT8 files that were proved to run; what cannot be done is told before it is tried."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest

from roadedge.calibration import measure, ptq
from roadedge.calibration.emissions import half_remainder
from roadedge.calibration.insert import scales_by_reader
from roadedge.calibration.ptq import PtqResult, face_of_file, quantize_onnx
from roadedge.calibration.samples import CalibrationList, draw_list, feeds_of
from roadedge.errors import (
    DataError,
    ExportError,
    ModelFileError,
    NonFiniteError,
    OutputError,
    UnknownNameError,
    UsageError,
)
from roadedge.export import export_model
from roadedge.models.checkpoint import save_network
from roadedge.preprocess import preprocess
from roadedge.runners import open_runner
from roadedge.runners.face import AssumedSpecWarning
from roadedge.sample import Sample
from roadedge.spec import read_sidecar, sha256_of
from tests.calibration.test_samples import write_set
from tests.export.artefacts import SIZE, network, samples
from tests.test_atomic import files_end_at

SAMPLE = Sample(np.full((64, 64, 3), 120, np.uint8), np.zeros((64, 64), np.uint8))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    save_network(folder / "tiny.pt", network(), {"recipe": "random weights"})
    return export_model(folder / "tiny.pt", folder, "fp32", SIZE, samples=samples()).onnx


@pytest.fixture(scope="module")
def drawn(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> CalibrationList:
    return draw_list([write_set(tmp_path_factory.mktemp("sets") / "data", train=6)], face_of_file(exported).spec)


@pytest.fixture(scope="module")
def made(exported: Path, drawn: CalibrationList, tmp_path_factory: pytest.TempPathFactory) -> PtqResult:
    return quantize_onnx(exported, drawn, "mse", output_dir=tmp_path_factory.mktemp("made"), threads=1)


def test_both_files_are_written_with_what_they_were_made_of(
    exported: Path, drawn: CalibrationList, made: PtqResult
) -> None:
    assert [path.name for path in made.files.values()] == ["tiny.int8.onnx", "tiny.int8-fp16.onnx"]
    for (emission, path), table in zip(made.files.items(), made.parity, strict=True):
        stated = read_sidecar(path)
        assert stated is not None
        spec, provenance = stated
        assert spec == face_of_file(exported).spec
        assert provenance["precision"]["requested"] == emission
        assert provenance["precision"]["convolutions"]["int8"] == len(made.placement.convolutions)
        assert provenance["source"] == {"file": "tiny.onnx", "sha256": sha256_of(exported)}
        assert provenance["checkpoint"]["file"] == "tiny.pt"
        assert provenance["calibration"]["method"] == "mse"
        assert provenance["calibration"]["samples"] == drawn.to_dict()
        assert provenance["parity"][0]["agreement"] == table.agreement > 0.9
        assert json.loads(json.dumps(made.to_dict()))["size_bytes"][emission] == path.stat().st_size
    assert made.notes == ("calibrated on 6 samples; NVIDIA advises 500 and more",)
    assert made.size_bytes["int8"] < exported.stat().st_size / 3


def test_the_files_run_and_agree(exported: Path, drawn: CalibrationList, made: PtqResult) -> None:
    with open_runner(exported, "onnxruntime") as runner:
        feeds = next(feeds_of(drawn, runner.spec))
        want = runner.infer(feeds, logits=True)["logits"]
    for path in made.files.values():
        for backend in ("onnxruntime", "openvino"):
            with open_runner(path, backend) as runner:
                got = runner.infer(feeds, logits=True)["logits"]
            assert 0 < np.abs(got - want).max() < 0.15 * np.abs(want).max(), (path, backend)


def test_a_cache_saves_the_measuring_and_gives_the_same_bytes(
    exported: Path, drawn: CalibrationList, made: PtqResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "observe", None)  # whoever measures, fails
    again = quantize_onnx(exported, drawn, "mse", cache=made.cache, output_dir=tmp_path, threads=1)
    for emission in ("int8", "int8-fp16"):
        assert sha256_of(again.files[emission]) == sha256_of(made.files[emission])


def test_a_cache_serves_other_placements(
    exported: Path, drawn: CalibrationList, made: PtqResult, tmp_path: Path
) -> None:
    kept = made.placement.convolutions[5]
    again = quantize_onnx(
        exported, drawn, "mse", [kept], borders_float=False, cache=made.cache, output_dir=tmp_path, half=False
    )
    assert list(again.files) == ["int8"]
    assert again.placement.float_convolutions == (kept,)
    one, other = (scales_by_reader(onnx.load(r.files["int8"]))[1] for r in (made, again))
    assert all((one[name] == other[name]).all() for name in one.keys() & other.keys())


def test_a_cache_of_something_else_or_of_nothing_is_refused(
    exported: Path, drawn: CalibrationList, made: PtqResult, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="measured for another method"):
        quantize_onnx(exported, drawn, "max", cache=made.cache, output_dir=tmp_path / "new")
    fewer = CalibrationList(drawn.sets, drawn.entries[:-1])
    with pytest.raises(DataError, match="measured for another list of samples"):
        quantize_onnx(exported, fewer, "mse", cache=made.cache, output_dir=tmp_path / "new")
    with pytest.raises(DataError, match="cannot read the calibration cache"):
        quantize_onnx(exported, drawn, "mse", cache=tmp_path / "nowhere.json", output_dir=tmp_path / "new")
    model = onnx.load(exported)
    model.doc_string = "another file"
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(DataError, match="measured for another network"):
        quantize_onnx(tmp_path / "other.onnx", drawn, "mse", cache=made.cache, output_dir=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_foreign_network_is_quantized_and_stays_usable(foreign: Path, drawn: CalibrationList, tmp_path: Path) -> None:
    with pytest.warns(AssumedSpecWarning, match="rgb = image"):
        result = quantize_onnx(foreign, drawn, output_dir=tmp_path, threads=1)
    with warnings.catch_warnings():  # what was assumed stands in the sidecar now
        warnings.simplefilter("error")
        with open_runner(result.files["int8"], "onnxruntime") as runner:
            out = runner.infer(preprocess(SAMPLE, runner.spec))
    assert out["probability"].shape == (1, 64, 64)
    assert result.parity[0].agreement > 0.9


def test_a_foreign_network_is_not_calibrated_on_drawn_pictures(foreign: Path, tmp_path: Path) -> None:
    with pytest.warns(AssumedSpecWarning):
        city = draw_list([], face_of_file(foreign).spec, count=1)
    elsewhere = r"theirs\.onnx comes from elsewhere.* give --data"
    with pytest.warns(AssumedSpecWarning), pytest.raises(UsageError, match=elsewhere):
        quantize_onnx(foreign, city, output_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_quantized_is_refused(
    exported: Path, drawn: CalibrationList, made: PtqResult, tmp_path: Path
) -> None:
    with pytest.raises(ModelFileError, match="quantized already"):
        quantize_onnx(made.files["int8"], drawn, output_dir=tmp_path / "new")
    with pytest.raises(ModelFileError, match="takes an ONNX file"):
        quantize_onnx(exported.with_name("tiny.pt"), drawn, output_dir=tmp_path / "new")
    with pytest.raises(UnknownNameError, match=r"unknown convolution 'eighth\.9'"):
        quantize_onnx(exported, drawn, keep_float=["eighth.9"], output_dir=tmp_path / "new")
    with pytest.raises(UnknownNameError, match="unknown calibration method"):
        quantize_onnx(exported, drawn, "guess", output_dir=tmp_path / "new")
    with pytest.raises(OutputError, match="is there already"):
        quantize_onnx(exported, drawn, output_dir=made.cache.parent)
    assert not (tmp_path / "new").exists()


def test_nothing_is_left_where_a_sample_is_gone(exported: Path, tmp_path: Path) -> None:
    data = write_set(tmp_path / "data", train=4)
    drawn = draw_list([data], face_of_file(exported).spec)
    (data / "image" / f"{drawn.entries[2].id}.png").unlink()
    with pytest.raises(DataError, match=drawn.entries[2].id):
        quantize_onnx(exported, drawn, output_dir=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_full_disk_is_one_sentence_also_where_the_drafts_are_tried(
    exported: Path, drawn: CalibrationList, tmp_path: Path
) -> None:
    with files_end_at(20_000), pytest.raises(OutputError, match="cannot write"):
        quantize_onnx(exported, drawn, output_dir=tmp_path, threads=1)
    assert not list(tmp_path.iterdir())


def test_a_network_that_computes_nan_is_refused_by_the_value(
    exported: Path, drawn: CalibrationList, tmp_path: Path
) -> None:
    model = onnx.load(exported)
    weight = next(one for one in model.graph.initializer if one.name == "network.quarter.first.0.weight")
    array = onnx.numpy_helper.to_array(weight).copy()
    array[3] = np.inf
    weight.CopyFrom(onnx.numpy_helper.from_array(array, weight.name))
    onnx.save(model, tmp_path / "bad.onnx")
    with pytest.raises(NonFiniteError, match=r"the value .*quarter.* holds NaN or infinity"):
        quantize_onnx(tmp_path / "bad.onnx", drawn, output_dir=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_unequal_emissions_are_not_written(
    exported: Path, drawn: CalibrationList, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shifted(model: onnx.ModelProto) -> onnx.ModelProto:
        out = half_remainder(model)
        one = next(i for i in out.graph.initializer if i.name.endswith("Relu_output_0_scale_half"))
        array = onnx.numpy_helper.to_array(one) * np.float16(1.01)
        one.CopyFrom(onnx.numpy_helper.from_array(array.astype(np.float16), one.name))
        return out

    monkeypatch.setattr(ptq, "half_remainder", shifted)
    with pytest.raises(ExportError, match="do not hold the same scales: value"):
        quantize_onnx(exported, drawn, output_dir=tmp_path / "new", threads=1)
    assert not (tmp_path / "new").exists()


def test_real_samples_calibrate_the_carried_network(real_data: Path, tmp_path: Path) -> None:
    from roadedge.weights import find_model

    path = find_model("roadedge-s", (".onnx",))
    drawn = draw_list([real_data / "tianjin", real_data / "epfl"], face_of_file(path).spec, count=4)
    result = quantize_onnx(path, drawn, output_dir=tmp_path, threads=1)
    assert all(table.agreement > 0.97 for table in result.parity)
