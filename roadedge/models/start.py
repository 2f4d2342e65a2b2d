"""Starting a network from a file: one of ours, an ImageNet trunk or a published checkpoint, and telling which."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from roadedge.errors import ModelFileError, SpecMismatchError
from roadedge.models import create_model
from roadedge.models.blocks import RoadNet
from roadedge.models.checkpoint import initialise, load_network, read_archive
from roadedge.models.imagenet import IMAGENET, load_imagenet
from roadedge.models.key_maps import KeyMap, Loaded, load_mapped, match
from roadedge.models.published import PUBLISHED
from roadedge.models.weight_file import read_weight_file
from roadedge.spec import ModelSpec

NUMBERED = ("cmipnet", "cmmpnet", "deepdualmapper")  # networks whose parts of a stream bear its number, not its name
OF_STREAM = re.compile(r"(\.(?:norms|senders|align)\.)(\d+)(?=\.)")
OWN = {"schema_version", "spec", "weights"}
CONVERTIBLE = tuple(name for one in PUBLISHED for name in one.networks)


def start_from_file(network: RoadNet, path: Path) -> Loaded:
    """Copy what a file has for this network; what became of each weight is told.

    A checkpoint of ours gives what agrees in name and shape. ImageNet's trunks must be there as a whole. Of a published
    checkpoint what fits is taken.

    Raises:
        ModelFileError: it cannot be read, is of no kind known here, or does not fit.
        SpecMismatchError: a checkpoint of ours of which nothing fits.
    """
    if is_own(path):
        return _from_own(network, path)
    weights = read_weight_file(path).weights
    if (published := recognised(weights, PUBLISHED, network)) is not None:
        return load_mapped(network, weights, published, complete=False)
    if recognised(weights, IMAGENET, network) is None:
        raise ModelFileError(_unknown(path, weights, network))
    return load_imagenet(network, weights)


def check_start(model: str, inputs: tuple[str, ...], path: Path) -> None:
    """Whether a network can start from a file: asked before any data are prepared, which may take long.

    Raises:
        as start_from_file.
    """
    with torch.device("meta"):  # all of it but the copying
        network = create_model(model, ModelSpec(model, inputs))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*copying from a non-meta parameter", category=UserWarning)
        start_from_file(network, path)


def is_own(path: Path) -> bool:
    """Whether a file is a checkpoint that `roadedge train` wrote; a file that cannot be read is not."""
    if path.suffix == ".safetensors":
        return False
    try:
        return set(read_archive(path)) >= OWN
    except ModelFileError:
        return False


def recognised(weights: Mapping[str, Tensor], key_maps: tuple[KeyMap, ...], network: RoadNet) -> KeyMap | None:
    """The map that knows such a file and serves such a network, None where none does."""
    return next((one for one in key_maps if one.recognises(weights) and one.serves(network)), None)


def named_by(weights: Mapping[str, Tensor], inputs: tuple[str, ...]) -> list[str]:
    """The networks whose published weights these are, by names and shapes.

    Args:
        weights: of a file.
        inputs: of networks that fuse two; the others take their image.
    """
    found = []
    for key_map in (one for one in PUBLISHED if one.recognises(weights)):
        for name in key_map.networks:
            with torch.device("meta"):  # no memory and no time
                network = create_model(name, ModelSpec(name, inputs_of(name, inputs)))
            met = match(network, weights, key_map)
            if not met.wrong and not met.left:
                found.append(name)
    return found


def inputs_of(name: str, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """What a published network was fed: an image alone, or both."""
    return ("image",) if "segnext" in name else inputs


def _from_own(network: RoadNet, path: Path) -> Loaded:
    start = load_network(path)[0]
    before, after = start.spec.inputs, network.spec.inputs
    if before != after and sorted(before) == sorted(after):
        raise SpecMismatchError(
            f"{path} was trained on {','.join(before)}, and here they stand in another order; give them in that order"
        )
    weights = start.state_dict()
    if network.spec.name.startswith(NUMBERED):
        weights = renumbered(weights, before, after)
    own = network.state_dict()
    lines = initialise(network, weights)
    copied = {key: key for key, value in weights.items() if key in own and own[key].shape == value.shape}
    fresh = tuple(key for key in own if key not in copied)
    left = tuple(key for key in weights if key not in copied)
    return Loaded(f"weights of {path.name}", copied, fresh, left, tuple(lines), each=True)


def renumbered(weights: Mapping[str, Tensor], before: tuple[str, ...], after: tuple[str, ...]) -> dict[str, Tensor]:
    """The weights with each numbered part of a stream under the number that the stream has here.

    An image's goes to the image's, a raster's to the raster's; what is of a stream that is not here gets its name.
    """
    numbers = {before.index(one): after.index(two) for two in after for one in before if is_image(one) == is_image(two)}

    def placed(found: re.Match[str]) -> str:
        number = int(found[2])
        return found[1] + (str(numbers[number]) if number in numbers else f"{number} of {before[number]}")

    return {OF_STREAM.sub(placed, key): value for key, value in weights.items()}


def is_image(name: str) -> bool:
    """Whether an input is the image and no raster."""
    return name == "image"


def _unknown(path: Path, weights: Mapping[str, Tensor], network: RoadNet) -> str:
    """What to say of a file that no map takes."""
    if path.name == "state.pt":
        return f"{path} is the state that --resume goes on from; start from best.pt or last.pt beside it"
    kinds = [one.called for one in (*PUBLISHED, *IMAGENET) if one.recognises(weights)]
    first = ", ".join(sorted(weights)[:3])
    if kinds:
        return f"{path} holds {kinds[0]}, and {network.spec.name} starts from no such file"
    takes = sorted({one.called for one in (*IMAGENET, *PUBLISHED) if one.serves(network)})
    wanted = f"it starts from {' or '.join(takes)}" if takes else "it starts from checkpoints of roadedge alone"
    return f"{path} holds weights of no kind known here ({first}, ...) for {network.spec.name}; {wanted}"
