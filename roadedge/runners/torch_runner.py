"""Checkpoints run by torch: the reference that every other back-end is compared with."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import nn

from roadedge.errors import ModelFileError, RoadEdgeError, UnknownNameError
from roadedge.models.blocks import RoadNet
from roadedge.models.border import Border
from roadedge.models.checkpoint import load_network
from roadedge.models.quantized import QuantizedNet
from roadedge.preprocess import Feeds
from roadedge.runners.base import CheckedRunner, Requested, check_precision, precision_of

PRECISIONS = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}


class TorchRunner(CheckedRunner):
    """A deployed network on the CPU, channels last, in the precision of its own weights."""

    name = "torch"

    def __init__(self, deployed: RoadNet, provenance: dict[str, Any], requested: Requested) -> None:
        """Take a network from `RoadNet.deployed()`.

        Raises:
            BackendMismatchError: another precision than that of its weights was asked for.
        """
        super().__init__()
        own = precision_of(Counter(PRECISIONS[m.weight.dtype] for m in deployed.modules() if isinstance(m, nn.Conv2d)))
        check_precision(requested.precision, own, "torch", "export the network and take another back-end")
        self.spec, self.provenance, self.requested = deployed.spec, provenance, requested
        # a quantized network computes in float what INT8 would
        graph = f"int8+{own}" if isinstance(deployed, QuantizedNet) else own
        self.version, self.precision, self.graph_precision = torch.__version__, own, graph
        self._threads_before = torch.get_num_threads()
        if requested.threads is not None:
            torch.set_num_threads(requested.threads)  # of the whole process; given back by close()
        border = Border(deployed).eval()
        border.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch lacks this signature
        self._border: Border | None = border

    @property
    def network(self) -> nn.Module:
        """The network as it is run; raises RoadEdgeError after `close`."""
        if self._border is None:
            raise RoadEdgeError(f"the torch runner of {self.spec.name} is closed; open it again")
        return self._border

    def _run(self, feeds: Feeds, logits: bool) -> Feeds:
        assert self._border is not None
        with torch.inference_mode():
            probability, raw = self._border(*(torch.from_numpy(feeds[name]) for name in self.spec.inputs))
        out: Feeds = {"probability": probability.numpy()}
        if logits:
            out["logits"] = raw.contiguous().numpy()
        return out

    def _release(self) -> None:
        self._border = None
        if self.requested.threads is not None:
            torch.set_num_threads(self._threads_before)


def open_checkpoint(path: Path, requested: Requested) -> TorchRunner:
    """A runner of `NAME.pt`.

    Raises:
        ModelFileError: not a checkpoint of a network that this package knows, cut off, or holding code.
        SpecMismatchError: its weights are not those of the network that it names.
    """
    try:
        network, provenance = load_network(path)
    except UnknownNameError as error:
        raise ModelFileError(f"{path} holds a network that this roadedge does not know: {error}") from error
    runner = TorchRunner(network.deployed(), provenance, requested)
    runner.file = str(path)
    return runner
