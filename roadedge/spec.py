"""`ModelSpec`: all that a consumer must know to feed a network and read it. Travels with an artefact as its sidecar."""

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
LIDAR_QUANTITIES = ("intensity", "height")


@dataclass(frozen=True, slots=True)
class HeatmapSpec:
    """The rasteriser's constants: count → log(1 + n) / log(1 + n_max), clipped → 3 x 3 Gaussian → uint8."""

    n_max: float = 5.0  # points per pixel that count as full
    sigma_px: float = 0.8  # of the 3 x 3 Gaussian
    window_s: float | None = None  # how long a live point stays; None: for ever

    def __post_init__(self) -> None:
        if not (self.n_max > 0 and self.sigma_px > 0 and (self.window_s is None or self.window_s > 0)):
            raise SpecMismatchError(f"a heat-map's n_max, sigma_px and window_s must be positive, got {self}")


@dataclass(frozen=True, slots=True)
class LidarSpec:
    """What a network's LiDAR raster shows, and what its levels stand for: 1 is `low`, 255 is `high`, 0 is no point.

    Of `intensity` they are values of the files, of `height` metres above the ground.
    """

    quantity: str = ""  # intensity or height; empty: as the data set has it
    low: float = 0.0
    high: float = 255.0

    def __post_init__(self) -> None:
        if self.quantity not in ("", *LIDAR_QUANTITIES):
            raise SpecMismatchError(f"LiDAR is drawn as {' or '.join(LIDAR_QUANTITIES)}, got {self.quantity!r}")
        if not (self.low < self.high and abs(self.low) < 1e6 and abs(self.high) < 1e6):
            raise SpecMismatchError(f"a range of LiDAR is low < high, got {self.low} ... {self.high}")

    @classmethod
    def height(cls) -> LidarSpec:
        """Heights up to 25.4 m, 0.1 m to a level."""
        return cls("height", 0.0, 25.4)


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
    mean: tuple[float, ...] = (105.0, 101.0, 94.0, 2.0)
    std: tuple[float, ...] = (53.0, 49.0, 48.0, 24.0)
    blank_rgb: tuple[int, int, int] = (105, 101, 94)
    threshold: float = 0.5
    licence: str = ""  # begins with "research-only" where the weights may not be shipped
    semi_synthetic: bool = False  # trained or scored on simulated trajectories
    lidar: LidarSpec | None = None  # of a network that takes LiDAR whose raster this package drew

    def __post_init__(self) -> None:
        unknown = [name for name in self.inputs if name not in MODALITIES]
        if unknown or not self.inputs or len(set(self.inputs)) != len(self.inputs):
            got = ", ".join(map(str, self.inputs)) or "none"
            raise SpecMismatchError(f"a model's inputs are some of {', '.join(MODALITIES)}, each once; got {got}")
        if not 0 < self.threshold < 1:
            raise SpecMismatchError(f"the threshold must lie between 0 and 1, got {self.threshold}")
        _check_geometry(self)

    @property
    def second(self) -> str | None:
        """Name of the second modality, `trajectory` or `lidar`; None for a network of images alone."""
        return next((name for name in self.inputs if name != "image"), None)

    @property
    def research_only(self) -> bool:
        """Whether the licence of the training pixels forbids more than research."""
        return self.licence.startswith("research-only")

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; `lidar` only where there is one, so that others read by older versions."""
        values = dataclasses.asdict(self)
        return values if self.lidar is not None else {key: v for key, v in values.items() if key != "lidar"}

    @classmethod
    def from_dict(cls, values: Any) -> ModelSpec:
        """From JSON values; raises SpecMismatchError on a missing or unknown key and on a value of a wrong type."""
        if not isinstance(values, dict):
            raise SpecMismatchError(f"a model spec is an object with named values, got a {type(values).__name__}")
        known = {f.name for f in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown or "name" not in values:
            raise SpecMismatchError(
                f"a model spec has the keys {sorted(known)}; got the unknown {unknown}"
                if unknown
                else "a model spec needs a name"
            )
        plain: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        try:
            if "heatmap" in plain:
                plain["heatmap"] = HeatmapSpec(**plain["heatmap"])
            if plain.get("lidar") is not None:
                plain["lidar"] = LidarSpec(**plain["lidar"])
            return cls(**plain)
        except TypeError as error:  # 0 < "0.5", or a key that HeatmapSpec or LidarSpec does not have
            raise SpecMismatchError(f"a model spec has a value that does not fit: {error}") from error


def _check_geometry(spec: Any) -> None:  # Any: the values may have come from somebody's JSON
    if not isinstance(spec.stride, int) or spec.stride < 1:
        raise SpecMismatchError(f"the stride must be a whole number of at least 1, got {spec.stride!r}")
    if spec.size is not None and (len(spec.size) != 2 or any(side < 1 or side % spec.stride for side in spec.size)):
        raise SpecMismatchError(f"the size must be (H, W), multiples of the stride {spec.stride}, got {spec.size}")
    if spec.gsd_m is not None and not 0 < spec.gsd_m < 1e4:
        raise SpecMismatchError(f"gsd_m must be positive metres per pixel, got {spec.gsd_m}")
    for name in ("gsd_band_m", "density_band_per_mpx"):
        band = getattr(spec, name)
        if band is not None and not (len(band) == 2 and 0 <= band[0] <= band[1]):
            raise SpecMismatchError(f"{name} must be (lowest, highest), got {band}")
    if len(spec.blank_rgb) != 3 or any(not 0 <= level <= 255 for level in spec.blank_rgb):
        raise SpecMismatchError(f"blank_rgb must be three levels of 0 to 255, got {spec.blank_rgb}")


def sidecar_path(model: str | Path) -> Path:
    """`model.onnx` → `model.onnx.json`."""
    return Path(f"{model}.json")


def sha256_of(path: str | Path) -> str:
    """Digest of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return (
            hashlib.file_digest(file, "sha256").hexdigest()
            if hasattr(hashlib, "file_digest")
            else hashlib.sha256(file.read()).hexdigest()
        )


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


def read_sidecar(model: str | Path, check_digest: bool = True) -> tuple[ModelSpec, dict[str, Any]] | None:
    """ModelSpec and provenance from `<model>.json`; None where there is no such file.

    Args:
        model: the artefact.
        check_digest: False for a caller that compares the digest itself and says more about a difference.

    Raises:
        ModelFileError: the sidecar is not JSON, of another schema, or belongs to other bytes than the model's; or the
            model itself cannot be read.
    """
    path = sidecar_path(model)
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version, values, provenance = content["schema_version"], content["spec"], content.get("provenance", {})
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelFileError(f"{path} is not a sidecar ({error!r}); export the model again") from error
    if version != SCHEMA_VERSION:
        raise ModelFileError(
            f"{path} has schema version {version}, this roadedge reads {SCHEMA_VERSION}; update roadedge"
        )
    try:
        belongs = not check_digest or content.get("sha256") in (None, sha256_of(model))
    except OSError as error:
        raise ModelFileError(f"cannot read the model {model}: {error.strerror or error}") from error
    if not belongs:
        raise ModelFileError(f"{path} describes other bytes than those of {model}; export the model again")
    try:
        return ModelSpec.from_dict(values), provenance
    except SpecMismatchError as error:
        raise ModelFileError(f"{path} holds a spec that cannot be read ({error}); export the model again") from error
