"""One line of what was found out about a machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

OK, NOTE, WARNING, FAULT = "ok", "note", "warning", "fault"  # a note is an absence that most people may ignore


@dataclass(frozen=True, slots=True)
class Finding:
    """What a part of the machine is.

    Attributes:
        section: of the table.
        name: of the part.
        value: what it is, one line.
        state: OK, NOTE, WARNING or FAULT.
        advice: what to do about it, a command where there is one.
        detail: the same as JSON values, for programs.
    """

    section: str
    name: str
    value: str
    state: str = OK
    advice: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "section": self.section,
            "name": self.name,
            "value": self.value,
            "state": self.state,
            "advice": self.advice,
            **({"detail": self.detail} if self.detail else {}),
        }
