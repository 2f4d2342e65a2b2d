"""The page of the study, docs/study.md, and its two pictures, from the committed JSON of its runs alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.study_scores import CONDITIONS, SETS, condition_of, difference
from roadedge.atomic import replacing, write_text

WHAT = {
    "image-only": "D-LinkNet34 on images",
    "trajectory-only": "D-LinkNet34 on trajectories",
    "early-fusion": "D-LinkNet34, image and trajectories as four channels",
    "late-fusion": "two D-LinkNet34 whose last features are joined",
    "cmmpnet": "CMMPNet",
    "cmipnet": "CMIPNet",
    "roadedge-s": "ours, at its own width",
}
COLOURS = ("#8a94a6", "#c9a227", "#7fb3d5", "#3d7ea6", "#9a59c8", "#c8352f", "#1a7f4b")
REFERENCES = ("image-only", "early-fusion")
INTRODUCTION = """Do trajectories help an image, and does it matter how the two are joined? The papers answer with
networks of up to 85 million parameters, on data sets that were not at hand here. This page asks the same at the size of
this machine: {count} networks, **one recipe**, one random seed, the published ones with **trunks of a quarter of their
width** (`*-slim`, about a sixteenth of their parameters).

The comparison favours `roadedge-s`: it was developed on these very image sets, with this augmentation, and was scored
on these validation splits many times before. The others come as they were published, made narrow, and meet all of it
for the first time.

> **Semi-synthetic.** The trajectories were simulated from the labels, in training and in these scores, so what they
> bring here is more than real ones would. Nothing here can be compared with the papers' tables on BJRoad or Porto. The
> intervals say how the score depends on which places are scored, not on the training: how far another seed would fall
> was not measured."""
UNDER_SCORES = """G_IoU in per cent on the validation splits of {sets}, pooled ({samples}); threshold 0.5, no
test-time augmentation, 32-bit floats; beside each score its 95 % interval, by drawing whole places again. `fog:0.8`
whitens the image, `points:0.05` keeps one point in twenty. A dash: what the condition changes is not fed."""
UNDER_DIFFERENCES = """Each network minus a reference on the same samples, whole places drawn again for both at once, so
that what makes a place hard for all cancels. **Bold**: the interval does not contain zero, which this page calls told
apart. Of so many intervals of 95 % one or two exclude zero by chance alone."""
RECIPE = """`training/study.toml`: {steps} steps of {batch} squares of {crop}² from the train splits of tianjin, epfl
and sandiego, {precision}, {optimiser} with a peak rate of {lr:g}, seed {seed}, and this project's augmentation: scale,
turn, colours, fog, tree crowns, thinned and moved points, and, of networks with two inputs, one of them left blank now
and then. No checkpoint is chosen: the running average of the weights after the last step is scored. The rate was tuned
for none of them, no trunk starts from ImageNet, and {steps} steps end long before such networks have converged; slow
learners are hurt most by that."""
BLANKS = """**A flaw of these runs**: {names} saw a blank instead of the only input now and then, as if
there were another one to go by: at most 5 of 100 squares without the image, 15 of 100 without the trajectory. The
scores may be lower for it. `roadedge train` does so no longer; these runs were made before."""
AGAIN = """```sh
python benchmarks/study.py DATA     # DATA holds tianjin, epfl and sandiego
```

It trains and scores what is missing, and writes `benchmarks/results/study/NAME.json` (recipe, versions, curve, counts
of every sample), this page and its pictures. Killed at any moment, the same command goes on from the newest state.
{day}, {processor}, {cpus} CPUs, torch {torch}. The machine did other work meanwhile, so the study says nothing about
speed. The training images are those of map providers, so the weights are for research only and are not published."""


def write_page(runs: Sequence[dict[str, Any]], docs: Path) -> Path:
    """Write docs/study.md and docs/images/study-*.png; `runs` are those that are there, in any order."""
    ordered = [run for name in WHAT for run in runs if run["name"] == name]
    draw_scores(ordered, docs / "images" / "study-scores.png")
    draw_curves(ordered, docs / "images" / "study-curves.png")
    write_text(docs / "study.md", page(ordered))
    return docs / "study.md"


def page(runs: Sequence[dict[str, Any]]) -> str:
    """The page as Markdown; what it says follows from the numbers."""
    there = {run["name"] for run in runs}
    left = [name for name in WHAT if name not in there]
    parts = [
        "# The comparison that the papers make, at the size of two CPU cores",
        INTRODUCTION.format(count=len(runs)),
        f"**Not trained yet**: {', '.join(left)}; the command below goes on with them." if left else "",
        "## Scores",
        scores_table(runs),
        UNDER_SCORES.format(sets=" and ".join(SETS), samples=_samples(runs)),
        "![G_IoU of each network under each condition, with 95 % intervals](images/study-scores.png)",
        "## Differences",
        UNDER_DIFFERENCES,
        *(difference_table(runs, name) for name in REFERENCES if name in there and len(runs) > 1),
        "## What it says",
        "\n".join(f"- {line}" for line in sentences(runs)),
        "## Recipe",
        _filled(RECIPE, runs[0]),
        _blanks(runs),
        "![Training loss and G_IoU on the places set aside](images/study-curves.png)",
        "## Run it again",
        _filled(AGAIN, runs[0]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _blanks(runs: Sequence[dict[str, Any]]) -> str:
    """What is to be said of networks of one input whose batches were drawn before `DRAWING` 3; else nothing."""
    names = [run["name"] for run in runs if len(run["inputs"]) == 1 and run.get("drawing", 2) < 3]
    return BLANKS.format(names=" and ".join(names)) if names else ""


def _filled(text: str, run: dict[str, Any]) -> str:
    facts = run["environment"]
    said = {"torch": facts["packages"].get("torch", "unknown"), "day": facts["date"][:10]}
    return text.format(**run["recipe"], **said, processor=facts["processor"], cpus=facts["cpu_count"])


def scores_table(runs: Sequence[dict[str, Any]]) -> str:
    """A row for each network: size, G_IoU and interval under each condition, and of each set when clear."""
    head = ["network", "what", "M parameters", "GMAC at 512²", *CONDITIONS, *(f"{one}, clear" for one in SETS)]
    lines = [_row(head), _row(["---", "---", *(["---:"] * (len(head) - 2))])]
    for run in runs:
        cost, clear = run["cost"], run["conditions"]["clear"]
        cells = [run["name"], WHAT[run["name"]], f"{cost['parameters'] / 1e6:.2f}", f"{cost['gmac']:.2f}"]
        for condition in CONDITIONS:
            found = run["conditions"][condition]
            cells.append("–" if found.get("same_as_clear") else _interval_cell(found["pooled"]))
        cells += [f"{100 * clear['sets'][one]['G_IoU']:.2f}" for one in SETS]
        lines.append(_row(cells))
    return "\n".join(lines)


def difference_table(runs: Sequence[dict[str, Any]], reference: str) -> str:
    """Each network minus the reference under each condition."""
    base = next(run for run in runs if run["name"] == reference)
    lines = [_row([f"minus {reference}", *CONDITIONS]), _row(["---", *(["---:"] * len(CONDITIONS))])]
    for run in runs:
        if run is base:
            continue
        cells = [run["name"]]
        for condition in CONDITIONS:
            found = difference(run, base, condition)
            low, high = (100 * bound for bound in found.interval)
            value = f"{100 * found.value:+.2f}"
            cell = f"{f'**{value}**' if found.told_apart else value} [{low:+.2f}, {high:+.2f}]"
            cells.append(cell.replace("-", "−"))
        lines.append(_row(cells))
    return "\n".join(lines)


def sentences(runs: Sequence[dict[str, Any]]) -> list[str]:
    """What the numbers say, in words that follow from them by rule."""
    by_name = {run["name"]: run for run in runs}
    lines = []
    for condition in CONDITIONS:
        ranked = sorted(runs, key=lambda run: -condition_of(run, condition)["pooled"]["G_IoU"])
        if len(ranked) > 1:
            behind = [run["name"] for run in ranked[1:] if not difference(ranked[0], run, condition).told_apart]
            alike = f"; not told apart from it: {', '.join(behind)}" if behind else ", told apart from all others"
            best = 100 * condition_of(ranked[0], condition)["pooled"]["G_IoU"]
            lines.append(f"**{condition}**: {ranked[0]['name']} leads with {best:.2f}{alike}.")
    fused = [run for run in runs if len(run["inputs"]) > 1]
    for single in ("image-only", "trajectory-only"):
        if single in by_name and fused:
            over = [run["name"] for run in fused if _above(run, by_name[single], "clear")]
            lines.append(
                f"Above {single} on clear samples, and told apart from it, of {len(fused)} networks "
                f"with both inputs: {', '.join(over) or 'none'}."
            )
    return lines + [_loss(run) for run in runs]


def _loss(run: dict[str, Any]) -> str:
    clear = run["conditions"]["clear"]["pooled"]["G_IoU"]
    parts = [
        f"{100 * (condition_of(run, condition)['pooled']['G_IoU'] - clear):+.2f} under {condition}".replace("-", "−")
        for condition in CONDITIONS
        if condition != "clear" and not run["conditions"][condition].get("same_as_clear")
    ]
    return f"{run['name']}, against its own clear score: {', '.join(parts) or 'nothing that it is fed changes'}."


def _above(run: dict[str, Any], other: dict[str, Any], condition: str) -> bool:
    return difference(run, other, condition).interval[0] > 0


def _samples(runs: Sequence[dict[str, Any]]) -> str:
    pooled = runs[0]["conditions"]["clear"]["pooled"]
    return f"{pooled['samples']} images of {pooled['places']} places"


def _interval_cell(pooled: dict[str, Any]) -> str:
    low, high = pooled["G_IoU_interval_95"]
    return f"**{100 * pooled['G_IoU']:.2f}** {100 * low:.1f}–{100 * high:.1f}"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def draw_scores(runs: Sequence[dict[str, Any]], path: Path) -> None:
    """Bars with intervals, a group for each condition; pale where the condition changes nothing that is fed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    axes = figure.subplots()
    width = 0.84 / max(1, len(runs))
    for column, condition in enumerate(CONDITIONS):
        for number, run in enumerate(runs):
            pooled = condition_of(run, condition)["pooled"]
            value = 100 * pooled["G_IoU"]
            low, high = (100 * bound for bound in pooled["G_IoU_interval_95"])
            same = bool(run["conditions"][condition].get("same_as_clear"))
            colour = COLOURS[list(WHAT).index(run["name"])]
            axes.bar(
                column - 0.42 + width * (number + 0.5), value, 0.92 * width, color=colour,
                alpha=0.3 if same else 1.0, label=run["name"] if column == 0 else None,
                yerr=[[max(0.0, value - low)], [max(0.0, high - value)]], error_kw={"lw": 1, "capsize": 2},
            )  # fmt: skip
    axes.set_xticks(range(len(CONDITIONS)), list(CONDITIONS))
    axes.set(ylabel="G_IoU (%), semi-synthetic", ylim=(0, 100))
    axes.set_title(
        "One recipe, one seed; 95 % intervals over places. Pale: the condition changes nothing it is fed", size=10
    )
    axes.legend(ncols=4, fontsize=8, frameon=False, loc="upper center")
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    _save(figure, path)


def draw_curves(runs: Sequence[dict[str, Any]], path: Path) -> None:
    """Training loss, smoothed over five logged rows, and G_IoU on the places set aside."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for run in runs:
        colour = COLOURS[list(WHAT).index(run["name"])]
        rows = run["log"]["rows"]
        loss = [row[1] for row in rows]
        smooth = [sum(loss[max(0, i - 4) : i + 1]) / len(loss[max(0, i - 4) : i + 1]) for i in range(len(loss))]
        left.plot([row[0] for row in rows], smooth, color=colour, lw=1.2, label=run["name"])
        scored = [(row[0], 100 * row[2]) for row in rows if row[2] is not None]
        right.plot([step for step, _ in scored], [value for _, value in scored], color=colour, marker="o", ms=3, lw=1.2)
    left.set(xlabel="step", ylabel="loss (mean of five logged steps)")
    right.set(xlabel="step", ylabel="G_IoU (%) on places set aside", ylim=(0, None))
    for axes in (left, right):
        axes.grid(alpha=0.3)
    left.legend(fontsize=8, frameon=False)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
