"""What a benchmark leaves behind: metrics.json, frames.csv, env.json, report.html, and a file to pass on."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadedge.atomic import write_bytes, write_json, write_text
from roadedge.benchmark.energy import energy
from roadedge.benchmark.measured import Measured
from roadedge.errors import OutputError, RunInvalidError
from roadedge.latency.profile import CSV_COLUMNS, FrameRecord, Profile
from roadedge.latency.report import write_report
from roadedge.latency.verdict import Verdict

SCHEMA_VERSION = 1
KIND = "roadedge benchmark"
# What a submission holds: nothing that names a person, a machine on a network, or a folder.
SUBMITTED = ("schema_version", "kind", "model", "verdict", "header", "throughput_per_s", "own", "layers", "comparison")
ENVIRONMENT = ("roadedge", "python", "platform", "processor", "cpu_count", "packages", "date")
MACHINE = ("every_s", "seconds", "summary", "throttle", "facts", "power_from", "power_note", "clocks_locked")


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """What a benchmark left behind. `missed` are sentences about targets of --slo, `asked` whether there were any."""

    folder: Path
    measured: Measured
    verdict: Verdict
    metrics: dict[str, Any]
    missed: tuple[str, ...] = ()
    asked: bool = False

    @property
    def interrupted(self) -> bool:
        """Ctrl-C ended it."""
        return self.measured.interrupted and self.measured.error is None

    def check(self, require_valid: bool = False) -> None:
        """Raise what the exit code should say, now that all is written.

        Raises:
            RoadEdgeError: what broke the measurement off, or failed after it.
            RunInvalidError: a target was missed; or the run is INVALID, which proves no target, and a target or
                `require_valid` was given.
        """
        if self.measured.error is not None:
            raise self.measured.error
        if self.missed:
            raise RunInvalidError("missed: " + "; ".join(self.missed))
        if (require_valid or self.asked) and not self.verdict.valid:
            met = "the targets are met, but " if self.asked else ""
            raise RunInvalidError(f"{met}the run is INVALID: {'; '.join(self.verdict.reasons)}")


def metrics_of(
    measured: Measured, verdict: Verdict, header: Mapping[str, Any], facts: Mapping[str, Any], watch: Any,
    watch_began_ns: int, idle_w: float | None,
) -> dict[str, Any]:  # fmt: skip
    """The content of metrics.json: what `infer` writes, the header, and the times of single frames for `compare`."""

    def joules(span_ns: tuple[int, int], images: int) -> dict[str, Any] | None:
        begin_s, end_s = ((moment - watch_began_ns) / 1e9 for moment in span_ns)
        return energy(watch, begin_s, end_s, images, idle_w)

    own = dict(measured.own)
    if measured.sweep:
        own["batches"] = [
            {**one.to_dict(), "energy": joules((one.begin_ns, one.end_ns), one.images)} for one in measured.sweep
        ]
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": KIND,
        "verdict": verdict.to_dict(),
        "header": dict(header),
        **facts,
        **measured.profile.to_dict(),
        "throughput_per_s": measured.throughput_per_s,
        "run_began_s": (measured.began_ns - watch_began_ns) / 1e9,  # by the machine's watch
        "interrupted": measured.interrupted,
        "energy": joules(measured.span_ns, measured.images),
        "idle_w": idle_w,
        "own": own,
        "scores": None,
        "samples_ms": measured.samples_ms,
    }


def write_all(folder: Path, result: BenchmarkResult, submit: Path | None = None) -> None:
    """Write the files of a run, metrics.json first: of what a full disk cuts off, it is the part that counts.

    Raises:
        OutputError: one cannot be written.
    """
    write_json(folder / "metrics.json", result.metrics)
    if submit is not None:
        write_json(submit, submission(result.metrics, result.measured.profile))
    write_json(folder / "env.json", result.metrics["environment"])
    write_text(folder / "frames.csv", frames_csv(result.measured.records))
    profile = result.measured.profile
    write_report(folder / "report.html", result.metrics, result.measured.records, profile, result.verdict, [])


def frames_csv(records: Iterable[FrameRecord]) -> str:
    """One row a frame, dropped ones included."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(CSV_COLUMNS)
    table.writerows(record.csv_row() for record in records)
    return text.getvalue()


def submission(metrics: Mapping[str, Any], profile: Profile) -> dict[str, Any]:
    """What may be passed on: no host, user, folder or command line; the machine, its clocks and the times."""
    found = {name: metrics.get(name) for name in SUBMITTED}
    found["model"] = {"name": metrics["runner"]["model"], "sha256": metrics["header"]["artefact_sha256"]}
    source = str(metrics["header"]["source"])
    found["header"] = {**metrics["header"], "source": source if source.startswith("synth:") else "files"}
    found["environment"] = {name: metrics["environment"].get(name) for name in ENVIRONMENT}
    machine = metrics.get("machine") or {}
    found["machine"] = {name: machine.get(name) for name in MACHINE}
    found["profile"] = profile.to_dict()
    found["energy"] = metrics.get("energy")
    found["samples_ms"] = metrics["samples_ms"]
    return found


def check_writable(path: Path) -> None:
    """Prove before measuring that a file can be written there.

    Raises:
        OutputError: it cannot.
    """
    path = path.expanduser()
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder; give --submit-json the name of a file")
    probe = path.with_name(f".{path.name}.probe")
    try:
        write_bytes(probe, bytes(4096))
        probe.unlink()
    except OSError as error:
        reason = getattr(error.__cause__, "strerror", None) or error.strerror or error
        raise OutputError(f"cannot write {path}: {reason}; give --submit-json another file") from error
