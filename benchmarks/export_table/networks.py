"""Which networks the table has, and the checkpoint of each: carried weights where there are any, else fresh ones."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import numpy as np

from roadedge.export.parity import FRESH, ParitySamples, parity_samples
from roadedge.models import MODELS, create_model
from roadedge.models.blocks import RoadNet
from roadedge.models.catalogue import CATALOGUE
from roadedge.models.checkpoint import save_network
from roadedge.preprocess import preprocess
from roadedge.spec import ModelSpec

# The smallest network of each family and those that the papers publish: what is timed.
TIMED = (
    "roadedge-n", "roadedge-s", "roadedge-m",
    "cmipnet-slim", "cmipnet", "cmipnet-hrnet18-slim", "cmipnet-hrnet18",
    "cmmpnet-slim", "cmmpnet", "cmmpnet-linknet34",
    "dlinknet34-slim", "dlinknet34", "dlinknet34-1d", "dlinknet34-late-slim", "dlinknet34-late",
    "linknet34", "linknet34-1d", "resunet34", "deeplabv3plus",
    "segnext-t", "segnext-s", "segnext-b", "d-segnext-t", "d-segnext-s", "d-segnext-b",
    "cu-dgcn-tiny", "cu-dgcn", "joint-connectivity", "deepdualmapper-slim", "deepdualmapper",
    "unet", "unet-1d", "resunet", "resunet-1d",
)  # fmt: skip
CARRIED = {"roadedge-s": "roadedge-s"}
# What benchmarks/study.py trains, where it has run.
STUDIED = {
    "dlinknet34-slim": "early-fusion", "dlinknet34-late-slim": "late-fusion",
    "cmmpnet-slim": "cmmpnet", "cmipnet-slim": "cmipnet",
}  # fmt: skip
STUDY = Path(__file__).resolve().parent.parent.parent / "runs" / "study"
# The last norm of a residual branch: small, as training leaves it. With branches as large as what they are added to,
# each block doubles a rounding error, and parity would tell of that alone.
BRANCH_END = re.compile(r"(bn2|second\.1|expand\.1)$")
BORN = 256  # pixels of the side of what a fresh network's norms are measured on


def in_order() -> list[str]:
    """All networks: those that are timed first, then the others, each from the cheapest on."""
    rest = [name for name in MODELS if name not in TIMED]
    return [*sorted(TIMED, key=_gmac), *sorted(rest, key=_gmac)]


def checkpoint(name: str, folder: Path) -> Path:
    """A `.pt` of the network; a fresh one says so in its provenance, and a trained one lies elsewhere."""
    if name in CARRIED:
        from roadedge.weights import find_checkpoint

        return find_checkpoint(CARRIED[name])
    if name in STUDIED and (trained := STUDY / STUDIED[name] / "last.pt").is_file():
        return trained
    path = folder / f"{name}.pt"
    save_network(path, fresh(name), {"weights": FRESH})
    return path


def fresh(name: str) -> RoadNet:
    """Random weights, with norms as if it had been trained: γ and β of their own, statistics of a window of the city.

    Equal norms would let two weights be one and leave CMIPNet nothing to exchange; norms that do not fit let maps run
    away or die out, so that parity would say nothing.
    """
    import torch
    from torch import nn

    torch.manual_seed(0)
    network = create_model(name, ModelSpec(name, inputs=CATALOGUE[name].inputs)).eval()
    named = {name: module for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)}
    norms = list(named.values())
    momenta = [norm.momentum for norm in norms]
    for place, norm in named.items():
        nn.init.uniform_(norm.weight, *((0.1, 0.3) if BRANCH_END.search(place) else (0.6, 1.2)))
        nn.init.normal_(norm.bias, 0, 0.1)
        norm.train().momentum = 1.0
    planes = preprocess(window().pairs[0][0], network.spec)
    corners = [(y, x) for y in (0, BORN) for x in (0, BORN)]  # several frames: a mean over a map is one value of each
    cut = {key: [plane[:, y : y + BORN, x : x + BORN] for y, x in corners] for key, plane in planes.items()}
    feeds = {key: torch.from_numpy(np.concatenate(parts)) for key, parts in cut.items()}
    with torch.no_grad():
        network(feeds)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval().momentum = momentum
        assert norm.running_var is not None
        norm.running_var.clamp_(min=float(norm.running_var.mean()) / 4)  # a few values may agree by chance
    return network


@functools.cache
def window() -> ParitySamples:
    """One window of the built-in city, the same for all networks: each takes what its inputs are."""
    return parity_samples(ModelSpec("roadedge-s"), count=1)


def _gmac(name: str) -> float:
    return CATALOGUE[name].cost.gmac
