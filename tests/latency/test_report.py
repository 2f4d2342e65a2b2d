"""The report stands alone: no network, every chart, the verdict, and text that cannot break out of its place."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pytest

from roadedge.environment import environment
from roadedge.latency.charts import TOP, cumulative, log_ticks, scale_of, steps_kept, ticks, waterfall
from roadedge.latency.frame_table import table_of
from roadedge.latency.profile import FrameRecord
from roadedge.latency.report import embedded, report_html
from roadedge.latency.table import cells, facts, latency_table, milliseconds, verdict_lines
from roadedge.latency.verdict import judge
from tests.latency.test_profile import dropped, profile, record

VOID = {"meta", "img", "br", "link"}


class Balanced(HTMLParser):
    """Fails on a tag that is closed out of turn; keeps what could fetch something."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attributes if name in ("src", "href", "data", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page(records: list[FrameRecord], source: str = "synth:512x512@10") -> str:
    shown = profile(records)
    facts_of_run = {
        "asked_s": None, "interrupted": False, "backend_asked": "auto", "backend_used": "fake", "accuracy_known": True
    }  # fmt: skip
    metrics = {
        "source": source,
        "runner": {"model": "fake", "backend": "fake", "device": "CPU", "precision": "fp32"},
        "model": {"file": "fake.onnx", "sha256": "0" * 64},
        "environment": environment(),
        "input_size": [512, 512],
        "batch": 1,
        "included": "everything",
        "scores": {"G_IoU": 0.5, "label": "semi-synthetic"},
    }
    picture = np.full((40, 1600, 3), 90, np.uint8)
    verdict = judge(shown, **facts_of_run)  # type: ignore[arg-type]
    return report_html(metrics, table_of(records), shown, verdict, [("000001", embedded(picture))])


RECORDS = [record(i, age_ms=30.0 + i) for i in range(90)] + [dropped(90)]


def test_the_page_is_whole_and_fetches_nothing() -> None:
    text = page(RECORDS)
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    assert [source.split(",")[0] for source in parser.sources] == ["data:", "data:image/jpeg;base64"]
    assert not re.search(r"https?://|@import|<script|url\(", text)
    assert text.count("<svg") == 5  # two waterfalls, the timeline for a desk and for a phone, the share of frames
    assert "INVALID" in text
    assert "G_IoU 50.00 (semi-synthetic)" in text


def test_a_name_cannot_break_out_of_the_page() -> None:
    text = page(RECORDS, source="<script>alert(1)</script>")
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


def test_a_run_without_an_answer_still_has_a_page() -> None:
    text = page([dropped(0), dropped(1)])
    assert "No frame was measured" in text
    assert "latest:infer 2" in text
    assert not re.search(r"<svg[^\0]*?nan[^\0]*?</svg>", text.lower())


def test_a_waterfall_begins_each_bar_where_the_last_ended() -> None:
    svg = ElementTree.fromstring(waterfall([("decode", 10.0), ("infer", 30.0), ("encode", 0.0)]))
    bars = [(float(b.attrib["x"]), float(b.attrib["width"])) for b in svg.iter("rect")]
    assert bars[1][0] == pytest.approx(bars[0][0] + bars[0][1], abs=0.11)
    assert bars[1][1] == pytest.approx(3 * bars[0][1], rel=0.01)
    assert bars[2][1] == 1.0  # a stage that took nothing is still seen


def test_the_cumulative_share_rises_to_one() -> None:
    line = ElementTree.fromstring(cumulative(np.array([30.0, 10.0, 20.0]))).find("path[@class='line']")
    assert line is not None
    steps = [(float(x), float(y)) for x, y in re.findall(r"H([\d.]+)V([\d.]+)", line.attrib["d"])]
    assert len(steps) == 3
    assert [x for x, _ in steps] == sorted(x for x, _ in steps)
    assert [y for _, y in steps] == sorted((y for _, y in steps), reverse=True)  # y points down
    assert steps[-1][1] == TOP


def test_a_share_of_many_frames_is_thinned_and_keeps_all_of_the_last() -> None:
    kept = steps_kept(1_000_000)
    assert kept.size < 600
    assert kept[-60:].tolist() == list(range(999_940, 1_000_000))
    assert kept[0] == 0
    assert steps_kept(7).tolist() == list(range(7))


def test_one_stall_makes_the_axis_logarithmic_and_even_times_do_not() -> None:
    assert scale_of(np.array([20.0, 21.0, 22.0, 400.0]), 0.0, 100.0).log
    assert not scale_of(np.array([20.0, 21.0, 22.0]), 0.0, 100.0).log
    assert not scale_of(np.array([0.0, 0.0]), 0.0, 100.0).log
    assert log_ticks(5.0, 500.0) == [5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0]
    assert log_ticks(1.0, 1e4) == [1.0, 10.0, 100.0, 1000.0, 10_000.0]


@pytest.mark.parametrize(("high", "steps"), [(1.0, 0.2), (430.0, 100.0), (0.07, 0.02), (9999.0, 2000.0)])
def test_ticks_are_round(high: float, steps: float) -> None:
    values = ticks(high)
    assert values[1] == pytest.approx(steps)
    assert values[-1] <= high


def test_the_table_says_how_many_frames_a_percentile_would_take() -> None:
    shown = profile(RECORDS)
    assert cells(shown.age) == ["89", "75.0", "111", "n < 662", "n < 6636", "119"]
    assert latency_table(shown).row_count == 9  # late, six stages, the age and its safe estimate
    assert milliseconds(None) == "–"
    assert (milliseconds(3.14159), milliseconds(31.4159), milliseconds(314.159)) == ("3.14", "31.4", "314")


def test_the_facts_count_drops_by_cause() -> None:
    lines = facts(profile(RECORDS))
    assert lines[0] == "90 of 91 frames answered, 1 dropped (1.1%: latest:infer 1), in 20.0 s"
    assert "policy latest, load 0.20" in lines[1]


def test_the_verdict_stands_first_and_each_reason_on_its_line() -> None:
    shown = profile(RECORDS)
    verdict = judge(shown, asked_s=60.0, interrupted=True, backend_asked="auto", backend_used="x", accuracy_known=True)
    lines = verdict_lines(verdict)
    assert lines[0].startswith("Result is: INVALID")
    assert sum(line.startswith("  - ") for line in lines) == 3
