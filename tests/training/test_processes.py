"""Two processes train as one would with the whole batch, end together whatever happens to one, and go on as they were.

All trials of `pair.py` are run once, by two processes of gloo that torchrun starts on this machine. The last trial
kills one of them.
"""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed

from roadedge import cli
from roadedge.errors import EnvironmentFault, OutputError, RecipeError, UsageError
from roadedge.models.checkpoint import load_network, read_archive
from roadedge.training import processes
from roadedge.training.batches import share_of
from roadedge.training.launch import is_follower, launched
from roadedge.training.loop import train
from roadedge.training.processes import Processes, device_of, joined
from roadedge.training.recipe import Recipe, override
from roadedge.training.shared_errors import everywhere
from tests.training.conftest import make_folder
from tests.training.pair import EQUAL, PARTS, TUNED, quickly

ROOT = Path(__file__).parents[2]
PATIENCE_S = 1800  # for what takes ten seconds: on a crowded machine it is minutes, and a hang is longer than that
pytestmark = pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()),
    reason="this torch was built without gloo, which connects processes on a CPU",
)


@dataclass(frozen=True)
class Pair:
    """What both processes said, by trial, and where their runs lie."""

    work: Path
    data: Path
    said: tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]
    told: str  # by torchrun
    printed: dict[str, str]  # by the processes

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
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "--redirects", "3", "--log-dir", str(work / "printed"), "-m", "tests.training.pair"]
    started = subprocess.Popen(
        [*command, str(work), str(data)], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        told, _ = started.communicate(timeout=PATIENCE_S)
    finally:
        started.terminate()  # which torchrun passes on
        started.wait(PATIENCE_S)
    printed = {f"{path.parent.name} {path.stem}": path.read_text() for path in (work / "printed").rglob("*.log")}
    said = [work / f"said-{rank}.json" for rank in "01"]
    assert all(path.exists() for path in said), (told, printed)
    first, second = (json.loads(path.read_text()) for path in said)
    assert started.returncode == 1, told  # a process was killed
    return Pair(work, data, (first, second), told, printed)


def apart(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """The largest difference of two networks' weights, relative to the largest weight of each tensor, or to 0.01."""
    assert one.keys() == other.keys()
    return max(
        ((a.float() - b.float()).abs().max() / b.float().abs().max().clamp(min=1e-2)).item()
        for a, b in ((one[key], other[key]) for key in one)
    )


def alone(pair: Pair, recipe: Recipe, tmp_path: Path, **options: Any) -> dict[str, torch.Tensor]:
    """The same training by this one process."""
    with quickly():
        result = train(recipe, [pair.data], tmp_path / "alone", threads=1, report=lambda text: None, **options)
    return load_network(result.folder / "last.pt")[0].state_dict()


@pytest.mark.parametrize("trial", ["equal", "parts", "tuned", "folds", "resumed"])
def test_both_processes_have_the_same_weights_to_the_bit(pair: Pair, trial: str) -> None:
    assert "error" not in pair.said[0][trial], pair.said[0][trial]
    assert len(pair.both(trial, "digests")) >= 1


@pytest.mark.parametrize("recipe", [EQUAL, PARTS], ids=lambda recipe: recipe.name)
def test_two_processes_reach_what_one_does_with_the_whole_batch(pair: Pair, recipe: Recipe, tmp_path: Path) -> None:
    found, expected = pair.weights(recipe.name), alone(pair, recipe, tmp_path)
    assert apart(found, expected) < 1e-4
    if recipe is PARTS:  # the tolerance is narrow enough to tell them apart after the same two steps
        assert load_network(pair.work / "equal" / "best.pt")[1]["steps"] == PARTS.steps
        assert apart(found, pair.weights("equal", "best.pt")) > 1e-2


def test_fine_tuning_by_two_processes_reaches_what_one_does(pair: Pair, tmp_path: Path) -> None:
    start = pair.work / "equal" / "last.pt"
    assert apart(pair.weights("tuned"), alone(pair, TUNED, tmp_path, init=start)) < 1e-2


def test_both_processes_cut_the_rate_and_end_after_the_same_evaluation(pair: Pair) -> None:
    assert len(pair.both("early", "digests")) == 3
    lines = pair.said[0]["early"]["lines"]
    assert sum("one evaluation brought no better G_IoU: the rate goes on at 0.005" in line for line in lines) == 1
    assert "ended after step 3 of 9" in lines[-1]
    state = read_archive(pair.work / "early" / "state.pt")
    assert (state["step"], state["plateau"]["cuts"]) == (3, 2)


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
    assert read_archive(pair.work / "left" / "state.pt")["sampler"]["next_step"] == 1
    assert "interrupted after step 1" in pair.said[0]["stopped"]["lines"][-1]


def test_a_resumed_pair_ends_with_the_same_weights_to_the_bit(pair: Pair) -> None:
    straight, resumed = pair.weights("equal"), pair.weights("stopped")
    assert all(torch.equal(straight[key], resumed[key]) for key in straight)


def test_one_process_goes_on_where_two_stopped(pair: Pair) -> None:
    lines: list[str] = []
    with quickly():
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


@pytest.mark.parametrize(
    ("raised", "kind", "text"),
    [
        (RuntimeError("[pair.cc:534] Connection closed by peer [127.0.0.1]:1"), EnvironmentFault, "has ended, its own"),
        (RuntimeError("[unbound_buffer.cc:83] Timed out waiting 7200000ms"), EnvironmentFault, "not answer in time"),
        (everywhere(RuntimeError("process 1: Broken pipe (OSError)")), RuntimeError, "^process 1: Broken pipe"),
        (everywhere(OutputError("a broken pipe")), OutputError, "^a broken pipe"),
        (MemoryError("out of memory"), MemoryError, "^out of memory"),
    ],
)
def test_a_lost_process_is_told_apart_from_what_fails_here(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, kind: type[Exception], text: str
) -> None:
    for name, value in (
        ("WORLD_SIZE", "2"),
        ("RANK", "0"),
        ("LOCAL_RANK", "0"),
        ("MASTER_ADDR", ""),
        ("MASTER_PORT", ""),
    ):
        monkeypatch.setenv(name, value)
    closed: list[None] = []
    monkeypatch.setattr(processes, "_opened", lambda device, count: Processes(device, 0, count))
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: closed.append(None))
    with pytest.raises(kind, match=text) as told, joined("cpu"):
        raise raised
    assert told.type is kind
    assert closed == [None]


def test_a_port_that_is_taken_is_said(monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        given = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(taken.getsockname()[1]), "LOCAL_RANK": "0"}
        for name, value in {**given, "WORLD_SIZE": "2", "RANK": "0"}.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(EnvironmentFault, match=r"process 0 of 2 found no way to .*in use.*is that port free"):
            train(EQUAL, [folder], tmp_path / "run", device="cpu")


def test_the_inputs_of_all_processes_are_kept_where_the_loss_is_not_finite(pair: Pair) -> None:
    kept = np.load(pair.work / "poisoned" / "nonfinite.npz")
    assert kept["image"].shape == (4, 64, 64, 3)
    assert np.isnan(kept["image"]).any((1, 2, 3)).tolist() == [False, False, True, True]


def test_the_first_process_alone_speaks_and_writes(pair: Pair) -> None:
    first, second = (one["equal"]["lines"] for one in pair.said)
    assert second == []
    assert any("2 processes: a batch of 4 samples is 2 on each" in line for line in first)
    steps = [int(row["step"]) for row in csv.DictReader((pair.work / "equal" / "log.csv").read_text().splitlines())]
    assert steps == [2, 3]
    assert json.loads((pair.work / "equal" / "env.json").read_text())["training"]["processes"] == 2
    assert not list((pair.work / "equal").glob(".*part*"))


def test_a_killed_process_ends_the_other_one_and_torchrun_and_the_state_can_be_gone_on_with(pair: Pair) -> None:
    first, second = pair.said
    assert (first["killed"], second.get("killed")) == ({"code": 3}, None)
    assert f"exitcode  : -9 (pid: {second['process']['id']})" in pair.told
    assert not [one for one in pair.said if Path(f"/proc/{one['process']['id']}").exists()]
    state = read_archive(pair.work / "killed" / "state.pt")  # whole, and of the last step that both made
    assert state["step"] == state["sampler"]["next_step"] == 2


def test_what_is_lost_is_all_that_is_printed(pair: Pair) -> None:
    told = pair.printed.pop("0 stderr")
    assert set(pair.printed.values()) == {""}  # no warning of torch's either
    assert told == (
        "error: another process of this training has ended, its own message says why; what was saved last can be gone "
        "on with by --resume\n"
    )


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
