"""The clock of the tests: it stands still until a thread of it sleeps, works (`pass_ms`) or waits."""

from __future__ import annotations

from roadedge.latency.virtual_clock import VirtualClock as HandClock

__all__ = ["HandClock"]
