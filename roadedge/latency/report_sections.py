"""The report's sections of facts: the verdict's rules, what was run, points and images, the machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from roadedge.latency.profile import Profile
from roadedge.latency.summary import Summary
from roadedge.latency.table import milliseconds
from roadedge.latency.verdict import Verdict, frames_text
from roadedge.runners.augmentation import cost_line

UNITS = {"mb": "MB", "mhz": "MHz", "w": "W", "c": "°C", "s": "s", "ms": "ms", "m": "m"}
SHARES = ("cpu_load", "gpu_util")  # in [0, 1]
MOST_LISTED = 3  # of a list of words; metrics.json has them all
LOCKED = {True: "yes", False: "no", None: "cannot be seen here"}


def rules(verdict: Verdict) -> str:
    """The eight rules and the warnings, a line each: what failed first."""
    kinds = (
        ("failed", verdict.reasons),
        ("warned", verdict.warnings),
        ("held", verdict.held),
        ("unseen", verdict.not_applicable),
    )
    lines = [f'<li class="{kind}">{escape(words)}</li>' for kind, found in kinds for words in found]
    return f'<ul class="rules">{"".join(lines)}</ul>'


def what_was_run(metrics: Mapping[str, Any], profile: Profile) -> str:
    """The header that a figure must travel with; a fact that metrics.json does not hold is left out."""
    runner, model, environment = (metrics.get(name) or {} for name in ("runner", "model", "environment"))
    requested = runner.get("requested") or {}
    machine = metrics.get("machine") or {}
    found = machine.get("facts") or {}
    packages = environment.get("packages") or {}
    header = metrics.get("header") or {}
    rows: dict[str, Any] = {
        "model file": _joined(model.get("file"), model.get("sha256") and f"sha256 {model['sha256']}"),
        "its accuracy": model and (model.get("accuracy") or "not known"),
        "back-end": runner
        and f"{runner.get('backend')} {runner.get('version') or ''} (asked: {requested.get('backend') or 'auto'})",
        "precision": runner and f"{runner.get('precision')} (asked: {requested.get('precision') or 'default'})",
        "resolution": _resolution(metrics),
        "views of an image": cost_line(runner),
        "scenario": _scenario(metrics, profile),
        "included": metrics.get("included"),
        **{name: header.get(name) for name in ("threads", "driver", "cuda", "jetpack")},
        "measured": f"{frames_text(profile.age.count)} in {profile.duration_s:.1f} s",
        "device": _joined(runner.get("device"), environment.get("processor"), _processors(environment)),
        "clocks locked": LOCKED.get(machine.get("clocks_locked"), "cannot be seen here") if machine else None,
        **{name.replace("_", " "): value for name, value in found.items()},
        "scores": _scores(metrics.get("scores")),
        "system": environment and f"{environment.get('platform')}, Python {environment.get('python')}",
        "packages": ", ".join(f"{name} {version}" for name, version in packages.items()),
        "roadedge": environment.get("roadedge"),
        "date": environment.get("date"),
        "command": environment.get("command"),
    }
    return definitions(rows)


def sync_section(metrics: Mapping[str, Any], profile: Profile) -> str:
    """Skew, the shares in tolerance and image-only, the feeds and how they were aligned."""
    pairing, sync = metrics.get("pairing") or {}, metrics.get("sync") or {}
    share = profile.paired_share
    rows: dict[str, Any] = {
        "skew p50": _time(profile.skew, profile.skew.median),
        "skew p99": _tail(profile.skew),
        "frames in tolerance": None
        if share is None
        else f"{share:.1%} ({profile.paired} of {profile.paired + profile.unpaired})",
        "image alone": f"{profile.image_only} of {profile.answered} answered frames",
        "outside the density trained on": metrics.get("outside_trained_density") or None,
        "outside the GSD trained on": metrics.get("outside_trained_gsd") or None,
        "capture times from": profile.clock,
        "times without frames": len(metrics["gaps"]) if metrics.get("gaps") else None,
    }
    said = {name: value for name, value in pairing.items() if name not in ("paired_share", "feeds")}
    if isinstance(said.get("frames"), dict):  # what of it is told above is left out here
        said["frames"] = {name: count for name, count in said["frames"].items() if name.startswith("no_") and count}
    feeds = [one for one in pairing.get("feeds") or () if isinstance(one, dict)]
    return definitions({**rows, **flat(sync), **flat(said)}) + "".join(_feed(one) for one in feeds)


def _feed(feed: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in feed.items() if name != "name" and value not in (0, 0.0, {}, [], "")}
    return f"<h3>{escape(str(feed.get('name', 'a feed')))}</h3>{definitions(flat(rest))}"


def machine_section(metrics: Mapping[str, Any]) -> str:
    """Means and extremes of what was watched, throttling, what could not be read, the commands that lock clocks."""
    machine = metrics.get("machine") or {}
    before = metrics.get("machine_load_before")
    if not machine:
        known = {"load before the run": None if before is None else f"{before:.2f} runnable processes a processor"}
        return f'<p class="soft">The machine was not watched.</p>{definitions(known)}'
    slope = machine.get("rss_slope_mb_per_min")
    throttle = machine.get("throttle") or {}
    events = throttle.get("events") or {}
    rows: dict[str, Any] = {
        "load before the run": None if before is None else f"{before:.2f} runnable processes a processor",
        "throttled": ", ".join(f"{what} ({one.get('samples')} samples)" for what, one in events.items())
        or ("never" if throttle.get("seen_by") else "cannot be seen here"),
        "memory of the process": None if slope is None else f"grows by {slope:.2f} MB a minute",
        "clocks": machine.get("clocks"),
        "power": machine.get("power_from") and f"{machine['power_from']}, {machine.get('power_note', '')}",
        "not read": "; ".join(_reasons(machine)),
    }
    commands = machine.get("lock_commands") or ()
    advice = ""
    if commands:
        lines = "\n".join(escape(str(one)) for one in commands)
        note = '<p class="soft">Nothing was changed; these commands would do it:</p>'
        advice = f"<h3>To hold the clocks still</h3>{note}<pre>{lines}</pre>"
    return _summary_table(machine.get("summary") or {}) + definitions(rows) + advice


def definitions(rows: Mapping[str, Any]) -> str:
    """Names and values, without those that have none."""
    shown = [(name, str(value)) for name, value in rows.items() if value not in (None, "", (), [], {})]
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{escape(value)}</dd>' for name, value in shown)}</dl>"


def flat(values: Any, name: str = "") -> dict[str, str]:
    """Nested JSON as names and words: `{"feeds": [{"name": "a"}]}` becomes `feeds 1 · name`: `a`."""
    if isinstance(values, Mapping):
        pairs: Iterable[tuple[str, Any]] = ((named(str(key)), value) for key, value in values.items())
    elif isinstance(values, list) and any(isinstance(one, (dict, list)) for one in values):
        pairs = ((str(place), value) for place, value in enumerate(values, 1))
    else:
        return {name: _words(values)} if name else {}
    found: dict[str, str] = {}
    for key, value in pairs:
        found |= flat(value, f"{name} · {key}" if name else key)
    return found


def named(key: str) -> str:
    """A key of JSON in words, its unit behind a comma: `tolerance_s` becomes `tolerance, s`."""
    name, _, unit = key.rpartition("_")
    words = f"{name}, {UNITS[unit]}" if name and unit in UNITS else f"{key}, %" if key in SHARES else key
    return words.replace("_", " ")


def _words(value: Any) -> str:
    if isinstance(value, list):
        more = f" and {len(value) - MOST_LISTED} more" if len(value) > MOST_LISTED else ""
        return ", ".join(map(_words, value[:MOST_LISTED])) + more
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _joined(*parts: Any) -> str:
    return ", ".join(str(part) for part in parts if part)


def _resolution(metrics: Mapping[str, Any]) -> str | None:
    size, network = metrics.get("input_size"), metrics.get("network_size")
    named_size = (metrics.get("header") or {}).get("resolution_network")
    if not size:
        return None
    text = f"{size[0]} × {size[1]} pixels (H × W)"
    if network:
        text += f" → network {network[0]} × {network[1]}"
    elif named_size:
        text += f" → network {named_size.replace('x', ' × ')}"
    return f"{text}, batch {metrics.get('batch', 1)}"


def _scenario(metrics: Mapping[str, Any], profile: Profile) -> str:
    rate = "no rate" if profile.rate_hz is None else f"{profile.rate_hz:g} Hz"
    return f"{profile.scenario}, {rate}, policy {profile.policy}"


def _processors(environment: Mapping[str, Any]) -> str:
    count = environment.get("cpu_count")
    return f"{count} processors" if count else ""


def _scores(scores: Mapping[str, Any] | None) -> str | None:
    return f"G_IoU {100 * scores['G_IoU']:.2f} ({scores.get('label')})" if scores and "G_IoU" in scores else None


def _time(summary: Summary, value: float | None) -> str | None:
    return f"{milliseconds(value)} ms" if summary.count and value is not None else None


def _tail(summary: Summary) -> str | None:
    tail = summary.percentiles[99.0]
    if not summary.count:
        return None
    if tail is None:
        return f"n too small ({summary.count}); largest {milliseconds(summary.maximum)} ms"
    return f"{milliseconds(tail)} ms"


def _reasons(machine: Mapping[str, Any]) -> list[str]:
    lines = [f"{name}: {why}" for name, why in (machine.get("absent") or {}).items()]
    return lines + [f"{name}: {one.get('reason')}" for name, one in (machine.get("unreadable") or {}).items()]


def _summary_table(summary: Mapping[str, Any]) -> str:
    rows = []
    for key, one in summary.items():
        values = [one.get(which) for which in ("first", "mean", "min", "max", "last")]
        cells = "".join(f"<td>{_figure(value, 100.0 if key in SHARES else 1.0)}</td>" for value in values)
        rows.append(f"<tr><td>{escape(named(key))}</td>{cells}</tr>")
    if not rows:
        return ""
    head = "".join(f"<th>{name}</th>" for name in ("each second", "first", "mean", "least", "most", "last"))
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div><br>'


def _figure(value: float | None, factor: float) -> str:
    return "–" if value is None else f"{value * factor:.4g}" if abs(value * factor) < 1e4 else f"{value * factor:.0f}"
