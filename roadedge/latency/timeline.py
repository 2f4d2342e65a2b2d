"""The run over time as SVG text: ages, drops, gaps and the machine, one strip below the other on one axis of time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from roadedge.latency.charts import Scale, number, scale_of, svg, text, ticks_between
from roadedge.latency.track import GROUPS, Floats, Group, Track, lines_of

WIDE, NARROW = 1010, 430  # of the picture for a desk and for a phone
LEFT, RIGHT = 50, 14
HEAD, AXIS = 22, 34  # pixels above a strip for its title, below all of them for the time
AGE_HEIGHT, DROPS_HEIGHT, MACHINE_HEIGHT = 170, 44, 52
BUCKET_PX = 2.0  # marks nearer than this are drawn as one, from their smallest to their largest
DROPS_BUCKET_PX = 6.0
FEW = 500  # frames that are drawn as dots large enough to be found
BOLD_PX, LETTER_PX, LINE = 7.8, 6.9, 15.0  # widths of a letter in the strip's name and beside it, a row of them
HUES = ("a", "b", "c", "d", "e", "f")  # classes of the style sheet


def timeline(track: Track, width: int = WIDE, headline: str = "age of result") -> str:
    """All strips that there is something to show in."""
    if not track.done_s.size and not track.drops_s:
        return '<p class="soft">No frame came.</p>'
    x = Scale(0.0, track.end_s, LEFT, width - RIGHT)
    parts: list[str] = []
    top = 0.0
    if track.done_s.size:
        drawn, top = _ages(track, x, top, headline)
        parts += drawn
    if any(times.size for times in track.drops_s.values()):
        drawn, top = _drops(track.drops_s, x, top)
        parts += drawn
    for group in GROUPS:
        if lines := lines_of(group, track.series):
            drawn, top = _machine(group, lines, x, top)
            parts += drawn
    height = top + AXIS
    marks = _gaps(track, x, top)
    return svg([*_time_axis(x, top), *marks, *parts], width, height, f"{headline} and the machine over the run")


def buckets(times: Floats, values: Floats, x: Scale, pixels: float) -> list[tuple[float, float, float, float]]:
    """(pixel, smallest, median, largest) of each stretch of `pixels`: nothing that stands out is lost."""
    if not times.size:
        return []
    order = np.argsort(times, kind="stable")
    places = np.floor((np.clip(times[order], x.low, x.high) - x.low) / (x.high - x.low) * (x.end - x.begin) / pixels)
    starts = np.flatnonzero(np.r_[True, np.diff(places) > 0])
    low, high = np.minimum.reduceat(values[order], starts), np.maximum.reduceat(values[order], starts)
    median = [float(np.median(part)) for part in np.split(values[order], starts[1:])]
    centres = np.minimum(x.begin + (places[starts] + 0.5) * pixels, x.end)
    return list(zip(centres.tolist(), low.tolist(), median, high.tolist(), strict=True))


def _ages(track: Track, x: Scale, top: float, headline: str) -> tuple[list[str], float]:
    y = scale_of(track.age_ms, top + HEAD + AGE_HEIGHT - 6, top + HEAD + 2)
    note = f"{headline}, ms" + (" (logarithmic)" if y.log else "")
    parts, _ = _title(note, [], x, top)
    if track.warmup_s:
        parts.append(
            f'<rect x="{x.begin}" y="{y.end:.1f}" width="{x(track.warmup_s) - x.begin:.1f}" '
            f'height="{y.begin - y.end:.1f}" class="shade"><title>warm-up, left out of the figures</title></rect>'
        )
    parts += _value_axis(x, y, y.ticks())
    if track.period_ms is not None and y.low < track.period_ms <= y.high:
        at = y(track.period_ms)
        parts.append(f'<path d="M{x.begin} {at:.1f}H{x.end}" class="limit"/>')
        parts.append(text(x.end, at - 4, "one period", "end"))
    marks = buckets(track.done_s, track.age_ms, x, BUCKET_PX)
    path = "".join(f"M{at:.1f} {y(low):.1f}V{min(y(high), y(low) - 0.1):.1f}" for at, low, _, high in marks)
    middle = "".join(f"M{at - 0.6:.1f} {y(median):.1f}h1.2" for at, _, median, _ in marks)
    few = " few" if track.done_s.size <= FEW else ""
    parts += [f'<path d="{path}" class="ages{few}"/>', f'<path d="{middle}" class="middle{few}"/>']
    return parts, top + HEAD + AGE_HEIGHT


def _drops(drops_s: Mapping[str, Floats], x: Scale, top: float) -> tuple[list[str], float]:
    count = max(1, math.ceil((x.end - x.begin) / DROPS_BUCKET_PX))
    edges = np.linspace(x.low, x.high, count + 1)
    stacks = [np.histogram(np.clip(times, x.low, x.high), edges)[0].astype(np.float64) for times in drops_s.values()]
    most = float(np.sum(stacks, axis=0).max())
    legend = [f"{cause} {times.size}" for cause, times in drops_s.items()]
    parts, begin = _title("dropped frames", legend, x, top)
    y = Scale(0.0, most, begin + DROPS_HEIGHT - 6, begin + 2)
    parts += _value_axis(x, y, [0.0, most])
    below = np.zeros(count)
    wide = (x.end - x.begin) / count
    for hue, stack in zip(_hues(len(stacks)), stacks, strict=True):
        path = "".join(
            f"M{x.begin + at * wide:.1f} {y(below[at]):.1f}h{wide - 0.6:.1f}"
            f"V{y(below[at] + stack[at]):.1f}h{0.6 - wide:.1f}z"
            for at in np.flatnonzero(stack).tolist()
        )
        parts.append(f'<path d="{path}" class="drops h-{hue}"/>')
        below = below + stack
    return parts, begin + DROPS_HEIGHT


def _machine(
    group: Group, lines: Sequence[tuple[str, Floats, Floats]], x: Scale, top: float
) -> tuple[list[str], float]:
    low, high = min(float(v.min()) for *_, v in lines), max(float(v.max()) for *_, v in lines)
    margin = max(0.05 * (high - low), 0.01 * abs(high), 0.5)  # a flat line is drawn flat, its noise not blown up
    bottom = min(0.0, low) if group.from_zero else low - 4 * margin
    low, high = (max(0.0, bottom) if low >= 0 else bottom), high + margin  # nothing below zero where nothing is
    parts, begin = _title(f"{group.title}, {group.unit}", [called for called, *_ in lines], x, top)
    y = Scale(low, high, begin + MACHINE_HEIGHT - 6, begin + 2)
    marks_of = (ticks_between(low, high, count) for count in (2, 3, 4, 6))
    parts += _value_axis(x, y, next(values for values in marks_of if len(values) > 1))
    for hue, (_, times, values) in zip(_hues(len(lines)), lines, strict=True):
        marks = buckets(times, values, x, BUCKET_PX)
        path = "".join(f"{'L' if i else 'M'}{at:.1f} {y(largest):.1f}" for i, (at, *_, largest) in enumerate(marks))
        parts.append(f'<path d="{path}" class="series h-{hue}"/>')
    return parts, begin + MACHINE_HEIGHT


def _title(words: str, legend: Sequence[str], x: Scale, top: float) -> tuple[list[str], float]:
    """The strip's name, what its colours mean, in as many rows as that takes, and where the strip itself begins."""
    line = top + HEAD - 7
    parts, at = [text(x.begin, line, words, kind="strip")], x.begin + BOLD_PX * len(words) + 16
    for hue, called in zip(_hues(len(legend)), legend, strict=True):
        wide = LETTER_PX * len(called) + 16
        if at + wide > x.end and at > x.begin:
            line, at = line + LINE, x.begin
        parts.append(f'<path d="M{at:.1f} {line - 4:.1f}h12" class="series h-{hue}"/>')
        parts.append(text(at + 16, line, called))
        at += wide + 14
    return parts, line + 7


def _value_axis(x: Scale, y: Scale, values: Sequence[float]) -> list[str]:
    parts = []
    for value in values:
        parts.append(f'<path d="M{x.begin} {y(value):.1f}H{x.end}" class="grid"/>')
        parts.append(text(x.begin - 6, y(value) + 4, number(value), "end"))
    return parts


def _gaps(track: Track, x: Scale, bottom: float) -> list[str]:
    parts = []
    for kind, spans in (("gap", track.gaps), ("throttle", track.throttle)):
        for begin, end, words in spans:
            left, wide = x(begin), max(x(end) - x(begin), 2.0)
            shape = f'<rect x="{left:.1f}" y="{HEAD}" width="{wide:.1f}" height="{bottom - HEAD:.1f}" class="{kind}">'
            parts.append(f"{shape}<title>{escape(words)}</title></rect>")
    return parts


def _time_axis(x: Scale, bottom: float) -> list[str]:
    unit, length = next(((u, s) for u, s in (("h", 3600.0), ("min", 60.0)) if x.high >= 5 * s), ("s", 1.0))
    parts = []
    for value in ticks_between(0.0, x.high / length, 8 if x.end > 600 else 5):
        at = x(value * length)
        parts.append(f'<path d="M{at:.1f} {HEAD}V{bottom + 2:.1f}" class="grid"/>')
        parts.append(text(at, bottom + 15, number(value), "middle"))
    return [*parts, text(x.end, bottom + 29, f"{unit} of the run", "end")]


def _hues(count: int) -> list[str]:
    return [HUES[i % len(HUES)] for i in range(count)]
