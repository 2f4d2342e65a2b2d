"""`ModelSpec`: all that a consumer must know to feed a network and read it. Travels beside each artefact as its sidecar."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roadedge.atomic import write_json
from roadedge.errors import ModelFileError, SpecMismatchError

SCHEMA_VERSION = 1
MODALITIES = ("image", "trajectory", "lidar")


@dataclass(frozen=True, slots=True)
class HeatmapSpec:
    """The rasteriser's constants: count → log(1 + n) / log(1 + n_max), clipped → 3 x 3 Gaussian → uint8."""

    n_max: float = 5.0  # points per pixel that count as full
    sigma_px: float = 0.8  # of the 3 x 3 Gaussian
    window_s: float | None = None  # how long a live point stays; None: for ever


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Inputs, geometry, ground sample distance and rasteriser of one network.

    `size` is the (H, W) of a static graph, None where any multiple of `stride` goes. `batch` likewise.
    `mean` and `std` (in grey levels, image then second modality) stand inside the graph; they are kept for the record.
    `blank_rgb` is what an absent image is filled with: the training mean.
    """

    name: str
    inputs: tuple[str, ...] = ("image", "trajectory")
    size: tuple[int, int] | None = None
    batch: int | None = None
    stride: int = 32
    gsd_m: float | None = 0.46
    gsd_band_m: tuple[float, float] | None = (0.3, 0.7)
    gsd_tolerance: float = 0.02  # relative difference below which an image is not resampled
    heatmap: HeatmapSpec = field(default_factory=HeatmapSpec)
    density_band_per_mpx: tuple[float, float] | None = None  # points per megapixel of the model's grid, in training
    mean: tuple[float, ...] = (110.0, 110.0, 105.0, 8.0)
    std: tuple[float, ...] = (55.0, 52.0, 52.0, 24.0)
    blank_rgb: tuple[int, int, int] = (110, 110, 105)
    threshold: float = 0.5
    licence: str = ""  # "research-only" where the weights may not be shipped
    semi_synthetic: bool = False  # trained or scored on simulated trajectories

    def __post_init__(self) -> None:
        unknown = [name for name in self.inputs if name not in MODALITIES]
        if unknown or not self.inputs or len(set(self.inputs)) != len(self.inputs):
            raise SpecMismatchError(f"a model's inputs are some of {MODALITIES}, each once; got {self.inputs}")
        if not 0 < self.threshold < 1:
            raise SpecMismatchError(f"the threshold must lie between 0 and 1, got {self.threshold}")
        if self.size is not None and any(side < 1 or side % self.stride for side in self.size):
            raise SpecMismatchError(f"the size must be a multiple of the stride {self.stride}, got {self.size}")

    @property
    def second(self) -> str | None:
        """Name of the second modality, `trajectory` or `lidar`; None for a network of images alone."""
        return next((name for name in self.inputs if name != "image"), None)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelSpec:
        """From JSON values; raises SpecMismatchError on a missing or unknown key."""
        known = {f.name for f in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown or "name" not in values:
            raise SpecMismatchError(
                f"a model spec has the keys {sorted(known)}; got the unknown {unknown}" if unknown
                else "a model spec needs a name"
            )
        plain = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        if "heatmap" in plain:
            plain["heatmap"] = HeatmapSpec(**plain["heatmap"])
        return cls(**plain)


def sidecar_path(model: str | Path) -> Path:
    """`model.onnx` → `model.onnx.json`."""
    return Path(f"{model}.json")


def sha256_of(path: str | Path) -> str:
    """Digest of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else hashlib.sha256(
            file.read()
        ).hexdigest()


def write_sidecar(model: str | Path, spec: ModelSpec, provenance: dict[str, Any]) -> Path:
    """Write `<model>.json`: schema version, digest of the artefact, ModelSpec and provenance.

    Raises:
        OutputError: it cannot be written.
    """
    path = sidecar_path(model)
    write_json(
        path,
        {
            "schema_version": SCHEMA_VERSION,
            "file": Path(model).name,
            "sha256": sha256_of(model),
            "spec": spec.to_dict(),
            "provenance": provenance,
        },
    )
    return path


def read_sidecar(model: str | Path) -> tuple[ModelSpec, dict[str, Any]] | None:
    """ModelSpec and provenance from `<model>.json`; None where there is no such file.

    Raises:
        ModelFileError: the sidecar is not JSON, of a newer schema, or belongs to other bytes than the model's.
    """
    path = sidecar_path(model)
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text())
        version, values = content["schema_version"], content["spec"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFileError(f"{path} is not a sidecar ({error!r}); export the model again") from error
    if version != SCHEMA_VERSION:
        raise ModelFileError(f"{path} has schema version {version}, this roadedge reads {SCHEMA_VERSION}; update roadedge")
    if content.get("sha256") not in (None, sha256_of(model)):
        raise ModelFileError(f"{path} describes other bytes than those of {model}; export the model again")
    try:
        return ModelSpec.from_dict(values), content.get("provenance", {})
    except TypeError as error:
        raise ModelFileError(f"{path} holds a spec that cannot be read ({error}); export the model again") from error
