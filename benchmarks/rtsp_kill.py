"""An RTSP server is killed and started again under the reader, ten times: gaps, frames, memory, descriptors.

Each frame carries the time at which it was made, so that a frame which is repeated, out of order or invented is seen,
and how far its stated capture time lies from the true one. The server is GStreamer's, on loopback, run by the system's
Python (apt: python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-ugly).

    python benchmarks/rtsp_kill.py [--kills 10] [--coder h264] [--seconds 3] [-o benchmarks/results]
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from roadedge.atomic import write_json, write_text
from roadedge.environment import environment
from roadedge.stream.live import LiveOptions
from roadedge.stream.schemes import open_scheme
from roadedge.stream.sources import Frame, Source
from tests.stream.rtsp_server import RtspServer, missing, moment_ms

WARM_KILLS = 2  # libraries keep what they loaded for the first connections: memory counts from here


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--coder", choices=("h264", "hevc", "jpeg"), default="h264")
    parser.add_argument("--size", type=int, nargs=2, default=(640, 352), metavar=("W", "H"))
    parser.add_argument("--seconds", type=float, default=3.0, help="of reading between two kills")
    parser.add_argument("--transport", choices=("tcp", "udp"), default="tcp")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    if missing():
        print(missing(), file=sys.stderr)
        return 3
    found = {**environment(), **measure(options), "load_average": [round(load, 2) for load in os.getloadavg()]}
    stem = f"rtsp-kill-{options.coder}-{options.transport}-{found['date'][:10]}"
    write_json(options.output / f"{stem}.json", found)
    write_text(options.output / f"{stem}.md", report(found))
    print(report(found))
    return 0 if found["holds"] else 1


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Kill and start again; what was seen."""
    states, seen = [state()], Seen()
    width, height = options.size
    with RtspServer(options.coder) as server:
        server.start((width, height))
        address = f"{server.url()}?transport={options.transport}"
        limits = LiveOptions(timeout_s=2.0, give_up_s=30.0)
        with open_scheme(address, limits) as camera:
            seen.read_for(camera, options.seconds)
            states.append(state())
            for _ in range(options.kills):
                server.kill()
                threading.Timer(0.5, server.start, ((width, height),)).start()
                seen.read_until_back(camera)
                seen.read_for(camera, options.seconds)
                states.append(state())
                print(f"kill {len(camera.gaps)}: {len(seen.made)} frames, {states[-1]}", file=sys.stderr)
            gaps = [
                {"seconds": ((gap.end_ns or 0) - gap.begin_ns) / 1e9, "attempts": gap.attempts, "reason": gap.reason}
                for gap in camera.gaps
            ]
    states.append(state())
    result = seen.summary()
    warm, last = states[WARM_KILLS + 1], states[-2]
    result |= {
        "kills": options.kills, "coder": options.coder, "size": [width, height], "transport": options.transport,
        "gaps": gaps, "states": states,
        "rss_growth_mb": last["rss_mb"] - warm["rss_mb"],
        "descriptors_growth": last["descriptors"] - warm["descriptors"],
        "threads_growth": last["threads"] - warm["threads"],
    }  # fmt: skip
    result["holds"] = (
        len(gaps) == options.kills
        and all(gap["seconds"] > 0 and gap["attempts"] >= 1 for gap in gaps)
        and not result["repeated_or_out_of_order"]
        and not result["made_while_dead"]
        and result["descriptors_growth"] <= 0
        and result["threads_growth"] <= 0
    )
    return result


class Seen:
    """What the frames themselves say."""

    def __init__(self) -> None:
        self.made: list[int] = []
        self.late_ms: list[float] = []
        self.notices: list[str] = []
        self.dead: list[tuple[float, float]] = []  # host milliseconds without a server

    def read_for(self, camera: Source, seconds: float) -> None:
        """Read for a time."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            self._read(camera)

    def read_until_back(self, camera: Source) -> None:
        """Read on through the outage: what was on its way, then the first frame after it."""
        begin_ms, gaps = time.perf_counter_ns() / 1e6, len(camera.gaps)
        while len(camera.gaps) == gaps:
            self._read(camera)
        self.dead.append((begin_ms, begin_ms + 500))

    def _read(self, camera: Source) -> None:
        frame = camera.read()
        assert frame is not None
        self._add(frame)

    def _add(self, frame: Frame) -> None:
        assert frame.captured_ns is not None
        assert frame.sample.image is not None
        made = moment_ms(frame.sample.image)
        self.made.append(made)
        self.late_ms.append(frame.captured_ns / 1e6 % 2**32 - made)
        if frame.notice:
            self.notices.append(frame.notice)

    def summary(self) -> dict[str, Any]:
        """Counts, and how far stated capture times lie from the true ones."""
        steps = np.diff(self.made)
        dead = [(begin % 2**32, end % 2**32) for begin, end in self.dead]
        return {
            "frames": len(self.made),
            "repeated_or_out_of_order": int(np.count_nonzero(steps <= 0)),
            "made_while_dead": sum(any(begin < made < end for begin, end in dead) for made in self.made),
            "capture_error_ms": {q: round(float(np.percentile(self.late_ms, p)), 1) for q, p in QUANTILES.items()},
            "notices": self.notices,
        }


QUANTILES = {"min": 0, "p50": 50, "p90": 90, "max": 100}


def state() -> dict[str, float]:
    """Resident memory, descriptors and threads of this process."""
    gc.collect()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return {
        "rss_mb": round(int(status["VmRSS"].split()[0]) / 1024, 1),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": int(status["Threads"]),
    }


def report(found: dict[str, Any]) -> str:
    error, states = found["capture_error_ms"], found["states"]
    width, height = found["size"]
    rows = [
        f"| {number + 1} | {gap['seconds']:.2f} | {gap['attempts']} | {gap['reason']} | {after['rss_mb']:.1f} "
        f"| {after['descriptors']} | {after['threads']} |"
        for number, (gap, after) in enumerate(zip(found["gaps"], states[2:], strict=False))
    ]
    return (
        f"""# An RTSP server killed {found["kills"]} times

{found["date"]} · {found["processor"]}, {found["cpu_count"]} cores, load average {found["load_average"][0]} at the end ·
Python {found["python"]} · `{found["command"]}`

{found["coder"]}, {width} x {height} at 20 a second, over {found["transport"]}, on loopback. The server is killed as by
a power cut and started again half a second later. Each frame carries the time at which it was made.

- gaps recorded: {len(found["gaps"])}, each ended by a reconnect
- frames: {found["frames"]}; repeated or out of order: {found["repeated_or_out_of_order"]}; made while there was no
  server: {found["made_while_dead"]}
- stated capture time minus true one: min {error["min"]}, p50 {error["p50"]}, p90 {error["p90"]}, max {error["max"]} ms
- memory before the first connection {states[0]["rss_mb"]} MB, in the first {states[1]["rss_mb"]} MB; from the second
  reconnect to the last {found["rss_growth_mb"]:+.1f} MB
- file descriptors {found["descriptors_growth"]:+d}, threads {found["threads_growth"]:+d} over the same time; after
  closing {states[-1]["descriptors"]} descriptors, before {states[0]["descriptors"]}

| kill | gap s | attempts | reason | RSS MB after | descriptors | threads |
|---|---|---|---|---|---|---|
"""
        + "\n".join(rows)
        + "\n"
    )


if __name__ == "__main__":
    sys.exit(main())
