"""Every row of what is published, beside what we print."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import torch

from roadedge.cli import main
from roadedge.errors import SpecMismatchError
from roadedge.models import create_model, specified
from roadedge.models.catalogue import CATALOGUE, gmac
from roadedge.models.cmipnet import CMIPNet
from roadedge.models.cu_dgcn import CUdGCN
from roadedge.models.hourglass import GlobalAwareBlock, JointConnectivity
from roadedge.models.specified import SPECIFIED, Checked, Compared, Specified, compared, model_documents
from roadedge.spec import ModelSpec

# The rows of the page of costs as they are written there: network, channels fed, parameters (in whole numbers or in M,
# live ones, with a star all), GMAC at 512² with matrix products. Its rows "as is" are the same networks with other
# randomness, and its rows of LinkNet34MTL, of StackHourglassNetMTL and of SPIN are networks that the papers compare
# with elsewhere and that are not built here.
PAGE = """
cmipnet              4  31 117 873   52.75
cmipnet-hrnet18      4   9 924 049   39.08
cmmpnet              4  84 993 857   60.15
dlinknet34-late      4  62 186 049   52.7
dlinknet34           4  31 099 329   26.78
dlinknet34           3  31 096 129   26.58
dlinknet34-1d        4  31 219 625   27.02
linknet34            4  21 645 601   23.38
linknet34-1d         4  21 765 897   23.61
resunet              4  26 635 457  215.03
resunet-1d           4     20.520 M  192.58
resunet34            4  24 019 905   24.97
unet                 4  39 399 489  218.72
unet-1d              4  30 049 169  193.47
deeplabv3plus        4  50 404 833   82.41
joint-connectivity   3     14.973 M   64.77
joint-connectivity-plain 3 20.189 M*   64.77
joint-connectivity-mb    3 29.285 M*  104.26
cu-dgcn              3     90.841 M  101.27
cu-dgcn-tiny         3     29.727 M   39.96
cu-dgcn-small        3     51.361 M   62.05
cu-dgcn-large        3    203.372 M  211.94
d-segnext-t          3      5.039 M    7.04
d-segnext-s          3     16.803 M   17.94
d-segnext-b          3     33.755 M   39.91
segnext-t            3      4.225 M    6.25
segnext-s            3     13.895 M   15.49
segnext-b            3     27.560 M   34.35
"""
ROWS = [line.split(maxsplit=2) for line in PAGE.strip().splitlines()]


def found(network: str, inputs: tuple[str, ...]) -> Specified:
    return next(one for one in SPECIFIED if (one.network, one.inputs) == (network, inputs))


@pytest.mark.parametrize(("network", "channels", "numbers"), ROWS)
def test_each_row_of_the_page_is_stated(network: str, channels: str, numbers: str) -> None:
    parameters, cost = numbers.rsplit(maxsplit=1)
    one = found(network, ("image", "trajectory") if channels == "4" else ("image",))
    if parameters.endswith("M*"):
        assert f"{(one.parameters + one.unused) / 1e6:.3f} M*" == parameters
    elif parameters.endswith("M"):
        assert f"{one.parameters / 1e6:.3f} M" == parameters
    else:
        assert one.parameters == int(parameters.replace(" ", ""))
    assert one.gmac == pytest.approx(float(cost), abs=0.0051)


@pytest.mark.parametrize("one", SPECIFIED, ids=lambda one: f"{one.network}-{len(one.inputs)}")
def test_ours_equals_each_row(one: Specified) -> None:
    # what the list says of ours is counted afresh by the tests of the catalogue
    row = compared(one, count=False)
    assert row.parameters == one.parameters
    assert one.gmac is None or row.gmac == pytest.approx(one.gmac, rel=0.01)
    assert row.equal


def test_the_diagonals_cost_less_than_the_published_ones_and_nothing_else_differs() -> None:
    off = {one.network: compared(one, count=False).off or 0.0 for one in SPECIFIED if len(one.inputs) == 2}
    assert all(-0.01 < value < 0 for name, value in off.items() if name.endswith("-1d"))
    assert all(abs(value) < 0.001 for name, value in off.items() if not name.endswith("-1d"))


class TestRowsOfOtherFormsFollowFromOurs:
    def test_cmipnet_as_shipped_runs_three_decoder_steps_twice(self) -> None:
        from torch.utils.flop_counter import FlopCounterMode

        with torch.device("meta"):
            network = create_model("cmipnet").eval()
            feeds = {"image": torch.zeros(1, 512, 512, 3), "trajectory": torch.zeros(1, 512, 512, 1)}
        assert isinstance(network, CMIPNet)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(feeds)
        counts = counter.get_flop_counts()
        twice = sum(sum(counts[f"CMIPNet.decoders.{i}"].values()) for i in range(3)) / 2e9
        assert CATALOGUE["cmipnet"].cost.network_gmac + twice == pytest.approx(53.276, rel=1e-4)

    def test_joint_connectivity_with_what_it_never_reads_and_with_plain_blocks(self) -> None:
        with torch.device("meta"):
            network = create_model("joint-connectivity", ModelSpec("joint-connectivity", inputs=("image",)))
            group = 3 * sum(p.numel() for p in GlobalAwareBlock(128, 128).parameters())
            gates = 3 * sum(p.numel() for p in GlobalAwareBlock(128, 128).channels.parameters())
        assert isinstance(network, JointConnectivity)
        one = found("joint-connectivity", ("image",))
        assert one.unused == 6 * group == 6 * 892_416
        assert one.parameters + one.unused == 20_327_509
        live = sum(
            p.numel() for m in network.modules() if isinstance(m, GlobalAwareBlock) for p in m.channels.parameters()
        )
        plain = found("joint-connectivity-plain", ("image",))
        assert plain.unused == 6 * (group - gates)
        assert plain.parameters + plain.unused == 20_327_509 - live - 6 * gates
        assert f"{(plain.parameters + plain.unused) / 1e6:.3f} M" == "20.189 M"

    def test_joint_connectivity_with_branches_has_five_groups_more_in_each_stack(self) -> None:
        one, branched = (found(f"joint-connectivity{name}", ("image",)) for name in ("", "-mb"))
        with torch.device("meta"):
            group = 3 * sum(p.numel() for p in GlobalAwareBlock(128, 128).parameters())
        behind = 128 * 128 + 128 + 2 * 128  # a 1 x 1 convolution and its norm
        assert branched.unused == one.unused  # what was never called is on the way down
        assert branched.parameters == one.parameters + 2 * (5 * group + behind)
        assert f"{(branched.parameters + branched.unused) / 1e6:.3f} M" == "29.285 M"
        at_quarter = 3 * 2 * 9 * 128**4 / 1e9  # multiply-adds of a group
        more = at_quarter * (1 + 1 / 4 + 1 / 16 + 2 / 64) + 128**4 / 1e9
        assert one.gmac is not None
        assert one.gmac + 2 * more == pytest.approx(104.26, abs=0.0051)

    def test_cu_dgcn_computes_its_coarse_outputs_in_training_alone(self) -> None:
        with torch.device("meta"):
            network = create_model("cu-dgcn-tiny", ModelSpec("cu-dgcn-tiny", inputs=("image",))).eval()
        assert isinstance(network, CUdGCN)
        assert network.orientation is not None
        network.road.training = network.orientation.training = True  # not the norms, which want more than one value
        assert gmac(network) == pytest.approx(39.96, rel=5e-4)

    @pytest.mark.parametrize(("name", "published"), [("t", 5_296_074), ("s", 17_316_266), ("b", 34_267_690)])
    def test_d_segnext_with_its_dead_classifier(self, name: str, published: int) -> None:
        one = found(f"d-segnext-{name}", ("image",))
        width = {"t": 256, "s": 512, "b": 512}[name]
        assert one.unused == 1000 * width + 1000
        assert one.parameters + one.unused == published


def test_the_json_has_the_published_number_beside_ours() -> None:
    documents = {one["name"]: one for one in model_documents(CATALOGUE.values())}
    own: dict[str, Any] = documents["cu-dgcn"]
    assert (own["parameters"], own["spec_parameters"]) == (90_841_134, 90_841_134)
    assert (own["gmac"], own["network_gmac"], own["spec_gmac"]) == (91.834, 100.801, 101.27)
    assert "heads" in own["spec_note"]
    assert documents["roadedge-s"]["spec_parameters"] is None
    assert json.loads(json.dumps(list(documents.values()))) == list(documents.values())


class TestCheck:
    @pytest.fixture
    def few(self, monkeypatch: pytest.MonkeyPatch) -> list[Specified]:
        kept = [found("segnext-t", ("image",)), found("dlinknet34", ("image",))]
        monkeypatch.setattr(specified, "SPECIFIED", tuple(kept))
        return kept

    @pytest.mark.usefixtures("few")
    def test_it_counts_afresh_and_says_equal(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["models", "--check"]) == 0
        out = capsys.readouterr().out
        assert out.count("equal") == 3  # the rows and the caption
        assert "31,096,129 31,096,129" in out

    def test_all_rows_fit_a_narrow_terminal_with_their_names_whole(self, capsys: pytest.CaptureFixture[str]) -> None:
        rows = [compared(one, count=False) for one in SPECIFIED]
        Checked((*rows, dataclasses.replace(rows[0], parameters=0))).print_table()
        out = capsys.readouterr().out
        assert max(map(len, out.splitlines())) <= 80
        assert [one.network for one in SPECIFIED if one.network not in out] == []
        verdicts = [line.split()[-1] for line in out.splitlines()[1 : 2 + len(rows)]]
        assert verdicts == ["equal"] * len(rows) + ["DIFFERS"]

    def test_a_difference_ends_with_code_8_and_is_named(
        self, few: list[Specified], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        wrong = dataclasses.replace(few[0], parameters=few[0].parameters + 1)
        monkeypatch.setattr(specified, "SPECIFIED", (wrong,))
        assert main(["models", "--check", "--json"]) == 8
        out, log = capsys.readouterr()
        assert json.loads(out)["rows"][0]["equal"] is False
        assert "1 of 1 networks differ" in log
        assert "segnext-t" in log

    def test_more_than_one_per_cent_of_multiply_adds_is_a_difference(self) -> None:
        one = found("cmmpnet", ("image", "trajectory"))
        assert Compared(one, one.parameters, 60.7).equal
        assert not Compared(one, one.parameters, 60.8).equal
        with pytest.raises(SpecMismatchError, match="cmmpnet"):
            Checked((Compared(one, one.parameters, 57.197),)).check()


def test_where_the_page_has_1024_pixels_too() -> None:
    with torch.device("meta"):
        network = create_model("cmmpnet").eval()
    assert gmac(network, 1024) == pytest.approx(240.537, rel=1e-4)
