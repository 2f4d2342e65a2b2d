"""The report opened in a real browser: it is drawn, fetches nothing, says nothing on the console, and fits a phone."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roadedge.latency.report import write_report
from roadedge.latency.verdict import judge
from tests.latency.test_profile import dropped, profile, record

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next((path for name in BROWSERS if (path := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason=f"none of {', '.join(BROWSERS)} is installed")

MEASURE = """<script>addEventListener("load", () => {
  const wide = innerWidth, seen = e => e.getClientRects().length > 0;
  const out = [...document.querySelectorAll("section, .tile, svg text, svg")].filter(seen).filter(e => {
    const box = e.getBoundingClientRect(); return box.left < -1 || box.right > wide + 1; });
  const shut = [...document.querySelectorAll("svg text")].filter(seen).filter(e => {
    const box = e.getBoundingClientRect(), all = e.ownerSVGElement.getBoundingClientRect();
    return box.left < all.left - 1 || box.right > all.right + 1 || box.bottom > all.bottom + 1; });
  parent.document.documentElement.dataset.found = JSON.stringify({
    wide, scroll: document.documentElement.scrollWidth - wide, out: out.map(e => e.textContent.slice(0, 40)),
    shut: shut.map(e => e.textContent), charts: [...document.querySelectorAll("svg")].filter(seen).length,
    pictures: [...document.querySelectorAll("img")].filter(e => e.naturalWidth > 0).length }); });</script>"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    records = [record(i, age_ms=30.0 + i % 9 + (400.0 if i % 150 == 90 else 0.0)) for i in range(800)]
    records += [dropped(i) for i in range(800, 812)]
    times = [float(t) for t in range(80)]
    names = ("cpu_load", "process_cpu", "gpu_util", "cpu_mhz", "gpu_mhz", "power_w", "gpu_power_w", "temp_c", "rss_mb")
    numbers = {"n": 80, "mean": 2.0, "min": 1.0, "max": 3.0, "first": 1.0, "last": 3.0}
    shown = profile(records)
    verdict = judge(
        shown, asked_s=80.0, interrupted=False, backend_asked="auto", backend_used="fake", accuracy_known=True,
        throttled=("GPU too hot",),
    )  # fmt: skip
    metrics: dict[str, Any] = {
        "source": "synth:512x512@10 </script><img src=https://127.0.0.1:9/x onerror=console.log(1)>",
        "runner": {"model": "fake", "backend": "fake", "device": "CPU", "precision": "fp32"},
        "model": {"file": "fake.onnx", "sha256": "0" * 64, "accuracy": None},
        "environment": {"processor": "a processor", "date": "2026-01-01", "command": f"roadedge infer {'long' * 60}"},
        "gaps": [{"begin_s": 20.0, "end_s": 24.0, "reason": "refused", "attempts": 3}],
        "pairing": {"rule": "by UTC", "feeds": [{"name": "replay:tracks.csv", "dropped": {"nan": 3}}]},
        "machine": {
            "series": {"t_s": times, **{name: [1.0 + t % 3 for t in times] for name in names}},
            "summary": {name: numbers for name in names},
            "throttle": {"seen_by": ["nvml"], "events": {"GPU too hot": {"samples": 3, "first_s": 50, "last_s": 53}}},
            "lock_commands": ["sudo nvpmodel -m 0", "sudo jetson_clocks"],
        },
    }
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, metrics, records, shown, verdict, [("000000", np.full((30, 90, 3), 90, np.uint8))])
    return path


def browse(page: Path) -> tuple[str, list[str]]:
    """The page's elements after it was drawn, and the lines on its console."""
    assert BROWSER is not None
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
    done = subprocess.run(
        [BROWSER, *options, f"--user-data-dir={page.parent / 'profile'}", "--enable-logging=stderr", "--dump-dom",
         "--window-size=1400,2000", "--host-resolver-rules=MAP * ~NOTFOUND", page.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_the_page_is_drawn_without_a_word_on_the_console_or_a_request(report: Path) -> None:
    page, console = browse(report)
    assert console == []
    assert "default-src 'none'" in page  # the browser itself refuses every request and says so on the console
    assert "<script" not in page
    charts = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(charts) == 5
    assert not [chart for chart in charts if re.search(r"nan|infinity|undefined", chart, re.IGNORECASE)]
    assert "INVALID" in page


def test_a_page_that_would_fetch_something_is_caught(report: Path) -> None:
    spoilt = report.with_name("spoilt.html")
    spoilt.write_text(report.read_text().replace("<main>", '<main><img src="https://127.0.0.1:9/x.png">'))
    _, console = browse(spoilt)
    assert "Content Security Policy" in console[0]


@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_sticks_out_on_a_desk_and_on_a_phone(report: Path, width: int) -> None:
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", report.read_text())
    inner = html.escape(text.replace("</head>", f"{MEASURE}</head>"))
    measured = report.with_name(f"measured{width}.html")
    measured.write_text(f'<iframe style="width: {width}px; height: 6000px; border: 0" srcdoc="{inner}"></iframe>')
    page, _ = browse(measured)
    answer = re.search(r'data-found="([^"]*)"', page)
    assert answer is not None
    found = json.loads(html.unescape(answer[1]))
    assert found == {"wide": width, "scroll": found["scroll"], "out": [], "shut": [], "charts": 4, "pictures": 1}
    assert found["scroll"] <= 0
