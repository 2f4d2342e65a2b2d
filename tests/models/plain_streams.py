"""The networks of two streams that speak to each other, as their descriptions read; as plain as `plain.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.models.plain import Weights, conv, decoder, dilated_series, finest, layer, norm, planes, stem, transposed


def enhanced(w: Weights, at: str, maps: Sequence[Tensor]) -> list[Tensor]:
    """a' = a + α_b L_b + β_b g_b, and the same for b; gates of the sender alone."""
    sent = []
    for m, x in enumerate(maps):
        sender = f"{at}.senders.{m}"
        local = norm(w, f"{sender}.local.1", conv(w, f"{sender}.local.0", x))
        cells = torch.cat([F.adaptive_max_pool2d(local, side).flatten(1) for side in (1, 2, 4)], 1)
        vector = torch.relu(F.linear(cells, w[f"{sender}.squeeze.weight"].flatten(1), w[f"{sender}.squeeze.bias"]))
        spread = vector[:, :, None, None].expand_as(local)
        known = torch.cat([local, spread], 1)
        alpha = torch.sigmoid(conv(w, f"{sender}.gates.of_local", known))
        beta = torch.sigmoid(conv(w, f"{sender}.gates.of_global", known))
        sent.append(alpha * local + beta * spread)
    return [maps[0] + sent[1], maps[1] + sent[0]]


def cmmpnet(w: Weights, feeds: Mapping[str, Tensor]) -> Tensor:
    """What is enhanced goes on and is also the skip; in the decoder the skip is added before the enhancement."""
    at = [f"streams.{name}." for name in feeds]
    maps = [stem(w, f"{a}stem.", planes(feed)) for a, feed in zip(at, feeds.values(), strict=True)]
    kept = []
    for i in range(4):
        maps = enhanced(w, f"enhance.{i}", [layer(w, a, x, i + 1) for a, x in zip(at, maps, strict=True)])
        kept.append(maps)
    maps = [dilated_series(w, f"{a}centre", x) for a, x in zip(at, maps, strict=True)]
    for i in range(4):
        maps = [decoder(w, f"{a}decoders.{i}", x) for a, x in zip(at, maps, strict=True)]
        if i < 3:
            maps = [x + skip for x, skip in zip(maps, kept[2 - i], strict=True)]
        maps = enhanced(w, f"enhance.{4 + i}", maps)
    return conv(w, "fuse", torch.cat([finest(w, a, x, odd=False) for a, x in zip(at, maps, strict=True)], 1))


def kept_channels(gamma: Tensor) -> list[bool]:
    """A histogram of |γ| with as many bins as channels, a scan for its first valley, its right edge as threshold."""
    size = gamma.abs().numpy()
    low, high = float(size.min()), float(size.max())
    counts = np.histogram(size, len(size), (low, high))[0] if high > low else np.zeros(len(size))
    steps = np.diff(counts)
    for i in range(len(steps) - 1):
        if steps[i] <= 0 < steps[i + 1]:
            return [bool(v >= low + (i + 2) * (high - low) / len(size)) for v in size]
    return [True] * len(size)


def shared(w: Weights, at: str, maps: Sequence[Tensor], stride: int = 1) -> list[Tensor]:
    """One convolution, a norm for each stream."""
    return [norm(w, f"{at}.norms.{m}", conv(w, f"{at}.conv", x, stride)) for m, x in enumerate(maps)]


def swapped(w: Weights, at: str, maps: Sequence[Tensor]) -> list[Tensor]:
    """Where a stream's channel tells little, the other stream's channel of the same number; both read what was."""
    out = []
    for m in (0, 1):
        keep = kept_channels(w[f"{at}.norms.{m}.weight"])
        channels = [maps[m if own else 1 - m][:, c] for c, own in enumerate(keep)]
        out.append(torch.stack(channels, 1))
    return out


def exchange_block(w: Weights, at: str, maps: Sequence[Tensor]) -> list[Tensor]:
    shrinks = f"{at}.shortcut.conv.weight" in w
    inner = [torch.relu(x) for x in shared(w, f"{at}.first", maps, 2 if shrinks else 1)]
    inner = swapped(w, f"{at}.second", shared(w, f"{at}.second", inner))
    outer = shared(w, f"{at}.shortcut", maps, 2) if shrinks else maps
    return [torch.relu(a + b) for a, b in zip(inner, outer, strict=True)]


def cmipnet(w: Weights, feeds: Mapping[str, Tensor]) -> Tensor:
    """The image is fed blue first; everything but stems, norms and the last convolution is shared."""
    maps = []
    for name, feed in feeds.items():
        x = planes(feed)[:, [2, 1, 0]] if name == "image" else planes(feed)
        x = torch.relu(norm(w, f"stems.{name}.1", conv(w, f"stems.{name}.0", x, 2)))
        maps.append(F.max_pool2d(x, 3, 2, 1))
    kept = []
    for i, depth in enumerate((3, 4, 6, 3)):
        for block in range(depth):
            maps = exchange_block(w, f"layers.{i}.{block}", maps)
        kept.append(maps)
    maps = [dilated_series(w, "centre", x) for x in maps]
    for i in range(4):
        at = f"decoders.{i}"
        maps = [torch.relu(x) for x in shared(w, f"{at}.squeeze", maps)]
        risen = [transposed(w, f"{at}.enlarge.conv", x, 2, 1, 1) for x in maps]
        maps = [torch.relu(norm(w, f"{at}.enlarge.norms.{m}", x)) for m, x in enumerate(risen)]
        maps = [torch.relu(x) for x in shared(w, f"{at}.widen", maps)]
        if i < 3:
            maps = [x + skip for x, skip in zip(maps, kept[2 - i], strict=True)]
    return conv(w, "fuse", torch.cat([finest(w, "", x, odd=False) for x in maps], 1))


def cmipnet_hrnet(w: Weights, feeds: Mapping[str, Tensor]) -> Tensor:
    """HRNet-W18 twice: exchange in each block; where resolutions meet, convolution and norm are shared."""
    maps, side = [], (0, 0)
    for name, feed in feeds.items():
        x = planes(feed)
        side = (x.shape[2], x.shape[3])
        for number in (0, 3):
            x = torch.relu(norm(w, f"stems.{name}.{number + 1}", conv(w, f"stems.{name}.{number}", x, 2)))
        maps.append(x)
    for i in range(4):
        at = f"first.{i}"
        inner = [torch.relu(x) for x in shared(w, f"{at}.reduce", maps)]
        inner = [torch.relu(x) for x in swapped(w, f"{at}.middle", shared(w, f"{at}.middle", inner))]
        outer = shared(w, f"{at}.shortcut", maps) if i == 0 else maps
        maps = [torch.relu(a + b) for a, b in zip(shared(w, f"{at}.expand", inner), outer, strict=True)]
    scales = [[torch.relu(x) for x in shared(w, "split", maps)]]
    for stage, modules in enumerate((1, 4, 3)):
        source = maps if stage == 0 else scales[-1]
        scales.append([torch.relu(x) for x in shared(w, f"coarser.{stage}", source, 2)])
        for module in range(modules):
            scales = hrnet_module(w, f"stages.{stage}.{module}", scales)
    fine = scales[0][0].shape[2:]
    joined = [F.interpolate(s[m], fine, mode="bilinear", align_corners=True) for m in (0, 1) for s in scales]
    x = torch.relu(norm(w, "join.1", conv(w, "join.0", torch.cat(joined, 1))))
    return F.interpolate(conv(w, "fuse", x), side, mode="bilinear", align_corners=True)


def hrnet_module(w: Weights, at: str, scales: list[list[Tensor]]) -> list[list[Tensor]]:
    """Four blocks on each resolution, then each becomes the sum of all."""
    for i in range(len(scales)):
        for block in range(4):
            scales[i] = exchange_block(w, f"{at}.branches.{i}.{block}", scales[i])
    out = []
    for i in range(len(scales)):
        sums = []
        for m in (0, 1):
            total = scales[i][m]
            for j in range(len(scales)):
                x, to = scales[j][m], f"{at}.paths.{i}.{j}"
                if j > i:
                    x = norm(w, f"{to}.1", conv(w, f"{to}.0", x))
                    total = total + x.repeat_interleave(2 ** (j - i), 2).repeat_interleave(2 ** (j - i), 3)
                elif j < i:
                    for k in range(i - j):
                        x = norm(w, f"{to}.{3 * k + 1}", conv(w, f"{to}.{3 * k}", torch.relu(x) if k else x, 2))
                    total = total + x
            sums.append(torch.relu(total))
        out.append(sums)
    return out
