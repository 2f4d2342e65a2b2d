"""How much memory a process has taken at its most."""

from __future__ import annotations

import resource
import sys


def peak_mb() -> float:
    """Greatest resident set of this process so far, in megabytes of 1024 * 1024 bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024.0 if sys.platform != "darwin" else 1024.0**2)
