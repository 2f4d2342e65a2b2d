"""The export table: whatever becomes of a network is in its cells, and the table says what they say."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import exports
from benchmarks.export_table.networks import TIMED, in_order
from benchmarks.export_table.report import collect, document, markdown
from benchmarks.export_table.stages import PRECISIONS, cell_file, kept_cells
from benchmarks.export_table.timing import WAYS, fill
from benchmarks.export_table.worker import Limits, work_through
from roadedge.environment import environment
from roadedge.models import MODELS

ROOT = Path(__file__).parent.parent.parent
ENOUGH = Limits(60.0, 4000.0)


def worker(body: str) -> list[str]:
    """A program whose one kind of work is `body`, with `network` at hand."""
    start = (
        f"import os, sys, time\nsys.path.insert(0, {str(ROOT)!r})\nfrom benchmarks.export_table.worker import obey\n"
    )
    return [sys.executable, "-c", f"{start}def kind(network, note):\n    {body}\nobey([kind], sys.argv[-1])"]


def worked(body: str, limits: Limits = ENOUGH, names: tuple[str, ...] = ("a", "b", "c")) -> dict[str, str]:
    told: dict[str, str] = {}
    work_through(worker(body), names, {"note": "x"}, limits, lambda name, why: told.update({name: why}))
    assert list(told) == list(names)  # each once, in order
    return told


class TestWorker:
    def test_all_networks_go_through_one_process(self, tmp_path: Path) -> None:
        told = worked(f"open({str(tmp_path / 'pids')!r}, 'a').write(f'{{network}} {{os.getpid()}}\\n')")
        lines = [line.split() for line in (tmp_path / "pids").read_text().splitlines()]
        assert told == {"a": "", "b": "", "c": ""}
        assert [name for name, _ in lines] == ["a", "b", "c"]
        assert len({process for _, process in lines}) == 1

    def test_a_crash_costs_its_own_network_and_is_named(self) -> None:
        told = worked("network == 'b' and os.abort()")
        assert told == {"a": "", "b": "its process ended by SIGABRT", "c": ""}

    def test_what_hangs_is_stopped(self) -> None:
        told = worked("network == 'a' and time.sleep(99)", Limits(3.0, 4000.0), ("a", "b"))
        assert told == {"a": "stopped after 3 s, its share of the time", "b": ""}

    def test_what_grows_is_stopped(self) -> None:
        told = worked(
            "network == 'a' and (bytearray(os.urandom(1) * 400_000_000), time.sleep(9))",
            Limits(60.0, 300.0),
            ("a", "b"),
        )
        assert "its share of the memory is 300 MiB" in told["a"]
        assert told["b"] == ""


class TestScript:
    @pytest.fixture
    def cells(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
        """The work is a stub: the first network is done, the second one cut short."""
        begun: list[str] = []

        def stub(command: list[str], networks: list[str], task: dict[str, Any], limits: Limits, done: Any) -> None:
            begun.extend(networks if command[-1] != "--keeping" else (f"{name} kept" for name in networks))
            for name in networks:
                if command[-1] == "--keeping":
                    for place in kept_cells(Path(task["work"]), name, "fp16"):
                        place.write_text(json.dumps(kept_cell(place.name)))
                    done(name, "")
                    continue
                if name != "unet":
                    for column in ("time",) if command[-1] == "--timing" else exports.BUILT:
                        cell_file(Path(task["work"]), name, column).write_text(json.dumps(cell(name, column)))
                done(name, "" if name != "unet" else "it crashed")

        monkeypatch.setattr(exports, "work_through", stub)
        return begun

    def run(self, folder: Path, *options: str) -> str:
        assert exports.main([*options, "--work", str(folder / "work"), "-o", str(folder)]) == 0
        (page,) = folder.glob("exports-*.md")
        return page.read_text()

    def test_a_network_that_was_cut_short_has_the_reason_in_the_table(self, cells: list[str], tmp_path: Path) -> None:
        text = self.run(tmp_path, "--only", "roadedge-n,unet")
        assert cells == ["roadedge-n", "unet"]
        assert "| roadedge-n | 1.0e-03 (2.0e-04) |" in text
        assert "| unet | no [2] | no [2] | no [2] | no [2] |" in text
        assert "- [2] it crashed" in text

    def test_resumed_it_keeps_what_is_known(self, cells: list[str], tmp_path: Path) -> None:
        self.run(tmp_path, "--only", "roadedge-n")
        self.run(tmp_path, "--only", "roadedge-n,segnext-t", "--resume")
        assert cells == ["roadedge-n", "segnext-t"]
        self.run(tmp_path, "--only", "roadedge-n")
        assert cells[-1] == "roadedge-n"  # without it all is made anew

    def test_what_parity_refused_gets_a_cell_with_parts_in_float32_and_nothing_else_is_made_anew(
        self, cells: list[str], tmp_path: Path
    ) -> None:
        self.run(tmp_path, "--only", "roadedge-n,segnext-t")
        place = cell_file(tmp_path / "work", "roadedge-n", "fp16")
        place.write_text(json.dumps({"built": False, "why": "differs by 0.3, 0.2 is allowed; nothing was written"}))
        crash = cell_file(tmp_path / "work", "segnext-t", "fp16")
        crash.write_text(json.dumps({"built": False, "why": "its process ended by SIGABRT"}))
        for _ in range(2):  # the second time nothing is left to do
            text = self.run(tmp_path, "--only", "roadedge-n,segnext-t", "--resume")
        assert cells == ["roadedge-n", "segnext-t", "roadedge-n kept"]
        assert "| no [1]; with 2 parts float32 [2] 4.0e-03 (8.0e-04) |" in text
        assert "- [2] roadedge-n, FP16: 2 parts float32: stem, fuse; 7 nodes, 3.0 M multiply-adds (25.0%" in text
        assert "| fp32, int8, int8-fp16, fp16 with parts float32 |" in text
        assert "with 2 parts" not in self.run(tmp_path, "--only", "roadedge-n")  # made anew, and not refused
        assert cells[-1] == "roadedge-n"

    def test_times_stand_beside_the_builds(self, cells: list[str], tmp_path: Path) -> None:
        self.run(tmp_path, "--only", "roadedge-n")
        text = self.run(tmp_path, "--only", "roadedge-n", "--time")
        assert "| 12.5 | 12.5 | 12.5 | 12.5 (fp32) | 12.5 |" in text
        assert "load average while timing 0.5 to 0.5" in text

    def test_times_that_were_cut_short_have_the_reason_and_keep_what_was_measured(
        self, cells: list[str], tmp_path: Path
    ) -> None:
        self.run(tmp_path, "--only", "unet")
        known = {"onnxruntime": {"median_ms": 7.5, "computed_in": "fp32", "load_average": 0.1}}
        place = cell_file(tmp_path / "work", "unet", "time")
        place.write_text(json.dumps(known))
        fill(place, "it hung")
        text = self.run(tmp_path, "--report")
        assert "| 7.5 | no [2] | no [2] | no [2] | no [2] |" in text
        assert "- [2] it hung" in text

    def test_without_anything_known_no_table_is_written_over(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert exports.main(["--report", "--work", str(tmp_path / "work"), "-o", str(tmp_path)]) == 2
        assert "nothing is known" in capsys.readouterr().err
        assert not list(tmp_path.glob("exports-*"))

    def test_an_unknown_network_is_a_usage_error(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as stopped:
            exports.parse(["--only", "unett"])
        assert stopped.value.code == 2
        assert "no such network: unett" in capsys.readouterr().err

    def test_all_networks_are_built_and_the_dear_ones_are_not_timed(self) -> None:
        assert sorted(exports.parse([]).networks) == sorted(MODELS) == sorted(in_order())
        assert sorted(exports.parse(["--time"]).networks) == sorted(TIMED)
        assert "cu-dgcn-xlarge" not in TIMED


def cell(name: str, column: str) -> dict[str, Any]:
    """What a stage may have written."""
    if column == "time":
        own = {"median_ms": 12.5, "min_ms": 12.0, "calls": 5, "load_average": 0.5}
        return {way: {**own, "computed_in": "fp32" if way == "onnxruntime-int8" else "int8+fp32"} for way, *_ in WAYS}
    if column.startswith("rtx-"):
        return {"built": column != "rtx-fp16", "why": "" if column != "rtx-fp16" else f"{name}: no"}
    return {"built": True, "why": "", "parity": [{"max_logit_difference": 1e-3, "spread": 5.0}]}


def kept_cell(name: str) -> dict[str, Any]:
    """What the stage may have written of a file with parts in float32."""
    facts = {"parts": ["stem", "fuse"], "nodes": 7, "multiply_adds": 3_000_000, "multiply_adds_of": 12_000_000}
    facts |= {"weight_bytes": 4096, "trials": 9, "asked": "auto"}
    found = {"built": True, "why": "", "parity": [{"max_logit_difference": 4e-3, "spread": 5.0}]}
    return found if ".rtx-" in name else found | {"float32": facts}


def test_what_tensorrt_refuses_is_a_note_and_what_has_no_file_is_none(tmp_path: Path) -> None:
    for column in exports.BUILT:
        found = cell("unet", column)
        if column == "int8-fp16":
            found = {"built": False, "why": "beyond float16"}
        cell_file(tmp_path, "unet", column).write_text(json.dumps(found))
    rows = collect(tmp_path, ["unet", "segnext-t"])
    assert [row["network"] for row in rows] == ["unet"]
    text = markdown(document(rows, {"side": 512, "threads": 2, "calls": "3"}, environment()))
    assert "| no [1] | fp32, int8, int8-fp16, fp16 no [2] |" in text
    assert "nothing was timed yet" in text
    assert set(PRECISIONS) <= set(rows[0]["exports"])
    assert str(os.getpid()) not in text
