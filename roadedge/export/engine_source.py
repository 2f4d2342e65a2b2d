"""The ONNX file that an engine is built of: its digest, face, precision, bounds, and what the lint says of it."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadedge.errors import MissingExtraError, ModelFileError, UsageError
from roadedge.export.exporter import DynamicSize
from roadedge.export.lint import Finding, lint_graph
from roadedge.export.parts import float32_facts
from roadedge.runners.base import precision_of
from roadedge.runners.engine_facts import Range
from roadedge.runners.face import Face, Port, face_of
from roadedge.spec import ModelSpec, sha256_of


@dataclass(frozen=True, slots=True)
class Source:
    """All that a build must know of an ONNX file. `precision` counts its convolutions: `fp16`, `int8+fp16`."""

    path: Path
    sha256: str
    spec: ModelSpec
    provenance: dict[str, Any]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    precision: str
    quantized: bool  # it holds Q/DQ pairs
    findings: tuple[Finding, ...]

    @property
    def requested(self) -> str:
        """The precision that its provenance says was asked for, else its own first one."""
        stated = self.provenance.get("precision")
        asked = stated.get("requested") if isinstance(stated, dict) else None
        return str(asked) if asked else self.precision.split("+")[0]

    @property
    def float32_parts(self) -> int:
        """How many parts of an FP16 graph stay float32 because it was asked for."""
        facts = float32_facts(self.provenance)
        return 0 if facts is None else len(facts["parts"])

    @property
    def checkpoint_sha256(self) -> str | None:
        """Digest of the checkpoint that it was exported from; None where that is not known."""
        stated = self.provenance.get("checkpoint")
        return str(stated["sha256"]) if isinstance(stated, dict) and "sha256" in stated else None


def read_source(path: Path) -> Source:
    """Read and lint an ONNX file; nothing is refused yet.

    Raises:
        MissingExtraError: onnx is not installed.
        ModelFileError: it is no ONNX file, or one that this package cannot feed.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("onnx", "build", "building an engine") from error
    if path.suffix != ".onnx":
        raise UsageError(f"an engine is built of an ONNX file, got {path}; export it first: roadedge export {path}")
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf and the checker raise what they like
        reason = " ".join(str(error).split())[:200]
        raise ModelFileError(f"{path} is not an ONNX file ({reason}); export it again") from error
    from roadedge.export.onnx_view import convolution_precisions, ports_of

    ports = ports_of(model)
    inputs, outputs = (_ports(ports[kind]) for kind in ("inputs", "outputs"))
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    face: Face = face_of(path, inputs, outputs, metadata)
    quantized = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
    precision = precision_of(convolution_precisions(model))
    return Source(
        path, sha256_of(path), face.spec, face.provenance, inputs, outputs, precision, quantized, lint_graph(model)
    )


def profiles_of(source: Source, bounds: DynamicSize | None, batch: int) -> dict[str, Range]:
    """Min, opt and max shape of each input with a free side; nothing for a static graph.

    The first side is the batch; of the others the first free one is the height, the second the width.

    Raises:
        UsageError: free sides and no bounds, or bounds of a static graph.
    """
    free = [port for port in source.inputs if None in port.shape]
    sized = [port for port in free if None in port.shape[1:]]
    stated = source.provenance.get("dynamic")
    if bounds is None and isinstance(stated, dict):
        bounds = DynamicSize(**{name: (int(side[0]), int(side[1])) for name, side in stated.items()})
    if bounds is not None and not sized:
        raise UsageError(f"{source.path.name} is a graph of one size, {source.spec.size}; leave --dynamic out")
    if batch != 1 and not any(port.shape[0] is None for port in free):
        raise UsageError(f"{source.path.name} is a graph of the batch {source.spec.batch}; leave --batch out")
    if sized and bounds is None:
        raise UsageError(f"the size of {source.path.name} is free: give --dynamic MIN,OPT,MAX such as 256,512,1024")
    sizes = ((1, 1),) * 3 if bounds is None else dataclasses.astuple(bounds)
    batches = (1, batch, batch)
    return {port.name: tuple(_filled(port, n, hw) for n, hw in zip(batches, sizes, strict=True)) for port in free}  # type: ignore[misc]


@contextlib.contextmanager
def parsable(source: Source, float_weights: bool) -> Iterator[Path]:
    """The file for the parser: as it is, or, for TensorRT 8.6, with weights that the graph quantises from float."""
    if not (float_weights and source.quantized):
        yield source.path
        return
    import onnx

    from roadedge.calibration import insert

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / source.path.name
        onnx.save(insert.float_weights(onnx.load(source.path)), path)
        yield path


def _ports(listed: list[dict[str, Any]]) -> tuple[Port, ...]:
    return tuple(Port(one["name"], tuple(one["shape"]), one["dtype"]) for one in listed)


def _filled(port: Port, batch: int, size: tuple[int, int]) -> tuple[int, ...]:
    sides = iter(size)
    first, *rest = port.shape
    return (batch if first is None else first, *(next(sides) if side is None else side for side in rest))
