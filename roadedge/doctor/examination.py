"""The whole examination: all findings, as a table for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadedge.doctor.finding import FAULT, NOTE, OK, WARNING, Finding
from roadedge.doctor.nvidia import nvidia_findings
from roadedge.doctor.pictures import picture_findings
from roadedge.doctor.runtimes import extra_findings, runtime_findings, try_backend
from roadedge.doctor.system import system_findings
from roadedge.errors import EnvironmentFault
from roadedge.latency.machine_jetson import is_jetson

SCHEMA_VERSION = 1
MARKS = {OK: "  ", NOTE: "- ", WARNING: "! ", FAULT: "X "}
COLOURS = {OK: "green", NOTE: "dim", WARNING: "yellow", FAULT: "bold red"}
ROOT = Path("/")


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found, in the order of the table; `trial` is the back-end that was really run."""

    findings: tuple[Finding, ...]
    trial: Finding

    @property
    def able(self) -> bool:
        """Whether the back-end that was asked for ran."""
        return self.trial.state != FAULT

    def check(self) -> None:
        """Raise EnvironmentFault, exit 3, where the back-end that was asked for does not run."""
        if not self.able:
            advice = f"; {self.trial.advice}" if self.trial.advice else ""
            raise EnvironmentFault(f"{self.trial.value}{advice}")

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "schema_version": SCHEMA_VERSION,
            "able": self.able,
            "trial": self.trial.to_dict(),
            "findings": [finding.to_dict() for finding in self.findings],
        }

    def lines(self) -> list[str]:
        """The table as plain text, one line a finding and an indented one for its advice."""
        width = max(len(finding.name) for finding in self.findings)
        told: list[str] = []
        section = None
        for finding in self.findings:
            if finding.section != section:
                section = finding.section
                told += ["", section] if told else [section]
            told.append(f"{MARKS[finding.state]}{finding.name:<{width}}  {finding.value}")
            if finding.advice:
                told.append(f"  {'':<{width}}  -> {finding.advice}")
        return told

    def show(self) -> None:
        """Print it: in colour on a terminal, as plain lines elsewhere."""
        import sys

        if not sys.stdout.isatty():
            print(*self.lines(), sep="\n")
            return
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, show_header=False, pad_edge=False)
        section = None
        for finding in self.findings:
            if finding.section != section:
                section = finding.section
                table.add_row(Text(section, style="bold"), "")
            value = Text(finding.value, style=COLOURS[finding.state] if finding.state != OK else "")
            if finding.advice:
                value.append(f"\n→ {finding.advice}", style="cyan")
            table.add_row(Text(f"  {finding.name}", style=COLOURS[finding.state]), value)
        Console(highlight=False).print(table)


def examine(backend: str = "auto", root: Path = ROOT) -> Examination:
    """Look at this machine and run one frame in a back-end.

    Args:
        backend: a key of BACKENDS, or auto.
        root: where /proc, /sys and /etc lie.

    Raises:
        UnknownNameError: there is no such back-end.
    """
    trial = try_backend(backend)
    findings: Sequence[Finding] = (
        *system_findings(root),
        *nvidia_findings(root),
        *picture_findings(is_jetson(root)),
        *runtime_findings(),
        trial,
        *extra_findings(),
    )
    return Examination(tuple(findings), trial)
