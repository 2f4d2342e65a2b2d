"""Measured ranges on disk, usable again for the very same network, samples and method, and for nothing else."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path

from roadedge.atomic import write_json
from roadedge.calibration.observe import MOST
from roadedge.calibration.ranges import BINS, CANDIDATES, CLIPPED_ENERGY, SMALLEST_SHARE
from roadedge.calibration.samples import LARGEST_SIDE, WINDOWS
from roadedge.errors import DataError

SCHEMA_VERSION = 1
SETTINGS = (  # constants that decide what a range is: changed ones make old caches useless
    f"bins {BINS}, candidates {CANDIDATES} from {SMALLEST_SHARE:g}, clipped energy {CLIPPED_ENERGY:g}, "
    f"values {MOST}, windows {WINDOWS} of {LARGEST_SIDE}"
)
MEANINGS = {"model": "network", "samples": "list of samples", "method": "method", "settings": "version of the method"}


@dataclass(frozen=True, slots=True)
class CacheKey:
    """What ranges belong to: digests of the ONNX file and of the sample list, the method, its settings."""

    model: str
    samples: str
    method: str
    settings: str = SETTINGS

    @property
    def digest(self) -> str:
        """One SHA-256 of all of it."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self), sort_keys=True).encode()).hexdigest()


def write_cache(path: str | Path, key: CacheKey, ranges: dict[str, float]) -> None:
    """Write ranges, {value: largest magnitude}, with their key; raises OutputError."""
    content = {
        "schema_version": SCHEMA_VERSION,
        "key": dataclasses.asdict(key),
        "ranges": ranges,
        "ranges_sha256": _digest(ranges),
    }
    write_json(path, content)


def read_cache(path: str | Path, key: CacheKey) -> dict[str, float]:
    """Read ranges that were measured under `key`.

    Raises:
        DataError: missing, not such a file, changed, or measured for another network, list or method; says which.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version, stated, ranges = content["schema_version"], dict(content["key"]), content["ranges"]
        whole = content["ranges_sha256"] == _digest(ranges)
        sound = all(isinstance(v, float | int) and math.isfinite(v) and v >= 0 for v in ranges.values())
    except OSError as error:
        raise DataError(
            f"cannot read the calibration cache {path}: {error.strerror or error}; leave --cache out to measure afresh"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} is not a calibration cache ({error!r}); measure afresh") from error
    if version != SCHEMA_VERSION or not (whole and sound):
        raise DataError(f"{path} is damaged, or of another version of roadedge; measure afresh")
    differing = [MEANINGS[name] for name, value in dataclasses.asdict(key).items() if stated.get(name) != value]
    if differing:
        raise DataError(
            f"the calibration cache {path} was measured for another {' and another '.join(differing)}; ranges of one "
            "do not fit the other: leave --cache out to measure afresh"
        )
    return {str(name): float(value) for name, value in ranges.items()}


def _digest(ranges: dict[str, float]) -> str:
    return hashlib.sha256(json.dumps(ranges, sort_keys=True).encode()).hexdigest()
