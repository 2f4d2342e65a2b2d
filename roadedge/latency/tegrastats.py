"""The text of NVIDIA's tegrastats, of JetPack 5 and 6, and a reader that runs it for what sysfs keeps to root."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from pathlib import Path

from roadedge.latency.machine_linux import COLDEST_C, HOTTEST_C
from roadedge.latency.machine_reading import AbsentError, Reading, key_of

PROGRAM = "tegrastats"


def parse_tegrastats(line: str) -> dict[str, float]:
    """Values of one line.

    Args:
        line: `RAM 6982/7620MB … CPU [97%@1984,off] EMC_FREQ 18%@3199 GR3D_FREQ 84%@[713] … cpu@65.5C VDD_IN
            17946mW/15710mW`. Of a pair of powers the first is now, the second a mean since tegrastats began.

    Returns:
        Shares in [0, 1], megahertz, megabytes, degrees and watts under the names that the other readers use.

    Raises:
        ValueError: the line is none of tegrastats.
    """
    values: dict[str, float] = {}
    memory = re.search(r"\bRAM (\d+)/(\d+)MB", line)
    if memory is None:
        raise ValueError(f"no line of tegrastats: {line[:60]!r}")
    used, total = map(float, memory.groups())
    values["memory_available_mb"] = total - used
    if swap := re.search(r"\bSWAP (\d+)/\d+MB", line):
        values["swap_used_mb"] = float(swap.group(1))
    values |= _processors(line)
    if emc := re.search(r"\bEMC_FREQ (\d+)%(?:@(\d+))?", line):
        values["emc_util"] = float(emc.group(1)) / 100
        if emc.group(2):
            values["emc_mhz"] = float(emc.group(2))
    if gpu := re.search(r"\bGR3D_FREQ (\d+)%(?:@\[?(\d+))?", line):
        values["gpu_util"] = float(gpu.group(1)) / 100
        if gpu.group(2):
            values["gpu_mhz"] = float(gpu.group(2))
    degrees = {
        f"temp_{key_of(name)}_c": float(text)
        for name, text in re.findall(r"\b([A-Za-z]\w*)@(-?\d+(?:\.\d+)?)C\b", line)
        if COLDEST_C < float(text) < HOTTEST_C
    }
    if degrees:
        values |= degrees | {"temp_c": max(degrees.values())}
    rails = re.findall(r"\b([A-Z][A-Z0-9_]+) (\d+)(?:mW)?/(\d+)(?:mW)?(?=\s|$)", line)
    values |= {f"rail_{key_of(name)}_w": float(now) / 1000 for name, now, _ in rails if name != "NC"}
    return values


def _processors(line: str) -> dict[str, float]:
    """Mean load and clock of the processors that are on."""
    listed = re.search(r"\bCPU \[([^\]]*)\]", line)
    pairs = re.findall(r"(\d+)%@(\d+)", listed.group(1)) if listed else []
    if not pairs:
        return {}
    return {
        "cpu_load": sum(float(load) for load, _ in pairs) / 100 / len(pairs),
        "cpu_mhz": sum(float(clock) for _, clock in pairs) / len(pairs),
        "cpu_mhz_min": min(float(clock) for _, clock in pairs),
    }


class TegrastatsReader:
    """Runs `tegrastats --interval 1000`, which changes nothing, and gives its newest line."""

    name, sees_throttle = PROGRAM, False

    def __init__(self, root: Path, program: str | None = None) -> None:
        """Start it.

        Raises:
            AbsentError: this machine has no tegrastats, or it does not start.
        """
        found = program or (shutil.which(PROGRAM) if root == Path("/") else None)
        if found is None:
            raise AbsentError("no tegrastats: not a Jetson, or a container without it")
        try:
            self._process = subprocess.Popen(
                [found, "--interval", "1000"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                errors="replace",
                start_new_session=True,  # Ctrl-C ends the run, and the run ends this
            )
        except OSError as error:
            raise AbsentError(f"{found} does not start: {error.strerror}") from error
        self._line = ""
        self._thread = threading.Thread(target=self._follow, name=PROGRAM, daemon=True)
        self._thread.start()

    def read(self, at_s: float) -> Reading:
        """What the newest line says; before the first line nothing, after its end a failure."""
        if not self._thread.is_alive():
            return Reading(failed={self.name: f"it ended with {self._process.poll()}"})
        return Reading(parse_tegrastats(self._line)) if self._line else Reading()

    def close(self) -> None:
        """Stop it."""
        self._process.terminate()
        try:
            self._process.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._thread.join(timeout=2.0)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _follow(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._line = line.strip()
