"""The whole run with stages of make-believe: the order, the time, what fails, and what is written when."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.nvidia.budget import Budget
from benchmarks.nvidia.child import Outcome
from benchmarks.nvidia.plan import TRIALS, Run, Session
from benchmarks.nvidia.ways import ways_of
from tests.benchmarks.machine import H200, NO_GPU, seen, software

FILES = {"weights": "a", "checkpoint": "a.pt", "calibrated": True, "missing": {}}
ONNX = {"fp32": "a.onnx", "fp16": "a.fp16.onnx", "int8-fp16": "a.int8-fp16.onnx"}
BUILT = {"engine": "a.engine", "engine_bytes": 9, "build_seconds": 1.0, "layers_by_precision": {}, "skipped_tactics": 0}


class Stages:
    """Answers tasks at once, by a clock that each stage moves; `replies` by kind stand in for the usual ones."""

    def __init__(self, **replies: Callable[[dict[str, Any]], Outcome]) -> None:
        self.replies, self.now_s = replies, 0.0
        self.tasks: list[dict[str, Any]] = []
        self.limits: list[float] = []
        self.seconds = {"prepare": 1.0, "trial": 2.0, "build": 5.0, "measure": 10.0}

    def __call__(self, task: dict[str, Any], limit_s: float) -> Outcome:
        self.tasks.append(task)
        self.limits.append(limit_s)
        self.now_s += self.seconds[task["kind"]]
        return self.replies.get(task["kind"], self.usual)(task)

    def usual(self, task: dict[str, Any]) -> Outcome:
        kind = task["kind"]
        if kind == "prepare":
            result: dict[str, Any] = {**FILES, "onnx": ONNX, "network": task["network"]}
        elif kind == "trial":
            result = {"capabilities": task["capabilities"], "built": True, "loads": True, "runs": True, "why": ""}
        elif kind == "build":
            result = dict(BUILT)
        else:
            result = {"rows": [one | {"n": 700} for one in task["ways"]], "remarks": [], "size": [512, 512]}
        return Outcome(result, "", 1.0)

    def asked(self, kind: str) -> list[dict[str, Any]]:
        return [task for task in self.tasks if task["kind"] == kind]


def run(stages: Stages, *available: str, networks: str = "roadedge-s cmipnet", **more: Any) -> dict[str, Any]:
    budget = Budget(more.pop("seconds", 540.0), lambda: stages.now_s)
    rehearsal = more.pop("rehearsal", False)
    told = seen(NO_GPU if rehearsal else H200, *available)
    save = more.pop("save", lambda document: None)
    return Session(Run(stages, budget, Path("work"), rehearsal, **more), told, save).measure(networks.split())


def test_the_trial_comes_first_then_each_network_is_built_and_measured() -> None:
    stages = Stages()
    run(stages, "torch", "tensorrt-rtx")
    kinds = [task["kind"] for task in stages.tasks]
    assert kinds == [
        "prepare",
        *["trial"] * len(TRIALS),
        *["build"] * 4,
        "measure",
        "prepare",
        *["build"] * 4,
        "measure",
    ]
    assert [task["capabilities"] for task in stages.asked("trial")] == list(TRIALS)


def test_int8_is_built_of_the_file_with_an_fp16_remainder_and_fp32_without_tf32() -> None:
    stages = Stages()
    run(stages, "tensorrt", networks="roadedge-s")
    builds = {Path(task["folder"]).name: task for task in stages.asked("build")}
    assert builds["roadedge-s-tensorrt-int8"]["onnx"] == "a.int8-fp16.onnx"
    assert not builds["roadedge-s-tensorrt-fp32"]["tf32"]
    assert builds["roadedge-s-tensorrt-tf32"]["tf32"]
    caches = {name: task["cache"] for name, task in builds.items()}
    assert (
        caches["roadedge-s-tensorrt-tf32"] != caches["roadedge-s-tensorrt-fp32"] == caches["roadedge-s-tensorrt-int8"]
    )


def test_rtx_engines_are_built_for_what_ran_in_the_trial() -> None:
    def only_80(task: dict[str, Any]) -> Outcome:
        ran = task["capabilities"] == "8.0"
        row = {
            "capabilities": task["capabilities"],
            "built": True,
            "loads": ran,
            "runs": ran,
            "why": "" if ran else "no",
        }
        return Outcome(row, "", 1.0)

    stages = Stages(trial=only_80)
    run(stages, "tensorrt-rtx")
    assert {task["capabilities"] for task in stages.asked("build")} == {"8.0"}


def test_where_no_rtx_engine_runs_none_is_built_and_that_is_said() -> None:
    stages = Stages(trial=lambda task: Outcome(None, "its process ended by SIGSEGV", 1.0))
    document = run(stages, "torch", "tensorrt-rtx")
    assert stages.asked("build") == []
    assert {row["why"] for row in document["rtx_trial"]["rows"]} == {"its process ended by SIGSEGV"}
    row = next(row for row in document["networks"][0]["rows"] if row["family"] == "tensorrt-rtx")
    assert row["not_available"] == "none of its engines runs on this GPU; see what was tried"


def test_what_is_not_here_has_a_row_with_its_reason() -> None:
    document = run(Stages(), "torch")
    rows = {row["family"]: row for row in document["networks"][0]["rows"] if "not_available" in row}
    assert rows["tensorrt"]["not_available"] == "no tensorrt here"
    assert rows["torch"]["not_available"] == "torch has no INT8 convolutions on a GPU"
    assert document["rtx_trial"] == {"not_available": "no tensorrt-rtx here"}


def test_the_document_is_saved_after_each_network_with_the_rest_marked() -> None:
    saved: list[dict[str, Any]] = []
    run(Stages(), "torch", save=lambda document: saved.append(copy.deepcopy(document)))
    measured = [["n" in network["rows"][0] for network in document["networks"]] for document in saved]
    assert measured == [[False, False], [True, False], [True, True]]
    later = saved[1]["networks"][1]
    assert (later["network"], later["rows"][0]["not_available"]) == ("cmipnet", "skipped: its turn has not come")


def test_when_the_time_is_used_up_the_rest_is_skipped_and_nothing_gets_more_than_is_left() -> None:
    stages = Stages()
    stages.seconds["build"] = 40.0
    document = run(stages, "tensorrt", networks="roadedge-s cmipnet roadedge-n roadedge-m", seconds=150.0)
    assert all(limit <= 150.0 for limit in stages.limits)
    assert stages.now_s < 150.0 + 40.0
    last = document["networks"][-1]
    assert any("were left of its share of the time" in row["not_available"] for row in last["rows"])


def test_a_process_that_dies_is_followed_by_each_family_alone() -> None:
    def dies(task: dict[str, Any]) -> Outcome:
        families = {way["family"] for way in task["ways"]}
        if "tensorrt" in families:
            return Outcome(None, "its process ended by SIGSEGV", 1.0)
        return Outcome({"rows": [one | {"n": 700} for one in task["ways"]], "remarks": ["warm"]}, "", 1.0)

    document = run(Stages(measure=dies), "torch", "tensorrt", networks="roadedge-s")
    entry = document["networks"][0]
    assert entry["remarks"][0].startswith("all ways in one process: its process ended by SIGSEGV")
    assert "torch: warm" in entry["remarks"]
    by_family = {row["family"]: row for row in entry["rows"] if row["precision"] == "fp16"}
    assert by_family["torch"]["n"] == 700
    assert by_family["tensorrt"]["not_available"] == "its process ended by SIGSEGV"


def test_a_build_that_fails_is_a_row_and_the_others_are_measured() -> None:
    def fails(task: dict[str, Any]) -> Outcome:
        return Outcome(None, "out of memory", 1.0) if "int8" in task["onnx"] else Outcome(dict(BUILT), "", 1.0)

    stages = Stages(build=fails)
    document = run(stages, "tensorrt", networks="roadedge-s")
    rows = {(row["precision"], row["graph"]): row for row in document["networks"][0]["rows"]}
    assert rows["int8", None]["not_available"] == "out of memory"
    assert rows["fp16", True]["n"] == 700


def test_files_that_cannot_be_made_cost_their_network_alone() -> None:
    stages = Stages()
    stages.replies["prepare"] = lambda task: (
        Outcome(None, "disk full", 1.0) if task["network"] == "roadedge-s" else stages.usual(task)
    )
    document = run(stages, "torch", "tensorrt-rtx")
    assert document["networks"][0]["rows"][0]["not_available"] == "its files could not be made: disk full"
    assert document["networks"][1]["rows"][0]["n"] == 700


def test_a_rehearsal_uses_torch_on_the_processor_and_builds_ahead() -> None:
    stages = Stages(trial=lambda task: Outcome(None, "no GPU", 1.0))
    document = run(stages, "tensorrt-rtx", networks="roadedge-n", rehearsal=True)
    assert document["rehearsal"] == "no GPU: script rehearsal"
    assert {task["capabilities"] for task in stages.asked("build")} == {"8.9"}
    asked = stages.asked("measure")[0]
    assert (asked["device"], asked["size"]) == ("cpu", 128)
    assert {way["family"] for way in asked["ways"]} == {"torch", "tensorrt-rtx"}


def test_torch_compile_is_tried_where_it_is_asked_for() -> None:
    document = run(Stages(), "torch", networks="roadedge-s", compile=True)
    assert [row["precision"] for row in document["networks"][0]["rows"] if row["compiled"]] == ["fp16"]


def test_every_engine_is_run_with_and_without_a_graph() -> None:
    ways, rows = ways_of(
        {**FILES, "onnx": ONNX}, [{"runtime": "tensorrt", "precision": "int8", **BUILT}], software("tensorrt")
    )
    assert [(way.name, way.file) for way in ways] == [
        ("tensorrt int8, no graph", "a.engine"),
        ("tensorrt int8, graph", "a.engine"),
    ]
    assert {row["family"] for row in rows} == {"torch", "tensorrt-rtx", "onnxruntime"}
