"""A stage in a process of its own: what it returns, or one sentence on why it returned nothing.

TensorRT and CUDA can take a process down or hang it, and after a failed kernel nothing in that process works any more.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from roadedge.atomic import write_json
from roadedge.errors import RoadEdgeError

LONGEST = 400  # characters of a sentence in the results
LOOK_S = 0.25  # between two looks at the memory of a process


@dataclass(frozen=True, slots=True)
class Outcome:
    """`result` of a stage; None where it failed, and then `why` says it in one sentence."""

    result: dict[str, Any] | None
    why: str
    seconds: float


def sentence(error: BaseException) -> str:
    """An error in one line; one of this package speaks for itself, another one is named by its kind."""
    text = " ".join(str(error).split())
    text = text if isinstance(error, RoadEdgeError) else f"{type(error).__name__}: {text}"
    return text if len(text) <= LONGEST else text[: LONGEST - 2] + " …"


def run_child(
    command: Sequence[str], task: Mapping[str, Any], limit_s: float, memory_mib: float | None = None
) -> Outcome:
    """Run `command TASK OUT`, two JSON files, and read what it wrote.

    Args:
        command: of a program that calls `answer` with its last two arguments.
        task: what it is to do, as JSON values.
        limit_s: after this it is killed, with all that it started.
        memory_mib: so it is where its process holds more than this, on systems that tell.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="roadedge-stage-") as name:
        given, out, log = (Path(name) / file for file in ("task.json", "out.json", "log.txt"))
        given.write_text(json.dumps(task))
        with log.open("wb") as said:
            process = subprocess.Popen(
                [*command, str(given), str(out)],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                status = _watched(process, max(limit_s, 0.0), memory_mib)
            except (subprocess.TimeoutExpired, MemoryError) as stopped:
                _kill(process)
                late = f"stopped after {limit_s:.0f} s, its share of the time"
                why = str(stopped) if isinstance(stopped, MemoryError) else late
                return Outcome(None, why, time.monotonic() - began)
            except BaseException:
                _kill(process)
                raise
        seconds = time.monotonic() - began
        if status == 0 and out.is_file():
            answered = json.loads(out.read_text())
            return Outcome(answered.get("result"), answered.get("failed", ""), seconds)
        return Outcome(None, _ended(status, log.read_text(errors="replace")), seconds)


def answer(kinds: Mapping[str, Callable[..., dict[str, Any]]], given: str, out: str) -> NoReturn:
    """In the process of a stage: do the task, write the result or the failure, and end."""
    task = json.loads(Path(given).read_text())
    written: dict[str, Any]
    try:
        written = {"result": kinds[task.pop("kind")](**task)}
    except Exception as error:  # whatever a stage raises is one line of the results
        print(sentence(error), file=sys.stderr)
        written = {"failed": sentence(error)}
    write_json(out, written)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # libraries of CUDA may fail while they are unloaded, and the result is written


def _watched(process: subprocess.Popen[bytes], limit_s: float, memory_mib: float | None) -> int:
    """The exit status of a process; raises TimeoutExpired or MemoryError where it goes beyond its share."""
    if memory_mib is None:
        return process.wait(limit_s)
    end = time.monotonic() + limit_s
    while True:
        try:
            return process.wait(max(0.0, min(LOOK_S, end - time.monotonic())))
        except subprocess.TimeoutExpired:
            if time.monotonic() >= end:
                raise
        if (held := _held_mib(process.pid)) > memory_mib:
            raise MemoryError(f"stopped at {held:.0f} MiB, its share of the memory is {memory_mib:.0f} MiB")


def _held_mib(process: int) -> float:
    """Memory that a process holds; zero where the system does not tell."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    return 0.0 if found is None else int(found[1]) / 1024


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it ended by itself in this moment
    finally:
        process.wait()


def _ended(status: int, log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    last = f"; the last that it said: {lines[-1][:200]}" if lines else ""
    if status < 0:
        return f"its process ended by {signal.Signals(-status).name}{last}"
    return f"its process ended with status {status} and without a result{last}"
