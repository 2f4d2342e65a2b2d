"""What the heat-map of a frame costs: 10 000 live points a second and a prior of five million points.

A drone flies at 15 m/s over a city of ten by ten kilometres, 30 frames a second, 512 x 512 pixels at 0.46 m. The points
lie on a net of streets. Each row is one kind of flight: a frame's cost is that of `FeedPairing.second`, which takes in
what came since the frame before and draws the heat-map; rebuilds of the raster are frames like others and stand in the
tail. Milliseconds are those of the processor, which other programs on the machine hardly lengthen; the median by the
clock stands beside them. Memory is that of the points kept and of the raster at the end of a flight, by their own
account. `dense` has the whole prior in a square of 500 m, twenty points a square metre: far more than a fleet leaves in
a year, and the worst that a prior can do. The receiver's row is one of datagrams that are parsed, not drawn.

    python benchmarks/feeds.py [--prior 5000000] [--rate 10000] [--seconds 120] [-o benchmarks/results]
"""

from __future__ import annotations

import argparse
import gc
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from roadedge.atomic import write_json, write_text
from roadedge.environment import environment
from roadedge.place import Place
from roadedge.sample import Sample
from roadedge.spec import ModelSpec
from roadedge.stream.feeds import Feed, FeedOptions
from roadedge.stream.feeds_file import PriorFeed, ReplayFeed
from roadedge.stream.feeds_udp import UdpFeed
from roadedge.stream.sources import Frame, Source
from roadedge.stream.synchronisation import FeedPairing
from roadedge.trajectory.points import Points

CITY_M, STREET_M = 10_000.0, 100.0
SIZE, GSD_M, RATE_HZ, SPEED_MPS = (512, 512), 0.46, 30, 15.0
WINDOW_S = 60  # of points that have come before the first frame
SPEC = ModelSpec("benchmark", gsd_m=None, gsd_band_m=None)
Fly = Callable[[float], Place]


@dataclass(frozen=True)
class Row:
    """One flight; milliseconds of the processor a frame, `wall_p50_ms` by the clock, megabytes."""

    case: str
    frames: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    first_ms: float
    wall_p50_ms: float
    rebuilds: int
    memory_mb: float
    points_in_view: float


class Camera(Source):
    """Frames are made by the benchmark."""

    name = "camera"

    def read(self) -> Frame | None:
        """None: it is never asked."""
        return None

    def skip(self, count: int) -> int:
        """Nothing is passed over."""
        return 0


def main() -> int:
    """Fly, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prior", type=int, default=5_000_000)
    parser.add_argument("--rate", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    rows = []
    flights: dict[str, Fly] = {
        "stands still, north up": lambda t: north_up(0.0, 0.0),
        "flies, heading up": lambda t: Place.nadir((SPEED_MPS * t, 40.0), GSD_M, SIZE, 90.0 + 20 * np.sin(t / 9)),
        "climbs to four times": lambda t: Place.nadir((0.0, 40.0), GSD_M * 4 ** (t / options.seconds), SIZE, 30.0),
    }
    for name, fly in flights.items():
        for kind in ("live", "prior", "live + prior"):
            rows.append(last := measure(f"{kind}, {name}", kind, fly, options))
            print(
                f"{last.case:40s} p50 {last.p50_ms:6.2f} p99 {last.p99_ms:6.2f} max {last.max_ms:6.1f} ms, "
                f"first {last.first_ms:7.1f} ms, {last.memory_mb:5.0f} MB, {last.rebuilds} rebuilds",
                flush=True,
            )
    rows.append(measure("dense prior, flies, heading up", "dense", flights["flies, heading up"], options))
    print(rows[-1])
    received = {form: receive(form) for form in ("nmea", "json")}
    print({form: f"{rate:.0f} datagrams/s" for form, rate in received.items()})
    return write(rows, received, options)


def measure(case: str, kind: str, fly: Fly, options: argparse.Namespace) -> Row:
    """Fly once with a live feed, a prior or both."""
    feeds: list[Feed] = []
    if "live" in kind:
        count = options.rate * (WINDOW_S + options.seconds)
        t_s = np.random.default_rng(1).uniform(0, WINDOW_S + options.seconds, count)
        t_s[0] = 0.0  # the feed begins with the stream's clock
        xy = streets(2, count)
        feeds.append(ReplayFeed("live", Points(xy[:, 0], xy[:, 1], t_s, crs="local")))
    if "prior" in kind:
        xy = streets(3, options.prior)
        feeds.append(PriorFeed("prior", Points(xy[:, 0], xy[:, 1], crs="local")))
    if kind == "dense":
        xy = np.random.default_rng(4).uniform(-250, 250, (options.prior, 2))
        feeds.append(PriorFeed("dense", Points(xy[:, 0], xy[:, 1], crs="local")))
    gc.collect()
    pairing = FeedPairing(feeds, Camera())
    image = np.zeros((*SIZE, 3), np.uint8)
    milliseconds, wall_ms, points = [], [], []
    for index in range(options.seconds * RATE_HZ):
        now_s = index / RATE_HZ
        frame = Frame("f", Sample(image, place=fly(now_s)), WINDOW_S + now_s)
        begin, begin_cpu = time.perf_counter(), time.thread_time()
        second = pairing.second(frame, SPEC)
        milliseconds.append(1e3 * (time.thread_time() - begin_cpu))
        wall_ms.append(1e3 * (time.perf_counter() - begin))
        points.append(second.points or 0)
    later = np.array(milliseconds[1:])
    p50, p99 = float(np.percentile(later, 50)), float(np.percentile(later, 99))
    told = pairing.describe()["feeds"]
    rebuilds, memory_mb = sum(feed["rebuilds"] for feed in told), sum(feed["memory_mb"] for feed in told)
    return Row(
        case,
        len(milliseconds),
        p50,
        p99,
        float(later.max()),
        milliseconds[0],
        float(np.median(wall_ms)),
        rebuilds,
        memory_mb,
        float(np.mean(points)),
    )


def receive(form: str, count: int = 50_000) -> float:
    """Datagrams a second that the receiver takes in, one fix each, without the network."""
    connection = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    connection.bind(("127.0.0.1", 0))
    bodies = [
        b"GPRMC,%06d.00,A,4807.038,N,%05d.%03d,E,22.4,84.4,230324,," % (100000 + i % 60, 1131, i % 1000)
        for i in range(count)
    ]
    lines = [b"$%s*%02X" % (body, np.bitwise_xor.reduce(np.frombuffer(body, np.uint8))) for body in bodies]
    if form == "json":
        lines = [b'{"lon": 11.5%d, "lat": 48.1, "t": 1711197319.5}' % i for i in range(count)]
    with UdpFeed(connection, form, FeedOptions()) as feed:
        begin = time.thread_time()
        for line in lines:
            feed.receive(line, 1)
        seconds = time.thread_time() - begin
        taken = feed.take(0.0)
    assert taken is not None
    assert len(taken) == count, dict(feed.dropped)
    return count / seconds


def north_up(x: float, y: float) -> Place:
    """An image that stands still."""
    return Place.from_geotransform((x, GSD_M, 0.0, y, 0.0, -GSD_M))


def streets(seed: int, count: int) -> NDArray[np.float64]:
    """Points on a net of streets, 4 m about their middle, (N, 2) metres."""
    random = np.random.default_rng(seed)
    along = random.uniform(-CITY_M / 2, CITY_M / 2, count)
    across = np.round(random.uniform(-CITY_M / 2, CITY_M / 2, count) / STREET_M) * STREET_M
    across += random.normal(0, 4, count)
    east = random.random(count) < 0.5
    return np.stack([np.where(east, along, across), np.where(east, across, along)], axis=1)


def write(rows: list[Row], received: dict[str, float], options: argparse.Namespace) -> int:
    """Write the figures as JSON and as a table."""
    stamp = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    about = environment()
    lines = [
        f"# Heat-map of a frame, {stamp}",
        "",
        f"{options.rate} live points a second (60 s of them on the map), a prior of {options.prior} points; "
        f"city of 10 x 10 km; {SIZE[1]} x {SIZE[0]} pixels at {GSD_M} m; {options.seconds * RATE_HZ} frames a row.",
        f"{about['cpu_count']} cores {about['processor']}, shared with other work; Python {about['python']}, NumPy "
        f"{about['packages']['numpy']}. `python benchmarks/feeds.py --seconds {options.seconds}`",
        "",
        "| case | p50 ms | p99 ms | max ms | first ms | p50 by the clock | rebuilds | memory MB | points in view |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r.case} | {r.p50_ms:.2f} | {r.p99_ms:.2f} | {r.max_ms:.1f} | {r.first_ms:.0f} "
        f"| {r.wall_p50_ms:.2f} | {r.rebuilds} | {r.memory_mb:.0f} | {r.points_in_view:.0f} |"
        for r in rows
    ]
    lines += ["", *(f"Receiver, {form}: {rate:.0f} datagrams a second on one core." for form, rate in received.items())]
    options.output.mkdir(parents=True, exist_ok=True)
    write_text(options.output / f"feeds-{stamp}.md", "\n".join(lines) + "\n")
    content = {"rows": [asdict(row) for row in rows], "receiver_per_s": received, "environment": about}
    write_json(options.output / f"feeds-{stamp}.json", content)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
