"""What several views, scales and windows bring to a network's scores, against one look on the same samples.

    python benchmarks/views.py DATA [DATA ...] [--model roadedge-s-research] [-o benchmarks/results/views-DATE]

Scores and counted calls only: nothing here is timed. Differences of G_IoU are paired, with 95 % intervals over places.
After each row the JSON is written; a run that is started again goes on with the rows that are missing.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from roadedge.atomic import write_json, write_text  # noqa: E402
from roadedge.environment import environment  # noqa: E402
from roadedge.evaluation import EvalResult, EvalSettings, evaluate  # noqa: E402
from roadedge.metrics.pixel import PixelCounts, paired_bootstrap  # noqa: E402
from roadedge.runners import Augmentation, open_runner  # noqa: E402
from roadedge.spec import sha256_of  # noqa: E402
from roadedge.weights import find_checkpoint  # noqa: E402

ONE_LOOK = "one look"
ROWS = {
    ONE_LOOK: Augmentation(),
    "2 views": Augmentation(2),
    "8 views": Augmentation(8),
    "8 views, mean of probability": Augmentation(8, average="probability"),
    "scales 0.75,1,1.25": Augmentation(scales=(0.75, 1.0, 1.25)),
    "windows of 256, margin 32": Augmentation(window=(256, 256), margin=32),
    "windows of 256, margin 32, blended": Augmentation(window=(256, 256), margin=32, merge="blend"),
}


def main() -> None:
    """Evaluate every row that is not there yet, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--model", default="roadedge-s-research")
    parser.add_argument("--threads", type=int, default=1)
    today = datetime.date.today().isoformat()
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / f"results/views-{today}")
    given = parser.parse_args()
    path, model = given.output.with_suffix(".json"), find_checkpoint(given.model)
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"rows": {}}
    digest, sets = sha256_of(model), [folder.name for folder in given.data]
    if found["rows"] and (found["sha256"], found["sets"]) != (digest, sets):
        raise SystemExit(f"{path} was measured on another network or other data; give another -o")
    found |= {"model": model.name, "sha256": digest, "sets": sets, "environment": environment()}
    for name, how in ROWS.items():
        if name not in found["rows"]:
            print(f"{name} ...", flush=True)
            with open_runner(model, "torch", threads=given.threads, augmentation=how) as runner:
                result = evaluate(runner, list(given.data), EvalSettings(bootstrap=0, panels=0))
            found["rows"][name] = row_of(result)
            write_json(path, found)
    compare(found["rows"])
    write_json(path, found)
    write_text(given.output.with_suffix(".md"), page(found))


def row_of(result: EvalResult) -> dict[str, Any]:
    """Counts of each sample, its place, and what the views cost."""
    cost = result.settings["test_time_augmentation"] or {"calls_per_image": 1, "times_the_pixels": 1}
    return {
        "g_iou": {one.name: one.scores.g_iou for one in (*result.sets, result.pooled)},
        "data": result.pooled.data,
        "calls_per_image": cost["calls_per_image"],
        "times_the_pixels": cost["times_the_pixels"],
        "samples": [
            [row.set, row.id, row.place, *(getattr(row.counts, key) for key in ("tp", "fp", "fn", "tn", "ignored"))]
            for row in result.rows
        ],
    }


def compare(rows: dict[str, Any]) -> None:
    """Add to each row how far it lies from one look, pooled over the sets."""
    reference = rows[ONE_LOOK]
    for name, row in rows.items():
        if name == ONE_LOOK:
            continue
        ours, theirs = ([PixelCounts(*sample[3:]) for sample in one["samples"]] for one in (row, reference))
        places = [(sample[0], sample[2]) for sample in reference["samples"]]
        assert [sample[:3] for sample in row["samples"]] == [sample[:3] for sample in reference["samples"]]
        drawn = paired_bootstrap(ours, theirs, places)
        row["against_one_look"] = {
            "g_iou": row["g_iou"]["pooled"] - reference["g_iou"]["pooled"],
            "interval_95": None if drawn is None else list(drawn.difference),
        }


def page(found: dict[str, Any]) -> str:
    """The rows as a table in Markdown."""
    rows, env = found["rows"], found["environment"]
    sets = [*found["sets"], "pooled"]
    lines = [
        "# What several views bring",
        "",
        f"{env['date']} · {env['processor']} · `{env['command']}` · {found['model']} · {rows[ONE_LOOK]['data']}",
        "",
        f"| prediction | {' | '.join(f'G_IoU {name}' for name in sets)} | against one look (95 %) | pixels × |",
        f"|---|{'---:|' * len(sets)}---:|---:|",
    ]
    for name, row in rows.items():
        against = "–"
        if "against_one_look" in row:
            low, high = row["against_one_look"]["interval_95"]
            against = f"{100 * row['against_one_look']['g_iou']:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"
        scores = " | ".join(f"{100 * row['g_iou'][one]:.2f}" for one in sets)
        lines.append(f"| {name} | {scores} | {against} | {row['times_the_pixels']:g} |")
    samples = rows[ONE_LOOK]["samples"]
    places = len({(sample[0], sample[2]) for sample in samples})
    lines += [
        "",
        f"In per cent, {len(samples)} validation samples of {places} places, threshold of the network; paired.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
