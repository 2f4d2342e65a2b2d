"""Weights that others saved: state dicts as .pth, .pt, .bin, .ckpt or .safetensors, bare or wrapped.

Nothing in a file is executed: torch reads it with `weights_only`, and what needs more is refused.
"""

from __future__ import annotations

import importlib.util
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from roadedge.downloads import cache_folder
from roadedge.errors import MissingExtraError, ModelFileError, UsageError
from roadedge.models.checkpoint import read_archive

# where training scripts put the weights, the likeliest first
WRAPPERS = (
    "state_dict",
    "model",
    "model_state_dict",
    "model_state",
    "weights",
    "net",
    "network",
    "params",
    "model_ema",
)
MADE_BY_TORCH = (b"PK", b"\x80")  # an archive, or a pickle as torch wrote it before 1.6
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")  # DataParallel, torch.compile, Lightning and others


@dataclass(frozen=True, slots=True)
class WeightFile:
    """What a file held: tensors by name, and what was taken off around them, for the record."""

    path: Path
    weights: dict[str, Tensor]
    unwrapped: tuple[str, ...]  # wrappers that were opened and prefixes that were taken off
    not_tensors: tuple[str, ...]  # names beside the weights whose values are no tensors


def read_weight_file(path: str | Path) -> WeightFile:
    """The state dict of a file, out of its wrappers and without a prefix that all names share.

    Raises:
        ModelFileError: missing, cut off, holding code, or without weights.
        MissingExtraError: a .safetensors file, and that library is absent.
    """
    path = Path(path)
    try:
        content: Mapping[str, Any] = _safetensors(path) if path.suffix == ".safetensors" else _archive(path)
    except ModelFileError as error:
        if not (path.is_file() and _was_fetched(path)):
            raise
        raise ModelFileError(f"{error}; it is kept as it was fetched: delete it, or it is taken again") from error
    unwrapped: list[str] = []
    while (key := _wrapper(content)) is not None:
        unwrapped.append(key)
        content = content[key]
    weights = {str(key): value.detach() for key, value in content.items() if isinstance(value, Tensor)}
    others = tuple(str(key) for key, value in content.items() if not isinstance(value, Tensor))
    if not weights:
        raise ModelFileError(
            f"{path} holds no weights: {_named(content)} at its top; expected tensors by name, or such a dict "
            f"under one of {', '.join(WRAPPERS)}"
        )
    while (prefix := next((p for p in PREFIXES if all(key.startswith(p) for key in weights)), None)) is not None:
        unwrapped.append(prefix)
        weights = {key.removeprefix(prefix): value for key, value in weights.items()}
    return WeightFile(path, weights, tuple(unwrapped), others)


def _was_fetched(path: Path) -> bool:
    try:
        return path.resolve().is_relative_to(cache_folder().resolve())
    except UsageError:  # a user without a home has no such folder
        return False


def _archive(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ModelFileError(f"there is no file {path}")
    with path.open("rb") as file:
        start = file.read(64)
    if not start.startswith(MADE_BY_TORCH):
        page = b"<" in start[:1] or start.startswith(b"version https://git-lfs")
        what = "a web page or a pointer to a file" if page else "no file that torch.save wrote"
        raise ModelFileError(f"{path} is {what}; give the weights themselves or their own address")
    if (other := _other_archive(path)) is not None:
        raise ModelFileError(f"{path} is {other}; give the file that torch.save wrote of its weights")
    try:
        return read_archive(path)
    except ModelFileError as error:
        if not isinstance(error.__cause__, pickle.UnpicklingError):
            raise
        raise ModelFileError(f"{error}{_asked_for(error.__cause__)}; {_way_out(path)}") from error


def _other_archive(path: Path) -> str | None:
    """What a zip archive is that is none of torch.save's; None for those, for other files and for broken ones."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.rpartition("/")[2] for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError):
        return None
    if "constants.pkl" in names:
        return "a TorchScript program, which is code and weights in one"
    return None if "data.pkl" in names else "an archive, but not one of torch's"


def _asked_for(error: pickle.UnpicklingError) -> str:
    """What the file wanted to call, where torch says so: numpy's arrays are no harm, `posix.system` is."""
    name = re.search(r"GLOBAL ([\w.]+)", str(error))
    return "" if name is None else f" (it asks for {name[1]})"


def _way_out(path: Path) -> str:
    return (
        f"where you trust it, save its weights alone: python -c \"import torch; w = torch.load('{path.name}', "
        "weights_only=False); w = w.state_dict() if hasattr(w, 'state_dict') else w.get('state_dict', w.get('model', "
        "w)); torch.save({k: torch.as_tensor(v) for k, v in w.items() if getattr(v, 'ndim', 0)}, 'weights.pth')\""
    )


def _safetensors(path: Path) -> dict[str, Any]:
    if importlib.util.find_spec("safetensors") is None:
        raise MissingExtraError("safetensors", "train", f"reading {path.name}")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise ModelFileError(f"there is no file {path}")
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{path} cannot be read as safetensors ({error}); copy it again") from error


def _wrapper(content: Mapping[str, Any]) -> str | None:
    """The key under which the weights lie, None where they lie here; a network may well have a part called `model`."""
    if any(isinstance(value, Tensor) and value.ndim for value in content.values()):
        return None
    return next((key for key in WRAPPERS if isinstance(content.get(key), Mapping) and content[key]), None)


def _named(content: Mapping[str, Any]) -> str:
    names = sorted(str(key) for key in content)
    return f"{names[:6]}" + (f" and {len(names) - 6} more" if len(names) > 6 else "")
