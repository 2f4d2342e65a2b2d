"""All back-ends behind one protocol: same feeds, same outputs, same complaints."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from roadedge.errors import RoadEdgeError, SpecMismatchError
from roadedge.export import export_model
from roadedge.preprocess import Feeds
from roadedge.runners import Runner, open_runner
from tests.export.artefacts import SIZE, Artefacts, noise, samples

BACKENDS = ("torch", "onnxruntime", "openvino")


def opened(artefacts: Artefacts, backend: str) -> Runner:
    if backend == "openvino":
        pytest.importorskip("openvino")
    return open_runner(artefacts.checkpoint if backend == "torch" else artefacts.fp32, backend, threads=1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_says_what_torch_says(artefacts: Artefacts, backend: str) -> None:
    feeds = noise(2)
    with opened(artefacts, "torch") as reference, opened(artefacts, backend) as runner:
        want, got = reference.infer(feeds, logits=True), runner.infer(feeds, logits=True)
    scale = np.abs(want["logits"]).max()
    assert np.abs(got["logits"] - want["logits"]).max() < 1e-5 * scale
    assert np.abs(got["probability"].astype(int) - want["probability"]).max() <= 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_outputs_have_the_shapes_and_types_of_the_contract(artefacts: Artefacts, backend: str) -> None:
    with opened(artefacts, backend) as runner:
        outputs, plain = runner.infer(noise(3), logits=True), runner.infer(noise(3))
    assert outputs["probability"].shape == (3, *SIZE)
    assert outputs["probability"].dtype == np.uint8
    assert outputs["logits"].shape == (3, 1, *SIZE)
    assert outputs["logits"].dtype == np.float32
    assert set(plain) == {"probability"}


@pytest.mark.parametrize("backend", BACKENDS)
def test_half_a_probability_is_level_128(artefacts: Artefacts, backend: str) -> None:
    with opened(artefacts, backend) as runner:
        outputs = runner.infer(noise(2), logits=True)
    logits = outputs["logits"][:, 0]
    clear = np.abs(logits) > 1e-6
    assert ((outputs["probability"] >= 128) == (logits >= 0))[clear].all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_windows_do_not_touch_each_other(artefacts: Artefacts, backend: str) -> None:
    feeds = noise(3)
    with opened(artefacts, backend) as runner:
        together = runner.infer(feeds)["probability"]
        alone = [runner.infer({k: v[i : i + 1] for k, v in feeds.items()})["probability"][0] for i in range(3)]
    assert np.abs(together.astype(int) - np.stack(alone)).max() <= 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_earlier_result_is_not_overwritten(artefacts: Artefacts, backend: str) -> None:
    with opened(artefacts, backend) as runner:
        first = runner.infer(noise(seed=1), logits=True)
        kept = {name: value.copy() for name, value in first.items()}
        runner.infer(noise(seed=2), logits=True)
    assert all((first[name] == kept[name]).all() for name in kept)


@pytest.mark.parametrize("backend", BACKENDS)
def test_threads_share_a_runner_and_each_gets_its_own_answer(artefacts: Artefacts, backend: str) -> None:
    windows = [noise(seed=seed) for seed in range(4)]
    with opened(artefacts, backend) as runner:
        alone = [runner.infer(feeds)["probability"] for feeds in windows]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda n: runner.infer(windows[n % 4])["probability"], range(80)))
    assert all((got == alone[n % 4]).all() for n, got in enumerate(together))


def test_a_graph_of_two_windows_takes_three(artefacts: Artefacts, tmp_path: Path) -> None:
    two = export_model(artefacts.checkpoint, tmp_path, size=SIZE, batch=2, samples=samples()).onnx
    feeds = noise(3)
    with open_runner(artefacts.fp32, "onnxruntime") as one_by_one, open_runner(two, "onnxruntime") as by_two:
        assert by_two.spec.batch == 2
        assert (by_two.infer(feeds)["probability"] == one_by_one.infer(feeds)["probability"]).all()


def without(name: str) -> Feeds:
    return {key: value for key, value in noise().items() if key != name}


BAD_FEEDS: dict[str, Feeds] = {
    "one is missing": without("trajectory"),
    "one too many": noise() | {"lidar": noise()["trajectory"]},
    "normalised already": {name: plane.astype(np.float32) for name, plane in noise().items()},
    "channels first": noise() | {"image": noise()["image"].transpose(0, 3, 1, 2)},
    "no batch": {name: plane[0] for name, plane in noise().items()},
    "windows of two counts": noise() | {"image": noise(2)["image"]},
    "of two sizes": noise() | {"image": noise(size=(96, 96))["image"]},
    "of another size": noise(size=(96, 96)),
    "nothing": noise(0),
}


@pytest.mark.parametrize("feeds", BAD_FEEDS.values(), ids=BAD_FEEDS)
def test_feeds_of_another_model_are_refused(artefacts: Artefacts, feeds: Feeds) -> None:
    with opened(artefacts, "onnxruntime") as runner, pytest.raises(SpecMismatchError):
        runner.infer(feeds)


def test_a_size_off_the_stride_is_refused(artefacts: Artefacts) -> None:
    with opened(artefacts, "torch") as runner, pytest.raises(SpecMismatchError, match="multiples of 32"):
        runner.infer(noise(size=(64, 80)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_runner_says_what_was_asked_and_what_runs(artefacts: Artefacts, backend: str) -> None:
    with opened(artefacts, backend) as runner:
        runner.infer(noise())
        said = json.loads(json.dumps(runner.describe()))
        assert runner.last_ms["infer"] > 0
    assert (said["backend"], said["precision"], said["device"]) == (backend, "fp32", "CPU")
    assert said["requested"] == {"backend": backend, "precision": None, "threads": 1}
    assert said["file"].startswith(str(artefacts.checkpoint.parent))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_closed_runner_says_so(artefacts: Artefacts, backend: str) -> None:
    runner = opened(artefacts, backend)
    runner.close()
    runner.close()
    with pytest.raises(RoadEdgeError, match="closed"):
        runner.infer(noise())


def test_torch_gets_its_threads_back(artefacts: Artefacts) -> None:
    import torch

    before = torch.get_num_threads()
    with open_runner(artefacts.checkpoint, threads=before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
