"""The catalogue tells the truth about the networks."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys

import pytest

from roadedge.cli import main
from roadedge.models import MODELS, create_model
from roadedge.models.catalogue import CATALOGUE, cost, counted, print_table


def test_every_network_is_listed() -> None:
    assert set(CATALOGUE) == set(MODELS)
    assert [name for name, entry in CATALOGUE.items() if entry.name != name] == []


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_listed_cost_is_the_counted_one(name: str) -> None:
    assert counted(CATALOGUE[name]) == CATALOGUE[name]


def test_roadedge_s_keeps_its_promise() -> None:
    promised = CATALOGUE["roadedge-s"].cost
    assert promised.graph_parameters <= 2_500_000
    assert promised.gmac <= 4
    published = CATALOGUE["cmipnet"].cost
    assert published.graph_parameters / promised.graph_parameters >= 12
    assert published.gmac / promised.gmac >= 12


def test_the_deployed_graph_leaves_out_what_the_exchange_does_not_read() -> None:
    from roadedge.models.catalogue import gmac

    live = gmac(create_model("roadedge-s"))
    assert cost(create_model("roadedge-s")).gmac < live - 0.2


def test_an_entry_is_plain_json() -> None:
    entry = CATALOGUE["cmipnet"]
    values = json.loads(json.dumps(entry.to_dict()))
    assert values["parameters"] == 31_117_873
    assert values["inputs"] == ["image", "trajectory"]
    assert dataclasses.asdict(entry.cost).items() <= values.items()


@pytest.mark.parametrize("width", [50, 60, 70, 80, 120])
def test_a_narrow_terminal_gets_fewer_columns_and_whole_numbers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    for name, value in {"COLUMNS": str(width), "FORCE_COLOR": "1", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    print_table(list(CATALOGUE.values()))
    out = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert "…" not in out
    for entry in CATALOGUE.values():
        (row,) = (line for line in out.splitlines() if line.split()[:1] == [entry.name])
        assert f"{entry.cost.parameters:,}" in row.split()
        assert f"{entry.cost.gmac:.2f}" in row.split()
    assert ("too narrow for paper" in " ".join(out.split())) is (width < 80)


def test_the_command_prints_json_and_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in printed] == list(CATALOGUE)
    assert all(CATALOGUE[one["name"]].to_dict().items() <= one.items() for one in printed)
    assert {score["weights"] for one in printed for score in one["reached"]} >= {"roadedge-s", "roadedge-s-research"}
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert [name for name in CATALOGUE if name not in out] == []
    assert "31,117,873" in out
    assert max(map(len, out.splitlines())) <= 80


def test_the_list_needs_no_torch() -> None:
    script = "import sys; sys.modules['torch'] = None; import roadedge.models.catalogue as c; print(len(c.CATALOGUE))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) == len(CATALOGUE)
