"""The profile as a table for a terminal, and the sentences below it; the report shows the same rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from roadedge.latency.profile import Profile
from roadedge.latency.summary import Summary, label, samples_needed
from roadedge.latency.verdict import Verdict, frames_text

if TYPE_CHECKING:
    from rich.table import Table

SHOWN = (50.0, 90.0, 99.0, 99.9)  # percentiles of the table
HEADS = ("n", *(label(p) for p in SHOWN), "max")
LATE, WAIT, REST = "late", "in queues", "rest"  # parts of the age that are no stage


def rows(profile: Profile, rest: Summary | None = None) -> list[tuple[str, Summary]]:
    """The parts of the age in the order of time: lateness and queues where there are any, stages, the rest.

    Parts of `infer` by the device's own clock stand below it, indented by two spaces.
    """
    found = []
    if profile.late.maximum:
        found.append((LATE, profile.late))
    if profile.wait.maximum:
        found.append((WAIT, profile.wait))
    for stage, summary in profile.stages.items():
        if summary.count and not summary.maximum:
            continue  # a benchmark of the network alone has no other stages
        found.append((stage, summary))
        if stage == "infer":
            found += [(f"  {part}", times) for part, times in profile.device.items()]
    return [*found, (REST, rest)] if rest is not None else found


def cells(summary: Summary) -> list[str]:
    """n, percentiles and maximum of a row; `n < 662` where the count is too small for one."""
    return [str(summary.count), *(percentile_cell(summary, p) for p in SHOWN), milliseconds(summary.maximum)]


def safe_cells(summary: Summary) -> list[str]:
    """The early-stopping estimates of a row, which err on the slow side; a dash where the count allows none."""
    return ["", *(milliseconds(summary.early_stopping.get(p)) for p in SHOWN), ""]


def percentile_cell(summary: Summary, percentile: float) -> str:
    """The value in milliseconds, or how many samples it would take."""
    value = summary.percentiles[percentile]
    return f"n < {samples_needed(percentile)}" if value is None else milliseconds(value)


def milliseconds(value: float | None) -> str:
    """Three figures, or a dash for nothing."""
    if value is None:
        return "–"
    size = abs(value)
    return f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def latency_table(profile: Profile) -> Table:
    """Parts of the age and the headline as a table of `rich`, milliseconds."""
    from rich.table import Table

    table = Table(title=f"latency, ms ({profile.scenario})", title_justify="left")
    table.add_column("stage")
    for head in HEADS:
        table.add_column(head, justify="right", no_wrap=True)
    for name, summary in rows(profile):
        table.add_row(name, *cells(summary))
    table.add_section()
    table.add_row(profile.headline, *cells(profile.age), style="bold")
    if any(value is not None for value in profile.age.early_stopping.values()):
        table.add_row("  estimate of MLPerf", *safe_cells(profile.age))
    return table


def facts(profile: Profile) -> list[str]:
    """What the table does not say, a sentence a line."""
    dropped = sum(profile.dropped_by.values())
    causes = ", ".join(f"{name} {count}" for name, count in profile.dropped_by.items())
    share = f" ({dropped / profile.due:.1%}: {causes})" if dropped else ""
    answered = f"{profile.answered} of {frames_text(profile.due)} answered"
    lines = [f"{answered}, {dropped} dropped{share}, in {profile.duration_s:.1f} s"]
    if profile.rate_hz is not None:
        gap = f", longest gap {profile.max_gap_ms:.0f} ms" if profile.max_gap_ms is not None else ""
        lines.append(
            f"rate {profile.rate_hz:g} Hz, policy {profile.policy}, load {profile.load or 0:.2f}, "
            f"{profile.misses} results older than a period{gap}"
        )
    first_ms = profile.warmup.first_infer_ms
    known = [f"model load {profile.model_load_ms:.0f} ms"] if profile.model_load_ms > 0 else []  # not of a killed run
    known += [] if first_ms is None else [f"first inference {first_ms:.1f} ms"]
    lines.append("; ".join([", ".join(known), warmup_text(profile)] if known else [warmup_text(profile)]))
    return [*lines, *_points_facts(profile)]


def _points_facts(profile: Profile) -> list[str]:
    lines = []
    if profile.skew.count:
        tail = profile.skew.percentiles[99.0]
        end = f"p99 {milliseconds(tail)}" if tail is not None else f"largest {milliseconds(profile.skew.maximum)}"
        share = "" if profile.paired_share is None else f"; {profile.paired_share:.1%} of the frames in tolerance"
        lines.append(f"skew of points to image: median {milliseconds(profile.skew.median)} ms, {end} ms{share}")
    if profile.image_only:
        were = "was" if profile.image_only == 1 else "were"
        lines.append(f"{frames_text(profile.image_only)} {were} answered on the image alone, without a point")
    return lines


def warmup_text(profile: Profile) -> str:
    """How many frames the figures leave out."""
    count = profile.warmup.frames
    return (
        f"warm-up of {count} frames left out" if count > 1 else "the first frame left out" if count else "none left out"
    )


def verdict_lines(verdict: Verdict) -> list[str]:
    """VALID or INVALID, the reasons, what could not be seen, and warnings."""
    lines = ["Result is: VALID" if verdict.valid else "Result is: INVALID (not to be quoted as a benchmark)"]
    lines += [f"  - {reason}" for reason in verdict.reasons]
    lines += [f"  warning: {warning}" for warning in verdict.warnings]
    return [*lines, *(f"  n/a: {rule}" for rule in verdict.not_applicable)]
