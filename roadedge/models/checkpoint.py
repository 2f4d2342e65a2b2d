"""Checkpoints: `NAME.pt` holds a network and nothing that executes; the state of a run holds what resuming needs."""

from __future__ import annotations

import pickle
import shutil
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from roadedge.atomic import replacing
from roadedge.errors import ModelFileError, OutputError, SpecMismatchError
from roadedge.models import create_model
from roadedge.models.blocks import RoadNet
from roadedge.models.quantized import Quantization, QuantizedNet
from roadedge.spec import SCHEMA_VERSION, ModelSpec, write_sidecar


def save_network(path: str | Path, network: RoadNet, provenance: dict[str, Any], compact: bool = False) -> None:
    """Write the network's weights and spec to `path`, with its sidecar, each whole or not at all.

    Args:
        path: ends in `.pt`.
        network: any of MODELS.
        provenance: JSON values: data, recipe, scores, versions.
        compact: store convolution weights as 16-bit floats, half the size. The file, and all that is exported from it,
            is then the rounded network; `network` itself stays as it is. Not for a quantized network, whose scales
            would no longer be those of its weights.

    Raises:
        OutputError: it cannot be written.
    """
    weights = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    if compact:
        weights = {key: value.half() if value.ndim == 4 else value for key, value in weights.items()}
    content = {
        "schema_version": SCHEMA_VERSION,
        "spec": network.spec.to_dict(),
        "weights": weights,
        "provenance": provenance,
    }
    if isinstance(network, QuantizedNet):
        assert not compact, "a quantized network is stored as it is"
        content["quantization"] = network.quantization.to_dict()
        content["structure"] = network.structure()
    write_archive(path, content)
    write_sidecar(path, network.spec, provenance)


def load_network(path: str | Path) -> tuple[RoadNet, dict[str, Any]]:
    """The network in eval mode and its provenance.

    Raises:
        ModelFileError: missing, cut off, a pickle that would execute code, or not a checkpoint of ours.
        SpecMismatchError: its weights are not those of the network that it names.
    """
    content = read_archive(path)
    if not {"schema_version", "spec", "weights"} <= set(content):
        raise ModelFileError(
            f"{path} is not a roadedge checkpoint: it holds {sorted(map(str, content))[:6]}; "
            "give one that roadedge train wrote"
        )
    if content["schema_version"] != SCHEMA_VERSION:
        raise ModelFileError(
            f"{path} has schema version {content['schema_version']}, this roadedge reads {SCHEMA_VERSION}"
        )
    try:
        spec = ModelSpec.from_dict(content["spec"])
    except SpecMismatchError as error:
        raise ModelFileError(
            f"{path} holds a spec that cannot be read ({error}); copy it again or train anew"
        ) from error
    network = create_model(spec.name, spec)
    try:
        if "quantization" in content:
            network.load_state_dict(content["structure"], strict=False)
            network = QuantizedNet(network.eval(), Quantization.from_dict(content["quantization"]))
        network.load_state_dict(content["weights"])
    except RuntimeError as error:
        first = " ".join(str(error).split())[:200]
        raise SpecMismatchError(f"the weights in {path} are not those of {spec.name}: {first}") from error
    return network.eval(), content.get("provenance", {})


def write_archive(path: str | Path, content: dict[str, Any]) -> None:
    """Save tensors and plain values to `path`, whole or not at all; raises OutputError."""
    with replacing(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:  # all that torch's own writer says of a full disk is where it stands in the file
            free = shutil.disk_usage(temporary.parent).free
            raise OutputError(
                f"cannot write {path}: torch could not write all of it and {free / 1e6:.0f} MB are free on that disk; "
                "free some space and run again"
            ) from error


def read_archive(path: str | Path) -> dict[str, Any]:
    """A dict of tensors and plain values that torch saved; nothing in the file is executed.

    Raises:
        ModelFileError: missing, cut off, or holding anything but tensors and plain values.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a pickle protocol, before it is refused or read
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ModelFileError(f"there is no checkpoint {path}") from error
    except pickle.UnpicklingError as error:
        raise ModelFileError(
            f"{path} is refused: it holds more than tensors and plain values, and loading it could run code"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ModelFileError(
            f"{path} cannot be read as a checkpoint ({type(error).__name__}); copy it again"
        ) from error
    if not isinstance(content, dict):
        raise ModelFileError(
            f"{path} is not a roadedge checkpoint, nor weights by name: it holds a {type(content).__name__}"
        )
    return content


def initialise(network: nn.Module, weights: dict[str, Tensor]) -> list[str]:
    """Copy the weights whose name and shape agree, and return a line for each that did not match.

    Raises:
        SpecMismatchError: nothing matched.
    """
    own = network.state_dict()
    fits = {key: value for key, value in weights.items() if key in own and own[key].shape == value.shape}
    if not fits:
        raise SpecMismatchError("none of the weights to start from fits this network; --init needs a related one")
    network.load_state_dict(fits, strict=False)
    lines = [f"{key}: not in the file" for key in own if key not in weights]
    lines += [f"{key}: not in this network" for key in weights if key not in own]
    lines += [
        f"{key}: {tuple(weights[key].shape)} in the file, {tuple(own[key].shape)} here"
        for key in weights
        if key in own and key not in fits
    ]
    return lines
