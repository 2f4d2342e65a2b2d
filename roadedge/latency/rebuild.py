"""report.html drawn again from the folder of a run: what `roadedge report RUN --html` calls."""

from __future__ import annotations

import re
from pathlib import Path

from roadedge.atomic import write_text
from roadedge.latency.frame_table import FrameTable
from roadedge.latency.report import embedded, report_html
from roadedge.latency.saved import SavedRun

FIGURE = re.compile(r'<figure><img alt="([^"<>]*)" src="(data:image/jpeg;base64,[A-Za-z0-9+/=]+)"')
FOLDERS = (("overlays", ".jpg"), ("masks", ".png"))
MOST_PICTURES = 4


def rebuild_report(run: SavedRun, path: str | Path | None = None) -> Path:
    """Draw the report of a run again.

    Args:
        run: from `load_run`.
        path: of the HTML file; default `report.html` in the run's folder.

    Returns:
        The path, absolute.

    Raises:
        OutputError: it cannot be written.
    """
    target = run.folder / "report.html" if path is None else Path(path)
    images = images_of(run.folder, run.frames)
    write_text(target, report_html(run.metrics, run.frames, run.profile, run.verdict, images, run.missing))
    return target.resolve()


def images_of(folder: Path, frames: FrameTable) -> list[tuple[str, str]]:
    """Captions and `data:` addresses: those of the report that is there, else the first and last overlay or mask."""
    old = folder / "report.html"
    if old.is_file() and (found := FIGURE.findall(old.read_text(encoding="utf-8", errors="replace"))):
        from html import unescape

        return [(unescape(caption), address) for caption, address in found[:MOST_PICTURES]]
    for name, suffix in FOLDERS:
        ends = [_first(folder / name, suffix, frames, step) for step in (1, -1)]
        paths = list(dict.fromkeys(path for path in ends if path is not None))
        shown = [(path.stem, image) for path in paths if (image := _embedded(path)) is not None]
        if shown:
            return shown
    return []


def _first(folder: Path, suffix: str, frames: FrameTable, step: int) -> Path | None:
    """The picture of the first answered frame that has one, of the last for a step of -1."""
    names = (frames.texts["frame"][row] for row in frames.answered[::step])
    paths = (folder / f"{name}{suffix}" for name in names) if folder.is_dir() else iter(())
    return next((path for path in paths if path.is_file()), None)


def _embedded(path: Path) -> str | None:
    import cv2

    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    return None if picture is None else embedded(picture[..., ::-1].astype("uint8"))
