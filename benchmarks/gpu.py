"""Figures of a machine with an NVIDIA GPU: FP32, TF32, FP16 and INT8 side by side, in torch, TensorRT and its RTX kind.

Finds what is here, builds engines, compares all with FP32 on the CPU, measures with and without transfers and CUDA
graphs, and tries whether engines of TensorRT for RTX run on this GPU. What is not here is written as not available,
with the reason. Nothing is installed and no setting of the machine is changed. Results are written after each network.

    make gpu                                                    # or: bash benchmarks/gpu.sh [options]
    python benchmarks/gpu.py --dry-run                          # the script itself, without a GPU, in two minutes
    python benchmarks/gpu.py --prepare DIR                      # where torch is: graphs for a machine without it
    python benchmarks/gpu.py --onnx DIR                         # there: take them

writes <gpu>-<date>.json and .md into benchmarks/results; a rehearsal writes into a folder for temporary files. Exit
codes: 0 done, 2 wrong options, 3 no GPU answers, 130 interrupted.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a machine for measuring need not have the package installed

from benchmarks.nvidia.budget import Budget  # noqa: E402
from benchmarks.nvidia.child import Outcome, answer, run_child  # noqa: E402
from benchmarks.nvidia.plan import NETWORKS, Run, Session  # noqa: E402
from benchmarks.nvidia.report import REHEARSAL, markdown, sentences  # noqa: E402
from roadedge.atomic import write_json, write_text  # noqa: E402
from roadedge.environment import command_line  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
BUDGET_S, REHEARSAL_S = 540.0, 110.0
LOOK_S = 60.0  # to import what is here and say its version


def _kinds() -> dict[str, Any]:
    """What a stage's process can be asked for; imported there alone."""
    from benchmarks.nvidia.engines import build, trial
    from benchmarks.nvidia.found import look
    from benchmarks.nvidia.measuring import measure
    from benchmarks.nvidia.onnx_files import prepare

    return {"look": look, "prepare": prepare, "build": build, "trial": trial, "measure": measure}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(NETWORKS), help="in this order; what no longer fits is left out")
    parser.add_argument("--budget", type=float, help=f"seconds in all; {BUDGET_S:.0f}, rehearsed {REHEARSAL_S:.0f}")
    parser.add_argument("--dry-run", action="store_true", help="rehearse on the CPU; no GPU is looked for")
    parser.add_argument("--onnx", type=Path, help="folder of files that --prepare made, taken before the carried ones")
    parser.add_argument("--prepare", type=Path, help="write the files of all networks into this folder and stop")
    parser.add_argument("--compile", action="store_true", help="also torch.compile, which takes a minute or more")
    parser.add_argument("-o", "--output", type=Path, help="folder of the results")
    given = parser.parse_args(arguments)
    unknown = sorted(set(given.networks.split(",")) - set(NETWORKS))
    if unknown:
        parser.error(f"unknown network {unknown[0]!r}; choose from {', '.join(NETWORKS)}")
    if given.dry_run and given.output is not None and given.output.resolve() == RESULTS:
        parser.error("a rehearsal is no result and does not go into benchmarks/results; leave -o out, or give another")
    return given


def stage(task: dict[str, Any], limit_s: float) -> Outcome:
    """One stage in a process of its own."""
    return run_child([sys.executable, str(Path(__file__).resolve()), "--child"], task, limit_s)


def prepare_all(networks: list[str], folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    status = 0
    for network in networks:
        made = stage({"kind": "prepare", "network": network, "folder": str(folder), "size": 512}, 300.0)
        held = {} if made.result is None else made.result["onnx"]
        print(f"{network}: {', '.join(held) or made.why}", flush=True)
        status = status or int(made.result is None)
    print(f"Results saved to {folder.resolve()}")
    return status


def stem_of(document: dict[str, Any]) -> str:
    """`nvidia-h200-2026-11-21`, or `rehearsal-2026-11-21`."""
    name = "rehearsal" if document["rehearsal"] else document["device"]["gpu"]
    return f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}-{document['environment']['date'][:10]}"


def save(document: dict[str, Any], folder: Path) -> Path:
    """Write what is known so far, as JSON and as a table."""
    path = folder / f"{stem_of(document)}.json"
    write_json(path, document)
    write_text(path.with_suffix(".md"), markdown(document))
    return path


def main(arguments: list[str] | None = None) -> int:
    given = parse(arguments)
    networks = given.networks.split(",")
    if given.prepare is not None:
        return prepare_all(networks, given.prepare)
    budget = Budget(given.budget or (REHEARSAL_S if given.dry_run else BUDGET_S))
    seen = stage({"kind": "look"}, min(LOOK_S, budget.left_s))
    if seen.result is None:
        print(f"make gpu: this machine could not be looked at: {seen.why}", file=sys.stderr)
        return 3
    if seen.result["device"]["compute_capability"] is None and not given.dry_run:
        why = "; ".join(seen.result["device"]["absent"]) or "CUDA shows none"
        print(f"make gpu: no NVIDIA GPU answers here ({why}); nothing was measured", file=sys.stderr)
        return 3
    folder = given.output or (Path(tempfile.mkdtemp(prefix="roadedge-gpu-")) if given.dry_run else RESULTS)
    folder.mkdir(parents=True, exist_ok=True)
    if given.dry_run:
        print(REHEARSAL, flush=True)
    with tempfile.TemporaryDirectory(prefix="roadedge-gpu-work-") as work:
        run = Run(stage, budget, Path(work), given.dry_run, given.onnx, given.compile)
        seen.result["environment"]["command"] = command_line(sys.argv)  # not that of the stage
        session = Session(run, seen.result, lambda document: save(document, folder))
        status = 0
        try:
            session.measure(networks)
        except KeyboardInterrupt:
            print("interrupted; what was measured by then is kept", file=sys.stderr)
            status = 130
    path = save(session.document, folder)
    print(*sentences(session.document), sep="\n")
    print(f"Results saved to {path.resolve()} and {path.with_suffix('.md').name}")
    return status


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        answer(_kinds(), *sys.argv[2:4])
    sys.exit(main())
