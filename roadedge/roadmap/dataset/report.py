"""What a prepared data set holds, in lines to read."""

from __future__ import annotations

from typing import Any


def manifest_lines(manifest: dict[str, Any]) -> list[str]:
    """`manifest.json` in short."""
    grid, split = manifest["grid"], manifest["split"]
    sides = ", ".join(f"{count} {name}" for name, count in sorted(split.items()))
    lines = [
        f"{manifest['tiles']} tiles of {manifest['size']} pixels at {grid['gsd_m']:.3g} m ({sides}), "
        f"in {manifest['blocks']} blocks of {manifest['block_m']:.0f} m",
        f"{100 * manifest['road_fraction']:.1f} % of the pixels that count are road",
    ]
    if manifest["left_out"]:
        reasons = ", ".join(f"{name} {count}" for name, count in sorted(manifest["left_out"].items()))
        lines.append(f"tiles left out: {reasons}")
    roads = manifest["roads"]
    if roads is not None:
        lines.append(
            f"{roads['lines']} lines of roads: {roads['widths_by_attribute']} widths by attribute, "
            f"{roads['widths_by_default']} of {roads['default_width_m']:g} m by default"
        )
    if manifest["points"] is not None:
        lines.append(f"{manifest['points']:,} points")
    if "val" not in split:
        lines.append("note: nothing is set aside to choose by (--val-share 0, or one block of tiles)")
    if not manifest["road_fraction"]:
        lines.append("note: no pixel is road; is --roads of this place?")
    return lines
