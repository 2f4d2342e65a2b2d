"""What a store holds, for a person to read and to look at."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import PointsError, UsageError
from roadedge.trajectory.point_store import LONLAT, PointStore

PICTURE_PX = 1200
_SINCE_1990_S = 631152000.0  # smaller times are of a clock of their own


def describe(store: PointStore) -> dict[str, Any]:
    """The store's metadata with its size on disk, row groups and extent in degrees, as JSON values."""
    lonlat = bounds_lonlat(store)
    return {
        "path": str(store.path.resolve()),
        "bytes": store.path.stat().st_size,
        "row_groups": store.row_groups,
        **store.info,
        "bounds": list(store.bounds) if store.rows else None,
        "bounds_lonlat": None if lonlat is None else list(lonlat),
    }


def described_lines(facts: dict[str, Any]) -> list[str]:
    """`describe` as lines to read."""
    lines = [
        f"{facts['rows']:,} points in {facts['row_groups']} row groups, {facts['bytes'] / 1e6:.1f} MB",
        f"CRS {facts['crs'][:80]}",
    ]
    if facts["bounds"] is not None:
        lines.append("bounds " + ", ".join(f"{value:.7g}" for value in facts["bounds"]))
    if facts["bounds_lonlat"] is not None and facts["crs"] != LONLAT:
        lines.append("in degrees " + ", ".join(f"{value:.5f}" for value in facts["bounds_lonlat"]))
    if facts.get("time_s"):
        lines.append(f"times {_time_text(facts['time_s'][0])} to {_time_text(facts['time_s'][1])}")
    lines.append(f"known: {', '.join(facts['attributes']) or 'positions alone'}")
    if facts.get("trips"):
        lines.append(f"{facts['trips']:,} trips")
    derived = facts.get("derived", {})
    if derived.get("speed_ms") or derived.get("heading_deg"):
        lines.append(
            f"derived from successive points: {derived['speed_ms']:,} speeds, {derived['heading_deg']:,} headings"
        )
    tiles = facts.get("tiles")
    if tiles:
        lines.append(
            f"{tiles['with_points']:,} tiles of {tiles['side']:g} with points: {tiles['points_p50']:.0f} in the median "
            f"one, {tiles['points_max']:,} in the fullest"
        )
    lines += _left_out_lines(facts)
    lines += [f"note: {hint}" for hint in facts.get("hints", [])]
    return lines


def _left_out_lines(facts: dict[str, Any]) -> list[str]:
    lines = []
    if facts.get("dropped"):
        reasons = ", ".join(f"{name} {count:,}" for name, count in facts["dropped"].items())
        lines.append(f"left out {sum(facts['dropped'].values()):,} of {facts['read']:,} rows: {reasons}")
    if facts.get("noted"):
        reasons = ", ".join(f"{name} {count:,}" for name, count in facts["noted"].items())
        lines.append(f"kept without one of their values, or corrected: {reasons}")
    failed = facts.get("failed") or {}
    lines += [f"could not be read: {error}" for error in list(failed.values())[:5]]
    if len(failed) > 5:
        lines.append(f"could not be read: {len(failed) - 5} more files")
    return lines


def _time_text(t_s: float) -> str:
    if not _SINCE_1990_S <= t_s < 4e9:
        return f"{t_s:.0f} s"
    return datetime.datetime.fromtimestamp(t_s, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def bounds_lonlat(store: PointStore) -> tuple[float, float, float, float] | None:
    """West, south, east, north of the store in degrees; None of an empty one, or where pyproj is not installed."""
    if not store.rows:
        return None
    if store.crs == LONLAT:
        return store.bounds
    try:
        import pyproj
    except ImportError:
        return None
    transformer = pyproj.Transformer.from_crs(store.crs, LONLAT, always_xy=True)
    west, south, east, north = transformer.transform_bounds(*store.bounds)
    return (west, south, east, north) if np.isfinite([west, south, east, north]).all() else None


def density(store: PointStore, side_px: int = PICTURE_PX) -> NDArray[np.uint32]:
    """Points per pixel of a picture of the whole store, north up, (H, W) with the longer side of `side_px`.

    Raises:
        PointsError: the store is empty.
    """
    if not store.rows:
        raise PointsError(f"{store.path} holds no points to draw")
    x0, y0, x1, y1 = store.bounds
    squeeze = np.cos(np.radians((y0 + y1) / 2)) if store.crs == LONLAT else 1.0
    wide, high = max((x1 - x0) * squeeze, 1e-9), max(y1 - y0, 1e-9)
    scale = (side_px - 1) / max(wide, high)
    counts = np.zeros((int(high * scale) + 1, int(wide * scale) + 1), np.uint32)
    for part in store.parts(columns=()):
        column = ((part.x - x0) * squeeze * scale).astype(np.int64)
        row = ((y1 - part.y) * scale).astype(np.int64)
        flat = np.bincount(row * counts.shape[1] + column, minlength=counts.size)
        counts += flat.reshape(counts.shape).astype(np.uint32)
    return counts


def write_picture(store: PointStore, path: str | Path, side_px: int = PICTURE_PX) -> None:
    """Draw where the points lie, brighter for more (logarithm), as PNG; raises OutputError, PointsError, UsageError."""
    import cv2

    from roadedge.imagery import write_png

    if Path(path).suffix.lower() != ".png":
        raise UsageError(f"the picture is a PNG; give --picture NAME.png, got {path}")
    counts = density(store, side_px)
    level = np.log1p(counts.astype(np.float32)) / np.log1p(float(np.percentile(counts[counts > 0], 99.5)))
    grey = np.rint(np.clip(level, 0, 1) * 255).astype(np.uint8)
    coloured = cv2.cvtColor(cv2.applyColorMap(grey, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    write_png(path, np.ascontiguousarray(np.asarray(coloured, np.uint8)))
