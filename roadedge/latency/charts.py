"""Charts of the report as SVG text: a waterfall, and the share of frames by age with the tail stretched.

Colours are classes of the page's style sheet, so that they follow a dark screen. A chart of many frames is thinned to a
few hundred marks that keep every maximum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from roadedge.latency.summary import Summary, label, samples_needed

WIDTH, HEIGHT = 430, 264
LEFT, RIGHT, TOP, BOTTOM = 60, 14, 12, 40
MOST_STEPS = 400  # of a cumulative line, beside its last LAST values, which are all drawn
LAST = 60
LEAST_MS = 1e-6  # a nanosecond: less is no time
SPREAD = 12.0  # largest by median beyond which an axis becomes logarithmic: else one stall flattens all the rest


@dataclass(frozen=True, slots=True)
class Scale:
    """Values from `low` to `high` on the pixels from `begin` to `end`; values outside stay on the edge."""

    low: float
    high: float
    begin: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        low, high, at = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            low, high, at = math.log10(low), math.log10(high), math.log10(at)
        return self.begin + (at - low) / (high - low) * (self.end - self.begin)

    def ticks(self, count: int = 5) -> list[float]:
        """Round values of the scale, about `count` of them."""
        return log_ticks(self.low, self.high) if self.log else ticks_between(self.low, self.high, count)


def scale_of(values: NDArray[np.float64], begin: float, end: float) -> Scale:
    """A scale for times in milliseconds: from zero, or logarithmic where the largest is far from the median."""
    high = float(values.max()) if values.size else 1.0
    high = high if high > LEAST_MS else 1.0
    positive = values[values > LEAST_MS]
    if positive.size and high > SPREAD * float(np.median(positive)):
        low = max(float(positive.min()), high / 1e6)
        return Scale(round_below(low), high * 1.15, begin, end, log=True)
    return Scale(0.0, high * 1.05, begin, end)


def round_below(value: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that does not exceed a positive value."""
    base = 10.0 ** math.floor(math.log10(value))
    return float(next((base * step for step in (5, 2, 1) if base * step <= value), base))


def ticks(high: float, count: int = 5) -> list[float]:
    """Round values from 0 up to `high`, about `count` of them."""
    return ticks_between(0.0, high, count)


def ticks_between(low: float, high: float, count: int = 5) -> list[float]:
    """Round values from `low` up to `high`, about `count` of them."""
    raw = (high - low) / count
    base = 10.0 ** math.floor(math.log10(raw))
    step = next(base * factor for factor in (1, 2, 5, 10) if base * factor >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [step * number for number in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 of each power of ten between two positive values; over three powers of ten, 1 only."""
    steps = (1,) if high / low > 1e3 else (1, 2, 5)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [step * 10.0**power for power in powers for step in steps]
    return [value for value in found if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]


def number(value: float) -> str:
    """A tick's label: no exponent below a million, no rounding noise."""
    return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.3g}"


def text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> str:
    """Words at a place; `kind` is a class of the style sheet."""
    styled = f' class="{kind}"' if kind else ""
    placed = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:.1f}"{placed}{styled}>{escape(words)}</text>'


def svg(parts: Sequence[str], width: float, height: float, title: str) -> str:
    """The parts as one picture, with a title for those who cannot see it."""
    name = escape(title, quote=True)
    return f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{name}">{"".join(parts)}</svg>'


def waterfall(bars: Sequence[tuple[str, float]], title: str = "stages") -> str:
    """Bars one after the other, each beginning where the last ended; (name, milliseconds)."""
    total = sum(max(value, 0.0) for _, value in bars) or 1.0
    left, right, row = 92, 78, 25
    scale = (WIDTH - left - right) / max(total, LEAST_MS)
    parts, at = [], 0.0
    for place, (name, value) in enumerate(bars):
        y, shown = place * row + 4, max(value, 0.0)
        x, width = left + at * scale, max(shown * scale, 1.0)
        parts.append(text(left - 8, y + 14, name, "end"))
        kind = "".join(letter if letter.isalnum() else "-" for letter in name)
        parts.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="18" class="bar s-{kind}" rx="2"/>')
        parts.append(text(x + width + 5, y + 14, f"{shown:.2f} ms"))
        if place + 1 < len(bars):
            parts.append(f'<path d="M{x + width:.1f} {y + 18}v{row - 18}" class="grid"/>')
        at += shown
    height = len(bars) * row + 26
    parts.append(text(left, height - 6, f"sum {at:.1f} ms"))
    return svg(parts, WIDTH, height, title)


def cumulative(ages_ms: NDArray[np.float64], summary: Summary | None = None, title: str = "share of frames") -> str:
    """Share of the values at or below each millisecond; each nine of the share is as high as the one before.

    Args:
        ages_ms: (n,) finite.
        summary: of the same values, for marks at the percentiles that their count allows.
        title: what it shows.
    """
    if not ages_ms.size:
        return '<p class="soft">No frame was measured.</p>'
    ordered = np.sort(ages_ms)
    x = scale_of(ordered, LEFT, WIDTH - RIGHT)
    top = max(1.0, math.log10(ordered.size) + 0.3)
    y = Scale(0.0, top, HEIGHT - BOTTOM, TOP)
    parts = [*_doubtful(ordered.size, y), *_share_axis(y), *_age_axis(x)]
    rows = steps_kept(ordered.size)
    heights = [y(_nines(row, ordered.size)) for row in (*rows, ordered.size)]
    path = [f"M{x(float(ordered[0])):.1f} {y(0.0):.1f}"]
    path += [
        f"H{x(float(ordered[row])):.1f}V{upper:.1f}" for row, upper in zip(rows.tolist(), heights[1:], strict=True)
    ]
    parts.append(f'<path d="{"".join(path)}" class="line"/>')
    if summary is not None:
        parts += _percentile_marks(summary, x, y)
    return svg(parts, WIDTH, HEIGHT, title)


def steps_kept(count: int) -> NDArray[np.intp]:
    """Ascending rows of `count` sorted values to draw: denser towards the end, the last of them all."""
    if count <= MOST_STEPS:
        return np.arange(count)
    even = np.linspace(0, count - 1, MOST_STEPS // 4)
    tail = count - np.geomspace(1, count, MOST_STEPS)
    return np.unique(np.clip(np.r_[even, tail, np.arange(count - LAST, count)].astype(np.intp), 0, count - 1))


def _nines(below: float, count: int) -> float:
    """How many nines the share `below` / `count` has: 0 for none of the values, 1 for 90 %, 2 for 99 %."""
    return math.log10(count / (count - below)) if below < count else math.inf


def _doubtful(count: int, y: Scale) -> list[str]:
    """The region of percentiles that so few values do not allow to claim."""
    claimed = [p for p in (50.0, 90.0, 99.0, 99.9, 99.99) if count >= samples_needed(p)]
    edge = y(_nines(claimed[-1], 100)) if claimed else y(0.0)
    if edge - TOP < 8:
        return []
    parts = [f'<rect x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" height="{edge - TOP:.1f}" class="shade"/>']
    if edge - TOP >= 16:
        parts.append(text(LEFT + 6, TOP + 13, f"too few frames for a claim (n = {count})"))
    return parts


def _share_axis(y: Scale) -> list[str]:
    parts = []
    for share in (0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999):
        if (nines := _nines(share, 100)) <= y.high:
            at = y(nines)
            parts.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" class="grid"/>')
            parts.append(text(LEFT - 6, at + 4, f"{share:g}%", "end"))
    return parts


def _age_axis(x: Scale) -> list[str]:
    parts = []
    for value in x.ticks():
        parts.append(f'<path d="M{x(value):.1f} {HEIGHT - BOTTOM}v4" class="grid"/>')
        parts.append(text(x(value), HEIGHT - BOTTOM + 17, number(value), "middle"))
    scale = ", logarithmic" if x.log else ""
    parts.append(text(WIDTH - RIGHT, HEIGHT - 5, f"ms{scale}", "end"))
    return parts


def _percentile_marks(summary: Summary, x: Scale, y: Scale) -> list[str]:
    parts = []
    for percentile, value in summary.percentiles.items():
        if value is None or (nines := _nines(percentile, 100)) > y.high:
            continue
        at, up = x(value), y(nines)
        right = at > (LEFT + WIDTH) / 2
        words = f"{label(percentile)} {number(round(value, 1))}"
        parts.append(f'<circle cx="{at:.1f}" cy="{up:.1f}" r="3" class="dot"/>')
        parts.append(
            text(at - 7 if right else at + 8, up - 5 if right else up + 13, words, "end" if right else "start")
        )
    return parts
