"""report.html: one file that needs no network, charts as inline SVG, pictures as embedded JPEG."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from roadedge.atomic import write_text
from roadedge.latency.charts import cumulative, timeline, waterfall
from roadedge.latency.clock import STAGES
from roadedge.latency.profile import FrameRecord, Profile, worst_frame
from roadedge.latency.summary import label, samples_needed
from roadedge.latency.table import HEADS, cells, facts, milliseconds
from roadedge.latency.verdict import Verdict
from roadedge.pictures import Picture

PICTURE_WIDTH_PX = 1200
STYLE = """
:root { color-scheme: light; --ink: #1c2330; --soft: #5b6575; --line: #dde2ea; --card: #fff; --back: #f4f6f9; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back); margin: 0; }
main { max-width: 1080px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 16px; margin: 0 0 10px; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 18px 20px;
  margin: 16px 0; }
.two { display: grid; grid-template-columns: 1fr 1fr; gap: 16px; } .two section { margin: 0; }
@media (max-width: 820px) { .two { grid-template-columns: 1fr; } }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 8px; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
tr.headline td { font-weight: 600; border-top: 2px solid var(--ink); }
td.fact { text-align: left; overflow-wrap: anywhere; } td.name { color: var(--soft); white-space: nowrap; width: 1%; }
.soft { color: var(--soft); } .badge { padding: 2px 10px; border-radius: 999px; color: #fff; font-weight: 600; }
.VALID { background: #1a7f4b; } .INVALID { background: #b4540a; }
ul { margin: 8px 0 0; padding-left: 20px; }
img { max-width: 100%; display: block; border-radius: 4px; margin-bottom: 10px; }
svg { width: 100%; height: auto; display: block; } svg text { font: 12px system-ui, sans-serif; fill: var(--soft); }
"""


def write_report(
    path: Path,
    metrics: dict[str, Any],
    records: Sequence[FrameRecord],
    profile: Profile,
    verdict: Verdict,
    pictures: Sequence[tuple[str, Picture]],
) -> None:
    """Write the report of a run.

    Args:
        path: of the HTML file.
        metrics: the content of metrics.json, for the header.
        records: one a frame, for the charts.
        profile: of the run.
        verdict: on the run.
        pictures: captions and (H, W, 3) RGB pictures to show.

    Raises:
        OutputError: it cannot be written.
    """
    write_text(path, report_html(metrics, records, profile, verdict, pictures))


def report_html(
    metrics: dict[str, Any],
    records: Sequence[FrameRecord],
    profile: Profile,
    verdict: Verdict,
    pictures: Sequence[tuple[str, Picture]],
) -> str:
    """The report as one HTML document; arguments as `write_report`."""
    model = metrics["runner"]["model"]
    body = [
        f"<h1>{escape(str(model))} on {escape(str(metrics['source']))}</h1>",
        f'<p class="soft">{escape(metrics["environment"]["date"])} · {escape(metrics["environment"]["processor"])}</p>',
        _verdict(verdict, profile),
        _section("Latency, milliseconds", _latency_table(profile) + _counts_note(profile)),
        '<div class="two">',
        _section("Where the time goes: medians of the stages", _stage_chart(profile)),
        _section(_worst_title(records, profile), _worst_chart(records, profile)),
        _section(f"Share of frames by {profile.headline}", cumulative(_ages(records, profile))),
        _section("Over the run", _timeline(records, profile)),
        "</div>",
        *([_section("Pictures", "".join(_picture(*one) for one in pictures))] if pictures else []),
        _section("What was run", _header_table(metrics, profile)),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>roadedge: {escape(str(model))}</title><style>{STYLE}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _verdict(verdict: Verdict, profile: Profile) -> str:
    word = "VALID" if verdict.valid else "INVALID"
    items = [f"<li>{escape(reason)}</li>" for reason in verdict.reasons]
    items += [f'<li class="soft">warning: {escape(warning)}</li>' for warning in verdict.warnings]
    items += [f'<li class="soft">n/a: {escape(rule)}</li>' for rule in verdict.not_applicable]
    lines = "".join(f"<div>{escape(fact)}</div>" for fact in facts(profile))
    return f'<section><span class="badge {word}">{word}</span>{lines}<ul>{"".join(items)}</ul></section>'


def _latency_table(profile: Profile) -> str:
    head = "".join(f"<th>{name}</th>" for name in ("stage", *HEADS))
    rows = [f"<tr><td>{s}</td>{_numbers(cells(summary))}</tr>" for s, summary in profile.stages.items()]
    rows.append(f'<tr class="headline"><td>{profile.headline}</td>{_numbers(cells(profile.age))}</tr>')
    safe = [f"{label(p)} {milliseconds(value)}" for p, value in profile.age.early_stopping.items() if value is not None]
    note = (
        f'<p class="soft">Early-stopping estimates (MLPerf, 99 % confidence): {", ".join(safe)} ms.</p>' if safe else ""
    )
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>{note}"


def _numbers(values: Sequence[str]) -> str:
    return "".join(f"<td>{escape(value)}</td>" for value in values)


def _counts_note(profile: Profile) -> str:
    needs = ", ".join(f"{label(p)} takes {samples_needed(p)}" for p in (50.0, 90.0, 99.0, 99.9))
    return (
        f'<p class="soft">A percentile is given only where enough frames were measured: {needs}. '
        "No outlier is removed. Percentiles of stages do not add up to the percentile of the whole.</p>"
    )


def _stage_chart(profile: Profile) -> str:
    bars = [(stage, summary.median or 0.0) for stage, summary in profile.stages.items()]
    return waterfall(bars) + _residual_note(profile)


def _residual_note(profile: Profile) -> str:
    if profile.residual is None:
        return ""
    return f'<p class="soft">{profile.residual:.1%} of the time from start to result belongs to no stage.</p>'


def _worst_title(records: Sequence[FrameRecord], profile: Profile) -> str:
    worst = worst_frame(records, profile)
    kind = "the p99" if profile.age.percentiles[99.0] is not None else "the slowest"
    return f"Stages of {kind} frame" + (f", {worst.frame}" if worst else "")


def _worst_chart(records: Sequence[FrameRecord], profile: Profile) -> str:
    worst = worst_frame(records, profile)
    if worst is None or worst.age_ms is None:
        return '<p class="soft">No frame was measured.</p>'
    return waterfall([("waiting", worst.late_ms + worst.wait_ms), *zip(STAGES, worst.stage_ms, strict=True)])


def _ages(records: Sequence[FrameRecord], profile: Profile) -> list[float]:
    answered = [record.age_ms for record in records if record.age_ms is not None]
    return answered[profile.warmup.frames :]


def _timeline(records: Sequence[FrameRecord], profile: Profile) -> str:
    answered = [(r.done_s, r.age_ms) for r in records if r.age_ms is not None]
    drops = [r.capture_s for r in records if r.dropped_by]
    period_ms = None if profile.rate_hz is None else 1e3 / profile.rate_hz
    return timeline(answered, drops, profile.warmup.frames, period_ms)


def _picture(caption: str, picture: Picture) -> str:
    import cv2

    if picture.shape[1] > PICTURE_WIDTH_PX:
        height = round(picture.shape[0] * PICTURE_WIDTH_PX / picture.shape[1])
        picture = np.asarray(cv2.resize(picture, (PICTURE_WIDTH_PX, height), interpolation=cv2.INTER_AREA), np.uint8)
    _, content = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    return f'<img alt="{escape(caption)}" src="data:image/jpeg;base64,{base64.b64encode(content.tobytes()).decode()}">'


def _header_table(metrics: dict[str, Any], profile: Profile) -> str:
    runner, requested = metrics["runner"], metrics["runner"].get("requested", {})
    scores = metrics["scores"]
    rows = {
        "model file": f"{metrics['model']['file']}, sha256 {metrics['model']['sha256']}",
        "its accuracy": metrics["model"].get("accuracy") or "not known",
        "back-end": f"{runner['backend']} {runner.get('version', '')} (asked: {requested.get('backend', 'auto')})",
        "precision": f"{runner['precision']} (asked: {requested.get('precision') or 'default'})",
        "device": f"{runner['device']}, {metrics['environment']['processor']}",
        "input": f"{metrics['input_size']} pixels (H, W), batch {metrics['batch']}",
        "included": metrics["included"],
        "scenario": f"{profile.scenario}, rate {profile.rate_hz or 'none'}, policy {profile.policy}",
        "scores": "none" if scores is None else f"G_IoU {100 * scores['G_IoU']:.2f} ({scores['label']})",
        "system": f"{metrics['environment']['platform']}, Python {metrics['environment']['python']}",
        "command": metrics["environment"]["command"],
    }
    cells_of = "".join(
        f'<tr><td class="name">{escape(name)}</td><td class="fact">{escape(str(value))}</td></tr>'
        for name, value in rows.items()
    )
    return f"<table>{cells_of}</table>"
