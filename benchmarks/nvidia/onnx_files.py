"""The files of a network in each precision: carried ones where there are any, else fresh weights, and named so.

Neither the time nor the size of an engine depends on the weights, so fresh ones serve to measure; they say nothing
about accuracy. The same holds for INT8 whose scales are one constant because no calibrated file is here.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.nvidia.child import sentence
from roadedge.environment import installed
from roadedge.errors import EnvironmentFault, ModelFileError, RoadEdgeError
from roadedge.spec import read_sidecar, write_sidecar
from roadedge.weights import folders

PRECISIONS = ("fp32", "fp16", "int8-fp16")  # of files; TF32 is a way to compute an FP32 one
SCALE = 2.0**-5  # any constant
FRESH, CONSTANT = "fresh", "constant"  # in the provenance of what is made here
_NAME = re.compile(r"(?P<stem>.+?)(?:\.(?P<precision>fp16|int8|int8-fp16))?\.onnx$")


@dataclasses.dataclass(frozen=True, slots=True)
class Files:
    """One network. `calibrated` says whether its INT8 scales mean anything, `missing` why a precision has no file."""

    network: str
    weights: str  # "fresh", or the name of the carried ones
    onnx: dict[str, str]  # precision → path
    checkpoint: str | None
    calibrated: bool
    missing: dict[str, str]

    @property
    def fresh(self) -> bool:
        """Whether the weights are random."""
        return self.weights == FRESH


def prepare(network: str, folder: str, size: int, given: str | None = None) -> dict[str, Any]:
    """Find or make the files of `network`, as `Files` in JSON values.

    Args:
        network: a key of MODELS.
        folder: for what is made here.
        size: pixels of the sides of a fresh graph.
        given: folder of files that another machine prepared; looked through first.
    """
    places = [*([Path(given)] if given else []), *folders()]
    found = carried(network, places) or (made_fresh(network, Path(folder), size) if _torch_here() else None)
    if found is None:
        why = "no weights are carried, and fresh ones need torch; bring files that --prepare made where torch is"
        return dataclasses.asdict(Files(network, "none", {}, None, False, dict.fromkeys(PRECISIONS, why)))
    return dataclasses.asdict(with_int8(found, Path(folder)))


def carried(network: str, places: Iterable[Path]) -> Files | None:
    """The files of the carried weights of `network` that come in most precisions; of equals the first."""
    by_stem: dict[tuple[Path, str], Files] = {}
    faults: dict[tuple[Path, str], dict[str, str]] = {}
    for place in places:
        for path in sorted(place.glob("*.onnx")):
            match = _NAME.match(path.name)
            if match is None:
                continue
            key, precision = (place, match["stem"]), match["precision"] or "fp32"
            try:
                stated = read_sidecar(path)
            except ModelFileError as error:
                faults.setdefault(key, {})[precision] = sentence(error)
                continue
            if stated is not None and stated[0].name == network:
                known = by_stem.get(key) or _named(network, *key, stated[1])
                constant = stated[1].get("scales") == CONSTANT
                by_stem[key] = dataclasses.replace(
                    known, onnx=known.onnx | {precision: str(path)}, calibrated=known.calibrated and not constant
                )
    usable = [(key, one) for key, one in by_stem.items() if "fp32" in one.onnx]
    if not usable:
        return None
    key, best = max(usable, key=lambda pair: len(pair[1].onnx))
    return dataclasses.replace(best, missing=faults.get(key, {}))


def _named(network: str, place: Path, stem: str, provenance: dict[str, Any]) -> Files:
    checkpoint = place / f"{stem}.pt"
    weights = FRESH if provenance.get("weights") == FRESH else stem
    return Files(network, weights, {}, str(checkpoint) if checkpoint.is_file() else None, True, {})


def made_fresh(network: str, folder: Path, size: int) -> Files:
    """Random weights as a checkpoint and as FP32 and FP16 graphs with sidecars."""
    from benchmarks.networks import network_of
    from roadedge.export.graph import write_graph
    from roadedge.export.precision import halved
    from roadedge.models.checkpoint import save_network

    checkpoint = folder / f"{network}.pt"
    made = network_of(network)
    save_network(checkpoint, made, {"weights": FRESH})
    deployed = made.deployed()
    spec = dataclasses.replace(made.spec, size=(size, size), batch=1)
    onnx: dict[str, str] = {}
    missing: dict[str, str] = {}
    for precision in ("fp32", "fp16"):
        path = folder / (f"{network}.onnx" if precision == "fp32" else f"{network}.{precision}.onnx")
        try:
            one = deployed if precision == "fp32" else halved(deployed)
            write_graph(one, path, spec.size, 1, simplify=installed("onnxsim") is not None)
            write_sidecar(path, spec, {"weights": FRESH, "precision": {"requested": precision}})
            onnx[precision] = str(path)
        except RoadEdgeError as error:
            missing[precision] = sentence(error)
    return Files(network, FRESH, onnx, str(checkpoint), True, missing)


def with_int8(files: Files, folder: Path) -> Files:
    """With the INT8 file for GPUs where there is none: of the scales of the one for CPUs, else of constant ones."""
    onnx, missing = dict(files.onnx), dict(files.missing)
    calibrated = files.calibrated
    try:
        if "int8-fp16" not in onnx:
            onnx["int8-fp16"] = _int8_for_gpus(files, folder)
            calibrated = "int8" in onnx
    except (RoadEdgeError, ImportError) as error:
        missing["int8-fp16"] = sentence(error)
    for precision in PRECISIONS:
        if precision not in onnx:
            missing.setdefault(precision, f"no {precision} file of {files.weights} is carried")
    return dataclasses.replace(files, onnx=onnx, missing=missing, calibrated=calibrated)


def _int8_for_gpus(files: Files, folder: Path) -> str:
    import onnx as library

    from roadedge.calibration.emissions import half_remainder

    origin = files.onnx.get("int8") or files.onnx.get("fp32")
    if origin is None:
        raise EnvironmentFault(f"there is no FP32 graph of {files.network} to quantize")
    model = library.load(origin)
    stated: dict[str, Any] = {"weights": files.weights, "precision": {"requested": "int8-fp16"}}
    if "int8" not in files.onnx:
        model = _with_constant_scales(model)
        stated["scales"] = CONSTANT
    half = half_remainder(model)
    del half.metadata_props[:]  # those of the file that it was made of
    path = folder / f"{Path(origin).name.removesuffix('.onnx').removesuffix('.int8')}.int8-fp16.onnx"
    library.save(half, path)
    sidecar = read_sidecar(origin)
    assert sidecar is not None, "carried files have one, and fresh ones were given theirs"
    write_sidecar(path, sidecar[0], stated)
    return str(path)


def _with_constant_scales(model: Any) -> Any:
    from roadedge.calibration.flow import flow_of
    from roadedge.calibration.insert import Scales, insert_qdq, weight_scales
    from roadedge.models.placement import place

    fed, returned = ([port.name for port in ports] for ports in (model.graph.input, model.graph.output))
    placement = place(flow_of(model), fed, returned)
    values = {point.value: SCALE for point in placement.points}
    return insert_qdq(model, placement, Scales(values, weight_scales(model, placement)))


def _torch_here() -> bool:
    return installed("torch") is not None
