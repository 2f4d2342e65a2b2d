"""What is done in which order, and what is left out when the time is short: the trial, then network after network."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.nvidia.budget import Budget
from benchmarks.nvidia.child import Outcome
from benchmarks.nvidia.ways import FILE_OF, RUNTIMES, Way, nothing, ways_of

Stage = Callable[[dict[str, Any], float], Outcome]  # a task and seconds

NETWORKS = ("roadedge-s", "cmipnet", "roadedge-n", "roadedge-m")  # what is asked about first comes first
BUILT = ("fp16", "int8", "tf32", "fp32")  # in this order: what is compared first is built first
TRIALS = ("8.0", "8.9", "12.0", "8.0,8.6,8.9,12.0", "current")
TRIAL_S, COMPILE_S, PREPARE_S, AGAIN_S = 75.0, 150.0, 90.0, 60.0  # the most that each may take
BUILDS = 0.55  # share of a network's time that its engines may take
AHEAD = "8.9"  # built for in a rehearsal


@dataclass(frozen=True, slots=True)
class Run:
    """How a run is done."""

    stage: Stage
    budget: Budget
    work: Path
    rehearsal: bool = False
    onnx: Path | None = None
    compile: bool = False

    @property
    def size(self) -> int:
        """Pixels of the sides of a fresh network; a rehearsal need not be slow."""
        return 128 if self.rehearsal else 512

    @property
    def turns(self) -> dict[str, int]:
        """Rounds, calls and samples of a measurement."""
        return {"rounds": 2, "timed": 1, "warm_up": 1, "settle": 0, "samples": 1} if self.rehearsal else {}


class Session:
    """One run over all networks. `save` gets the document each time that it has grown."""

    def __init__(self, run: Run, seen: Mapping[str, Any], save: Callable[[dict[str, Any]], object]) -> None:
        self._run, self._save = run, save
        self._software: dict[str, Any] = seen["software"]
        self._capabilities = AHEAD if run.rehearsal else "current"
        self.document: dict[str, Any] = {
            "schema_version": 1,
            "rehearsal": "no GPU: script rehearsal" if run.rehearsal else "",
            "budget_s": run.budget.total_s,
            "seconds": 0.0,
            **seen,
            "rtx_trial": {},
            "networks": [],
        }

    def measure(self, networks: list[str]) -> dict[str, Any]:
        """All of it; the document is whole after each network."""
        todo = [self._empty(name, "skipped: its turn has not come") for name in networks]
        self.document["networks"] = todo
        self._grown("begun")  # that the results cannot be written is found now
        first: dict[str, Any] | None = None
        for number, name in enumerate(networks):
            share = self._run.budget.share(len(networks) - number)
            files = self._prepared(name, share)
            if first is None:  # the trial takes the first network's FP16 file
                self.document["rtx_trial"] = self.trial(files)
                share = self._run.budget.share(len(networks) - number)
            first = first or files
            todo[number] = self.network(name, files, share)
            self._grown(f"{name} done")
        if self._run.compile and first is not None:
            self._compiled(first, todo[0])
            self._grown("torch.compile done")
        return self.document

    def trial(self, files: dict[str, Any]) -> dict[str, Any]:
        """Build the FP16 file for several GPUs with TensorRT for RTX, and load and run each engine here."""
        found = self._software["tensorrt-rtx"]
        if not found["available"]:
            return {"not_available": found["why"]}
        if "fp16" not in files["onnx"]:
            return {"not_available": files["missing"].get("fp16", "there is no FP16 file to build")}
        budget = self._run.budget.share(1, TRIAL_S)
        rows = []
        for number, capabilities in enumerate(TRIALS):
            folder = self._run.work / f"trial-{number}"
            task = {"kind": "trial", "onnx": files["onnx"]["fp16"], "folder": str(folder), "capabilities": capabilities}
            done = self._stage(task, budget)
            nothing_done = {"built": False, "loads": False, "runs": False, "why": done.why}
            rows.append(done.result or {"capabilities": capabilities, **nothing_done})
            self._say(f"RTX engine for {capabilities}: {'runs' if rows[-1]['runs'] else rows[-1]['why']}")
        able = [row["capabilities"] for row in rows if row["runs"]]
        if able:  # built for this very GPU where that works
            self._capabilities = "current" if "current" in able else able[0]
        elif not self._run.rehearsal:  # which builds all the same
            why = "none of its engines runs on this GPU; see what was tried"
            self._software = {**self._software, "tensorrt-rtx": {"available": False, "why": why}}
        return {"network": files["network"], "precision": "fp16", "rows": rows}

    def network(self, name: str, files: dict[str, Any], budget: Budget) -> dict[str, Any]:
        """Engines, then all ways in turns; where that process dies, each family alone."""
        entry = self._empty(name, "") | {key: files[key] for key in ("weights", "calibrated", "missing")}
        if not files["onnx"] and not files["checkpoint"]:
            return entry | {"rows": nothing("; ".join(sorted(set(files["missing"].values()))))}
        engines = budget.part(BUILDS)
        entry["builds"] = [self._built(name, files, *one, engines) for one in self._to_build()]
        ways, absent = ways_of(files, entry["builds"], self._software, self._run.rehearsal)
        if not ways:
            return entry | {"rows": absent}
        measured = self._measured(files, ways, budget)
        if measured.result is None:
            self._say(f"{name}: {measured.why}; each family alone")
            entry["remarks"] = [f"all ways in one process: {measured.why}; what follows was measured family by family"]
            found = self._family_by_family(files, ways, budget)
        else:
            found = measured.result
        remarks = [*entry["remarks"], *found.get("remarks", [])]
        return entry | found | {"rows": [*found["rows"], *absent], "remarks": remarks}

    def _prepared(self, name: str, budget: Budget) -> dict[str, Any]:
        folder = self._run.work / f"onnx-{name}"
        folder.mkdir(parents=True, exist_ok=True)
        task = {"kind": "prepare", "network": name, "folder": str(folder), "size": self._run.size}
        given = None if self._run.onnx is None else str(self._run.onnx)
        done = self._stage(task | {"given": given}, budget.share(1, PREPARE_S))
        if done.result is not None:
            return done.result
        why = f"its files could not be made: {done.why}"
        missing = dict.fromkeys(sorted(set(FILE_OF.values())), why)
        return {
            "network": name,
            "weights": "none",
            "onnx": {},
            "checkpoint": None,
            "calibrated": False,
            "missing": missing,
        }

    def _to_build(self) -> Iterator[tuple[str, str]]:
        for precision in BUILT:
            for runtime in RUNTIMES:
                if self._software[runtime]["available"]:
                    yield runtime, precision

    def _built(self, name: str, files: dict[str, Any], runtime: str, precision: str, budget: Budget) -> dict[str, Any]:
        row = {"runtime": runtime, "precision": precision}
        path = files["onnx"].get(FILE_OF[precision])
        if path is None:
            return row | {"not_available": files["missing"].get(FILE_OF[precision], "there is no file")}
        tf32 = precision == "tf32"
        cache = self._run.work / f"timing-{'tf32' if tf32 else 'fp32'}.cache" if runtime == "tensorrt" else None
        task = {
            "kind": "build",
            "onnx": path,
            "runtime": runtime,
            "folder": str(self._run.work / f"{name}-{runtime}-{precision}"),
            "tf32": tf32,
            "capabilities": self._capabilities,
            "cache": None if cache is None else str(cache),
        }
        done = self._stage(task, budget)
        self._say(f"{name}: {runtime} {precision} " + (done.why or f"built in {done.seconds:.0f} s"))
        return row | (done.result or {"not_available": done.why})

    def _measured(self, files: dict[str, Any], ways: list[Way], budget: Budget) -> Outcome:
        limit_s = min(budget.left_s, self._run.budget.left_s)
        task = {
            "kind": "measure",
            "files": files,
            "ways": [asdict(way) for way in ways],
            "limit_s": limit_s,
            "size": self._run.size,
            "device": "cpu" if self._run.rehearsal else "cuda",
            **self._run.turns,
        }
        done = self._stage(task, budget)
        self._say(f"{files['network']}: measured in {done.seconds:.0f} s" if done.result else done.why)
        return done

    def _family_by_family(self, files: dict[str, Any], ways: list[Way], budget: Budget) -> dict[str, Any]:
        found: dict[str, Any] = {"rows": [], "remarks": []}
        families = list(dict.fromkeys(way.family for way in ways))
        more = self._run.budget.part(0.5).share(1, AGAIN_S)  # the first try may have taken all of its share
        for number, family in enumerate(families):
            own = [way for way in ways if way.family == family]
            done = self._measured(files, own, more.share(len(families) - number))
            rows = [way.absent(done.why) for way in own]
            result = done.result or {"rows": rows, "remarks": []}
            rows = [*found["rows"], *result["rows"]]
            remarks = [*found["remarks"], *(f"{family}: {line}" for line in result["remarks"])]
            found = found | result | {"rows": rows, "remarks": remarks}
        return found

    def _compiled(self, files: dict[str, Any], entry: dict[str, Any]) -> None:
        """torch.compile beside the same network uncompiled, in one process; only where it was asked for."""
        if files["checkpoint"] is None:
            return
        compiled = Way("torch", "fp16", False, files["checkpoint"], True)
        ways = [Way("torch", "fp16", True, files["checkpoint"]), compiled]
        done = self._measured(files, ways, self._run.budget.share(1, COMPILE_S))
        rows = [compiled.absent(done.why)] if done.result is None else done.result["rows"]
        entry["rows"] += [row for row in rows if row["compiled"]]

    def _stage(self, task: dict[str, Any], budget: Budget) -> Outcome:
        least = min(budget.left_s, self._run.budget.left_s)
        if budget.why_not or self._run.budget.why_not:
            return Outcome(None, budget.why_not or self._run.budget.why_not, 0.0)
        return self._run.stage(task, least)

    def _grown(self, what: str) -> None:
        self.document["seconds"] = round(self._run.budget.spent_s, 1)
        self._save(self.document)
        self._say(what)

    def _say(self, what: str) -> None:
        print(f"[{self._run.budget.spent_s:4.0f} s] {what}", file=sys.stderr, flush=True)

    def _empty(self, name: str, why: str) -> dict[str, Any]:
        rows = nothing(why) if why else []
        named = {"network": name, "weights": "none", "calibrated": True, "missing": {}}
        return named | {"builds": [], "rows": rows, "remarks": []}
