"""Chinese datums: published pairs, and an inverse that is one."""

from __future__ import annotations

import numpy as np
import pytest

from roadedge.errors import UnknownNameError
from roadedge.trajectory.datum import bd09_to_wgs84, gcj02_to_bd09, gcj02_to_wgs84, to_wgs84, wgs84_to_gcj02

CENTIMETRE_DEG = 0.01 / 111_320
# Published with googollee/eviltransform: WGS 84 longitude, latitude, GCJ-02 longitude, latitude.
PAIRS = [
    pytest.param(121.5272106, 31.1774276, 121.531541859215, 31.17530398364597, id="Shanghai"),
    pytest.param(113.912316, 22.543847, 113.9171764808363, 22.540796131694766, id="Shenzhen"),
    pytest.param(116.377817, 39.911954, 116.38404722455657, 39.91334545536069, id="Beijing"),
]


@pytest.mark.parametrize(("lon", "lat", "gcj_lon", "gcj_lat"), PAIRS)
def test_published_pairs_both_ways(lon: float, lat: float, gcj_lon: float, gcj_lat: float) -> None:
    forward = wgs84_to_gcj02(np.array([lon]), np.array([lat]))
    back = gcj02_to_wgs84(np.array([gcj_lon]), np.array([gcj_lat]))
    assert np.ravel(forward) == pytest.approx([gcj_lon, gcj_lat], abs=1e-9)
    assert np.ravel(back) == pytest.approx([lon, lat], abs=CENTIMETRE_DEG)


def test_the_published_pair_of_baidu() -> None:
    """Published with wandergis/coordtransform: GCJ-02 → BD-09."""
    assert np.ravel(gcj02_to_bd09(np.array([116.404]), np.array([39.915]))) == pytest.approx(
        [116.41036949371029, 39.92133699351021], abs=1e-9
    )


def test_the_inverses_return_to_within_a_centimetre_all_over_the_country() -> None:
    lon, lat = np.meshgrid(np.linspace(74, 134, 121), np.linspace(4, 53, 99))
    gcj = wgs84_to_gcj02(lon, lat)
    assert np.abs(np.subtract(gcj02_to_wgs84(*gcj), (lon, lat))).max() < CENTIMETRE_DEG
    assert np.abs(np.subtract(bd09_to_wgs84(*gcj02_to_bd09(*gcj)), (lon, lat))).max() < CENTIMETRE_DEG


def test_places_outside_the_country_stay_where_they_are() -> None:
    lon, lat = np.array([-104.9903, 153.0251, 139.767125]), np.array([39.7392, -27.4698, 35.681236])
    assert (np.array(wgs84_to_gcj02(lon, lat)) == (lon, lat)).all()
    assert (np.array(gcj02_to_wgs84(lon, lat)) == (lon, lat)).all()


def test_the_input_stays_and_none_is_none() -> None:
    lon, lat = np.array([116.4]), np.array([39.9])
    to_wgs84(lon, lat, "bd09")
    assert (lon[0], lat[0]) == (116.4, 39.9)
    assert to_wgs84(lon[:0], lat[:0], "gcj02")[0].shape == (0,)


def test_an_unknown_datum_is_said_with_the_known() -> None:
    with pytest.raises(UnknownNameError, match="bd09, gcj02, wgs84"):
        to_wgs84(np.zeros(1), np.zeros(1), "gcj-03")
