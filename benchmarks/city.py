"""How fast the built-in city is drawn: megapixels a second on one core, by the clock and by the processor's time.

"Fresh" windows lie where nothing was drawn before; "scattered" ones lie far apart, so each pays for the whole of its
surroundings; "near" ones fall at random into ground that is in the cache. Points are included.

    python benchmarks/city.py [--windows 24] [--seed 3] [-o benchmarks/results]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from roadedge.atomic import write_json
from roadedge.data.city import City
from roadedge.data.city_render import CHUNK
from roadedge.environment import environment

AIM_MPX_PER_S = 1.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=24, help="scattered windows of each size")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    City(options.seed).window(0, 0, CHUNK, CHUNK)  # warm-up: makes the textures that all cities share

    rows = [measure("fresh 2048 x 2048", City(options.seed), [(90_000, 0)], 2048)]
    for side in (512, 256):
        city = City(options.seed)
        far = rng.integers(-100_000, 100_000, (options.windows, 2)).tolist()
        rows.append(measure(f"scattered {side} x {side}", city, far, side))
        aligned = (rng.integers(-800, 800, (options.windows, 2)) * CHUNK).tolist()
        rows.append(measure(f"scattered {side} x {side}, on chunks", city, aligned, side))
    city = City(options.seed)
    city.window(0, 0, 1024, 1024)
    rows.append(measure("near 256 x 256", city, rng.integers(0, 768, (options.windows * 8, 2)).tolist(), 256))
    record = {**environment(), "threads": 1, "load_average": list(os.getloadavg()), "seed": options.seed, "rows": rows}
    path = options.output / f"city-{record['date'][:10]}.json"
    write_json(path, {**record, "aim_mpx_per_s": AIM_MPX_PER_S})
    print(f"wrote {path}; load average {os.getloadavg()[0]:.1f}")
    return 0


def measure(name: str, city: City, corners: Iterable[Any], side: int) -> dict[str, Any]:
    clock, processor = [], []
    for x, y in corners:
        start, start_cpu = time.perf_counter(), time.process_time()
        city.window(x, y, side, side)
        clock.append(time.perf_counter() - start)
        processor.append(time.process_time() - start_cpu)
    megapixels = side * side / 1e6
    row = {
        "case": name,
        "windows": len(clock),
        "mpx_per_s": megapixels * len(clock) / sum(clock),
        "mpx_per_cpu_s": megapixels * len(clock) / sum(processor),
        "median_ms": 1e3 * float(np.median(clock)),
        "median_cpu_ms": 1e3 * float(np.median(processor)),
    }
    print(
        f"{name:32s} {row['mpx_per_s']:8.2f} Mpx/s, {row['mpx_per_cpu_s']:8.2f} per CPU second, "
        f"median {row['median_ms']:8.1f} ms, cpu {row['median_cpu_ms']:8.1f} ms",
        flush=True,
    )
    return row


if __name__ == "__main__":
    raise SystemExit(main())
