"""Layers of torch: the modules of a network, timed by hooks on the host's clock.

The runner computes on the processor, where a call returns when its work is done: hooks see what torch's own profiler
sees, by module, and cost less. A module's time is its own: that of the modules inside it is taken off.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from roadedge.preprocess import Feeds
from roadedge.runners.layers import WARM_UP, LayerReport, report_of

if TYPE_CHECKING:
    from roadedge.runners.torch_runner import TorchRunner

PROFILER = "hooks on the modules of torch"


class _Watch:
    """Own milliseconds of each module of a run; `open` holds the begin of each call and the time of its children."""

    def __init__(self) -> None:
        self.own_ms: dict[str, float] = {}
        self.kinds: dict[str, str] = {}
        self._open: list[list[float]] = []

    def begin(self) -> None:
        self._open.append([time.perf_counter_ns() / 1e6, 0.0])

    def end(self, name: str) -> None:
        began_ms, inner_ms = self._open.pop()
        whole_ms = time.perf_counter_ns() / 1e6 - began_ms
        self.own_ms[name] = self.own_ms.get(name, 0.0) + whole_ms - inner_ms
        if self._open:
            self._open[-1][1] += whole_ms


def profiled(runner: TorchRunner, feeds: Feeds, repeats: int) -> LayerReport:
    """Run the same network with hooks on, and take them off again."""
    watch, runs, wholes = _Watch(), [], []
    with ExitStack() as stack:
        for name, module in runner.network.named_modules():
            _hook(stack, module, name or "(outside of modules)", watch)
        for number in range(WARM_UP + repeats):
            watch.own_ms = {}
            began = time.perf_counter_ns()
            runner.infer(feeds)
            whole_ms = (time.perf_counter_ns() - began) / 1e6
            if number >= WARM_UP:
                runs.append(watch.own_ms)
                wholes.append(whole_ms)
    return report_of(runs, watch.kinds, wholes, PROFILER)


def _hook(stack: ExitStack, module: Any, name: str, watch: _Watch) -> None:
    watch.kinds[name] = type(module).__name__
    stack.callback(module.register_forward_pre_hook(lambda *_: watch.begin()).remove)
    stack.callback(module.register_forward_hook(lambda *_: watch.end(name)).remove)
