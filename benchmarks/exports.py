"""The export table: network × {ONNX, FP16, INT8}, built or the reason, differences, TensorRT-RTX, and milliseconds.

    python benchmarks/exports.py [--only a,b] [--resume]            # builds, an hour or two; may run beside other work
    python benchmarks/exports.py --time [--only a,b] [--resume]     # times what was built; alone on a quiet machine
    python benchmarks/exports.py --report                           # writes the table of what is known

A process works through the networks under limits of time and memory for each: where it crashes, hangs or grows, that is
the reason in the cells of that network, and another process goes on with the rest. What was found lies cell by cell in
the working folder; --resume goes on from there, and without it everything asked for is made anew. An FP16 file that
parity refused is tried again with `--keep-float32 auto`, in a cell of its own. The table is written
after each network to exports-<date>.json and .md. Exit codes: 0 done, 2 wrong options, 130 interrupted.
"""

from __future__ import annotations

import argparse
import datetime
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.export_table.networks import TIMED, in_order  # noqa: E402
from benchmarks.export_table.report import collect, document, markdown  # noqa: E402
from benchmarks.export_table.stages import HALVES, PRECISIONS, cell_file, kept_cells, refused_halves  # noqa: E402
from benchmarks.export_table.timing import LEAST, MOST, fill  # noqa: E402
from benchmarks.export_table.worker import Limits, obey, work_through  # noqa: E402
from roadedge.atomic import write_json, write_text  # noqa: E402
from roadedge.environment import environment  # noqa: E402

BUILT = (*PRECISIONS, *(f"rtx-{precision}" for precision in PRECISIONS))  # columns of cells


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="networks, with commas between; default all, for --time the smallest and the "
                        "published ones of each family")  # fmt: skip
    parser.add_argument("--time", action="store_true", help="measure milliseconds of what was built")
    parser.add_argument("--report", action="store_true", help="write the table of what is known and stop")
    parser.add_argument("--resume", action="store_true", help="keep what the working folder knows already")
    parser.add_argument("--side", type=int, default=512, help="pixels of the sides of the graphs")
    parser.add_argument("--threads", type=int, default=2, help="of each back-end, when it is timed")
    parser.add_argument("--limit-s", type=float, default=1800.0, help="seconds of one network")
    parser.add_argument("--memory-mib", type=float, default=6000.0, help="of the process that is at a network")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "exports", help="folder of files and cells")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "benchmarks" / "results", help="of the table")
    given = parser.parse_args(arguments)
    known = in_order()
    default = [name for name in known if name in TIMED] if given.time else known
    given.networks = given.only.split(",") if given.only else default
    unknown = sorted(set(given.networks) - set(known))
    if unknown:
        parser.error(f"no such network: {', '.join(unknown)}; choose from {', '.join(known)}")
    return given


def main(arguments: list[str] | None = None) -> int:
    """Build or time, network after network, and write the table."""
    given = parse(arguments)
    given.work.mkdir(parents=True, exist_ok=True)
    for asked in (signal.SIGINT, signal.SIGTERM):  # also in the background, where a shell has SIGINT ignored
        signal.signal(asked, signal.default_int_handler)
    try:
        if not given.report:
            _work(given)
    except KeyboardInterrupt:
        _write(given)
        _say("interrupted; go on with --resume")
        return 130
    if not collect(given.work, in_order()):
        _say(f"nothing is known of any network in {given.work.resolve()}; leave --report out, or give its --work")
        return 2
    stem = _write(given)
    _say(f"Results saved to {stem}.json and {stem}.md")
    return 0


def _work(given: argparse.Namespace) -> None:
    """Do what is left to do, and write the table behind each network."""
    columns = ("time",) if given.time else BUILT
    wanted = [n for n in given.networks if not (given.resume and all(c.is_file() for c in _cells(given, n, columns)))]
    for name in wanted:
        kept = [] if given.time else [cell for half in HALVES for cell in kept_cells(given.work, name, half)]
        for cell in (*_cells(given, name, columns), *kept):
            cell.unlink(missing_ok=True)

    def ended(name: str, why: str) -> None:
        for cell in _cells(given, name, columns):
            if given.time:
                fill(cell, why)
            elif not cell.is_file():
                write_json(cell, {"built": False, "why": why or "nothing was found"})

    _through(given, "--timing" if given.time else "--building", wanted, ended)
    if not given.time:
        _keep_float32(given)


def _keep_float32(given: argparse.Namespace) -> None:
    """Try what parity refused in FP16 again, with parts in float32; nothing else is made anew."""
    refused = {name: refused_halves(given.work, name) for name in given.networks}

    def ended(name: str, why: str) -> None:
        for precision in refused[name]:
            for cell in kept_cells(given.work, name, precision):
                if not cell.is_file():
                    write_json(cell, {"built": False, "why": why or "nothing was found"})

    _through(given, "--keeping", [name for name, precisions in refused.items() if precisions], ended)


def _through(given: argparse.Namespace, stage: str, names: list[str], ended: Callable[[str, str], None]) -> None:
    """Have networks worked on, and say and write what is known as each of them ends."""
    began = time.monotonic()
    count = 0

    def done(name: str, why: str) -> None:
        nonlocal count
        count += 1
        ended(name, why)
        minutes = (time.monotonic() - began) / 60
        _say(f"[{count}/{len(names)}] {name}: {why or 'done'}; {minutes:.1f} min so far")
        _write(given)

    task: dict[str, Any] = {"work": str(given.work.resolve()), "side": given.side}
    if stage == "--timing":
        task["threads"] = given.threads
    limits = Limits(given.limit_s, given.memory_mib)
    work_through([sys.executable, __file__, stage], names, task, limits, done)


def _cells(given: argparse.Namespace, name: str, columns: Sequence[str]) -> list[Path]:
    return [cell_file(given.work, name, column) for column in columns]


def _worker(stage: str, task: str) -> NoReturn:
    """In the process that does the work; what it needs is imported there alone."""
    from benchmarks.export_table.stages import engines, export_floats, keep_float32, quantize
    from benchmarks.export_table.timing import measure

    kinds: dict[str, list[Callable[..., None]]] = {
        "--timing": [measure], "--keeping": [keep_float32], "--building": [export_floats, quantize, engines],
    }  # fmt: skip
    obey(kinds[stage], task)


def _write(given: argparse.Namespace) -> Path:
    settings = {"side": given.side, "threads": given.threads, "calls": f"{LEAST} to {MOST}"}
    found = document(collect(given.work, in_order()), settings, environment())
    stem: Path = given.output / f"exports-{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}"
    write_json(stem.with_suffix(".json"), found)
    write_text(stem.with_suffix(".md"), markdown(found))
    return stem


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] in (["--building"], ["--keeping"], ["--timing"]):
        _worker(sys.argv[1], sys.argv[2])
    sys.exit(main())
