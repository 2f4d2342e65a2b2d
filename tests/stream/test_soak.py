"""Memory of a long run: thousands of frames through all stages into all sinks, one of which nobody reads."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from roadedge.latency.clock import HostClock
from roadedge.preprocess import Feeds
from roadedge.sample import Sample
from roadedge.stream.frame_log import FrameLog
from roadedge.stream.pipeline import Pipeline, Run
from roadedge.stream.plan import Plan
from roadedge.stream.road_lines import RoadLines
from roadedge.stream.sink_geojson import GeoJsonSink
from roadedge.stream.sink_pipe import PipeSink
from roadedge.stream.sink_send import open_send
from roadedge.stream.sink_sender import Way
from roadedge.stream.sinks import Sink
from roadedge.stream.sources import Frame
from tests.latency.hand_clock import HandClock
from tests.stream.fakes import FakeRunner, FakeSource
from tests.stream.results import many_lines, nadir

STATM = Path("/proc/self/statm")
FRAMES = 1500
SETTLED = 500  # frames after which all buffers are full


class Placed(FakeSource):
    """Frames that lie on the globe."""

    def read(self) -> Frame | None:
        frame = super().read()
        if frame is None:
            return None
        return Frame(frame.name, Sample(np.ones((32, 32, 3), np.uint8), place=nadir(), id=frame.name))


class Forgetful(FakeRunner):
    """Keeps no feeds."""

    def infer(self, feeds: Feeds, logits: bool = False) -> Feeds:
        outputs = super().infer(feeds, logits)
        self.feeds.clear()
        return outputs


def resident_mb() -> float:
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(not STATM.exists(), reason="no /proc here, which tells a process its memory")
def test_memory_does_not_grow_with_the_frames(tmp_path: Path) -> None:
    lines = many_lines(3, 4, (32, 32))
    seen: dict[str, float] = {}

    def watch(run: Run, now_s: float) -> None:
        if run.answered >= SETTLED:
            seen.setdefault("settled", resident_mb())
        seen["last"] = resident_mb()

    clock = HostClock()
    roads = RoadLines(lambda mask, gsd_m: lines)
    read, write = os.pipe()
    sinks: list[Sink] = [
        PipeSink(write, "a pipe", Way(roads, lambda: None, clock)),
        open_send("udp://127.0.0.1:9", roads, clock=clock),
        GeoJsonSink(tmp_path / "roads.geojsonl", roads),
    ]
    log = FrameLog(tmp_path)
    run = Pipeline(Placed(HandClock(), FRAMES), Forgetful(), sinks, Plan("all"), clock, watch, None, log).go()
    for sink in sinks:
        sink.close()
    log.close()
    os.close(write)
    os.close(read)
    assert run.answered == FRAMES
    assert len((tmp_path / "frames.csv").read_text().splitlines()) == FRAMES + 1
    assert sinks[0].describe()["dropped"]["consumer too slow"] > 0
    assert seen["last"] - seen["settled"] < 1.0
