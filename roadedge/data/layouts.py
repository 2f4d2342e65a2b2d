"""The published data sets that are read in their own layouts, by name. A layout is one file here and one line below."""

from __future__ import annotations

from pathlib import Path

from roadedge.data import bjroad, deepglobe, massachusetts, open_pit, porto, spacenet3, tlcgis
from roadedge.data.layout import Layout

LAYOUTS: dict[str, Layout] = {
    "bjroad": bjroad.LAYOUT,
    "porto": porto.LAYOUT,
    "tlcgis": tlcgis.LAYOUT,
    "spacenet3": spacenet3.LAYOUT,
    "deepglobe": deepglobe.LAYOUT,
    "massachusetts": massachusetts.LAYOUT,
    "open-pit": open_pit.LAYOUT,
}


def layout_of(root: str | Path) -> Layout | None:
    """The published layout that a folder has; None for a folder of our own layout, or of none.

    Layouts differ in the folders that they need, so no two match one folder.
    """
    root = Path(root)
    if (root / "split.csv").exists() or ((root / "image").is_dir() and (root / "mask").is_dir()):
        return None
    return next((layout for layout in LAYOUTS.values() if layout.matches(root)), None)
