"""How QGIS draws the layers of a road map: its own style documents, kept inside the GeoPackage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_HEAD = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
# Dark on light and on imagery, and told apart by those who do not see red and green: steps of the viridis scale.
_CONFIDENCE = (
    (0.0, 0.5, "68,1,84", "below 0.5"),
    (0.5, 0.7, "59,82,139", "0.5 to 0.7"),
    (0.7, 0.85, "33,145,140", "0.7 to 0.85"),
    (0.85, 0.95, "94,201,98", "0.85 to 0.95"),
    (0.95, 1.0, "253,231,37", "above 0.95"),
)
_SPEED = (
    (0.0, 20.0, "68,1,84", "up to 20 km/h"),
    (20.0, 35.0, "59,82,139", "20 to 35"),
    (35.0, 55.0, "33,145,140", "35 to 55"),
    (55.0, 80.0, "94,201,98", "55 to 80"),
    (80.0, 300.0, "253,231,37", "above 80"),
)


@dataclass(frozen=True, slots=True)
class Style:
    """A style of a layer; QGIS takes the default one without being asked."""

    layer: str
    name: str
    description: str
    default: bool
    qml: str


def graduated(attribute: str, steps: Sequence[tuple[float, float, str, str]]) -> str:
    """QML of lines coloured by an attribute: lower and upper bound, colour "r,g,b" and label of each step."""
    ranges = "".join(
        f'      <range lower="{low:g}" upper="{high:g}" symbol="{number}" label="{label}" render="true"/>\n'
        for number, (low, high, _, label) in enumerate(steps)
    )
    symbols = "".join(_line(str(number), colour) for number, (_, _, colour, _) in enumerate(steps))
    return (
        f'{_HEAD}<qgis version="3.22.0" styleCategories="Symbology">\n'
        f'  <renderer-v2 type="graduatedSymbol" attr="{attribute}" graduatedMethod="GraduatedColor"'
        ' symbollevels="0" forceraster="0" enableorderby="0">\n'
        f"    <ranges>\n{ranges}    </ranges>\n    <symbols>\n{symbols}    </symbols>\n"
        f"    <source-symbol>\n{_line('0', '59,82,139')}    </source-symbol>\n"
        "  </renderer-v2>\n  <layerGeometryType>1</layerGeometryType>\n</qgis>\n"
    )


def _line(name: str, colour: str) -> str:
    options = {
        "line_color": f"{colour},255", "line_style": "solid", "line_width": "0.7", "line_width_unit": "MM",
        "capstyle": "round", "joinstyle": "round",
    }  # fmt: skip
    return _symbol("line", name, "SimpleLine", options)


def _symbol(kind: str, name: str, layer: str, options: dict[str, str]) -> str:
    inside = "".join(f'            <Option type="QString" name="{key}" value="{v}"/>\n' for key, v in options.items())
    return (
        f'      <symbol type="{kind}" name="{name}" alpha="1" clip_to_extent="1" force_rhr="0">\n'
        f'        <layer class="{layer}" enabled="1" locked="0" pass="0">\n'
        f'          <Option type="Map">\n{inside}          </Option>\n        </layer>\n      </symbol>\n'
    )


def _dots() -> str:
    options = {
        "name": "circle", "color": "255,255,255,255", "outline_color": "35,35,35,255", "outline_width": "0.3",
        "outline_width_unit": "MM", "size": "1.6", "size_unit": "MM",
    }  # fmt: skip
    rules = (
        '    <rules key="{roads}">\n'
        '      <rule key="{junctions}" filter="junction = 1" symbol="0" label="junctions"/>\n    </rules>\n'
    )
    return (
        f'{_HEAD}<qgis version="3.22.0" styleCategories="Symbology">\n'
        '  <renderer-v2 type="RuleRenderer" symbollevels="0" forceraster="0" enableorderby="0">\n'
        f"{rules}    <symbols>\n{_symbol('marker', '0', 'SimpleMarker', options)}    </symbols>\n"
        "  </renderer-v2>\n  <layerGeometryType>0</layerGeometryType>\n</qgis>\n"
    )


STYLES = (
    Style(
        "edges", "confidence", "roads by the mean probability along them", True, graduated("confidence", _CONFIDENCE)
    ),
    Style("edges", "speed", "roads by the speed that is driven, km/h", False, graduated("speed_kmh", _SPEED)),
    Style("nodes", "junctions", "where three or more roads meet", True, _dots()),
)
