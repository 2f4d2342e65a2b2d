"""The published networks once more, as their descriptions read: one function each, from weights by name to logits.

Slow and plain on purpose: no modules, no shared code with the package, the exchange channel by channel. Weights carry
our names. Norms are in eval mode.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

Weights = Mapping[str, Tensor]


def planes(feed: Tensor) -> Tensor:
    """(N, H, W, C) grey levels → (N, C, H, W) in -1.6 … 1.6."""
    return feed.permute(0, 3, 1, 2).float() / 255 * 3.2 - 1.6


def conv(w: Weights, name: str, x: Tensor, stride: int = 1, dilation: int = 1, padding: int | None = None) -> Tensor:
    weight = w[f"{name}.weight"]
    padding = dilation * (weight.shape[-1] // 2) if padding is None else padding
    return F.conv2d(x, weight, w.get(f"{name}.bias"), stride, padding, dilation)


def norm(w: Weights, name: str, x: Tensor) -> Tensor:
    shape = (1, -1, 1, 1)
    mean, variance = w[f"{name}.running_mean"].view(shape), w[f"{name}.running_var"].view(shape)
    return (x - mean) / torch.sqrt(variance + 1e-5) * w[f"{name}.weight"].view(shape) + w[f"{name}.bias"].view(shape)


def basic_block(w: Weights, at: str, x: Tensor) -> Tensor:
    """ResNet-34's, with torchvision's names."""
    shrinks = f"{at}.downsample.0.weight" in w
    inner = torch.relu(norm(w, f"{at}.bn1", conv(w, f"{at}.conv1", x, 2 if shrinks else 1)))
    inner = norm(w, f"{at}.bn2", conv(w, f"{at}.conv2", inner))
    if shrinks:
        x = norm(w, f"{at}.downsample.1", conv(w, f"{at}.downsample.0", x, 2))
    return torch.relu(inner + x)


def layer(w: Weights, at: str, x: Tensor, number: int) -> Tensor:
    for block in range((3, 4, 6, 3)[number - 1]):
        x = basic_block(w, f"{at}layer{number}.{block}", x)
    return x


def stem(w: Weights, at: str, x: Tensor) -> Tensor:
    """The image's own convolution and that of the other channels are added before the norm."""
    if f"{at}second.weight" in w:
        summed = conv(w, f"{at}conv1", x[:, :3], 2) + conv(w, f"{at}second", x[:, 3:], 2)
    else:
        summed = conv(w, f"{at}conv1", x, 2)
    return F.max_pool2d(torch.relu(norm(w, f"{at}bn1", summed)), 3, 2, 1)


def dilated_series(w: Weights, at: str, x: Tensor) -> Tensor:
    """Four 3 x 3 convolutions in series, dilation 1, 2, 4, 8; the input and all four are added."""
    one = torch.relu(conv(w, f"{at}.convs.0", x, dilation=1))
    two = torch.relu(conv(w, f"{at}.convs.1", one, dilation=2))
    three = torch.relu(conv(w, f"{at}.convs.2", two, dilation=4))
    four = torch.relu(conv(w, f"{at}.convs.3", three, dilation=8))
    return x + one + two + three + four


def transposed(w: Weights, name: str, x: Tensor, stride: int, padding: int, more: int = 0) -> Tensor:
    return F.conv_transpose2d(x, w[f"{name}.weight"], w.get(f"{name}.bias"), stride, padding, more)


def decoder(w: Weights, at: str, x: Tensor) -> Tensor:
    """1 x 1, transposed 3 x 3 that doubles, 1 x 1, each with norm and ReLU; or the 1-D block."""
    if f"{at}.strips.0.weight" in w:
        return strips(w, at, x)
    x = torch.relu(norm(w, f"{at}.1", conv(w, f"{at}.0", x)))
    x = torch.relu(norm(w, f"{at}.4", transposed(w, f"{at}.3", x, 2, 1, 1)))
    return torch.relu(norm(w, f"{at}.7", conv(w, f"{at}.6", x)))


def strips(w: Weights, at: str, x: Tensor) -> Tensor:
    """1 x 9, 9 x 1 and both diagonals side by side, doubled by the nearest value, norm, ReLU, 1 x 1."""
    x = torch.relu(norm(w, f"{at}.squeeze.1", conv(w, f"{at}.squeeze.0", x)))
    parts = [F.conv2d(x, w[f"{at}.strips.0.weight"], w[f"{at}.strips.0.bias"], padding=(0, 4))]
    parts.append(F.conv2d(x, w[f"{at}.strips.1.weight"], w[f"{at}.strips.1.bias"], padding=(4, 0)))
    for i, rising in ((2, True), (3, False)):
        taps, bias = w[f"{at}.strips.{i}.taps.weight"][:, :, 0, 0], w[f"{at}.strips.{i}.bias"]
        square = torch.zeros(len(bias), taps.shape[1], 9, 9)  # a 9 x 9 kernel, zero off its diagonal
        for k in range(9):
            square[:, :, k, 8 - k if rising else k] = taps[k * len(bias) : (k + 1) * len(bias)]
        parts.append(F.conv2d(x, square, bias, padding=4))
    doubled = torch.cat(parts, 1).repeat_interleave(2, 2).repeat_interleave(2, 3)
    return torch.relu(norm(w, f"{at}.widen.1", conv(w, f"{at}.widen.0", torch.relu(norm(w, f"{at}.norm", doubled)))))


def finest(w: Weights, at: str, x: Tensor, odd: bool) -> Tensor:
    """D-LinkNet's head keeps the side even; LinkNet's has sides of S + 1 and S - 1."""
    x = torch.relu(transposed(w, f"{at}enlarge", x, 2, 0 if odd else 1))
    return torch.relu(conv(w, f"{at}smooth", x, padding=0 if odd else 1))


def link_stream(w: Weights, at: str, x: Tensor, centre: str, odd: bool) -> Tensor:
    """One encoder-decoder of the LinkNet family up to its finest map."""
    x = stem(w, f"{at}stem.", x)
    kept = []
    for number in range(1, 5):
        x = layer(w, at, x, number)
        kept.append(x)
    if centre == "dilated":
        x = dilated_series(w, f"{at}centre", x)
    elif centre == "plain":
        x = conv(w, f"{at}centre", x)
    for i, skip in enumerate((kept[2], kept[1], kept[0])):
        x = decoder(w, f"{at}decoders.{i}", x) + skip
    return finest(w, at, decoder(w, f"{at}decoders.3", x), odd)


def linknet(w: Weights, feeds: Mapping[str, Tensor], centre: str = "none", odd: bool = True) -> Tensor:
    x = torch.cat([planes(feed) for feed in feeds.values()], 1)
    return conv(w, "fuse", link_stream(w, "stream.", x, centre, odd), padding=1)


def dlinknet(w: Weights, feeds: Mapping[str, Tensor]) -> Tensor:
    return linknet(w, feeds, "dilated", odd=False)


def resunet34(w: Weights, feeds: Mapping[str, Tensor]) -> Tensor:
    return linknet(w, feeds, "plain", odd=False)


def late_dlinknet(w: Weights, feeds: Mapping[str, Tensor]) -> Tensor:
    """Two whole streams, their finest maps side by side before the last convolution."""
    fine = [link_stream(w, f"streams.{name}.", planes(feed), "dilated", odd=False) for name, feed in feeds.items()]
    return conv(w, "fuse", torch.cat(fine, 1))


def u_stage(w: Weights, at: str, x: Tensor) -> Tensor:
    """Two 3 x 3 convolutions; of Res-UNet with a projection of the input added before the last ReLU."""
    if f"{at}.projection.0.weight" in w:
        inner = torch.relu(norm(w, f"{at}.inner.1", conv(w, f"{at}.inner.0", x)))
        inner = norm(w, f"{at}.inner.4", conv(w, f"{at}.inner.3", inner))
        return torch.relu(inner + norm(w, f"{at}.projection.1", conv(w, f"{at}.projection.0", x)))
    x = torch.relu(norm(w, f"{at}.1", conv(w, f"{at}.0", x)))
    return torch.relu(norm(w, f"{at}.4", conv(w, f"{at}.3", x)))


def unet(w: Weights, feeds: Mapping[str, Tensor]) -> Tensor:
    """U-Net and Res-UNet: what comes up stands before what the encoder kept."""
    x = torch.cat([planes(feed) for feed in feeds.values()], 1)
    kept = []
    for i in range(4):
        x = u_stage(w, f"stream.encoder.{i}", x if i == 0 else F.max_pool2d(x, 2))
        kept.append(x)
    x = u_stage(w, "stream.bridge", F.max_pool2d(x, 2))
    for i in range(4):
        at = f"stream.enlarge.{i}"
        risen = strips(w, at, x) if f"{at}.norm.weight" in w else torch.relu(transposed(w, f"{at}.0", x, 2, 1))
        x = u_stage(w, f"stream.decoder.{i}", torch.cat([risen, kept[3 - i]], 1))
    return conv(w, "fuse", x)


def deeplab(w: Weights, feeds: Mapping[str, Tensor]) -> Tensor:
    """Bottlenecks 3, 4, 15, 3 at an output stride of 16, the last ones of dilation 2, 4, 8."""

    def unit(at: str, x: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
        return norm(w, f"{at}.1", conv(w, f"{at}.0", x, stride, dilation))

    x = torch.cat([planes(feed) for feed in feeds.values()], 1)
    side = x.shape[2:]
    x = F.max_pool2d(torch.relu(unit("stem", x, 2)), 3, 2, 1, ceil_mode=True)
    for i, (depth, stride) in enumerate(((3, 1), (4, 2), (15, 2), (3, 1))):
        for block in range(depth):
            at = f"layers.{i}.{block}"
            step, dilation = stride if block == 0 else 1, (2, 4, 8)[block] if i == 3 else 1
            inner = torch.relu(unit(f"{at}.middle", torch.relu(unit(f"{at}.reduce", x, step)), 1, dilation))
            x = torch.relu(unit(f"{at}.expand", inner) + (unit(f"{at}.shortcut", x, step) if block == 0 else x))
        if i == 0:
            fine = x
    pooled = torch.relu(unit("pyramid.pooled", F.adaptive_avg_pool2d(x, 1))).expand(-1, -1, *x.shape[2:])
    parts = [torch.relu(unit(f"pyramid.parts.{i}", x, 1, rate)) for i, rate in enumerate((1, 6, 12, 18))]
    x = torch.relu(unit("pyramid.join", torch.cat([pooled, *parts], 1)))
    x = F.interpolate(x, fine.shape[2:], mode="bilinear")
    x = torch.cat([x, torch.relu(unit("lateral", fine))], 1)
    x = torch.relu(unit("refine", x))
    x = torch.relu(norm(w, "refine.4", conv(w, "refine.3", x)))
    return F.interpolate(conv(w, "fuse", x), side, mode="bilinear")
