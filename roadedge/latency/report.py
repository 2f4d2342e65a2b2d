"""report.html: one file that needs no network, charts as inline SVG, pictures as embedded JPEG.

All of it comes from metrics.json and frames.csv, so that `roadedge report` can draw it again from a run's folder.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from roadedge.atomic import write_text
from roadedge.environment import command_line
from roadedge.latency.charts import cumulative, waterfall
from roadedge.latency.clock import STAGES
from roadedge.latency.frame_table import FrameTable, table_of
from roadedge.latency.profile import FrameRecord, Profile
from roadedge.latency.report_benchmark import benchmark_section
from roadedge.latency.report_sections import machine_section, rules, sync_section, what_was_run
from roadedge.latency.report_style import STYLE
from roadedge.latency.summary import label, samples_needed, summarize
from roadedge.latency.table import HEADS, LATE, REST, SHOWN, WAIT, cells, facts, milliseconds, rows, safe_cells
from roadedge.latency.timeline import FEW, NARROW, WIDE, timeline
from roadedge.latency.track import track_of
from roadedge.latency.verdict import Verdict
from roadedge.pictures import Picture

PICTURE_WIDTH_PX = 1200
# nothing but the page itself: whatever a name in it holds, no script runs and nothing is fetched
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def write_report(
    path: Path,
    metrics: dict[str, Any],
    records: Iterable[FrameRecord],
    profile: Profile,
    verdict: Verdict,
    pictures: Sequence[tuple[str, Picture]],
) -> None:
    """Write the report of a run.

    Args:
        path: of the HTML file.
        metrics: the content of metrics.json, for the header, the machine and the pairing.
        records: one a frame, for the charts.
        profile: of the run.
        verdict: on the run.
        pictures: captions and (H, W, 3) RGB pictures to show.

    Raises:
        OutputError: it cannot be written.
    """
    images = [(caption, embedded(picture)) for caption, picture in pictures]
    write_text(path, report_html(metrics, table_of(records), profile, verdict, images))


def report_html(
    metrics: dict[str, Any],
    frames: FrameTable,
    profile: Profile,
    verdict: Verdict,
    images: Sequence[tuple[str, str]] = (),
    missing: Sequence[str] = (),
) -> str:
    """The report as one HTML document.

    Args:
        metrics: the content of metrics.json; what it lacks is left out.
        frames: of the run.
        profile: of the run.
        verdict: on the run.
        images: captions and pictures as `data:` addresses.
        missing: what the report lacks, and why.
    """
    environment = metrics.get("environment") or {}
    model = (metrics.get("runner") or {}).get("model")
    source = command_line(["", str(metrics.get("source", "an unknown source"))]).strip(" '")  # without folders
    title = f"{model or 'a run'} on {source}"
    about = [environment.get("date"), environment.get("processor")]
    answered = frames.answered[profile.warmup.frames :]
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">{" · ".join(escape(str(one)) for one in about if one)}</p>',
        _verdict(verdict, profile, missing),
        _tiles(profile),
        section("What was run", what_was_run(metrics, profile)),
        *([section("The benchmark", own)] if (own := benchmark_section(metrics)) else []),
        section("Latency, milliseconds", _latency_table(profile, frames, answered) + _counts_note()),
        '<div class="two">',
        section("Where the time goes: medians", _medians(profile)),
        section(*_one_frame(profile, frames, answered)),
        "</div>",
        _over_the_run(metrics, frames, profile),
        '<div class="two">',
        section(f"Share of frames by {profile.headline}", cumulative(frames.numbers["age_ms"][answered], profile.age)),
        section("Points and images", sync_section(metrics, profile)),
        "</div>",
        section("The machine", machine_section(metrics)),
        *([section("Pictures", "".join(_figure(*one) for one in images))] if images else []),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>roadedge: {escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def section(title: str, content: str) -> str:
    """One card of the page."""
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def embedded(picture: Picture) -> str:
    """A (H, W, 3) RGB picture as a `data:` address, JPEG, made smaller where it is very wide."""
    import cv2

    if picture.shape[1] > PICTURE_WIDTH_PX:
        height = max(1, round(picture.shape[0] * PICTURE_WIDTH_PX / picture.shape[1]))
        picture = np.asarray(cv2.resize(picture, (PICTURE_WIDTH_PX, height), interpolation=cv2.INTER_AREA), np.uint8)
    _, content = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    return f"data:image/jpeg;base64,{base64.b64encode(content.tobytes()).decode()}"


def _figure(caption: str, address: str) -> str:
    words = escape(caption, quote=True)
    return f'<figure><img alt="{words}" src="{escape(address, quote=True)}"><figcaption>{words}</figcaption></figure>'


def _verdict(verdict: Verdict, profile: Profile, missing: Sequence[str]) -> str:
    word = "VALID" if verdict.valid else "INVALID"
    said = "" if verdict.valid else ' <span class="soft">not to be quoted as a benchmark</span>'
    lines = "".join(f"<div>{escape(fact)}</div>" for fact in (*missing, *facts(profile)))
    badge = f'<span class="badge {word}">{word}</span>{said}'
    return f'<section>{badge}<div class="facts">{lines}</div>{rules(verdict)}</section>'


def _tiles(profile: Profile) -> str:
    age, dropped = profile.age, sum(profile.dropped_by.values())
    tail = age.percentiles[99.0]
    shown = [
        (
            f"{profile.headline}, {'median' if age.percentiles[50.0] is None else 'p50'}",
            f"{milliseconds(age.median)} ms",
        ),
        (
            (f"{profile.headline}, p99", f"{milliseconds(tail)} ms")
            if tail is not None
            else (f"{profile.headline}, slowest", f"{milliseconds(age.maximum)} ms")
        ),
        (f"dropped of {profile.due}", f"{dropped}" + (f" ({dropped / profile.due:.1%})" if dropped else "")),
        ("answers a second", f"{profile.answered_per_s:.1f}"),
    ]
    if profile.load is not None:
        shown.append(("load", f"{profile.load:.2f}"))
    if profile.max_gap_ms is not None and profile.rate_hz is not None:  # of files it is but the time of one
        shown.append(("longest gap", f"{milliseconds(profile.max_gap_ms)} ms"))
    tiles = "".join(f'<div class="tile"><b>{escape(v)}</b><span>{escape(k)}</span></div>' for k, v in shown)
    return f'<div class="tiles">{tiles}</div>'


def _latency_table(profile: Profile, frames: FrameTable, answered: Any) -> str:
    rest_ms = _rest_ms(frames, answered)
    rest = summarize(rest_ms.tolist()) if rest_ms.size else None
    head = "".join(f"<th>{name}</th>" for name in ("part of the age", *HEADS))
    lines = []
    for name, summary in rows(profile, rest):
        kind = ' class="part"' if name.startswith(" ") else ""
        lines.append(f"<tr{kind}><td>{escape(name.strip())}</td>{_numbers(cells(summary))}</tr>")
    lines.append(f'<tr class="headline"><td>{escape(profile.headline)}</td>{_numbers(cells(profile.age))}</tr>')
    if any(profile.age.early_stopping.get(p) is not None for p in SHOWN):
        lines.append(f'<tr class="part"><td>estimate of MLPerf</td>{_numbers(safe_cells(profile.age))}</tr>')
    return f'<div class="scroll"><table class="latency"><tr>{head}</tr>{"".join(lines)}</table></div>'


def _numbers(values: Sequence[str]) -> str:
    return "".join(f"<td>{escape(value)}</td>" for value in values)


def _counts_note() -> str:
    needs = ", ".join(f"{label(p)} takes {samples_needed(p)}" for p in SHOWN)
    return (
        f'<p class="soft">A percentile is given only where enough frames were measured: {needs}. The '
        "early-stopping estimate of MLPerf errs on the slow side (99 % confidence). No outlier is removed. Percentiles "
        "of parts do not add up to the percentile of the whole.</p>"
    )


def _medians(profile: Profile) -> str:
    parts = [(LATE, profile.late.median or 0.0), (WAIT, profile.wait.median or 0.0)]
    stages = [(stage, summary.median or 0.0) for stage, summary in profile.stages.items() if summary.maximum]
    shown = [one for one in parts if one[1] > 0] + stages
    if profile.age.median is None:
        return '<p class="soft">No frame was measured.</p>'
    share = "" if profile.residual is None else f" {profile.residual:.1%} of the age belongs to no part (median)."
    note = f"Median {profile.headline}: {milliseconds(profile.age.median)} ms.{share}"
    return f'{waterfall(shown, "medians of the parts")}<p class="soft">{escape(note)}</p>'


def _one_frame(profile: Profile, frames: FrameTable, answered: Any) -> tuple[str, str]:
    """Title and chart of the frame at the p99 of the age, or of the oldest where the count allows no p99."""
    if not answered.size:
        return "One frame", '<p class="soft">No frame was measured.</p>'
    ages, wanted = frames.numbers["age_ms"][answered], profile.age.percentiles[99.0]
    kind = "slowest" if wanted is None else "p99"
    row = int(answered[np.argmax(ages) if wanted is None else np.argmin(np.abs(ages - wanted))])
    one = frames.record(row)
    stages = [(s, ms) for s, ms in zip(STAGES, one.stage_ms, strict=True) if profile.stages[s].maximum]
    waits = [(name, ms) for name, ms in ((LATE, one.late_ms), (WAIT, one.wait_ms)) if ms > 0]
    parts = [*waits, *stages, (REST, one.rest_ms)]
    due = "due" if one.clock == "schedule" else "captured"
    by = "" if one.clock in ("schedule", "run", "") else f" by its {one.clock}"
    text = f"Frame {one.frame}, {due} at {one.capture_s:.2f} s{by}, answered at {one.done_s:.2f} s of the run."
    chart = waterfall(parts, f"parts of the {kind} frame")
    return f"Where the time of the {kind} frame went", f'{chart}<p class="soft">{escape(text)}</p>'


def _over_the_run(metrics: dict[str, Any], frames: FrameTable, profile: Profile) -> str:
    track = track_of(metrics, frames, profile)
    shown = "".join(
        f'<div class="{kind}">{timeline(track, width, profile.headline)}</div>'
        for kind, width in (("wide", WIDE), ("narrow", NARROW))
    )
    notes = []
    if track.done_s.size > FEW:
        notes.append("Dark: the median of the frames that share a pixel; light: from their smallest to their largest.")
    if track.warmup_s:
        notes.append("Grey: the warm-up, left out of the figures.")
    if track.gaps:
        notes.append(f"Red bands: {len(track.gaps)} times without frames.")
    if track.throttle:
        notes.append("Orange bands: " + ", ".join(sorted({what for *_, what in track.throttle})) + ".")
    return section("Over the run", f'{shown}<p class="soft">{escape(" ".join(notes))}</p>')


def _rest_ms(frames: FrameTable, answered: Any) -> Any:
    numbers = frames.numbers
    known = np.nan_to_num(numbers["late_ms"]) + np.nan_to_num(numbers["wait_ms"])
    known = known + sum(np.nan_to_num(numbers[f"{stage}_ms"]) for stage in STAGES)
    rest = (numbers["age_ms"] - known)[answered]
    return rest[np.isfinite(numbers["late_ms"][answered])]  # older runs did not write what was late
