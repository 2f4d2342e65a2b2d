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


def run_child(command: Sequence[str], task: Mapping[str, Any], limit_s: float) -> Outcome:
    """Run `command TASK OUT`, two JSON files, and read what it wrote.

    Args:
        command: of a program that calls `answer` with its last two arguments.
        task: what it is to do, as JSON values.
        limit_s: after this it is killed, with all that it started.
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
                status = process.wait(max(limit_s, 0.0))
            except subprocess.TimeoutExpired:
                kill(process)
                return Outcome(None, f"stopped after {limit_s:.0f} s, its share of the time", time.monotonic() - began)
            except BaseException:
                kill(process)
                raise
        seconds = time.monotonic() - began
        if status == 0 and out.is_file():
            answered = json.loads(out.read_text())
            return Outcome(answered.get("result"), answered.get("failed", ""), seconds)
        return Outcome(None, ended(status, log.read_text(errors="replace")), seconds)


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


def held_mib(process: int | str = "self") -> float:
    """Memory that a process holds; zero where the system does not tell."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    return 0.0 if found is None else int(found[1]) / 1024


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a process with all that it started, and wait for it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it ended by itself in this moment
    finally:
        process.wait()


def ended(status: int, log: str) -> str:
    """How a process ended that left no result, and the last line that it said."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    last = f"; the last that it said: {lines[-1][:200]}" if lines else ""
    if status < 0:
        return f"its process ended by {signal.Signals(-status).name}{last}"
    return f"its process ended with status {status} and without a result{last}"
