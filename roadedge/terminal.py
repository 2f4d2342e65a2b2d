"""What a command prints: data on stdout, the log on stderr."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any


def say(text: str) -> None:
    """Log a line on stderr; stdout is for data. Where nobody reads the log any more, the work goes on."""
    with contextlib.suppress(BrokenPipeError):
        print(text, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """The result as JSON on stdout."""
    print(json.dumps(value, indent=2, allow_nan=False))
