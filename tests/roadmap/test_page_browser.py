"""The page of a map in a real browser: drawn without a network, driven by clicks and keys, looked at by its pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from roadedge.roadmap.page import write_page
from tests.roadmap.browser import BROWSER, MISSING, Browser
from tests.roadmap.small_map import small_map

pytest.importorskip("rasterio")
pytestmark = pytest.mark.skipif(BROWSER is None, reason=MISSING)
SETTLED = (
    "typeof roadedge === 'object' && document.querySelectorAll('canvas.leaflet-tile-loaded').length >= 2"
    " && !document.querySelector('.leaflet-zoom-anim .leaflet-zoom-animated.leaflet-zoom-hide')"
)
FRAME = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("browser")
    page = write_page(small_map(folder / "town"), tell=lambda text: None).path
    with Browser(page, folder / "profile") as opened:
        opened.wait(SETTLED)
        yield opened


def seen(browser: Browser) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The window as (H, W, 3) RGB."""
    import cv2

    browser.run(FRAME)
    found = cv2.imdecode(np.frombuffer(browser.picture(), np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(found, np.uint8)[..., ::-1]


def screen(browser: Browser, x_m: float, y_m: float) -> tuple[int, int]:
    """Where a place, metres right of and below the map's corner, is on the window."""
    place = browser.run(
        f"(() => {{ const p = roadedge.map.latLngToContainerPoint([{-y_m}, {x_m}]);return [p.x, p.y] }})()"
    )
    return round(place[0]), round(place[1])


def switch(browser: Browser, name: str) -> None:
    box = browser.run(
        f"(() => {{ const b = document.getElementById('show-{name}'); b.scrollIntoView({{block: 'center'}});"
        "const r = b.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] })()"
    )
    browser.click(*box)


def slide(browser: Browser, name: str, key: str, times: int = 1) -> str:
    """Press a key on a slider; returns what is written beside it."""
    browser.run(f"document.getElementById('{name}').focus()")
    browser.press(key, times)
    said: str = browser.run(f"document.getElementById('{name}').nextSibling.textContent")
    return said


def test_the_page_is_drawn_without_a_word_on_the_console_or_a_request(browser: Browser) -> None:
    assert browser.said == []
    assert all(address.startswith("file:") for address in browser.asked)
    assert browser.run("roadedge.lines.length") == 60
    assert browser.run("document.title") == "a small town"


def test_a_click_on_a_road_tells_what_is_known_of_it(browser: Browser) -> None:
    browser.click(*screen(browser, 100.0, 50.0))  # the first road, from 50 to 150 m
    browser.wait("document.querySelector('.attributes') !== null")
    rows = browser.run(
        "[...document.querySelectorAll('.attributes tr')].map((r) => [...r.children].map((c) => c.textContent))"
    )
    told = dict(rows)
    assert told["length_m"] == "100"
    assert told["speed_kmh"] == "not known"
    assert told["oneway"] == "along the line"
    browser.click(*screen(browser, 100.0, 100.0))  # beside all roads
    browser.wait("document.querySelector('.attributes') === null")


def test_the_slider_takes_the_probability_away(browser: Browser) -> None:
    switch(browser, "roads")
    x, y = screen(browser, 10.0, 50.0)  # on a road of the raster, left of the first line
    before = seen(browser)[y, x].astype(int)
    assert slide(browser, "opacity-probability", "Home") == "0 %"
    hidden = seen(browser)[y, x].astype(int)
    assert slide(browser, "opacity-probability", "End") == "100 %"
    whole = seen(browser)[y, x].astype(int)
    assert np.ptp(hidden) <= 8  # grey asphalt of the backdrop
    assert np.abs(whole - hidden).max() > np.abs(before - hidden).max() > 20
    switch(browser, "roads")


def test_a_threshold_hides_what_lies_below_it(browser: Browser) -> None:
    slide(browser, "opacity-probability", "End")
    x, y = screen(browser, 20.0, 42.0)  # a side of a road, of probability 0.3
    before = seen(browser)[y, x].astype(int)
    assert slide(browser, "least-probability", "ArrowRight", 60) == "70 %"
    after = seen(browser)[y, x].astype(int)
    assert np.abs(before - after).max() > 30
    x, y = screen(browser, 20.0, 50.0)
    assert seen(browser)[y, x].astype(int)[0] > 180  # the middle of the road is still there


def test_roads_are_coloured_by_what_is_chosen(browser: Browser) -> None:
    colours = []
    for choice in ("confidence", "speed_kmh", ""):
        browser.run(
            f"(() => {{ const s = document.getElementById('colour-by'); s.value = '{choice}';"
            "s.dispatchEvent(new Event('change')); })()"
        )
        colours.append(browser.run("roadedge.lines.slice(0, 4).map((line) => line.options.color)"))
    assert len(set(colours[0])) == 4
    assert colours[1][0] == "#8d96a5"  # not known
    assert set(colours[2]) == {"#2f5fd0"}
    assert "not known" not in browser.run("document.getElementById('legend').textContent")


def test_roads_below_a_confidence_are_hidden_and_come_back(browser: Browser) -> None:
    shown = "roadedge.group.getLayers().length"
    slide(browser, "least-confidence", "ArrowRight", 70)
    assert browser.run(shown) == 30
    slide(browser, "least-confidence", "Home")
    assert browser.run(shown) == 60


def test_the_points_density_can_be_shown(browser: Browser) -> None:
    x, y = screen(browser, 20.0, 50.0)
    slide(browser, "opacity-probability", "Home")
    before = seen(browser)[y, x].astype(int)
    switch(browser, "density")
    browser.wait("Object.values(roadedge.layers.density._tiles || {}).every((tile) => tile.loaded)")
    browser.wait("Object.values(roadedge.layers.density._tiles).every((tile) => tile.el.style.opacity === '1')")
    after = seen(browser)[y, x].astype(int)
    assert after[2] - before[2] > 40  # bluer


def test_a_place_is_told_in_longitude_and_latitude(browser: Browser) -> None:
    lon, lat = browser.run("roadedge.lonlat(L.latLng(-300, 300))")
    from roadedge.georeference.raster_place import to_lonlat
    from tests.roadmap.small_map import CRS, X0, Y1

    want = to_lonlat([[X0 + 300, Y1 - 300]], CRS)[0]
    assert np.abs(np.array([lon, lat]) - want).max() < 1e-7


def test_the_scale_bar_measures_metres(browser: Browser) -> None:
    length, width = browser.run(
        "(() => { const b = document.querySelector('.leaflet-control-scale-line');"
        "return [parseFloat(b.textContent), b.getBoundingClientRect().width] })()"
    )
    a, b = screen(browser, 0.0, 0.0), screen(browser, length, 0.0)
    assert abs((b[0] - a[0]) - width) <= 4


def test_nothing_was_said_on_the_console_in_all_this(browser: Browser) -> None:
    assert browser.said == []
