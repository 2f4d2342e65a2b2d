"""Speeds of roads as files of several programs name them, in km/h."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

KMH_OF_MPH = 1.609344
KMH_OF_MS = 3.6
# Ours first, then SpaceNet's labels, then OSMnx.
_NAMES = {"speed_kmh": 1.0, "inferred_speed_mps": KMH_OF_MS, "inferred_speed_mph": KMH_OF_MPH, "speed_kph": 1.0}
SPEED_NAMES = (*_NAMES, "maxspeed")
_PLAIN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(km/h|kmh|kph|mph)?\s*", re.IGNORECASE)


def speed_of(facts: Mapping[str, Any]) -> float:
    """The speed in km/h that the properties of a road tell, NaN where they tell none.

    `speed_kmh` (ours), `inferred_speed_mps` and `inferred_speed_mph` (SpaceNet), `speed_kph` (OSMnx), then `maxspeed`
    (OpenStreetMap: a number in km/h, or one with "mph"). A `maxspeed` in words, or several in one, tells none.

    Raises:
        ValueError, TypeError: one of the first four is no number.
    """
    for name, scale in _NAMES.items():
        value = facts.get(name)
        if value is not None and not (isinstance(value, float) and np.isnan(value)):
            return float(value) * scale
    return _limit(facts.get("maxspeed"))


def _limit(tag: Any) -> float:
    match = None if tag is None or isinstance(tag, bool) else _PLAIN.fullmatch(str(tag))
    if match is None or float(match[1]) == 0:
        return float("nan")
    return float(match[1]) * (KMH_OF_MPH if (match[2] or "").lower() == "mph" else 1.0)
