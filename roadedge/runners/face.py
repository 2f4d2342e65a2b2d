"""The face of an ONNX file: what goes in, what comes out, and what is assumed where the file does not say.

Files that this package exports carry their ModelSpec in a sidecar and in the metadata of the graph. A foreign file is
fed by its inputs' names, shapes and types, and each assumption is said in a warning.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import ModelFileError, NonFiniteError
from roadedge.preprocess import Feeds
from roadedge.runners.gatemark import embedded_gate
from roadedge.spec import MODALITIES, ModelSpec, read_sidecar

SPEC_KEY, PROVENANCE_KEY = "roadedge.spec", "roadedge.provenance"  # in the metadata of the graph
LIDAR_WORDS = ("lidar", "height", "intensity", "dsm")


class AssumedSpecWarning(UserWarning):
    """A model file does not say how it is to be fed; the text says what was assumed."""


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output of a graph: `shape` holds None where a side is free, `dtype` is NumPy's name."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class Plug:
    """How one modality enters a graph."""

    port: Port
    modality: str
    channels_first: bool

    def fed(self, plane: NDArray[np.uint8]) -> NDArray[Any]:
        """(N, H, W, C) uint8 as this input takes it; floating inputs get grey levels over 255."""
        ordered: NDArray[Any] = np.ascontiguousarray(plane.transpose(0, 3, 1, 2)) if self.channels_first else plane
        return (
            ordered
            if self.port.dtype == "uint8"
            else ordered.astype(self.port.dtype) / np.asarray(255, self.port.dtype)
        )


@dataclass(frozen=True, slots=True)
class Face:
    """All that a runner must know of a graph."""

    spec: ModelSpec
    provenance: dict[str, Any]
    plugs: tuple[Plug, ...]
    road: Port  # the output that is read
    foreign: bool

    @property
    def graph_precision(self) -> str:
        """Precision of the file as its provenance states it, `unknown` for a foreign one."""
        stated = self.provenance.get("precision", {})
        return str(stated.get("effective", "unknown")) if isinstance(stated, dict) else "unknown"

    def wanted(self, logits: bool) -> list[str]:
        """Names of the graph's outputs to fetch."""
        if self.foreign:
            return [self.road.name]
        return ["probability", "logits"] if logits else ["probability"]

    def fed(self, feeds: Feeds) -> Feeds:
        """Our feeds under the graph's names."""
        return {plug.port.name: plug.fed(feeds[plug.modality]) for plug in self.plugs}

    def read(self, outputs: Mapping[str, NDArray[Any]], logits: bool) -> Feeds:
        """The graph's outputs as ours.

        Raises:
            ModelFileError: a foreign graph returned what is neither a probability nor logits.
            NonFiniteError: it returned NaN or infinity.
        """
        if not self.foreign:
            return {name: outputs[name] for name in self.wanted(logits)}
        return _read_foreign(self.road, outputs[self.road.name], logits)


def face_of(path: Path, inputs: Sequence[Port], outputs: Sequence[Port], metadata: Mapping[str, str]) -> Face:
    """Spec, provenance and plugs of an ONNX file: from its sidecar, else from its metadata, else assumed aloud.

    Raises:
        ModelFileError: the file does not hold what it says, or cannot be fed by this package.
    """
    stated = read_sidecar(path) or _from_metadata(path, metadata)
    gate = embedded_gate(path, metadata)
    if stated is not None:
        spec, provenance = stated[0], {**gate, **stated[1]}  # the sidecar's own word counts first
        if provenance.get("foreign"):  # quantized here, exported elsewhere
            return Face(spec, provenance, _plugs(path, inputs), _road(path, outputs), foreign=True)
        return _own_face(path, inputs, outputs, spec, provenance)
    plugs = _plugs(path, inputs)
    road = _road(path, outputs)
    spec = _assumed_spec(path, plugs)
    size = "of any size" if spec.size is None else f"of {spec.size[0]} x {spec.size[1]} pixels"
    fed = ", ".join(
        f"{p.port.name} = {p.modality} ({'NCHW' if p.channels_first else 'NHWC'}, "
        f"{'uint8 0..255' if p.port.dtype == 'uint8' else f'{p.port.dtype} 0..1'})"
        for p in plugs
    )
    warnings.warn(
        f"{path.name} has no sidecar; assumed: {fed}, {size}, {_meaning(road)}, threshold {spec.threshold}, "
        "ground sample distance unknown, so nothing is resampled; a sidecar beside it says it for sure",
        AssumedSpecWarning,
        stacklevel=4,
    )
    return Face(spec, gate, plugs, road, foreign=True)


def stated_face(
    path: Path, inputs: Sequence[Port], outputs: Sequence[Port], spec: ModelSpec, provenance: dict[str, Any]
) -> Face:
    """The face of an engine, whose sidecar always states the spec: of our own graph, else of a foreign one's ports.

    Raises:
        ModelFileError: the ports are not those of the spec, or cannot be fed by this package.
    """
    ports, road = {port.name: port for port in inputs}, next((p for p in outputs if p.name == "probability"), None)
    if road is None or set(ports) != set(spec.inputs) or any(port.dtype != "uint8" for port in inputs):
        return Face(spec, provenance, _plugs(path, inputs), _road(path, outputs), foreign=True)
    for port in inputs:
        _check_sides(path, port, spec)
    plugs = tuple(Plug(ports[name], name, channels_first=False) for name in spec.inputs)
    return Face(spec, provenance, plugs, road, foreign=False)


def _from_metadata(path: Path, metadata: Mapping[str, str]) -> tuple[ModelSpec, dict[str, Any]] | None:
    if SPEC_KEY not in metadata:
        return None
    try:
        return ModelSpec.from_dict(json.loads(metadata[SPEC_KEY])), json.loads(metadata.get(PROVENANCE_KEY, "{}"))
    except (ValueError, TypeError) as error:
        raise ModelFileError(f"the metadata of {path} cannot be read ({error}); export the model again") from error


def _own_face(
    path: Path, inputs: Sequence[Port], outputs: Sequence[Port], spec: ModelSpec, provenance: dict[str, Any]
) -> Face:
    ports = {port.name: port for port in inputs}
    out = {port.name: port for port in outputs}
    lacking = [name for name in spec.inputs if name not in ports] + [
        n for n in ("probability", "logits") if n not in out
    ]
    if lacking or len(ports) != len(spec.inputs) or any(port.dtype != "uint8" for port in ports.values()):
        raise ModelFileError(
            f"{path} should have the uint8 inputs {list(spec.inputs)} and the outputs probability and logits, as its "
            f"spec says; it has {sorted(ports)} and {sorted(out)}; export the model again"
        )
    for name in spec.inputs:
        _check_sides(path, ports[name], spec)
    plugs = tuple(Plug(ports[name], name, channels_first=False) for name in spec.inputs)
    return Face(spec, provenance, plugs, out["probability"], foreign=False)


def _check_sides(path: Path, port: Port, spec: ModelSpec) -> None:
    """A side that the graph fixes must be the one that the spec states, or the runtime fails at the first frame."""
    height, width = spec.size or (None, None)
    stated = (spec.batch, height, width, 3 if port.name == "image" else 1)
    fits = len(port.shape) == 4 and all(side in (None, said) for side, said in zip(port.shape, stated, strict=True))
    if not fits:
        raise ModelFileError(
            f"{path}: its graph takes {port.name} as {_sides(port.shape)} and its spec says {_sides(stated)} "
            "(N, H, W, C); export the model again"
        )


def _plugs(path: Path, inputs: Sequence[Port]) -> tuple[Plug, ...]:
    plugs = tuple(_plug(path, port) for port in inputs)
    names = [plug.modality for plug in plugs]
    if len(set(names)) != len(names) or not names:
        raise ModelFileError(
            f"{path} has the inputs {[p.name for p in inputs]}, which read as {names}; each must be one of {MODALITIES}"
        )
    return tuple(sorted(plugs, key=lambda plug: MODALITIES.index(plug.modality)))


def _plug(path: Path, port: Port) -> Plug:
    shape = port.shape
    last = len(shape) == 4 and shape[3] in (1, 3)
    first = len(shape) == 4 and shape[1] in (1, 3)
    if last == first or port.dtype not in ("uint8", "float32", "float16"):
        raise ModelFileError(
            f"{path}: input {port.name} is {port.dtype} {_sides(shape)}; expected four sides with 3 or 1 channels "
            "as the second or the last one, uint8 or floating; write a sidecar, or export it with roadedge export"
        )
    channels = shape[1] if first else shape[3]
    return Plug(port, _modality(port.name, channels), channels_first=first)


def _modality(name: str, channels: int | None) -> str:
    if channels == 3:
        return "image"
    return "lidar" if any(word in name.lower() for word in LIDAR_WORDS) else "trajectory"


def _road(path: Path, outputs: Sequence[Port]) -> Port:
    fits = [p for p in outputs if len(p.shape) == 3 or (len(p.shape) == 4 and p.shape[1] in (1, None))]
    named = [p for p in fits if "prob" in p.name.lower()] or [p for p in fits if "logit" in p.name.lower()]
    if not fits or (len(fits) > 1 and len(named) != 1):
        listed = [f"{p.name} {_sides(p.shape)}" for p in outputs]
        raise ModelFileError(
            f"{path}: no one output is a road map (N, H, W) or (N, 1, H, W) by name or shape; it has {listed}"
        )
    return named[0] if named else fits[0]


def _assumed_spec(path: Path, plugs: tuple[Plug, ...]) -> ModelSpec:
    sizes = {plug.port.shape[2:4] if plug.channels_first else plug.port.shape[1:3] for plug in plugs}
    fixed = {size for size in sizes if None not in size}
    batches = {plug.port.shape[0] for plug in plugs} - {None}
    if len(fixed) > 1 or len(batches) > 1:
        raise ModelFileError(f"{path}: its inputs differ in size or batch: {[_sides(p.port.shape) for p in plugs]}")
    size = next(iter(fixed), None)
    stride = 32 if size is None else 1
    inputs = tuple(plug.modality for plug in plugs)
    return ModelSpec(path.stem, inputs, size, next(iter(batches), None), stride, gsd_m=None, gsd_band_m=None)  # type: ignore[arg-type]


def _meaning(road: Port) -> str:
    if road.dtype == "uint8":
        return f"{road.name} = probability 0..255"
    return f"{road.name} = " + ("logits" if "logit" in road.name.lower() else "probability 0..1")


def _read_foreign(road: Port, raw: NDArray[Any], logits: bool) -> Feeds:
    plane = raw[:, 0] if raw.ndim == 4 else raw
    holds_logits = "logit" in road.name.lower()
    level = plane.astype(np.float32) / (255 if plane.dtype == np.uint8 else 1)
    if not np.isfinite(level).all():
        raise NonFiniteError(f"output {road.name} holds NaN or infinity; do not use this artefact")
    if holds_logits:
        value = 1 / (1 + np.exp(-np.clip(level, -30, 30)))
    elif level.min() < -1e-3 or level.max() > 1.001:
        raise ModelFileError(
            f"output {road.name} was taken for a probability and holds {level.min():.3g} to {level.max():.3g}; "
            "if these are logits, name the output so"
        )
    else:
        value = np.clip(level, 0, 1)
    out: Feeds = {"probability": (value * 255 + 0.5).astype(np.uint8)}
    if logits:
        inner = np.clip(value, 1e-6, 1 - 1e-6)
        out["logits"] = (level if holds_logits else np.log(inner / (1 - inner)).astype(np.float32))[:, None]
    return out


def _sides(shape: Sequence[int | None]) -> str:
    return "(" + ", ".join("any" if side is None else str(side) for side in shape) + ")"
