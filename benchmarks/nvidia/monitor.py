"""Clocks, temperature, power and what holds the clocks down, as nvidia-smi tells them; nothing is ever set."""

from __future__ import annotations

import csv
import os
import re
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

Ask = Callable[[Sequence[str]], "tuple[int, str]"]  # arguments of nvidia-smi → exit status, text

FIELDS = {  # of --query-gpu → name in the results
    "name": "name",
    "driver_version": "driver",
    "pstate": "pstate",
    "clocks.sm": "sm_mhz",
    "clocks.mem": "memory_mhz",
    "clocks.max.sm": "sm_most_mhz",
    "temperature.gpu": "temperature_c",
    "power.draw": "power_w",
    "power.limit": "power_limit_w",
    "utilization.gpu": "utilisation_percent",
    "memory.used": "memory_used_mib",
    "memory.total": "memory_total_mib",
}
TEXTS = ("name", "driver", "pstate")
REASONS_FIELDS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")  # newer and older drivers
# Source: NVML API reference, group nvmlClocksEventReasons.
REASONS = {
    0x1: "idle",
    0x2: "application clocks",
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
    0x100: "display clocks",
    0x200: "board limit",
    0x400: "reliability",
}
THROTTLES = 0x4 | 0x8 | 0x20 | 0x40 | 0x80 | 0x200 | 0x400  # the clocks are lower than what is asked for
NOT_TOLD = ("n/a", "[n/a]", "[not supported]", "not supported", "[unknown error]", "")


def state(ask: Ask | None = None) -> dict[str, Any]:
    """The GPU at this moment as JSON values; None for what it does not tell, `not_available` where nothing answers.

    `throttled` is None where the reasons cannot be read. `other_processes` counts those that compute on the GPU and are
    not this one; a container may hide them.
    """
    ask = ask or nvidia_smi
    for reasons in (*REASONS_FIELDS, None):
        names = [*FIELDS, *([reasons] if reasons else [])]
        status, text = ask([f"--query-gpu={','.join(names)}", "--format=csv,noheader,nounits"])
        if status == 0 and text.strip():
            return _read(names, text) | {"other_processes": other_processes(ask)}
        if "not a valid field" not in text:
            break
    return {"not_available": " ".join(text.split())[:200] or f"nvidia-smi ended with status {status}"}


def reasons_of(mask: int) -> list[str]:
    """Bits → words; a bit that is not known is written as it is."""
    known = [word for bit, word in REASONS.items() if mask & bit]
    rest = mask & ~sum(REASONS)
    return known + ([f"0x{rest:x}"] if rest else [])


def other_processes(ask: Ask) -> int | None:
    """How many processes but this one compute on the GPU; None where that is not told."""
    status, text = ask(["--query-compute-apps=pid", "--format=csv,noheader,nounits"])
    if status != 0:
        return None
    pids = {int(word) for word in re.findall(r"^\s*(\d+)\s*$", text, re.MULTILINE)}
    return len(pids - {os.getpid()})


def remarks(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What of two states a reader of the times between them must know."""
    lines = []
    for when, one in (("before", before), ("after", after)):
        if "not_available" in one:
            continue  # which stands there already
        if one["throttled"]:
            lines.append(f"throttled {when} the measurement: {', '.join(one['reasons'])}")
        if one["other_processes"]:
            lines.append(f"{one['other_processes']} other processes used the GPU {when} the measurement")
    return lines


def nvidia_smi(arguments: Sequence[str]) -> tuple[int, str]:
    """Ask the first GPU that CUDA shows."""
    shown = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
    try:
        done = subprocess.run(
            ["nvidia-smi", "-i", shown or "0", *arguments], capture_output=True, text=True, timeout=20, check=False
        )
    except FileNotFoundError:
        return 127, "there is no nvidia-smi"
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, f"nvidia-smi cannot be asked ({type(error).__name__})"
    return done.returncode, done.stdout if done.returncode == 0 else done.stdout + done.stderr


def _read(names: Sequence[str], text: str) -> dict[str, Any]:
    cells = [cell.strip() for cell in next(csv.reader([text.strip().splitlines()[0]]))]
    told = dict(zip(names, cells, strict=False))
    found: dict[str, Any] = {}
    for field, name in FIELDS.items():
        cell = told.get(field, "")
        found[name] = None if cell.lower() in NOT_TOLD else cell if name in TEXTS else _number(cell)
    mask = next((_mask(told[field]) for field in REASONS_FIELDS if field in told), None)
    found["reasons"] = None if mask is None else reasons_of(mask)
    found["throttled"] = None if mask is None else bool(mask & THROTTLES)
    return found


def _number(cell: str) -> float | None:
    match = re.match(r"-?\d+(?:\.\d+)?", cell)
    return float(match.group()) if match else None


def _mask(cell: str) -> int | None:
    try:
        return int(cell, 16)
    except ValueError:
        return None
