"""What `roadedge models` lists: each network's paper, size, cost and licence. Needs no torch; a test recounts."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from roadedge.errors import MissingExtraError

if TYPE_CHECKING:
    from roadedge.models.blocks import RoadNet

SIDE_PX = 512  # where GMAC are counted


@dataclass(frozen=True, slots=True)
class Cost:
    """Parameters as trained, parameters of the exported graph, and its 1e9 multiply-adds at 512 x 512.

    `network_gmac` are those of the network as trained, in eval mode: with heads that only teach, channels that are
    left out of the graph, and gates as they are written down.
    """

    parameters: int
    graph_parameters: int
    gmac: float
    network_gmac: float


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
HOURGLASS = "arXiv 2312.04744"
CATALOGUE = {
    entry.name: entry
    for entry in (
        Entry("roadedge-n", OURS, BOTH, "Apache-2.0", Cost(733_808, 787_680, 0.965, 1.005)),
        Entry("roadedge-s", OURS, BOTH, "Apache-2.0", Cost(1_999_504, 2_199_600, 3.432, 3.671)),
        Entry("roadedge-m", OURS, BOTH, "Apache-2.0", Cost(4_743_856, 5_211_360, 7.893, 8.371)),
        Entry("cmipnet", "TGRS 2024", BOTH, "Apache-2.0", Cost(31_117_873, 31_117_681, 52.748, 52.748)),
        Entry("cmipnet-slim", "TGRS 2024", BOTH, "Apache-2.0", Cost(1_954_909, 1_954_861, 3.479, 3.479)),
        Entry("cmipnet-hrnet18", "TGRS 2024", BOTH, "Apache-2.0", Cost(9_924_049, 9_918_879, 39.075, 39.075)),
        Entry("cmipnet-hrnet18-slim", "TGRS 2024", BOTH, "Apache-2.0", Cost(627_984, 626_709, 2.383, 2.383)),
        Entry("cmmpnet", "TNNLS 2022", BOTH, "Apache-2.0", Cost(84_993_857, 84_966_913, 57.197, 60.148)),
        Entry("cmmpnet-slim", "TNNLS 2022", BOTH, "Apache-2.0", Cost(5_326_193, 5_319_457, 3.757, 3.942)),
        Entry("cmmpnet-linknet34", "TNNLS 2022", BOTH, "Apache-2.0", Cost(66_086_401, 66_059_457, 50.383, 53.334)),
        Entry("cmmpnet-resunet", "TNNLS 2022", BOTH, "Apache-2.0", Cost(89_500_033, 89_472_897, 480.968, 515.325)),
        Entry("cmmpnet-local", "TNNLS 2022", BOTH, "Apache-2.0", Cost(63_071_425, 63_044_481, 54.224, 54.224)),
        Entry("cmmpnet-local-global", "TNNLS 2022", BOTH, "Apache-2.0", Cost(81_481_793, 81_454_849, 54.242, 54.242)),
        Entry("cmmpnet-local-gate", "TNNLS 2022", BOTH, "Apache-2.0", Cost(63_950_913, 63_923_969, 55.7, 55.7)),
        Entry("cmmpnet-spp1", "TNNLS 2022", BOTH, "Apache-2.0", Cost(67_462_977, 67_436_033, 57.179, 60.13)),
        Entry("cmmpnet-spp2", "TNNLS 2022", BOTH, "Apache-2.0", Cost(70_969_153, 70_942_209, 57.183, 60.134)),
        Entry("cmmpnet-spp4", "TNNLS 2022", BOTH, "Apache-2.0", Cost(141_092_673, 141_065_729, 57.253, 60.204)),
        Entry("linknet34", "CVPR 2019", BOTH, "Apache-2.0", Cost(21_645_601, 21_635_041, 23.378, 23.378)),
        Entry("linknet34-1d", "CVPR 2019", BOTH, "Apache-2.0", Cost(21_765_897, 21_755_097, 23.579, 23.579)),
        Entry("linknet34-late", "TNNLS 2022", BOTH, "Apache-2.0", Cost(43_278_593, 43_257_537, 45.934, 45.934)),
        Entry("dlinknet34", "CVPRW 2018", BOTH, "Apache-2.0", Cost(31_099_329, 31_088_769, 26.785, 26.785)),
        Entry("dlinknet34-1d", "CVPR 2019", BOTH, "Apache-2.0", Cost(31_219_625, 31_208_825, 26.986, 26.986)),
        Entry("dlinknet34-late", "TNNLS 2022", BOTH, "Apache-2.0", Cost(62_186_049, 62_164_993, 52.748, 52.748)),
        Entry("dlinknet34-slim", "CVPRW 2018", BOTH, "Apache-2.0", Cost(1_950_273, 1_947_633, 1.842, 1.842)),
        Entry("dlinknet34-late-slim", "TNNLS 2022", BOTH, "Apache-2.0", Cost(3_897_393, 3_892_129, 3.479, 3.479)),
        Entry("resunet34", "CVPR 2019", BOTH, "Apache-2.0", Cost(24_019_905, 24_009_345, 24.973, 24.973)),
        Entry("unet", "MICCAI 2015", BOTH, "Apache-2.0", Cost(39_399_489, 39_387_713, 218.725, 218.725)),
        Entry("unet-1d", "CVPR 2019", BOTH, "Apache-2.0", Cost(30_049_169, 30_033_073, 192.592, 192.592)),
        Entry("resunet", "GRSL 2018", BOTH, "Apache-2.0", Cost(26_635_457, 26_625_729, 215.034, 215.034)),
        Entry("resunet-1d", "CVPR 2019", BOTH, "Apache-2.0", Cost(20_520_017, 20_506_609, 191.785, 191.785)),
        Entry("deeplabv3plus", "ECCV 2018", BOTH, "Apache-2.0", Cost(50_404_833, 50_362_353, 82.412, 82.412)),
        Entry("segnext-t", "NeurIPS 2022", IMAGE, "Apache-2.0", Cost(4_225_378, 4_228_418, 6.249, 6.249)),
        Entry("segnext-s", "NeurIPS 2022", IMAGE, "Apache-2.0", Cost(13_894_850, 13_896_834, 15.491, 15.491)),
        Entry("segnext-b", "NeurIPS 2022", IMAGE, "Apache-2.0", Cost(27_560_386, 27_591_042, 34.352, 34.352)),
        Entry("d-segnext-t", "GRSL 2024", IMAGE, "Apache-2.0", Cost(5_039_074, 5_042_114, 7.035, 7.035)),
        Entry("d-segnext-s", "GRSL 2024", IMAGE, "Apache-2.0", Cost(16_803_266, 16_805_250, 17.943, 17.943)),
        Entry("d-segnext-b", "GRSL 2024", IMAGE, "Apache-2.0", Cost(33_754_690, 33_785_346, 39.912, 39.912)),
        Entry("cu-dgcn-tiny", "IGARSS 2023", IMAGE, "Apache-2.0", Cost(29_726_814, 29_585_972, 32.494, 39.587)),
        Entry("cu-dgcn-small", "IGARSS 2023", IMAGE, "Apache-2.0", Cost(51_361_374, 51_220_532, 54.584, 61.677)),
        Entry("cu-dgcn", "IGARSS 2023", IMAGE, "Apache-2.0", Cost(90_841_134, 90_617_204, 91.834, 100.801)),
        Entry("cu-dgcn-large", "IGARSS 2023", IMAGE, "Apache-2.0", Cost(203_371_854, 202_919_924, 197.467, 211.269)),
        Entry("cu-dgcn-xlarge", "IGARSS 2023", IMAGE, "Apache-2.0", Cost(360_664_174, 359_901_812, 344.609, 364.699)),
        Entry("joint-connectivity", HOURGLASS, IMAGE, "Apache-2.0", Cost(14_973_013, 14_841_065, 62.358, 64.77)),
        Entry("joint-connectivity-plain", HOURGLASS, IMAGE, "Apache-2.0", Cost(14_871_637, 14_739_689, 62.358, 64.769)),
        Entry("joint-connectivity-mb", HOURGLASS, IMAGE, "Apache-2.0", Cost(23_930_709, 19_315_817, 82.105, 104.263)),
        Entry("deepdualmapper", "AAAI 2020", BOTH, "Apache-2.0", Cost(62_551_245, 62_532_173, 48.385, 48.385)),
        Entry("deepdualmapper-slim", "AAAI 2020", BOTH, "Apache-2.0", Cost(3_927_309, 3_922_541, 3.216, 3.216)),
    )
}


def listed(count: bool = False) -> list[Entry]:
    """All entries; `count` counts the costs afresh, which needs torch.

    Raises:
        MissingExtraError: torch is absent, with `count`.
    """
    return [counted(entry) if count else entry for entry in CATALOGUE.values()]


def print_table(entries: list[Entry]) -> None:
    """The entries as a table on stdout, 80 columns wide; what is the same in all rows is said once, under it.

    A narrower terminal gets fewer columns: no name or number is cut.
    """
    from rich.console import Console
    from rich.table import Table

    from roadedge.models.reached import REAL, best

    rows = []
    for entry in entries:
        found = best(entry.name, entry.inputs)
        rows.append(
            {
                "name": entry.name,
                "paper": entry.paper,
                "inputs": "both" if len(entry.inputs) > 1 else entry.inputs[0],
                "parameters": f"{entry.cost.parameters:,}",
                "GMAC": f"{entry.cost.gmac:.2f}",
                "code": entry.licence,
                "here": "" if found is None else f"{found.g_iou:.2f}",
            }
        )
    same = {key: value for key, value in rows[0].items() if len(rows) > 1 and all(row[key] == value for row in rows)}
    said = [f"GMAC of the exported graph at {SIDE_PX}²", *(f"{k} of all: {v}" for k, v in same.items() if k != "here")]
    if any(row["inputs"] == "both" for row in rows):
        said.append("both: image and points")
    said.append(f"here: best G_IoU in % of what was trained here, clear val splits of {' and '.join(REAL)}, "
                "semi-synthetic where points are fed")  # fmt: skip
    console = Console()
    shown = [key for key in rows[0] if key == "here" or key not in same]
    widths = {key: max(len(key), *(len(row[key]) for row in rows)) for key in shown}
    left_out = []
    for key in ("paper", "inputs"):
        if console.is_terminal and _width(widths) > console.width and key in widths:
            left_out.append(key)
            del widths[key]
    console.width = max(console.width, _width(widths))
    if left_out:
        said.append(f"this terminal is too narrow for {' and '.join(left_out)}")
    table = Table(box=None, pad_edge=False, caption="; ".join(said), caption_justify="left")
    for column, width in widths.items():
        numeric = column in ("parameters", "GMAC", "here")
        table.add_column(column, justify="right" if numeric else "left", no_wrap=True, min_width=width)
    for row in rows:
        table.add_row(*(row[key] for key in widths))
    console.print(table)


def _width(widths: dict[str, int]) -> int:
    """Of a table of these columns, two apart."""
    return sum(widths.values()) + 2 * (len(widths) - 1)


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
    """Parameters and multiply-adds of a network; those of its exported graph are torch's flop count, halved."""
    graph = network.deployed()
    weights = [value for value in graph.state_dict().values() if value.is_floating_point()]
    return Cost(
        parameters=sum(p.numel() for p in network.parameters()),
        graph_parameters=sum(value.numel() for value in weights),
        gmac=round(gmac(graph), 3),
        network_gmac=round(gmac(copy.deepcopy(network).eval()), 3),
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
