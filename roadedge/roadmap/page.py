"""`roadedge view`: a map's rasters and roads in one HTML file that needs no network and can be sent by mail."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import roadedge
from roadedge.atomic import write_text
from roadedge.errors import DataError, UsageError
from roadedge.roadmap.page_frame import TILE, Frame, frame_of_bounds, frame_of_raster
from roadedge.roadmap.page_library import map_library
from roadedge.roadmap.page_rasters import SPREAD, STEPS, Pyramid, pyramid
from roadedge.roadmap.page_roads import Roads, encoded, read_roads

MARK = '<meta name=generator content="roadedge view">'
PAGE = "index.html"
ROADS = ("roads.gpkg", "roads.geojson")
SHARES = {"probability": 0.5, "backdrop": 0.9, "density": 1.0}  # of the size for rasters that is spent by then
SLOW_EDGES = 100_000
LARGE_PX = 50_000_000  # of a map whose rasters take so long that it is said which one is read
Tell = Callable[[str], None]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class PageOptions:
    """What the page holds.

    `raster_mb` bounds the tiles of all rasters together, as they lie in the page; `tolerance_m` is how far a drawn road
    may leave the one in the file; `backdrop` is a picture to draw under everything instead of the map's own.
    """

    backdrop: Path | None = None
    raster_mb: float = 24.0
    tolerance_m: float = 0.3
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not 0.5 <= self.raster_mb <= 400:
            raise UsageError(f"rasters of a page take 0.5 to 400 MB, got {self.raster_mb:g}")
        if not 0 <= self.tolerance_m <= 50:
            raise UsageError(f"roads are drawn within 0 to 50 m of the file's, got {self.tolerance_m:g}")


@dataclass(frozen=True, slots=True)
class PageResult:
    """Where the page lies, how large it is, and what it shows; `gsd_m` is that of the finest tiles of each raster."""

    path: Path
    size_bytes: int
    edges: int
    length_km: float
    gsd_m: dict[str, float]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "page": str(self.path),
            "size_bytes": self.size_bytes,
            "edges": self.edges,
            "length_km": round(self.length_km, 3),
            "gsd_m": self.gsd_m,
            "notes": list(self.notes),
        }


def write_page(
    folder: Path, output: Path | None = None, options: PageOptions | None = None, tell: Tell = print
) -> PageResult:
    """Write a page of what `roadedge map` or `roadedge vectorize` left in a folder.

    Args:
        folder: with probability.tif, roads.gpkg (or roads.geojson), or both; density.tif and the backdrop as they are.
        output: of the page; default `index.html` in the folder.
        options: what it holds.
        tell: called with lines of text.

    Raises:
        DataError: there is nothing to show, or it cannot be read.
        UsageError: another file than such a page is in the way.
        MissingExtraError: a library is not installed (extra `geo`).
        OutputError: the page cannot be written.
    """
    options = options or PageOptions()
    path = (output or folder / PAGE).resolve()
    _check_output(path, options.overwrite)
    about = _about(folder)
    roads_file = next((folder / name for name in ROADS if (folder / name).is_file()), None)
    probability = folder / "probability.tif"
    if roads_file is None and not probability.is_file():
        wanted = f"{probability.name} or {ROADS[0]}"
        raise DataError(f"{folder} holds neither {wanted}; give the folder that roadedge map wrote")
    notes: list[str] = []

    def note(text: str) -> None:
        notes.append(text)
        tell(text)

    library = map_library()
    roads = None if roads_file is None else read_roads(roads_file, options.tolerance_m)
    if roads is None:
        note(f"no roads are shown: there is no {ROADS[0]}; make it with roadedge vectorize {folder}")
    elif len(roads.lines) > SLOW_EDGES:
        note(f"{len(roads.lines)} roads are many for a browser; look at {ROADS[0]} with QGIS where the page is slow")
    frame = _frame(probability, roads)
    if roads is not None and not _meet(frame.bounds, roads.bounds):
        note(f"the roads lie beside the rasters, at {roads.bounds} of {roads.crs}: are both of one place?")
    rasters = _rasters(folder, frame, about, options, note, tell)
    data = {
        "frame": {**_frame_json(frame), "tile": TILE, "steps": STEPS, "spread": SPREAD},
        "rasters": {
            name: {"kind": one.kind, "tiles": one.tiles, "finest": one.finest, "gsd_m": one.gsd_m}
            for name, one in rasters.items()
        },
        "roads": None if roads is None else encoded(roads, frame),
        "notes": notes,
    }
    title = str(about.get("scene") or folder.resolve().name)
    write_text(path, html(title, _facts(about, roads), data, library.script, library.style, library.licence))
    return PageResult(
        path, path.stat().st_size, 0 if roads is None else len(roads.lines),
        0.0 if roads is None else roads.length_m / 1000, {name: one.gsd_m for name, one in rasters.items()},
        tuple(notes),
    )  # fmt: skip


def html(title: str, facts: list[str], data: dict[str, Any], library: str, style: str, licence: str) -> str:
    """The page. Only its own two scripts run, by their digests, and nothing is fetched, whatever a name in it holds."""
    own = Path(__file__).with_name("page.js").read_text(encoding="utf-8")
    own_style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    digests = " ".join(f"'sha256-{_digest(script)}'" for script in (library, own))
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {digests}"
    return f"""<!doctype html>
<!--
Drawn with Leaflet, https://leafletjs.com, under this licence:

{licence}
-->
<html lang=en><head><meta charset=utf-8><meta name=viewport content="width=device-width, initial-scale=1">
<meta http-equiv=Content-Security-Policy content="{policy}">{MARK}<title>{escape(title)}</title>
<style>{style}</style><style>{own_style}</style></head><body>
<div id=map></div>
<aside id=panel><details open><summary>{escape(title)}</summary>
<p class=facts>{"<br>".join(map(escape, facts))}</p><div id=controls></div></details></aside>
<output id=place></output><noscript>This map needs JavaScript; it fetches nothing.</noscript>
<script type="application/json" id=data>{text}</script>
<script>{library}</script><script>{own}</script></body></html>
"""


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _check_output(path: Path, overwrite: bool) -> None:
    """A page of ours may be made again; anything else is somebody's file."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give the page a name with -o/--output")
    if path.suffix not in (".html", ".htm"):  # with --overwrite a slip would replace the roads themselves
        raise UsageError(f"the name of a page ends in .html, got {path.name}; browsers go by it")
    if not path.exists() or overwrite:
        return
    with path.open("rb") as file:
        if MARK.encode() not in file.read(1 << 16):
            raise UsageError(f"{path} is there and no page of roadedge view; choose another -o/--output or --overwrite")


def _about(folder: Path) -> dict[str, Any]:
    """map.json, empty where there is none."""
    path = folder / "map.json"
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; give the one that roadedge map wrote")
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON ({error}); delete it or map the scene again") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no JSON object; delete it or map the scene again")
    return content


def _frame(probability: Path, roads: Roads | None) -> Frame:
    if probability.is_file():
        return frame_of_raster(probability, roads.crs if roads is not None and roads.lines else None)
    bounds = None if roads is None else roads.bounds
    if roads is None or bounds is None:
        raise DataError(f"{ROADS[0]} holds no road and there is no {probability.name}: nothing to show")
    return frame_of_bounds(bounds, roads.crs)


def _meet(one: Box, other: Box | None) -> bool:
    """Whether two boxes (x0, y0, x1, y1) overlap; what is no box is in nobody's way."""
    return other is None or (one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3])


def _frame_json(frame: Frame) -> dict[str, Any]:
    own = {name: getattr(frame, name) for name in ("crs", "x0", "y1", "gsd_m", "width", "height", "levels")}
    return {**own, "lonlat": frame.lonlat()}


def _rasters(
    folder: Path, frame: Frame, about: dict[str, Any], options: PageOptions, note: Tell, say: Tell
) -> dict[str, Pyramid]:
    """Pyramids of what is there; what one leaves of its share the next one may spend."""
    backdrop, crs = _backdrop(folder, about, options)
    files = {"probability": folder / "probability.tif", "backdrop": backdrop, "density": folder / "density.tif"}
    made: dict[str, Pyramid] = {}
    spent = 0
    for name, share in SHARES.items():
        path = files[name]
        if path is None or not path.is_file():
            continue
        if frame.width * frame.height > LARGE_PX:
            say(f"reading {path.name}")
        most = int(share * options.raster_mb * 1e6) - spent
        made[name] = pyramid(path, frame, most, name == "backdrop", crs if name == "backdrop" else None, note)
        spent += made[name].size_bytes
    return made


def _backdrop(folder: Path, about: dict[str, Any], options: PageOptions) -> tuple[Path | None, str | None]:
    """The picture under everything, and the CRS of one that does not say its own."""
    if options.backdrop is not None:
        if not options.backdrop.is_file():
            raise DataError(f"there is no picture {options.backdrop} for the backdrop")
        return options.backdrop, about.get("crs")
    names = ("backdrop.tif", "backdrop.jpg", "backdrop.png", "backdrop.webp")
    return next((folder / name for name in names if (folder / name).is_file()), None), about.get("crs")


def _facts(about: dict[str, Any], roads: Roads | None) -> list[str]:
    """Lines under the title."""
    facts = []
    model = about.get("model")
    if model:
        named = model.get("model") or model.get("file") if isinstance(model, dict) else model
        facts.append(f"network: {named}")
    if isinstance(area := about.get("area_km2"), (int, float)):
        gsd_m = about.get("gsd_m")
        at = f" at {gsd_m:.3g} m a pixel" if isinstance(gsd_m, (int, float)) else ""
        facts.append(f"{area:,.4g} km²{at}")
    if roads is not None:
        facts.append(f"{len(roads.lines):,} roads, {roads.length_m / 1000:,.1f} km")
    if about.get("licence"):
        facts.append(f"weights: {about['licence']}")
    return [*facts, f"roadedge {roadedge.__version__}"]
