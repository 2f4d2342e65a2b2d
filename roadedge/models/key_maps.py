"""From the names of somebody else's weights to those of a network of ours.

A `KeyMap` says for the weights of a network under which names a file may hold them. `load_mapped` copies them and tells
what came from where, what stays as drawn and what of the file nobody reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from roadedge.errors import ModelFileError
from roadedge.models.blocks import RoadNet

COUNTER = "num_batches_tracked"  # of a batch-norm; older files lack it, and nothing but the momentum None reads it
LISTED = 4  # of names in a sentence; `Loaded.to_dict` has them all


@dataclass(frozen=True, slots=True)
class Source:
    """Where a file holds one weight.

    `names` are tried in turn. With `blue_first` the file's weight expects blue, green, red in its first three channels
    and ours red first. `channels` are the input channels of ours that the file's weight is for, where ours has more.
    With `halves_turned` the first half of the file's input channels is for what ours takes second. A weight that is
    not `needed` may be absent.
    """

    names: tuple[str, ...]
    blue_first: bool = False
    channels: tuple[int, ...] | None = None
    needed: bool = True
    halves_turned: bool = False


@dataclass(frozen=True, slots=True)
class KeyMap:
    """The names of one kind of file.

    Args:
        called: what a sentence calls the file.
        signs: names of which the file has at least one; how its kind is told.
        sources: the map itself, for a network that `serves` says yes to.
        serves: whether a network has what the file's weights are for.
        ignored: beginnings of names that are in such files and never read here, such as a classifier.
        networks: of which such checkpoints were published; none for a trunk.
        drawn: what the names of ours that no such file holds end in, and why they stay as drawn.
    """

    called: str
    signs: tuple[str, ...]
    sources: Callable[[RoadNet], dict[str, Source]]
    serves: Callable[[RoadNet], bool]
    ignored: tuple[str, ...] = ()
    drawn: Mapping[str, str] | None = None
    networks: tuple[str, ...] = ()

    def recognises(self, weights: Mapping[str, Any]) -> bool:
        """Whether a file with these names is of this kind."""
        return any(sign in weights for sign in self.signs)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of the weights: `copied` from the file by our names, `fresh` as drawn, `left` of the file unread."""

    called: str
    copied: dict[str, str]
    fresh: tuple[str, ...]
    left: tuple[str, ...]
    notes: tuple[str, ...] = ()
    each: bool = False  # the notes name every weight that was not matched

    @property
    def unmatched(self) -> int:
        """How many weights of either side the other one lacks."""
        return len(self.fresh) + len(self.left)

    def lines(self) -> list[str]:
        """For the log: counts, then what was not matched, by the parts of the network that it belongs to."""
        out = [f"{self.called}: {len(self.copied)} weights taken"]
        out += [f"  {note}" for note in self.notes]
        if self.each:
            return out
        out += [f"  {room}: {count} weights stay as drawn" for room, count in _rooms(self.fresh).items()]
        out += [f"  {room}: {count} weights of the file are not read" for room, count in _rooms(self.left).items()]
        return out

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, each weight by its name."""
        return {
            "called": self.called,
            "copied": self.copied,
            "fresh": list(self.fresh),
            "left": list(self.left),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class Match:
    """How a file's weights meet a network: `pairs` of ours and theirs that fit, and sentences on what does not."""

    pairs: dict[str, str]
    wrong: tuple[str, ...]
    left: tuple[str, ...]  # of the file, without what is known to be beside the point


def match(network: RoadNet, weights: Mapping[str, Tensor], key_map: KeyMap) -> Match:
    """Compare names and shapes; nothing is copied, and the network may be one without memory (on "meta")."""
    own, pairs, wrong = network.state_dict(), dict[str, str](), list[str]()
    met = set()
    for name, source in key_map.sources(network).items():
        there = [key for key in source.names if key in weights]
        fitting = next((key for key in there if fits(weights[key], own[name], source)), None)
        met.update(there[:1])
        if fitting is not None:
            pairs[name] = fitting
        elif there:
            value, want = weights[there[0]], tuple(own[name].shape)
            kind = "" if value.is_floating_point() == own[name].is_floating_point() else f" of {value.dtype}"
            wrong.append(f"{there[0]!r} is {tuple(value.shape)}{kind}, and {want} was expected")
        elif source.needed and not name.endswith(COUNTER):
            wrong.append(f"{source.names[0]!r} is not there")
    known = (*key_map.ignored, *pairs.values(), *met)
    left = tuple(key for key in weights if not key.startswith(known) and not key.endswith(COUNTER))
    return Match(pairs, tuple(wrong), left)


@torch.no_grad()
def load_mapped(
    network: RoadNet, weights: Mapping[str, Tensor], key_map: KeyMap, complete: bool = True, whole: bool = False
) -> Loaded:
    """Copy what a file holds into a network, or leave the network as it was.

    Args:
        network: changed in place.
        weights: of the file.
        key_map: that recognises it.
        complete: every needed weight must be there and of the right shape; else what fits is taken, the rest is named.
        whole: the file may hold nothing that the network has no place for, but what is known to be beside the point.

    Raises:
        ModelFileError: not so, or nothing fits at all.
    """
    own, found = network.state_dict(), match(network, weights, key_map)
    wrong = [*found.wrong, *(f"{key!r} has no place in it" for key in found.left if whole)]
    if (wrong and complete) or not found.pairs:
        first = "; ".join(wrong[:LISTED]) + (f"; and {len(wrong) - LISTED} more" if len(wrong) > LISTED else "")
        raise ModelFileError(
            f"{key_map.called} do not fit {network.spec.name}: {first or 'none of its weights is there'}; "
            "give the file of that very network, and a network of full width"
        )
    sources, notes = key_map.sources(network), list[str]()
    check_finite(key_map.called, {key: weights[key] for key in found.pairs.values()})
    values = {name: fitted(weights[key], own[name], sources[name]) for name, key in found.pairs.items()}
    network.load_state_dict(values, strict=False)
    for name in found.pairs:
        channels, every = sources[name].channels, own[name].shape[1] if own[name].ndim > 1 else 0
        if channels is not None and len(channels) < every:
            notes.append(f"{name}: {every - len(channels)} of {every} input channels stay as drawn, the file has none")
    for ending, why in (key_map.drawn or {}).items():
        notes += [f"{name}: {why}" for name in own if name.endswith(ending) and name not in found.pairs]
    read = set(found.pairs.values())
    left = tuple(key for key in weights if key not in read and not key.endswith(COUNTER))
    fresh = tuple(name for name in own if name not in found.pairs and not name.endswith(COUNTER))
    return Loaded(key_map.called, found.pairs, fresh, left, (*notes, *found.wrong))


def check_finite(called: str, weights: Mapping[str, Tensor]) -> None:
    """Raise ModelFileError where a weight is NaN or infinite; `called` is what the sentence says of the file."""
    broken = [key for key, value in weights.items() if not bool(value.isfinite().all())]
    if broken:
        raise ModelFileError(
            f"{called}: {len(broken)} of {len(weights)} hold NaN or infinity, the first is {broken[0]!r}; the training "
            "that saved them had failed, or the file is damaged: give another"
        )


def fits(value: Tensor, own: Tensor, source: Source) -> bool:
    """Whether a weight of the file, by its shape and kind of number, can be one of ours."""
    if value.ndim and value.is_floating_point() != own.is_floating_point():  # a counter may be either
        return False
    if source.channels is not None:
        return list(value.shape) == [own.shape[0], len(source.channels), *own.shape[2:]]
    return _without_ones(value.shape) == _without_ones(own.shape)  # a linear layer is a 1 x 1 convolution


def fitted(value: Tensor, own: Tensor, source: Source) -> Tensor:
    """The file's weight as ours takes it: in its shape, channels in order, those that the file lacks as they are."""
    if source.blue_first:
        value = value.flip(1)
    if source.halves_turned:
        value = value.roll(value.shape[1] // 2, 1)
    if source.channels is None:
        return value.reshape(own.shape).to(own.dtype)
    out = own.clone()
    out[:, list(source.channels)] = value.to(own.device, own.dtype)
    return out


def image_channels(inputs: Sequence[str]) -> tuple[int, ...]:
    """Where the three channels of the image lie among the inputs stacked in their order; none without an image."""
    start = 0
    for name in inputs:
        if name == "image":
            return (start, start + 1, start + 2)
        start += 1
    return ()


def _without_ones(shape: Sequence[int]) -> list[int]:
    return [side for side in shape if side != 1]


def _rooms(names: Sequence[str]) -> dict[str, int]:
    """How many names begin with each first two words."""
    found: dict[str, int] = {}
    for name in names:
        room = ".".join(name.split(".")[:2])
        found[room] = found.get(room, 0) + 1
    return found
