"""Charts of the report as SVG text: a waterfall, a cumulative share, a timeline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

COLOURS = {
    "waiting": "#b8c0cc",
    "decode": "#4e79a7",
    "heatmap": "#59a14f",
    "preprocess": "#76b7b2",
    "infer": "#e15759",
    "postprocess": "#b07aa1",
    "encode": "#edc948",
}
AGE, DROP, GRID = "#2f5fd0", "#d02f4f", "#e6eaf0"
WIDTH, HEIGHT = 480, 240
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 12, 34
MOST_DOTS = 2000  # a timeline of more frames shows the largest age of every few


def waterfall(bars: Sequence[tuple[str, float]]) -> str:
    """Bars one after the other, each beginning where the last ended; (name, milliseconds)."""
    total = sum(value for _, value in bars) or 1.0
    left, right, row = 92, 70, 26
    scale = (WIDTH - left - right) / total
    parts, at = [], 0.0
    for number, (name, value) in enumerate(bars):
        y = number * row + 4
        x, width = left + at * scale, max(value * scale, 1.0)
        parts.append(f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>')
        parts.append(
            f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="18" fill="{COLOURS.get(name, AGE)}" rx="2"/>'
        )
        parts.append(f'<text x="{x + width + 5:.1f}" y="{y + 14}">{value:.2f} ms</text>')
        at += value
    height = len(bars) * row + 24
    parts.append(f'<text x="{left}" y="{height - 4}">sum {total:.1f} ms</text>')
    return _svg(parts, height)


def cumulative(values_ms: Sequence[float]) -> str:
    """Share of the values at or below each millisecond."""
    if not values_ms:
        return '<p class="soft">No frame was measured.</p>'
    ordered = np.sort(np.asarray(values_ms, np.float64))
    low, high = 0.0, float(ordered[-1]) * 1.05 or 1.0
    share = np.arange(1, ordered.size + 1) / ordered.size
    xs = np.concatenate([[low], np.repeat(ordered, 2), [high]])
    ys = np.concatenate([[0.0], np.column_stack([np.r_[0.0, share[:-1]], share]).ravel(), [1.0]])
    points = " ".join(f"{_x(x, low, high):.1f},{_y(y, 1.0):.1f}" for x, y in zip(xs, ys, strict=True))
    line = f'<polyline points="{points}" fill="none" stroke="{AGE}" stroke-width="2"/>'
    return _svg([*_axes(low, high, 1.0, "ms", percent=True), line])


def timeline(
    answered: Sequence[tuple[float, float]], drops_s: Sequence[float], warmup: int, period_ms: float | None
) -> str:
    """Age of each result (seconds of the run, milliseconds), drops as marks below, the warm-up greyed."""
    if not answered:
        return '<p class="soft">No frame was answered.</p>'
    high_s = max(answered[-1][0], *drops_s, 1e-3) if drops_s else max(answered[-1][0], 1e-3)
    top = max(age for _, age in answered) * 1.05 or 1.0
    parts = _axes(0.0, high_s, top, "s")
    if 0 < warmup < len(answered):
        edge = _x(answered[warmup - 1][0], 0.0, high_s)
        parts.append(
            f'<rect x="{LEFT}" y="{TOP}" width="{edge - LEFT:.1f}" height="{HEIGHT - TOP - BOTTOM}" fill="#f0f2f5"/>'
        )
        parts.append(f'<text x="{LEFT + 4}" y="{TOP + 12}">warm-up</text>')
    if period_ms is not None and period_ms <= top:
        y = _y(period_ms, top)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{DROP}" stroke-dasharray="4 4"/>')
        parts.append(f'<text x="{WIDTH - RIGHT}" y="{y - 4:.1f}" text-anchor="end">one period</text>')
    for time_s, age_ms in _thinned(answered):
        parts.append(f'<circle cx="{_x(time_s, 0.0, high_s):.1f}" cy="{_y(age_ms, top):.1f}" r="1.8" fill="{AGE}"/>')
    marks = "".join(f"M{_x(t, 0.0, high_s):.1f} {HEIGHT - BOTTOM}v-8" for t in drops_s)
    if marks:
        parts.append(f'<path d="{marks}" stroke="{DROP}" stroke-width="1.5"/>')
        parts.append(
            f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 2}" text-anchor="end">red marks: {len(drops_s)} dropped</text>'
        )
    return _svg(parts)


def ticks(high: float, count: int = 5) -> list[float]:
    """Round values from 0 up to `high`, about `count` of them."""
    raw = high / count
    base = 10.0 ** math.floor(math.log10(raw))
    step = next(base * factor for factor in (1, 2, 5, 10) if base * factor >= raw)
    return [step * i for i in range(int(high / step) + 1)]


def _thinned(answered: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    step = math.ceil(len(answered) / MOST_DOTS)
    return [max(answered[i : i + step], key=lambda one: one[1]) for i in range(0, len(answered), step)]


def _axes(low: float, high: float, top: float, unit: str, percent: bool = False) -> list[str]:
    parts = []
    for value in ticks(top):
        y = _y(value, top)
        text = f"{value:.0%}" if percent else f"{value:g}"
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{GRID}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    for value in ticks(high - low):
        x = _x(low + value, low, high)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{low + value:g}</text>')
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 2}">{unit}{"" if percent else " → age, ms"}</text>')
    return parts


def _x(value: float, low: float, high: float) -> float:
    return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM)


def _svg(parts: Sequence[str], height: float = HEIGHT) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img">{"".join(parts)}</svg>'
