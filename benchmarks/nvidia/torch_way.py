"""A network in torch on the GPU as the stream would feed it: page-locked copies in and out, eager or one CUDA graph.

Times have the same bounds as those of the runner of engines: `h2d` from before the planes are put into page-locked
memory until they are on the device, `gpu` the network alone, `d2h` the probability on its way back, all by events of
the device; `infer` by the host's clock. On the CPU, where the script is rehearsed, the host's clock gives all of them.
"""

from __future__ import annotations

import time
from typing import Any, cast

import torch
from torch import Tensor

from roadedge.errors import UsageError
from roadedge.export.precision import halved
from roadedge.models.blocks import RoadNet
from roadedge.models.border import Border
from roadedge.preprocess import Feeds
from roadedge.runners.base import CheckedRunner, Requested
from roadedge.spec import ModelSpec

STAGES = ("h2d", "gpu", "d2h")
CAPTURE_WARM_UP = 3  # passes before a capture: cuDNN chooses its kernels in them


def allow_tf32(allowed: bool) -> None:
    """Whether FP32 convolutions and products may be computed in TF32 from here on."""
    convolution = getattr(torch.backends.cudnn, "conv", None)
    if hasattr(convolution, "fp32_precision"):  # torch 2.9 and later; the older switch must not be touched beside it
        word = "tf32" if allowed else "ieee"
        convolution.fp32_precision = word  # type: ignore[union-attr] # it was just seen to have it
        torch.backends.cuda.matmul.fp32_precision = word
        return
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed


class TorchOnDevice(CheckedRunner):
    """A deployed network on `cuda` or `cpu`; `precision` is fp32 (TF32 off), tf32 or fp16."""

    name, version = "torch", torch.__version__

    def __init__(
        self,
        deployed: RoadNet,
        spec: ModelSpec,
        precision: str,
        graph: bool = False,
        device: str = "cuda",
        compiled: bool = False,
    ) -> None:
        """Take a network from `RoadNet.deployed()`; it is moved to the device. `spec` has a size and a batch."""
        super().__init__()
        if graph and device != "cuda":
            raise UsageError("a CUDA graph needs a GPU")
        assert spec.size is not None
        self.spec, self.precision, self.graph_precision = spec, precision, precision
        self.provenance, self.requested, self.device = {}, Requested("torch", precision), device
        self._tf32, self._cuda = precision == "tf32", device == "cuda"
        torch.backends.cudnn.benchmark = self._cuda  # sizes never change here
        border: Any = Border(halved(deployed) if precision == "fp16" else deployed).eval()
        border.to(device=device, memory_format=torch.channels_last)
        self._network: Any = torch.compile(border) if compiled else border
        shapes = {n: (spec.batch or 1, *spec.size, 3 if n == "image" else 1) for n in spec.inputs}
        self._host = {n: torch.empty(shape, dtype=torch.uint8, pin_memory=self._cuda) for n, shape in shapes.items()}
        self._planes = {n: torch.zeros(shape, dtype=torch.uint8, device=device) for n, shape in shapes.items()}
        cuda = cast(Any, torch.cuda)  # its events and streams are not typed
        self._events = [cuda.Event(enable_timing=True) for _ in range(4)] if self._cuda else []
        self._outputs: tuple[Tensor, Tensor] | None = None  # of the graph
        self._back: dict[str, Tensor] = {}
        self._graph: Any = None
        if graph:
            self._capture()

    def _forward(self) -> tuple[Tensor, Tensor]:
        allow_tf32(self._tf32)
        with torch.inference_mode():
            probability, logits = self._network(*(self._planes[name] for name in self.spec.inputs))
        return probability, logits

    def _capture(self) -> None:
        aside = cast(Any, torch.cuda).Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(CAPTURE_WARM_UP):
                self._forward()
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = self._forward()

    def _launch(self) -> tuple[Tensor, Tensor]:
        if self._graph is None:
            return self._forward()
        self._graph.replay()
        assert self._outputs is not None
        return self._outputs

    def _run(self, feeds: Feeds, logits: bool) -> Feeds:
        marks = _Marks(self._events)
        marks.set()
        for name, plane in feeds.items():
            self._host[name].numpy()[...] = plane
            self._planes[name].copy_(self._host[name], non_blocking=True)
        marks.set()
        outputs = self._launch()
        marks.set()
        wanted = dict(zip(("probability", "logits"), outputs if logits else outputs[:1], strict=False))
        for name, value in wanted.items():
            self._page_locked(name, value).copy_(value, non_blocking=True)
        marks.set()
        self._stages_ms = dict(zip(STAGES, marks.apart_ms(), strict=True))
        return {name: self._back[name].numpy().copy() for name in wanted}

    def _page_locked(self, name: str, value: Tensor) -> Tensor:
        if name not in self._back:
            self._back[name] = torch.empty(value.shape, dtype=value.dtype, pin_memory=self._cuda)
        return self._back[name]

    def _release(self) -> None:
        self._network = self._graph = self._outputs = None
        self._host, self._planes, self._back = {}, {}, {}


class _Marks:
    """Four moments of a call: events of the device, or without any the host's clock."""

    def __init__(self, events: list[Any]) -> None:
        self._events, self._times_ns, self._count = events, list[int](), 0

    def set(self) -> None:
        if self._events:
            self._events[self._count].record()
            self._count += 1
        else:
            self._times_ns.append(time.perf_counter_ns())

    def apart_ms(self) -> list[float]:
        """Between each and the next; waits for the last."""
        if not self._events:
            return [(b - a) / 1e6 for a, b in zip(self._times_ns[:-1], self._times_ns[1:], strict=True)]
        self._events[-1].synchronize()
        return [a.elapsed_time(b) for a, b in zip(self._events[:-1], self._events[1:], strict=True)]
