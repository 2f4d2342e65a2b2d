"""How far a map made of windows differs from one look at the whole scene, by how much the windows share.

One 4096 x 4096 scene of the synthetic city with points: its probability from a single call of the network, and from
windows that overlap by 0 to 256 pixels, blended. The difference of the two is all that the seams do.

    python benchmarks/seams.py [--folder /tmp/city4k] [--side 4096] [-o benchmarks/results] [--picture docs/images]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.atomic import replacing, write_json, write_text
from roadedge.environment import environment
from roadedge.roadmap.blending import blend_cell
from roadedge.roadmap.job import NetworkChoice
from roadedge.roadmap.scene_reader import SceneReader
from roadedge.roadmap.survey import survey
from roadedge.roadmap.tiling import TilePlan, plan_tiles
from roadedge.roadmap.window import read_window
from roadedge.trajectory.point_store import PointStore

ROOT = Path(__file__).resolve().parent.parent
OVERLAPS = (0, 32, 64, 96, 128, 192, 256)
TILES = (512, 1024, 2048)
LEVEL = 128  # from which on a pixel is road


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "roadedge-city-4096")
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--points", type=int, default=420_000)
    parser.add_argument("--gsd", type=float, default=0.3)
    parser.add_argument("--model", default="roadedge-s:int8")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--picture", type=Path, default=ROOT / "docs" / "images")
    options = parser.parse_args()
    from benchmarks import map_city

    map_city.make_city(options)
    whole, spec_stride, look = looks(options)
    rows = []
    for side in TILES:
        for overlap in OVERLAPS:
            if 2 * overlap > side or side >= options.side:
                continue
            plan = plan_tiles(whole.shape, spec_stride, overlap, (side, side))
            row = compared(assembled(plan, look), whole, plan)
            rows.append(row)
            print(
                f"tile {side:5d} overlap {overlap:4d}: largest {row['largest']:4d}, 99.99 % {row['p9999']:5.1f}, "
                f"mask differs {row['flipped_share']:.2e}",
                flush=True,
            )
    record = {
        **environment(), "load_average": list(os.getloadavg()), "side_px": options.side, "gsd_m": options.gsd,
        "model": options.model, "points": options.points, "rows": rows,
    }  # fmt: skip
    stem = options.output / f"seams-{record['date'][:10]}"
    write_json(stem.with_suffix(".json"), record)
    write_text(stem.with_suffix(".md"), page(record))
    draw(rows, options.picture / "seams.png")
    print(f"wrote {stem}.json, .md and {options.picture / 'seams.png'}")
    return 0


def looks(options: argparse.Namespace) -> tuple[NDArray[np.uint8], int, Any]:
    """The probability of the whole scene at once; the stride; and a function that looks through one window."""
    scene = survey(options.folder / "scene.tif", options.gsd)
    reader, store = SceneReader(scene), PointStore.open(options.folder / "points.parquet")
    size = scene.grid.size
    runners: dict[tuple[int, int], Any] = {}

    def look(corner: tuple[int, int], window: tuple[int, int]) -> NDArray[np.uint8]:
        if window not in runners:
            runners.clear()
            runners[window] = NetworkChoice(options.model).open(window)
        runner = runners[window]
        seen = read_window(reader, corner, window, runner.spec, store)
        answer: NDArray[np.uint8] = runner.infer(seen.feeds(runner.spec))["probability"][0]
        return answer

    stride = 32
    whole = look((0, 0), (-(-size[0] // stride) * stride, -(-size[1] // stride) * stride))
    return whole[: size[0], : size[1]], stride, look


def assembled(plan: TilePlan, look: Any) -> NDArray[np.uint8]:
    tiles = [look(plan.corner(tile), plan.window) for tile in range(len(plan))]

    def fetch(tile: int, y0: int, x0: int, y1: int, x1: int) -> NDArray[np.uint8]:
        top, left = plan.corner(tile)
        part: NDArray[np.uint8] = tiles[tile][y0 - top : y1 - top, x0 - left : x1 - left]
        return part

    made = np.empty((plan.rows.length, plan.columns.length), np.uint8)
    for tile in range(len(plan)):
        y0, x0, y1, x1 = plan.cell(tile)
        made[y0:y1, x0:x1] = blend_cell(plan, tile, fetch)
    return made


def compared(made: NDArray[np.uint8], whole: NDArray[np.uint8], plan: TilePlan) -> dict[str, Any]:
    difference = np.abs(made.astype(np.int16) - whole.astype(np.int16))
    counts = np.bincount(difference.ravel(), minlength=256)
    reached = np.cumsum(counts) / difference.size
    road = max(1, int(np.count_nonzero(whole >= LEVEL)))
    windows = len(plan) * plan.window[0] * plan.window[1]
    return {
        "tile": plan.window[0],
        "overlap": plan.overlap,
        "windows": len(plan),
        "computed_twice": windows / difference.size - 1,
        "largest": int(difference.max()),
        "p9999": float(np.argmax(reached >= 0.9999)),
        "mean": float(difference.mean()),
        "flipped_share": float(np.count_nonzero((made >= LEVEL) != (whole >= LEVEL)) / difference.size),
        "flipped_of_road": float(np.count_nonzero((made >= LEVEL) != (whole >= LEVEL)) / road),
    }


def page(record: dict[str, Any]) -> str:
    lines = [
        "# Seams",
        "",
        f"Probability (0 … 255) of a {record['side_px']} × {record['side_px']} scene of the synthetic city with "
        f"{record['points']:,} points at {record['gsd_m']} m, `{record['model']}`: windows, blended, against one look "
        "at the whole. `mask` is the share of all pixels that fall on the other side of one half.",
        "",
        "| window | shared | windows | computed twice | largest | 99.99 % | mean | mask |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in record["rows"]:
        lines.append(
            f"| {row['tile']} | {row['overlap']} | {row['windows']} | {row['computed_twice']:.0%} | {row['largest']} | "
            f"{row['p9999']:.0f} | {row['mean']:.3f} | {row['flipped_share']:.1e} |"
        )
    lines += [
        "",
        f"{record['date']} · {record['processor']}, {record['cpu_count']} CPUs · Python {record['python']}, openvino "
        f"{record['packages'].get('openvino')} · `{record['command']}`",
    ]
    return "\n".join(lines) + "\n"


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for side in sorted({row["tile"] for row in rows}):
        mine = [row for row in rows if row["tile"] == side]
        shared = [row["overlap"] for row in mine]
        axes[0].plot(shared, [row["largest"] for row in mine], marker="o", label=f"windows of {side}")
        axes[1].plot(shared, [100 * row["flipped_share"] for row in mine], marker="o", label=f"windows of {side}")
    axes[0].set(xlabel="shared pixels", ylabel="largest difference, of 255", ylim=(0, 260))
    axes[1].set(xlabel="shared pixels", ylabel="pixels whose mask differs, %", yscale="log")
    for one in axes:
        one.grid(alpha=0.3)
        one.legend(frameon=False)
    figure.suptitle("Windows, blended, against one look at the whole scene")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130)
    pyplot.close(figure)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
