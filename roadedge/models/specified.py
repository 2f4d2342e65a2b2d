"""What the published networks cost by their descriptions: the numbers that ours are held against, row by row.

All were counted in the published code, or in what its paper describes, and not taken from a paper's table.
Multiply-adds are those of convolutions, linear layers and matrix products.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from roadedge.errors import SpecMismatchError
from roadedge.models.catalogue import CATALOGUE, Entry, counted
from roadedge.models.reached import reached

ALLOWED = 0.01  # share by which multiply-adds may differ; parameters must be equal
BOTH, IMAGE = ("image", "trajectory"), ("image",)


@dataclass(frozen=True, slots=True)
class Specified:
    """A published network, and which of ours it is.

    `parameters` are those that take part in what is computed; `unused` are more that the published code makes and never
    reads, which ours does not make. `gmac` are 1e9 multiply-adds at 512 x 512 of the network as it is trained, in eval
    mode, its teaching heads included: `network_gmac` of ours, not that of the leaner exported graph.
    """

    network: str
    inputs: tuple[str, ...]
    parameters: int
    gmac: float | None
    unused: int = 0
    note: str = ""


_TWICE = "the published code runs three decoder steps twice: 53.276"
_GATES = "the exported graph weighs the global half of each gate once for an image: 57.197"
_SHEARED = "published diagonals are computed on sheared maps of almost twice the width"
_HEADS = "with all heads; the exported graph has those of the road alone"
_COARSE = f"{_HEADS}; ours makes its outputs at 1/4 and 1/2 in training alone, 0.4 to 0.7 less"
_GROUPS = "unused: six groups of blocks"
_STATED = f"{_GROUPS}, with which parameters are stated as"
_CLASSIFIER = "the paper counts a classifier of 1000 classes that nothing reads"

SPECIFIED = (
    Specified("cmipnet", BOTH, 31_117_873, 52.748, note=_TWICE),
    Specified("cmipnet-hrnet18", BOTH, 9_924_049, 39.075),
    Specified("cmmpnet", BOTH, 84_993_857, 60.148, note=_GATES),
    Specified("dlinknet34-late", BOTH, 62_186_049, 52.7),
    Specified("dlinknet34", BOTH, 31_099_329, 26.785),
    Specified("dlinknet34", IMAGE, 31_096_129, 26.58),
    Specified("dlinknet34-1d", BOTH, 31_219_625, 27.017, note=_SHEARED),
    Specified("linknet34", BOTH, 21_645_601, 23.378),
    Specified("linknet34-1d", BOTH, 21_765_897, 23.61, note=_SHEARED),
    Specified("resunet", BOTH, 26_635_457, 215.034),
    Specified("resunet-1d", BOTH, 20_520_017, 192.58, note=f"{_SHEARED}; parameters stated as 20.520 M"),
    Specified("resunet34", BOTH, 24_019_905, 24.97),
    Specified("unet", BOTH, 39_399_489, 218.725),
    Specified("unet-1d", BOTH, 30_049_169, 193.47, note=_SHEARED),
    Specified("deeplabv3plus", BOTH, 50_404_833, 82.412),
    Specified("joint-connectivity", IMAGE, 14_973_013, 64.77, 5_354_496, f"{_HEADS}; {_GROUPS}"),
    Specified("joint-connectivity-plain", IMAGE, 14_871_637, 64.77, 5_317_632, f"{_HEADS}; {_STATED} 20.189 M"),
    Specified("joint-connectivity-mb", IMAGE, 23_930_709, 104.26, 5_354_496, f"{_HEADS}; {_STATED} 29.285 M"),
    Specified("cu-dgcn-tiny", IMAGE, 29_726_814, 39.96, note=_COARSE),
    Specified("cu-dgcn-small", IMAGE, 51_361_374, 62.05, note=_COARSE),
    Specified("cu-dgcn", IMAGE, 90_841_134, 101.27, note=_COARSE),
    Specified("cu-dgcn-large", IMAGE, 203_371_854, 211.94, note=_COARSE),
    Specified("cu-dgcn-xlarge", IMAGE, 360_664_174, None, note="multiply-adds were never counted"),
    Specified("d-segnext-t", IMAGE, 5_039_074, 7.04, 257_000, _CLASSIFIER),
    Specified("d-segnext-s", IMAGE, 16_803_266, 17.94, 513_000, _CLASSIFIER),
    Specified("d-segnext-b", IMAGE, 33_754_690, 39.91, 513_000, _CLASSIFIER),
    Specified("segnext-t", IMAGE, 4_225_378, 6.25),
    Specified("segnext-s", IMAGE, 13_894_850, 15.49),
    Specified("segnext-b", IMAGE, 27_560_386, 34.35),
)


@dataclass(frozen=True, slots=True)
class Compared:
    """A published network beside ours."""

    specified: Specified
    parameters: int
    gmac: float

    @property
    def off(self) -> float | None:
        """By which share our multiply-adds differ; None where there is nothing to compare with."""
        return None if self.specified.gmac is None else self.gmac / self.specified.gmac - 1

    @property
    def equal(self) -> bool:
        """Parameters are the same number, and multiply-adds within ALLOWED."""
        return self.parameters == self.specified.parameters and (self.off is None or abs(self.off) <= ALLOWED)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        one = self.specified
        return {
            "network": one.network,
            "inputs": list(one.inputs),
            "parameters": self.parameters,
            "spec_parameters": one.parameters,
            "spec_unused_parameters": one.unused,
            "network_gmac": self.gmac,
            "spec_gmac": one.gmac,
            "off": None if self.off is None else round(self.off, 5),
            "equal": self.equal,
            "note": one.note,
        }


@dataclass(frozen=True, slots=True)
class Checked:
    """All published networks beside ours."""

    rows: tuple[Compared, ...]

    @property
    def differing(self) -> list[str]:
        """Names of those that are not equal."""
        return [f"{row.specified.network} ({'+'.join(row.specified.inputs)})" for row in self.rows if not row.equal]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"allowed": ALLOWED, "equal": not self.differing, "rows": [row.to_dict() for row in self.rows]}

    def check(self) -> None:
        """Raise SpecMismatchError where one differs."""
        if self.differing:
            raise SpecMismatchError(
                f"{len(self.differing)} of {len(self.rows)} networks differ from what is published: "
                f"{', '.join(self.differing)}; parameters must be equal and GMAC within {ALLOWED:.0%}"
            )

    def print_table(self) -> None:
        """On stdout, 80 columns wide, and a verdict on each row."""
        from rich.console import Console
        from rich.table import Table

        said = f"GMAC at 512² of the network as trained, with its teaching heads; equal: within {ALLOWED:.0%}"
        table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, caption=said, caption_justify="left")
        for column in ("name", "inputs", "parameters", "published", "GMAC", "published", ""):
            table.add_column(column, justify="left" if column in ("name", "inputs", "") else "right", no_wrap=True)
        for row in self.rows:
            one = row.specified
            inputs = "both" if len(one.inputs) > 1 else one.inputs[0]
            costs = f"{row.parameters:,}", f"{one.parameters:,}", f"{row.gmac:.2f}"
            published = "–" if one.gmac is None else f"{one.gmac:.2f}"
            table.add_row(one.network, inputs, *costs, published, "equal" if row.equal else "DIFFERS")
        Console().print(table)


def check_all(report: Callable[[str], None] = lambda text: None) -> Checked:
    """Count all published networks afresh and compare; `report` is told that it takes a while.

    Raises:
        MissingExtraError: torch is absent.
    """
    report(f"counting {len(SPECIFIED)} networks, which takes half a minute")
    return Checked(tuple(compared(one) for one in SPECIFIED))


def specified_of(entry: Entry) -> Specified | None:
    """The row of a network with the inputs that the list gives it; None where none is published."""
    return next((one for one in SPECIFIED if (one.network, one.inputs) == (entry.name, entry.inputs)), None)


def model_documents(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """What `roadedge models --json` says: each network, what is published of its cost, and what it reached here."""
    return [_document(entry) | {"reached": [one.to_dict() for one in reached() if one.network == entry.name]}
            for entry in entries]  # fmt: skip


def _document(entry: Entry) -> dict[str, Any]:
    one = specified_of(entry)
    return entry.to_dict() | {
        "spec_parameters": None if one is None else one.parameters,
        "spec_unused_parameters": None if one is None else one.unused,
        "spec_gmac": None if one is None else one.gmac,
        "spec_note": "" if one is None else one.note,
    }


def compared(one: Specified, count: bool = True) -> Compared:
    """Ours beside a published network; `count` counts it afresh, else the list is believed.

    Raises:
        MissingExtraError: torch is absent, with `count`; also without, for inputs that the list does not have.
    """
    entry = CATALOGUE[one.network]
    if count or entry.inputs != one.inputs:
        entry = counted(dataclasses.replace(entry, inputs=one.inputs))
    return Compared(one, entry.cost.parameters, entry.cost.network_gmac)
