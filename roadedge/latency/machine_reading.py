"""What a reader of the machine's state gives, and reading the small files that Linux gives it in."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at a part of the machine.

    Attributes:
        values: numbers by name; the unit ends the name, a share lies in [0, 1].
        throttle: what slows the machine down at this moment.
        facts: what does not change from second to second, as text.
        failed: what could not be read and why.
    """

    values: dict[str, float] = field(default_factory=dict)
    throttle: tuple[str, ...] = ()
    facts: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


class Reader(Protocol):
    """Looks at one part of the machine and changes nothing.

    `sees_throttle` says that it notices when the hardware slows itself down: it looked for that and could read it. A
    container's quota is not hardware.
    """

    name: str
    sees_throttle: bool

    def read(self, at_s: float) -> Reading:
        """Look now; `at_s` is the time of the look, from which rates are made."""
        ...

    def close(self) -> None:
        """Give back what was opened."""
        ...


class AbsentError(LookupError):
    """This machine has no such part; the message says what was looked for."""


def text_of(path: Path) -> str:
    """A small text file without white space and NUL at its ends.

    Raises:
        OSError: it cannot be read; a sensor that is powered down says so here.
    """
    return path.read_text(encoding="utf-8", errors="replace").strip("\0 \t\r\n")


def text_or_none(path: Path) -> str | None:
    """As `text_of`, None where the file cannot be read."""
    try:
        return text_of(path)
    except OSError:
        return None


def number_of(path: Path) -> float:
    """The first number of a small file.

    Raises:
        OSError: it cannot be read.
        ValueError: it holds no finite number.
    """
    text = text_of(path)
    found = float(text.split()[0]) if text else math.nan
    if not math.isfinite(found):
        raise ValueError(f"{path.name} holds {text!r}, no number")
    return found


def number_or_none(path: Path) -> float | None:
    """As `number_of`, None where there is no number to read."""
    try:
        return number_of(path)
    except (OSError, ValueError):
        return None


def folders(pattern_root: Path, pattern: str) -> list[Path]:
    """What matches, in the order of the numbers in the names: cooling_device2 before cooling_device10."""
    found = pattern_root.glob(pattern)
    return sorted(found, key=lambda path: [int(part) if part.isdigit() else part for part in _parts(path.name)])


def key_of(name: str) -> str:
    """`VDD_IN` → `vdd_in`, `cpu-thermal` → `cpu_thermal`: a name as a part of a key."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "unnamed"


def reason(error: Exception) -> str:
    """What an exception says, in one line, never empty."""
    told = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(told).split())


def _parts(name: str) -> list[str]:
    return re.split(r"(\d+)", name)
