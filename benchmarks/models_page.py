"""What the networks reached, collected from benchmarks/results/, and the table of docs/models.md.

    python benchmarks/models_page.py [--results benchmarks/results]

writes roadedge/models/reached.json, which `roadedge models` reads, and the table between the marks in docs/models.md.
Run it when a result was added; nothing is measured here.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from roadedge.atomic import write_json, write_text  # noqa: E402
from roadedge.models import MODELS  # noqa: E402
from roadedge.models.catalogue import CATALOGUE, Entry  # noqa: E402
from roadedge.models.reached import FILE, Reached  # noqa: E402
from roadedge.models.specified import specified_of  # noqa: E402
from roadedge.resources import recipe_names, recipe_path  # noqa: E402
from roadedge.training.recipe import read_recipe  # noqa: E402

PAGE = ROOT / "docs" / "models.md"
BEGIN, END = "<!-- networks: written by benchmarks/models_page.py -->", "<!-- end of networks -->"
INPUTS = {"both": ("image", "trajectory"), "image": ("image",), "trajectory": ("trajectory",)}


def collect(results: Path) -> list[Reached]:
    """All scores of FP32 weights on clear validation splits, by network and then from the highest on."""
    found = [*_studies(results), *_scores(results), *_gates(results)]
    order = list(MODELS)
    return sorted(found, key=lambda one: (order.index(one.network), one.data, -one.g_iou))


def network_of(weights: str) -> str:
    """`roadedge-s-research` → `roadedge-s`: weights are called after their network."""
    known = [name for name in MODELS if weights == name or weights.startswith(f"{name}-")]
    if not known:
        raise SystemExit(f"{weights!r} is called after no network; choose from {', '.join(MODELS)}")
    return max(known, key=len)


def _studies(results: Path) -> Iterator[Reached]:
    for path in sorted((results / "study").glob("*.json")):
        run = json.loads(path.read_text())
        if run.get("kind") == "study run":
            clear = run["conditions"]["clear"]
            names = (run["model"], f"study-{run['name']}", tuple(run["inputs"]), _sets(clear["sets"]))
            yield _reached(*names, clear["pooled"], run["semi_synthetic"], path.relative_to(results))


def _scores(results: Path) -> Iterator[Reached]:
    for path in sorted(results.glob("scores-*.json")):
        found = json.loads(path.read_text())
        weights = found["model"].removesuffix(".onnx")
        for row in found["rows"]:
            if not row["corruptions"]:
                inputs, pooled = INPUTS[row["inputs"]], row["pooled"]
                names = (network_of(weights), weights, inputs, _sets(row["sets"]))
                yield _reached(*names, pooled, "trajectory" in inputs, path.relative_to(results))


def _gates(results: Path) -> Iterator[Reached]:
    """Of a gate the reference, where its network was scored in no other way."""
    scored = {one.weights for one in _scores(results)}
    for path in sorted(results.glob("gate-*.json")):
        found = json.loads(path.read_text())
        weights = path.stem.removeprefix("gate-")
        if weights in scored or found["reference"] != "FP32" or weights.removesuffix("-city") in scored:
            continue
        reference = next(one for one in found["candidates"] if one["label"] == "FP32")
        data = tuple(source["name"] for source in found["sources"])
        for condition, inputs in (("clear", INPUTS["both"]), ("image-only", INPUTS["image"])):
            pooled = {"G_IoU": reference["conditions"][condition]["g_iou"]}
            names = (reference["runs"]["model"], weights, inputs, data)
            yield _reached(*names, pooled, "trajectory" in inputs, path.relative_to(results))


def _sets(sets: dict[str, Any]) -> tuple[str, ...]:
    return tuple(sets)


def _reached(
    network: str, weights: str, inputs: tuple[str, ...], data: tuple[str, ...], pooled: dict[str, Any],
    simulated: bool, source: Path,
) -> Reached:  # fmt: skip
    bounds = pooled.get("G_IoU_interval_95")
    interval = None if bounds is None else (round(100 * bounds[0], 2), round(100 * bounds[1], 2))
    label = "semi-synthetic" if simulated else ""
    return Reached(network, weights, inputs, data, round(100 * pooled["G_IoU"], 2), interval, label, source.as_posix())


def table(found: list[Reached]) -> str:
    """The networks, and what was reached, as two tables of Markdown."""
    recipes: dict[str, list[str]] = {}
    for name in recipe_names():
        if not name.startswith("study"):  # which trains one network after the other
            recipes.setdefault(read_recipe(recipe_path(name)).model, []).append(name)
    head = ["network", "paper", "inputs", "parameters", "GMAC", "published", "recipes"]
    lines = ["| " + " | ".join(head) + " |", "|---|---|---|---:|---:|---|---|"]
    for entry in CATALOGUE.values():
        cells = [f"`{entry.name}`", entry.paper, ", ".join(entry.inputs), f"{entry.cost.parameters:,}", _gmac(entry)]
        cells += [_published(entry), ", ".join(f"`{name}`" for name in recipes.get(entry.name, []))]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "| network | weights | inputs | clear validation split of | G_IoU, % | 95 % | |",
        "|---|---|---|---|---:|---|---|",
    ]
    for one in found:
        bounds = "" if one.interval is None else f"{one.interval[0]:.2f} to {one.interval[1]:.2f}"
        cells = [f"`{one.network}`", f"`{one.weights}`", ", ".join(one.inputs), ", ".join(one.data), f"{one.g_iou:.2f}"]
        lines.append("| " + " | ".join([*cells, bounds, one.label]) + " |")
    return "\n".join(lines)


def _gmac(entry: Entry) -> str:
    cost = entry.cost
    return f"{cost.gmac:.2f}" if cost.gmac == cost.network_gmac else f"{cost.gmac:.2f} ({cost.network_gmac:.2f})"


def _published(entry: Entry) -> str:
    one = specified_of(entry)
    if one is None:
        return ""
    unused = f" + {one.unused:,} unused" if one.unused else ""
    return f"{one.parameters:,}{unused}; {'–' if one.gmac is None else f'{one.gmac:.2f}'}"


def main() -> None:
    """Collect and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    found = collect(parser.parse_args().results)
    write_json(FILE, {"schema_version": 1, "reached": [one.to_dict() for one in found]})
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise SystemExit(f"{PAGE} lacks the marks {BEGIN} and {END}")
    write_text(PAGE, f"{before}{BEGIN}\n{table(found)}\n{END}{after}")
    print(f"{len(found)} scores; wrote {FILE} and {PAGE}", file=sys.stderr)


if __name__ == "__main__":
    main()
