"""Fake quantization: what it computes, what gets a gradient, which scales it keeps."""

from __future__ import annotations

import torch
from torch import nn

from roadedge.models.fake_quant import QuantConv2d, QuantConvTranspose2d, QuantPoint, QuantWeight, snapped


def test_values_become_multiples_of_the_scale_within_int8() -> None:
    point = QuantPoint().eval()
    point.set(torch.tensor(0.5))
    out = point(torch.tensor([0.0, 0.3, -0.8, 63.4, 90.0, -90.0]))
    assert out.tolist() == [0.0, 0.5, -1.0, 63.5, 63.5, -64.0]


def test_the_gradient_passes_inside_the_range_and_stops_outside() -> None:
    point = QuantPoint().train()
    point.set(torch.tensor(0.5))
    x = torch.tensor([1.2, 80.0, -80.0], requires_grad=True)
    point(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1.0, 0.0, 0.0]


def test_a_fixed_scale_is_a_buffer_and_a_learned_one_gets_a_gradient() -> None:
    assert not list(QuantPoint().parameters())
    point = QuantPoint(learned=True).train()
    point.set(torch.tensor(0.25))
    point(torch.linspace(-1, 1, 64)).square().sum().backward()
    assert point.exponent.grad is not None
    assert point.exponent.grad.abs().item() > 0


def test_a_learned_scale_is_deployed_as_float16_holds_it() -> None:
    point = QuantPoint(learned=True)
    with torch.no_grad():
        point.exponent.copy_(torch.tensor([0.1234567]).log2())
    x = torch.randn(100)
    before = point.eval()(x)
    point.settle()
    assert torch.equal(point.deployed(), snapped(torch.tensor([0.1234567])))
    assert torch.equal(point.eval()(x), before)


def test_every_scale_of_float16_survives_being_kept_as_a_logarithm() -> None:
    halves = torch.arange(0x0400, 0x7C00, dtype=torch.int16).view(torch.float16).float()  # from 2**-14 to 65504
    learned = QuantWeight(len(halves), learned=True)
    learned.set(halves)
    assert torch.equal(learned.deployed(), halves)


def test_scales_of_weights_follow_the_weights_while_training_and_stay_in_eval() -> None:
    weight = torch.randn(4, 3, 3, 3)
    quantized = QuantWeight(4).train()
    quantized(weight)
    assert torch.equal(quantized.scale, snapped(weight.abs().amax((1, 2, 3)) / 127))
    kept = quantized.scale.clone()
    quantized.eval()(weight * 2)
    assert torch.equal(quantized.scale, kept)


def test_a_convolution_is_that_of_its_rounded_weight() -> None:
    conv = nn.Conv2d(3, 4, 3, 2, padding=2, dilation=2)
    quantized = QuantConv2d(conv).eval()
    scale = quantized.quantized.scale.view(-1, 1, 1, 1)
    weight = (conv.weight / scale).round().clamp(-128, 127) * scale
    x = torch.randn(1, 3, 16, 16)
    want = nn.functional.conv2d(x, weight, conv.bias, 2, 2, 2)
    torch.testing.assert_close(quantized(x), want)
    assert torch.equal(quantized.plain()(x), conv(x))


def test_a_transposed_convolution_has_one_scale() -> None:
    conv = nn.ConvTranspose2d(3, 4, 3, 2, padding=1, output_padding=1)
    quantized = QuantConvTranspose2d(conv).eval()
    assert quantized.quantized.scale.shape == (1,)
    x = torch.randn(1, 3, 8, 8)
    largest = (quantized(x) - conv(x)).abs().max()
    assert 0 < largest < 27 * x.abs().max() * quantized.quantized.scale.item()
    assert torch.equal(quantized.plain()(x), conv(x))


def test_an_observed_point_changes_nothing() -> None:
    seen = []

    class Recorder:
        def add(self, values: object) -> None:
            seen.append(values)

    point = QuantPoint()
    point.observer = Recorder()
    x = torch.randn(5)
    assert torch.equal(point(x), x)
    assert len(seen) == 1
