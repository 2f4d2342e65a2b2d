"""report.html drawn again from the folder of a run: what `roadedge report RUN --html` calls."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from roadedge.atomic import write_text
from roadedge.errors import DataError
from roadedge.latency.frame_table import FrameTable
from roadedge.latency.report import embedded, report_html
from roadedge.latency.saved import SavedRun
from roadedge.latency.table import facts, latency_table, verdict_lines

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
        DataError: metrics.json holds something else than a run writes.
        OutputError: it cannot be written.
    """
    target = run.folder / "report.html" if path is None else Path(path).expanduser()
    images = images_of(run.folder, run.frames)
    try:
        page = report_html(run.metrics, run.frames, run.profile, run.verdict, images, run.missing)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise DataError(
            f"{run.folder / 'metrics.json'} is damaged ({type(error).__name__}: {error}); "
            "the report cannot be drawn from it"
        ) from error
    write_text(target, page)
    return target.resolve()


def print_run(run: SavedRun) -> None:
    """Print table, facts and verdict of a run on stdout; without colour where that is no terminal."""
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    console.print(latency_table(run.profile))
    for line in (*facts(run.profile), *verdict_lines(run.verdict)):
        console.print(line, markup=False)


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
