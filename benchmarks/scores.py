"""Score a network on data sets under every input and corruption of its model card, by the path that is deployed.

python benchmarks/scores.py roadedge-s-research DATA/tianjin DATA/epfl -o benchmarks/results/scores-research

Runs what `roadedge eval` runs, once per row, and writes NAME.json and NAME.md with date, machine, versions and command.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from roadedge.atomic import write_json, write_text
from roadedge.data.corrupt import parse_corruptions
from roadedge.environment import environment
from roadedge.evaluation import EvalSettings, evaluate_model
from roadedge.runners import open_runner

ROWS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("both", ()),
    ("image", ()),
    ("trajectory", ()),
    ("both", ("fog:0.8",)),
    ("image", ("fog:0.8",)),
    ("both", ("trees:0.3",)),
    ("both", ("points:0.05",)),
    ("both", ("shift:5",)),
)


def main() -> None:
    """Parse, score each row, write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("data", nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True, help="path of the results without a suffix")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--split", default="val")
    arguments = parser.parse_args()
    with open_runner(arguments.model, arguments.backend) as runner:
        takes = runner.spec.inputs
    rows = [score(arguments, inputs, texts) for inputs, texts in ROWS if possible(takes, inputs, texts)]
    sets = list(rows[0]["sets"])
    record = {"environment": environment(), "model": Path(arguments.model).name, "rows": rows}
    write_json(arguments.output.with_suffix(".json"), record)
    write_text(arguments.output.with_suffix(".md"), table(Path(arguments.model).stem, arguments.split, rows, sets))
    print(arguments.output.with_suffix(".md").read_text())


def possible(takes: tuple[str, ...], inputs: str, texts: tuple[str, ...]) -> bool:
    """Whether a network that takes these inputs can be scored so; one of images alone has the image rows."""
    if len(takes) > 1:
        return True
    return inputs == "image" and takes == ("image",)


def score(arguments: argparse.Namespace, inputs: str, texts: tuple[str, ...]) -> dict[str, Any]:
    """One row: G_IoU of each set and pooled, with the interval of the latter."""
    settings = EvalSettings(
        split=arguments.split, inputs=inputs, corruptions=tuple(parse_corruptions(list(texts))), panels=0
    )
    name = "-".join([arguments.output.name, inputs, *texts]).replace(":", "")
    result = evaluate_model(
        arguments.model,
        arguments.data,
        settings,
        arguments.backend,
        output=Path("runs/eval") / name,
        overwrite=True,
    )
    pooled = result.pooled.to_dict()
    sets = {scores.name: scores.to_dict() for scores in result.sets}
    print(f"{inputs} {' '.join(texts)}: G_IoU {100 * result.pooled.scores.g_iou:.2f}", flush=True)
    return {"inputs": inputs, "corruptions": list(texts), "pooled": pooled, "sets": sets}


def table(model: str, split: str, rows: list[dict[str, Any]], sets: list[str]) -> str:
    """The rows as Markdown."""
    facts = environment()
    several = len(sets) > 1
    head = ["inputs", "corruption", *sets, *(["pooled"] if several else []), "precision", "recall", "F1", "A_IoU"]
    lines = [f"# {model}: G_IoU (%) on the {split} split", "", _row(head), _row(["---"] * len(head))]
    for row in rows:
        pooled = row["pooled"]
        cells = [row["inputs"], ", ".join(row["corruptions"]) or "–"]
        cells += [f"{100 * row['sets'][name]['G_IoU']:.2f}" for name in sets]
        cells += [f"**{100 * pooled['G_IoU']:.2f}**"] if several else []
        cells += [f"{100 * pooled[key]:.2f}" for key in ("precision", "recall", "F1", "A_IoU")]
        lines.append(_row(cells))
    lines += [
        "",
        "Semi-synthetic wherever a trajectory is fed: the points are simulated from the truth. Threshold 0.5, no",
        f"test-time augmentation. {facts['date'][:10]}, {facts['processor']}, {facts['cpu_count']} CPUs, "
        f"`{facts['command']}`.",
    ]
    return "\n".join(lines) + "\n"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
