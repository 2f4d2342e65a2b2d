"""The memory of the frames in flight: allocated once, for the largest shapes, and used in turn."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.runners.device_memory import DeviceMemory

STAGES = ("h2d", "gpu", "d2h")  # between the four events of a frame


@dataclass(slots=True)
class Frame:
    """One place of the ring: page-locked bytes and device addresses by tensor, and four events around the stages."""

    host: dict[str, NDArray[np.uint8]]
    device: dict[str, int]
    events: tuple[Any, ...]
    graph: Any = None
    wanted: dict[str, NDArray[Any]] = field(default_factory=dict)  # of the call in flight: views of `host`
    logits: bool = False
    enqueue_ms: float = 0.0  # of the processor, to hand the call of the network to the device

    def view(self, name: str, shape: Sequence[int], dtype: str) -> NDArray[Any]:
        """A tensor's page-locked bytes in this call's shape; nothing is copied."""
        count = math.prod(shape) * np.dtype(dtype).itemsize
        return self.host[name][:count].view(dtype).reshape(shape)

    def stages_ms(self, memory: DeviceMemory) -> dict[str, float]:
        """Milliseconds of the device in each stage; the last event must have been reached."""
        pairs = zip(self.events[:-1], self.events[1:], strict=True)
        return {name: memory.elapsed_ms(a, b) for name, (a, b) in zip(STAGES, pairs, strict=True)}


def new_frame(memory: DeviceMemory, sizes: Mapping[str, int], held: contextlib.ExitStack) -> Frame:
    """Memory for one frame; what was made is given back by `held`, also where the next allocation fails.

    Args:
        memory: of the GPU.
        sizes: bytes of each tensor at its largest.
        held: closed when the runner is.
    """
    host, device, events = {}, {}, []
    for name, count in sizes.items():
        device[name] = memory.allocate(count)
        held.callback(memory.free, device[name])
        host[name] = memory.pinned(count)
        held.callback(memory.unpin, host[name])
    for _ in range(len(STAGES) + 1):
        events.append(memory.event())
        held.callback(memory.drop_event, events[-1])
    return Frame(host, device, tuple(events))
