"""What `roadedge models` lists: each network's paper, size, cost and licence. Needs no torch; a test recounts."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from roadedge.errors import MissingExtraError

if TYPE_CHECKING:
    from roadedge.models.blocks import RoadNet

SIDE_PX = 512  # where GMAC are counted


@dataclass(frozen=True, slots=True)
class Cost:
    """Parameters as trained, parameters of the exported graph, and its 1e9 multiply-adds at 512 x 512."""

    parameters: int
    graph_parameters: int
    gmac: float


@dataclass(frozen=True, slots=True)
class Entry:
    """One network. Each also comes with one input alone; the cost is that of `inputs`."""

    name: str
    paper: str
    inputs: tuple[str, ...]
    licence: str  # of the code; weights carry their own in the sidecar
    cost: Cost

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values, the cost inlined."""
        own = {"name": self.name, "paper": self.paper, "inputs": list(self.inputs), "licence": self.licence}
        return own | dataclasses.asdict(self.cost)


BOTH = ("image", "trajectory")
IMAGE = ("image",)
OURS = "after CMIPNet"
CATALOGUE = {
    entry.name: entry
    for entry in (
        Entry("roadedge-n", OURS, BOTH, "Apache-2.0", Cost(733_808, 787_680, 0.965)),
        Entry("roadedge-s", OURS, BOTH, "Apache-2.0", Cost(1_999_504, 2_199_600, 3.432)),
        Entry("roadedge-m", OURS, BOTH, "Apache-2.0", Cost(4_743_856, 5_211_360, 7.893)),
        Entry("cmipnet", "TGRS 2024", BOTH, "Apache-2.0", Cost(31_117_873, 31_117_681, 52.748)),
        Entry("segnext-t", "NeurIPS 2022", IMAGE, "Apache-2.0", Cost(4_225_378, 4_228_418, 6.249)),
        Entry("segnext-s", "NeurIPS 2022", IMAGE, "Apache-2.0", Cost(13_894_850, 13_896_834, 15.491)),
        Entry("segnext-b", "NeurIPS 2022", IMAGE, "Apache-2.0", Cost(27_560_386, 27_591_042, 34.352)),
        Entry("d-segnext-t", "GRSL 2024", IMAGE, "Apache-2.0", Cost(5_039_074, 5_042_114, 7.035)),
        Entry("d-segnext-s", "GRSL 2024", IMAGE, "Apache-2.0", Cost(16_803_266, 16_805_250, 17.943)),
        Entry("d-segnext-b", "GRSL 2024", IMAGE, "Apache-2.0", Cost(33_754_690, 33_785_346, 39.912)),
    )
}


def listed(count: bool = False) -> list[Entry]:
    """All entries; `count` counts the costs afresh, which needs torch.

    Raises:
        MissingExtraError: torch is absent, with `count`.
    """
    return [counted(entry) if count else entry for entry in CATALOGUE.values()]


def print_table(entries: list[Entry]) -> None:
    """The entries as a table on stdout, 80 columns wide."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("name", "paper", "inputs", "parameters", f"GMAC, {SIDE_PX}²", "code"):
        numeric = column.startswith(("parameters", "GMAC"))
        table.add_column(column, justify="right" if numeric else "left", no_wrap=True)
    for entry in entries:
        counts = (f"{entry.cost.parameters:,}", f"{entry.cost.gmac:.2f}")
        table.add_row(entry.name, entry.paper, ",".join(entry.inputs), *counts, entry.licence)
    Console().print(table)


def counted(entry: Entry) -> Entry:
    """The entry with its cost counted afresh.

    Raises:
        MissingExtraError: torch is absent.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("torch", "train", "counting a network's parameters") from error
    from roadedge.models import create_model
    from roadedge.spec import ModelSpec

    spec = ModelSpec(entry.name, inputs=entry.inputs)
    with torch.device("meta"):  # no memory and no time, however large
        network = create_model(entry.name, spec)
    if network.structure():  # what is exported depends on the weights, so that there must be some
        network = create_model(entry.name, spec)
    return dataclasses.replace(entry, cost=cost(network))


def cost(network: RoadNet) -> Cost:
    """Parameters and multiply-adds of a network; convolutions are counted, as torch's flop counter does, halved."""
    graph = network.deployed()
    weights = [value for value in graph.state_dict().values() if value.is_floating_point()]
    return Cost(
        parameters=sum(p.numel() for p in network.parameters()),
        graph_parameters=sum(value.numel() for value in weights),
        gmac=round(gmac(graph), 3),
    )


def gmac(network: RoadNet, side_px: int = SIDE_PX) -> float:
    """1e9 multiply-adds of a pass at side_px x side_px. Nothing is computed; the network itself is moved to "meta"."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    channels = {name: 3 if name == "image" else 1 for name in network.spec.inputs}
    feeds = {n: torch.zeros(1, side_px, side_px, c, dtype=torch.uint8, device="meta") for n, c in channels.items()}
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.to("meta")(feeds)
    return float(counter.get_total_flops()) / 2e9
