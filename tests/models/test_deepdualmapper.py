"""DeepDualMapper: its counts, its gates, its predictions at every scale."""

from __future__ import annotations

import pytest
import torch

from roadedge.models import create_model
from roadedge.models.catalogue import gmac
from roadedge.models.deepdualmapper import DeepDualMapper, GatedFusion
from tests.models.networks import random_feeds


def of_meta(name: str) -> DeepDualMapper:
    with torch.device("meta"):
        network = create_model(name)
    assert isinstance(network, DeepDualMapper)
    return network


def test_its_encoders_are_those_of_late_fusion() -> None:
    with torch.device("meta"):
        late = create_model("dlinknet34-late").state_dict()
    ours = of_meta("deepdualmapper").state_dict()

    def of_the_image(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Size]:
        keys = [key for key in state if key.startswith((f"{prefix}.stem", f"{prefix}.layer", f"{prefix}.centre"))]
        return {key.removeprefix(prefix): state[key].shape for key in keys}

    assert of_the_image(ours, "encoders.image") == of_the_image(late, "streams.image")
    assert of_the_image(ours, "encoders.trajectory") == of_the_image(late, "streams.trajectory")


def test_it_costs_less_than_two_whole_streams() -> None:
    with torch.device("meta"):
        late = gmac(create_model("dlinknet34-late").eval())
    assert 0.75 * late < gmac(of_meta("deepdualmapper").eval()) < late


class TestGatedFusion:
    def test_the_gates_sum_to_one(self) -> None:
        torch.manual_seed(0)
        fusion, x = GatedFusion(8, 2), torch.randn(2, 8, 5, 6)
        fusion.align[1].load_state_dict(fusion.align[0].state_dict())
        with torch.no_grad():  # of equal maps any gates that sum to one make the map itself
            assert torch.allclose(fusion([x, x]), torch.relu(fusion.align[0](x)), atol=1e-6)

    @pytest.mark.parametrize("trusted", [0, 1])
    def test_a_gate_can_shut_out_an_input(self, trusted: int) -> None:
        torch.manual_seed(0)
        fusion = GatedFusion(8, 2)
        assert fusion.gates is not None
        assert fusion.gates.bias is not None
        torch.nn.init.zeros_(fusion.gates.weight)
        with torch.no_grad():
            fusion.gates.bias.copy_(torch.tensor([50.0, -50.0] if trusted == 0 else [-50.0, 50.0]))
            maps = [torch.randn(1, 8, 4, 4), torch.randn(1, 8, 4, 4)]
            assert torch.allclose(fusion(maps), torch.relu(fusion.align[trusted](maps[trusted])))


def test_each_scale_is_predicted_in_training() -> None:
    network = create_model("deepdualmapper-slim").train()
    feeds = random_feeds(network, 64, 96)
    sizes = {name: tuple(value.shape[2:]) for name, value in network(feeds).items()}
    assert sizes == {
        "logits": (64, 96),
        "half_logits": (32, 48),
        "quarter_logits": (16, 24),
        "eighth_logits": (8, 12),
        "sixteenth_logits": (4, 6),
    }
    assert set(network.eval()(feeds)) == {"logits"}
