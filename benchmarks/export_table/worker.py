"""One process that works through many networks, and who watches it: libraries load once, a crash costs one network.

The worker says in a file which network it is at. Where it dies, hangs or grows, that network's missing cells get the
reason and another worker goes on behind it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from benchmarks.nvidia.child import ended, held_mib, kill
from roadedge.atomic import write_json

LOOK_S = 0.25  # between two looks at a worker
START_S = 300.0  # that a worker may take to load its libraries, on a machine that has much else to do


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one network: seconds, and the memory of the process that is at it."""

    seconds: float
    memory_mib: float


def work_through(
    command: Sequence[str],
    networks: Sequence[str],
    task: dict[str, Any],
    limits: Limits,
    done: Callable[[str, str], None],
) -> None:
    """Have all networks worked on.

    Args:
        command: of a program that calls `obey` with its last argument.
        networks: in this order.
        task: what goes to the work on each network, as JSON values.
        limits: of each network.
        done: is told each network as it ends, and why where its work was cut short.
    """
    left = list(networks)
    while left:
        with tempfile.TemporaryDirectory(prefix="roadedge-exports-") as folder:
            given, log = Path(folder) / "task.json", Path(folder) / "log.txt"
            order = {"networks": left, "task": task, "memory_mib": limits.memory_mib / 2, "parent": os.getpid()}
            write_json(given, order)
            with log.open("wb") as said:
                process = subprocess.Popen(
                    [*command, str(given)], stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
                )
                try:
                    why = _watched(process, Path(folder) / "at.json", left, limits, done)
                except BaseException:
                    kill(process)
                    raise
            if why is not None:
                done(left.pop(0), why or ended(process.returncode, log.read_text(errors="replace")))


def obey(kinds: Sequence[Callable[..., Any]], given: str) -> NoReturn:
    """In the worker: each network through all `kinds`, until all are done or too much memory is held."""
    path = Path(given)
    order = json.loads(path.read_text())
    for count, network in enumerate(order["networks"]):
        write_json(path.with_name("at.json"), {"ended": count, "since": time.time()})
        for kind in kinds:
            kind(network, **order["task"])
        if held_mib() > order["memory_mib"]:  # a fresh process takes over, before a large network comes
            break
        if os.getppid() != order["parent"]:  # nobody watches any more
            sys.exit(1)
    write_json(path.with_name("at.json"), {"ended": count + 1, "since": time.time()})
    sys.exit(0)


def _watched(
    process: subprocess.Popen[bytes], at: Path, left: list[str], limits: Limits, done: Callable[[str, str], None]
) -> str | None:
    """Tell of each network that ends and take it from `left`.

    Returns:
        None where the worker ended by itself and left nothing undone; else why it was stopped, empty where it died.
    """
    told, since = 0, time.time() + START_S  # it has the first network to begin with when its libraries are loaded
    while True:
        status = process.poll()
        if at.is_file():
            now = json.loads(at.read_text())
            since = now["since"]
            while told < now["ended"]:
                done(left.pop(0), "")
                told += 1
        if status is not None:
            return None if status == 0 and told else ""
        why = ""
        if time.time() - since > limits.seconds:
            why = f"stopped after {limits.seconds:.0f} s, its share of the time"
        elif (held := held_mib(process.pid)) > limits.memory_mib:
            why = f"stopped at {held:.0f} MiB, its share of the memory is {limits.memory_mib:.0f} MiB"
        if why:
            kill(process)
            return why
        time.sleep(LOOK_S)
