"""Two processes train as one would with the whole batch, end together whatever happens to one, and go on as they were.

All trials of `pair.py` are run once, by two processes of gloo on this machine; torchrun itself is started in one test.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed

from roadedge import cli
from roadedge.errors import EnvironmentFault, RecipeError, UsageError
from roadedge.models.checkpoint import load_network, read_archive
from roadedge.training.batches import share_of
from roadedge.training.launch import is_follower, launched
from roadedge.training.loop import train
from roadedge.training.processes import Processes, device_of, joined
from roadedge.training.recipe import Recipe, override, to_toml
from tests.training.conftest import make_folder
from tests.training.pair import EQUAL, PARTS, SOFT, TUNED

ROOT = Path(__file__).parents[2]
PATIENCE_S = 1800  # for what takes ten seconds: on a crowded machine it is minutes, and a hang is longer than that
pytestmark = pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()),
    reason="this torch was built without gloo, which connects processes on a CPU",
)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Pair:
    """What both processes said, by trial, and where their runs lie."""

    work: Path
    data: Path
    said: tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]

    def both(self, trial: str, key: str) -> Any:
        """What both said alike."""
        first, second = (one[trial].get(key) for one in self.said)
        assert first == second, f"{trial}: {first} and {second}"
        return first

    def weights(self, run: str, name: str = "last.pt") -> dict[str, torch.Tensor]:
        return load_network(self.work / run / name)[0].state_dict()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Two processes that went through all trials."""
    work = tmp_path_factory.mktemp("pair")
    data = make_folder(work / "tiny")
    given = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    command = [sys.executable, "-m", "tests.training.pair", str(work), str(data)]
    both = [
        subprocess.Popen(
            command, env={**os.environ, **given, "RANK": rank, "LOCAL_RANK": rank}, cwd=ROOT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for rank in "01"
    ]  # fmt: skip
    try:
        out = [process.communicate(timeout=PATIENCE_S)[0] for process in both]
    finally:
        for process in both:
            process.kill()
            process.wait()
    assert [process.returncode for process in both] == [0, 0], "\n".join(out)
    assert out == ["", ""]  # no warning of torch's either
    first, second = (json.loads((work / f"said-{rank}.json").read_text()) for rank in "01")
    return Pair(work, data, (first, second))


def apart(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """The largest difference of two networks' weights, relative to the largest weight of each tensor, or to 0.01."""
    assert one.keys() == other.keys()
    return max(
        ((a.float() - b.float()).abs().max() / b.float().abs().max().clamp(min=1e-2)).item()
        for a, b in ((one[key], other[key]) for key in one)
    )


def alone(pair: Pair, recipe: Recipe, tmp_path: Path, **options: Any) -> dict[str, torch.Tensor]:
    """The same training by this one process."""
    result = train(recipe, [pair.data], tmp_path / "alone", threads=1, report=lambda text: None, **options)
    return load_network(result.folder / "last.pt")[0].state_dict()


@pytest.mark.parametrize("trial", ["equal", "parts", "soft", "tuned", "folds", "resumed"])
def test_both_processes_have_the_same_weights_to_the_bit(pair: Pair, trial: str) -> None:
    assert "error" not in pair.said[0][trial], pair.said[0][trial]
    assert len(pair.both(trial, "digests")) >= 1


@pytest.mark.parametrize("recipe", [EQUAL, PARTS, SOFT], ids=lambda recipe: recipe.name)
def test_two_processes_reach_what_one_does_with_the_whole_batch(pair: Pair, recipe: Recipe, tmp_path: Path) -> None:
    found, expected = pair.weights(recipe.name), alone(pair, recipe, tmp_path)
    assert apart(found, expected) < 1e-4
    if recipe is not EQUAL:  # the tolerance is narrow enough to tell them apart
        assert apart(found, pair.weights("equal")) > 1e-2


def test_fine_tuning_by_two_processes_reaches_what_one_does(pair: Pair, tmp_path: Path) -> None:
    start = pair.work / "equal" / "last.pt"
    assert apart(pair.weights("tuned"), alone(pair, TUNED, tmp_path, init=start)) < 1e-2


def test_losses_and_norms_of_two_halves_are_those_of_the_whole(pair: Pair) -> None:
    for one in pair.said:
        assert max(one["losses"]["result"].values()) < 1e-6
        assert max(one["norms"]["result"]["float32"].values()) < 1e-5
        assert max(one["norms"]["result"]["bfloat16"].values()) < 1e-2


def test_weights_that_no_loss_reaches_stay_as_they_are(pair: Pair) -> None:
    assert pair.both("untrained", "result") == [True, True]


def test_weights_that_part_are_noticed(pair: Pair) -> None:
    assert "after step 2 the weights of process 1" in pair.both("strayed", "text")


def test_ctrl_c_on_one_process_stops_both_after_the_same_step(pair: Pair) -> None:
    assert pair.both("stopped", "error") == "KeyboardInterrupt"
    assert read_archive(pair.work / "left" / "state.pt")["sampler"]["next_step"] == 3
    assert "interrupted after step 3" in pair.said[0]["stopped"]["lines"][-1]


def test_a_resumed_pair_ends_with_the_same_weights_to_the_bit(pair: Pair) -> None:
    straight, resumed = pair.weights("equal"), pair.weights("stopped")
    assert all(torch.equal(straight[key], resumed[key]) for key in straight)


def test_one_process_goes_on_where_two_stopped(pair: Pair) -> None:
    lines: list[str] = []
    train(EQUAL, [pair.data], pair.work / "left", resume=True, threads=1, report=lines.append)
    assert any("saved by 2 processes, these are 1" in line for line in lines)
    assert apart(pair.weights("left"), pair.weights("equal")) < 1e-4


@pytest.mark.parametrize(
    ("trial", "kind", "code", "text"),
    [
        ("unreadable", "DataError", 8, "process 1: that tile is broken"),
        ("full", "OutputError", 9, "the disk is full"),
        ("poisoned", "NonFiniteError", 10, "the loss became nan"),
        ("odd", "UsageError", 2, "a batch of 3 samples does not divide into 2 processes"),
        ("unlike", "SpecMismatchError", 8, "the seed (recipe) of process 1 is 1, that of process 0 is 0"),
        ("taken", "UsageError", 2, "is not empty"),
    ],
)
def test_what_fails_on_one_process_ends_both_alike(pair: Pair, trial: str, kind: str, code: int, text: str) -> None:
    assert (pair.both(trial, "error"), pair.both(trial, "code")) == (kind, code)
    assert text in pair.both(trial, "text")


def test_where_one_process_fails_within_a_step_the_other_one_ends_too(pair: Pair) -> None:
    first, second = (one["lonely end"] for one in pair.said)
    assert second == {"error": "MemoryError", "text": "out of memory"}
    assert first["error"] == "EnvironmentFault"
    assert "another process of this training has ended" in first["text"]


def test_the_inputs_of_all_processes_are_kept_where_the_loss_is_not_finite(pair: Pair) -> None:
    kept = np.load(pair.work / "poisoned" / "nonfinite.npz")
    assert kept["image"].shape == (4, 64, 64, 3)
    assert np.isnan(kept["image"]).any((1, 2, 3)).tolist() == [False, False, True, True]


def test_the_first_process_alone_speaks_and_writes(pair: Pair) -> None:
    first, second = (one["equal"]["lines"] for one in pair.said)
    assert second == []
    assert any("2 processes: a batch of 4 samples is 2 on each" in line for line in first)
    steps = [int(row["step"]) for row in csv.DictReader((pair.work / "equal" / "log.csv").read_text().splitlines())]
    assert steps == [2, 4]
    assert json.loads((pair.work / "equal" / "env.json").read_text())["training"]["processes"] == 2
    assert not list((pair.work / "equal").glob(".*part*"))


def test_a_killed_process_ends_the_others_of_torchrun_and_the_state_can_be_gone_on_with(tmp_path: Path) -> None:
    data, out = make_folder(tmp_path / "tiny"), tmp_path / "run"
    recipe = override(EQUAL, steps=100_000, save_every=1, evaluate_every=100_000)
    (tmp_path / "r.toml").write_text(to_toml(recipe))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    command = [*torchrun, "roadedge", "train", str(data), "--recipe", str(tmp_path / "r.toml"), "-o", str(out)]
    began = subprocess.Popen(
        [*command, "--threads", "1"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
    )
    try:
        wait_for(out / "state.pt", began)
        workers = [int(pid) for pid in Path(f"/proc/{began.pid}/task/{began.pid}/children").read_text().split()]
        os.kill(workers[1], signal.SIGKILL)
        told, _ = began.communicate(timeout=PATIENCE_S)
    finally:
        began.terminate()  # which torchrun passes on
        began.wait(PATIENCE_S)
    assert began.returncode == 1, told
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    assert read_archive(out / "state.pt")["step"] >= 1  # whole, whenever it was


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Until a file is there."""
    began = time.monotonic()
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() - began < PATIENCE_S, f"{path} did not come"
        time.sleep(0.1)


def test_half_of_torchruns_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(UsageError, match="LOCAL_RANK, MASTER_ADDR, MASTER_PORT is not set; start the training by tor"):
        launched()
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(UsageError, match="WORLD_SIZE is 'two'"):
        launched()
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert not is_follower()


def test_a_process_without_a_gpu_of_its_own_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert device_of("auto", 1) == torch.device("cuda", 1)
    assert device_of("cpu", 1) == torch.device("cpu")
    assert chosen == [1]
    with pytest.raises(EnvironmentFault, match="process 2 of this machine has no GPU of its own, torch sees 2"):
        device_of("auto", 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of("auto", 5) == torch.device("cpu")
    with pytest.raises(EnvironmentFault, match="sees no GPU"):
        device_of("cuda", 0)


def test_an_unknown_device_is_a_wrong_option(folder: Path, tmp_path: Path) -> None:
    assert cli.main(["train", str(folder), "--device", "tpu", "-o", str(tmp_path / "run")]) == 2
    assert not (tmp_path / "run").exists()


def test_processes_share_each_part_of_a_batch() -> None:
    recipe = override(EQUAL, batch=8, accumulate=2)
    assert [share_of(recipe, rank, 2) for rank in (0, 1)] == [[0, 1, 4, 5], [2, 3, 6, 7]]
    assert share_of(recipe, 0, 1) == list(range(8))
    with pytest.raises(
        UsageError, match=r"part \(of 2\) of a batch of 4 samples does not divide into 3 processes.* 6$"
    ):
        share_of(recipe, 0, 3)
    with pytest.raises(RecipeError, match="does not divide into 3 parts"):
        override(EQUAL, accumulate=3)


def test_a_training_of_its_own_is_a_group_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined("cpu") as group:
        assert group == Processes(torch.device("cpu"))
        assert group.from_first(lambda: 3) == group.agreed(lambda: 3) == 3
        assert group.gathered("x") == ["x"]
        assert group.any(True)


@pytest.mark.gpu
def test_a_gpu_trains_what_a_cpu_reads(folder: Path, tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU on this machine")
    lines: list[str] = []
    result = train(EQUAL, [folder], tmp_path / "run", device="cuda", report=lines.append)
    assert any(torch.cuda.get_device_name() in line for line in lines)
    plain = train(EQUAL, [folder], tmp_path / "cpu", device="cpu", report=lines.append)
    found, expected = (load_network(one.folder / "last.pt")[0].state_dict() for one in (result, plain))
    assert all(value.device.type == "cpu" for value in found.values())
    assert apart(found, expected) < 0.05
