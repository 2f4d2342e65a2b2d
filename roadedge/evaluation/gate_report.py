"""What the accuracy gate found: values, verdicts, the table for a terminal and for Markdown, marks on the files."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadedge.atomic import write_json, write_text
from roadedge.errors import AccuracyGateError, UnknownNameError
from roadedge.evaluation.report import INTERVAL_RULE, TABLE_WIDTH
from roadedge.evaluation.speed import advice, compared, crowded
from roadedge.latency.summary import summarize
from roadedge.runners.gatemark import PASSED, REJECTED, mark_passed, mark_rejected

SCHEMA_VERSION = 1
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class PlaceLoss:
    """One place, as `SET: PLACE`, and its IoU by the reference and by the candidate."""

    place: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Measured:
    """One candidate in one condition against the reference. Fractions; the intervals are 95 %, None with one place.

    `agreement` is the share of mask pixels that equal the reference's; `not_finite` counts samples with NaN or infinity
    in their logits. `worst` are the places that lost the most to the sum, the worst first.
    """

    g_iou: float
    difference: float
    difference_interval: Interval | None
    ratio: float
    ratio_interval: Interval | None
    agreement: float
    not_finite: int
    worst: tuple[PlaceLoss, ...] = ()

    @property
    def kept(self) -> float:
        """What decides: the lower end of the share's interval, the share itself where there is none."""
        return self.ratio_interval[0] if self.ratio_interval else self.ratio


@dataclass(frozen=True, slots=True)
class Verdict:
    """One candidate: file, digest and size of what was measured, what computed it, figures, times, and why it fails."""

    label: str
    model: Path
    sha256: str
    size_bytes: int
    runs: dict[str, Any]  # as `Runner.describe` says it
    measured: dict[str, Measured]  # by condition
    times_ms: tuple[float, ...]
    reasons: tuple[str, ...]

    @property
    def median_ms(self) -> float | None:
        """Median of the timed calls; None where none was timed."""
        return summarize(self.times_ms).median if self.times_ms else None

    @property
    def computed(self) -> str:
        """`openvino int8+fp32`: what ran, read back from it."""
        return f"{self.runs['backend']} {self.runs['precision']}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; the file without its folder."""
        return {
            "label": self.label,
            "file": self.model.name,
            "sha256": self.sha256,
            "bytes": self.size_bytes,
            "runs": {**self.runs, "file": self.model.name},
            "verdict": REJECTED if self.reasons else PASSED,
            "reasons": list(self.reasons),
            "conditions": {name: _plain(one) for name, one in self.measured.items()},
            "ms": summarize(self.times_ms).to_dict() if self.times_ms else None,
        }


@dataclass(frozen=True, slots=True)
class GateResult:
    """All that the gate found; the reference is the first of `verdicts`. `data` is what scores on it are called."""

    verdicts: tuple[Verdict, ...]
    min_ratio: float
    data: str
    sources: tuple[dict[str, Any], ...]
    conditions: dict[str, dict[str, Any]]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]
    settings: dict[str, Any]
    timed_shape: tuple[int, int]
    load_per_cpu: float | None
    environment: dict[str, Any]

    @property
    def reference(self) -> Verdict:
        """What the others are compared with."""
        return self.verdicts[0]

    def verdict(self, label: str) -> Verdict:
        """The verdict on one candidate; raises UnknownNameError for a label that was not measured."""
        for one in self.verdicts:
            if one.label == label:
                return one
        raise UnknownNameError("candidate", label, [one.label for one in self.verdicts])

    def passed(self, label: str) -> bool:
        """Whether this candidate lost no more than allowed."""
        return not self.verdict(label).reasons

    def check(self, labels: Collection[str] | None = None) -> None:
        """Raise AccuracyGateError with candidate, condition and figures where one of `labels` (all) was rejected."""
        failed = [v for v in self.verdicts if v.reasons and (labels is None or v.label in labels)]
        if failed:
            told = "; ".join(f"{v.label} ({v.model.name}): {', '.join(v.reasons)}" for v in failed)
            raise AccuracyGateError(f"the accuracy gate rejected {told}")

    def table_of(self, label: str) -> dict[str, Any]:
        """What the sidecar of this candidate keeps, as JSON values."""
        own = self.verdict(label).to_dict()
        return {
            "reference": self.reference.label,
            "reference_sha256": self.reference.sha256,
            "measured_sha256": own["sha256"],
            "min_ratio": self.min_ratio,
            "data": self.data,
            "sources": list(self.sources),
            "settings": self.settings,
            "runs": own["runs"],
            "conditions": own["conditions"],
            "ms": own["ms"],
            "notes": list(self.notes),
            "date": self.environment.get("date"),
        }

    def mark(self, labels: Collection[str] | None = None) -> list[Path]:
        """Write the verdicts into the sidecars of `labels` (all but the reference), rejections into the files as well.

        Returns:
            The sidecars.

        Raises:
            ModelFileError: a file was changed since it was measured, or has no sidecar.
            OutputError: one cannot be written.
        """
        chosen = list(self.verdicts[1:]) if labels is None else [self.verdict(name) for name in labels]
        written = []
        for one in chosen:
            table = self.table_of(one.label)
            if one.reasons:
                written.append(mark_rejected(one.model, "; ".join(one.reasons), table))
            else:
                written.append(mark_passed(one.model, table))
        return written

    def mark_as(self, label: str, model: Path) -> Path:
        """Write the verdict on `label` into another file of the same scales, which was not measured itself.

        Returns:
            The sidecar.

        Raises:
            as `mark`.
        """
        one = self.verdict(label)
        table = {**self.table_of(label), "measured_file": one.model.name}
        return mark_rejected(model, "; ".join(one.reasons), table) if one.reasons else mark_passed(model, table)

    def to_dict(self) -> dict[str, Any]:
        """The document for `--json` and for benchmarks."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "accuracy gate",
            "reference": self.reference.label,
            "min_ratio": self.min_ratio,
            "rule": "the lower end of the interval of the share of the reference's G_IoU, in every condition",
            "data": self.data,
            "sources": list(self.sources),
            "conditions": self.conditions,
            "left_out": list(self.left_out),
            "settings": self.settings,
            "candidates": [one.to_dict() for one in self.verdicts],
            "timed_shape": list(self.timed_shape),
            "load_per_cpu": self.load_per_cpu,
            "speed": speed_lines(self),
            "notes": list(self.notes),
            "environment": self.environment,
        }


def table_rows(result: GateResult) -> list[list[str]]:
    """The table as text: a head of labels, then a row for each figure."""
    rows = [["", *(v.label for v in result.verdicts)]]
    for name in result.conditions:
        rows.append(
            [f"{name}: G_IoU, %", *(_g_iou_cell(v.measured[name], v is result.reference) for v in result.verdicts)]
        )
        others = [_share_cell(v.measured[name]) for v in result.verdicts[1:]]
        rows.append(["  share kept, mask agrees", "", *others])
    rows.append(["file, MB", *(f"{v.size_bytes / 1e6:.2f}" for v in result.verdicts)])
    rows.append(["computed here by", *(v.computed for v in result.verdicts)])
    rows.append(["ms here, median", *("–" if v.median_ms is None else f"{v.median_ms:.2f}" for v in result.verdicts)])
    rows.append(["verdict", *(_verdict_cell(v, v is result.reference) for v in result.verdicts)])
    return rows


def print_gate(result: GateResult) -> None:
    """Table and lines on stdout."""
    from rich.console import Console
    from rich.table import Table

    head, *rows = table_rows(result)
    table = Table(title=headline(result), title_justify="left", title_style="bold")
    table.add_column(head[0], no_wrap=True)
    for label in head[1:]:
        table.add_column(label, justify="right", no_wrap=True)
    for i, row in enumerate(rows):
        table.add_row(*row, end_section=i < 2 * len(result.conditions) and i % 2 == 1)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(TABLE_WIDTH, 34 + 32 * len(result.verdicts)))
    console.print(table)
    for line in gate_lines(result):
        console.print(line, soft_wrap=True, markup=False)


def headline(result: GateResult) -> str:
    """On what was measured and against what."""
    sets = ", ".join(f"{s['name']} ({s['samples']} samples, {s['places']} places)" for s in result.sources)
    return f"accuracy gate against {result.reference.label} · {sets} · {result.settings['split']} · {result.data}"


def gate_lines(result: GateResult) -> list[str]:
    """What must be known beside the table: the rule, the speed on this device, notes, and why something failed."""
    draws = result.settings["bootstrap"]
    lines = [
        f"asked for: the lower end of the share kept at least {result.min_ratio:g} in every condition, no NaN"
        + (f"; in brackets: {INTERVAL_RULE.replace('G_IoU', 'difference and share')}, {draws} draws" if draws else "")
    ]
    if result.left_out:
        lines.append(f"left out, since the network lacks the input: {', '.join(result.left_out)}")
    lines += [f"{s['name']}: {s['data']}, {s['why']}" for s in result.sources if s["why"]]
    lines += [*result.notes, *speed_lines(result)]
    for one in result.verdicts:
        lines += [f"{one.label} rejected: {reason}" for reason in one.reasons]
        lines += _worst_lines(one, result.min_ratio)
    return lines


def speed_lines(result: GateResult) -> list[str]:
    """What the measured times say of each candidate but the reference, and of INT8 against FP16."""
    timed = {v.label: v for v in result.verdicts if v.times_ms}
    if len(timed) < 2:
        return []
    height, width = result.timed_shape
    lines = [f"times: one window of {height} x {width} through `Runner.infer`, all taking turns"]
    lines += filter(None, [crowded(result.load_per_cpu)])
    half = timed.get("FP16")
    for one in list(timed.values())[1:]:
        lines.append(_compared(one, result.reference))
        if half is not None and one.label.startswith("INT8"):
            lines.append(_compared(one, half))
            lines += filter(None, [advice(one.label, one.times_ms, half.label, half.times_ms)])
    return lines


def _compared(one: Verdict, other: Verdict) -> str:
    if one.computed == other.computed:
        return f"{one.label} and {other.label} compute alike here ({one.computed}): no gain in time on this device"
    told = compared(one.label, one.times_ms, other.label, other.times_ms)
    return f"{told}: {one.computed} against {other.computed}"


def gate_markdown(result: GateResult) -> str:
    """Table and lines as Markdown, for benchmarks/results."""
    head, *rows = table_rows(result)
    table = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    table += ["| " + " | ".join(cell.strip() for cell in row) + " |" for row in rows]
    machine = result.environment
    made = f"{machine['date']} · {machine['processor']}, {machine['cpu_count']} CPUs · `{machine['command']}`"
    lines = "\n".join(f"- {line}" for line in gate_lines(result))
    return "\n".join([f"# {headline(result)}", "", *table, "", lines, "", made, ""])


def _worst_lines(one: Verdict, min_ratio: float) -> list[str]:
    """Where a rejected candidate lost the most: one ruined place and a loss everywhere call for different cures."""
    lines = []
    for name, found in one.measured.items():
        if found.kept < min_ratio and found.worst:
            places = "; ".join(f"{w.place} IoU {100 * w.before:.1f} → {100 * w.after:.1f}" for w in found.worst)
            lines.append(f"  {name}: most was lost at {places}")
    return lines


def write_gate(result: GateResult, path: Path) -> list[Path]:
    """Write `path`.json and `path`.md, in a folder gate.json and gate.md, each whole or not at all.

    Raises:
        OutputError: one cannot be written.
    """
    stem = path / "gate" if path.is_dir() else path.with_suffix("") if path.suffix in (".json", ".md") else path
    files = [stem.with_name(f"{stem.name}{suffix}").resolve() for suffix in (".json", ".md")]
    write_json(files[0], result.to_dict())
    write_text(files[1], gate_markdown(result))
    return files


def _g_iou_cell(one: Measured, is_reference: bool) -> str:
    value = f"{100 * one.g_iou:.2f}"
    if is_reference:
        return value
    low_high = one.difference_interval
    span = f" [{100 * low_high[0]:+.2f}, {100 * low_high[1]:+.2f}]" if low_high else ""
    return f"{value} {100 * one.difference:+.2f}{span}"


def _share_cell(one: Measured) -> str:
    span = f" [{one.ratio_interval[0]:.4f}, {one.ratio_interval[1]:.4f}]" if one.ratio_interval else ""
    return f"{one.ratio:.4f}{span}, {100 * one.agreement:.2f} %"


def _verdict_cell(one: Verdict, is_reference: bool) -> str:
    return "REJECTED" if one.reasons else "reference" if is_reference else "passed"


def _plain(one: Measured) -> dict[str, Any]:
    return {key: list(v) if isinstance(v, tuple) else v for key, v in dataclasses.asdict(one).items()}
