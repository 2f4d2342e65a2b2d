"""Asking other programs for their version: what they print, or why they do not."""

from __future__ import annotations

import shutil
import subprocess

PATIENCE_S = 10.0


def said(*command: str) -> str | None:
    """What a program prints on stdout; None where it is absent, fails or does not answer in time."""
    program = shutil.which(command[0])
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *command[1:]], capture_output=True, text=True, errors="replace", timeout=PATIENCE_S, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def first_line(text: str | None) -> str | None:
    """The first line that holds something."""
    return next((line.strip() for line in (text or "").splitlines() if line.strip()), None)
