from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from roadedge.errors import PointsError
from roadedge.georeference.dji_srt import beside, read_srt

MINI_3 = """1
00:00:00,000 --> 00:00:00,033
<font size="28">FrameCnt: 1, DiffTime: 33ms
2024-05-04 12:00:00.000
[iso: 100] [shutter: 1/640.0] [fnum: 1.7] [ev: 0] [color_md: default] [focal_len: 24.00] [dzoom_ratio: 1.00], \
[latitude: 45.100000] [longitude: 7.200000] [rel_alt: 79.900 abs_alt: 396.400] \
[gb_yaw: -67.6 gb_pitch: -89.9 gb_roll: 0.0] </font>

2
00:00:00,033 --> 00:00:00,066
<font size="28">FrameCnt: 2, DiffTime: 33ms
2024-05-04 12:00:00.033
[focal_len: 24.00] [latitude: 45.100001] [longitude: 7.200000] [rel_alt: 80.000 abs_alt: 396.500] \
[gb_yaw: -67.5 gb_pitch: -89.9 gb_roll: 0.0] </font>
"""

# file: rows of the track, dialect, first longitude and latitude, first height, first yaw and pitch, equivalent mm
REAL = {
    "air2s.srt": (17, "altitude", (2.234156, 41.424724), 117.0, (None, None), 24.0),
    "mavic_2_style.SRT": (463, "position", (149.0251, -20.2533), None, (None, None), None),
    "mavic_air2.srt": (25, "altitude", (2.162162, 41.420684), 27.3, (None, None), 24.0),
    "mavic_mini.SRT": (117, "distance", (-121.7458, 48.0771), 200.7, (None, None), None),
    "mavic_pro.SRT": (468, "barometer", (149.0251, -20.2533), 1.9, (None, None), None),
    "p4_rtk.SRT": (55, "pry", (-58.851745, -34.237922), 85.8, (110.4, -24.4), None),
}


def written(folder: Path, text: str, name: str = "flight.SRT") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", REAL)
def test_real_files_of_six_firmwares(real_data: Path, name: str) -> None:
    rows, dialect, lonlat, height_m, (yaw_deg, pitch_deg), equivalent_mm = REAL[name]
    read = read_srt(real_data / "drone" / "srt" / name)
    pose = read.track.at(float(read.track.t_s[0]))
    assert pose is not None
    assert (len(read.track), read.dialect) == (rows, dialect)
    assert (pose.lon_deg, pose.lat_deg) == pytest.approx(lonlat)
    assert pose.height_m == (None if height_m is None else pytest.approx(height_m))
    assert pose.yaw_deg == (None if yaw_deg is None else pytest.approx(yaw_deg))
    assert pose.pitch_deg == (None if pitch_deg is None else pytest.approx(pitch_deg))
    assert read.lens.equivalent_mm == equivalent_mm


def test_real_rows_without_timecodes_keep_the_time_of_their_dates(real_data: Path) -> None:
    read = read_srt(real_data / "drone" / "srt" / "mavic_2_style.SRT")
    assert read.track.t_s[-1] == pytest.approx(468.0)  # 14:11:51 to 14:19:39
    assert read.track.dropped == {"backward": 5}  # dates that stand twice in the file


def test_gimbal_angles_heights_and_lens_of_newer_firmware(tmp_path: Path) -> None:
    read = read_srt(written(tmp_path, MINI_3))
    pose = read.track.at(0.0165)
    assert pose is not None
    assert pose.yaw_from == "gimbal"
    assert pose.height_m == pytest.approx(79.95)  # above take-off, not the 396 m above the sea
    assert pose.yaw_deg == pytest.approx(-67.55)
    assert read.lens.equivalent_mm == 24.0
    assert read.dialect == "rel_alt"


def test_byte_order_mark_and_windows_lines_make_no_difference(tmp_path: Path) -> None:
    plain = read_srt(written(tmp_path, MINI_3))
    windows = read_srt(written(tmp_path, "\ufeff" + MINI_3.replace("\n", "\r\n"), "windows.srt"))
    assert windows.track.lonlat().tolist() == plain.track.lonlat().tolist()


def test_dates_are_utc_only_where_the_zone_is_said(tmp_path: Path) -> None:
    path = written(tmp_path, MINI_3)
    assert read_srt(path).track.epoch_s is None
    assert read_srt(path, utc_offset_h=2.0).track.epoch_s == pytest.approx(1714816800.0)  # 10:00 UTC


def test_flight_yaw_stands_in_where_the_gimbal_writes_none(tmp_path: Path) -> None:
    row = "GPS (7.2, 45.1, 15), D 1.0m, H 80.0m, F.PRY (1.0°, 2.0°, 33.0°), G.PRY (-90.0°, 0.0°, n/a°)"
    track = read_srt(written(tmp_path, f"1\n00:00:00,000 --> 00:00:01,000\n{row}\n")).track
    assert (track.yaw_from, track.yaw_deg.tolist()) == ("flight", [33.0])


def test_latitude_before_longitude_is_seen_where_it_can_be(tmp_path: Path) -> None:
    read = read_srt(written(tmp_path, "1\n00:00:00,000 --> 00:00:01,000\nGPS (31.2, 121.6, 15), D 1m, H 80m\n"))
    assert read.track.lonlat().tolist() == [[121.6, 31.2]]
    assert "latitude before the longitude" in read.track.notices[0]


def test_rows_without_fix_or_with_nan_are_counted(tmp_path: Path) -> None:
    rows = ["[latitude: 0.0] [longitude: 0.0]", "[latitude: nan] [longitude: 7.2]", "[latitude: 45.1] [longitude: 7.2]"]
    text = "\n\n".join(f"{i}\n00:00:0{i},000 --> 00:00:0{i},900\n{row} [rel_alt: 80]" for i, row in enumerate(rows))
    assert read_srt(written(tmp_path, text)).track.dropped == {"no_fix": 1, "nan": 1}


def test_a_file_cut_off_in_the_middle_keeps_its_whole_rows(tmp_path: Path) -> None:
    assert len(read_srt(written(tmp_path, MINI_3[: MINI_3.rindex("[longitude")])).track) == 1


def test_four_digits_are_a_larger_uncertainty_than_six(tmp_path: Path) -> None:
    row = "1\n00:00:00,000 --> 00:00:01,000\n[latitude: {}] [longitude: {}] [rel_alt: 80]\n"
    coarse = read_srt(written(tmp_path, row.format("45.1234", "7.2345"))).track.position_m
    fine = read_srt(written(tmp_path, row.format("45.123456", "7.234567"))).track.position_m
    assert coarse - fine > 0.5
    assert np.isclose(fine, 2.5, atol=0.01)


def test_zoom_and_equivalent_in_tenths_are_understood(tmp_path: Path) -> None:
    row = "[focal_len : 240] [dzoom_ratio: 20000, delta:0] [latitude: 45] [longitude: 7]"
    lens = read_srt(written(tmp_path, f"1\n00:00:00,000 --> 00:00:01,000\n{row}")).lens
    assert (lens.equivalent_mm, lens.zoom) == (24.0, 2.0)


NO_TELEMETRY = (
    "1\n00:00:00,000 --> 00:00:01,000\nHello there\n",
    "[latitude: ] [longitude: ] [rel_alt: ]",
    "GPS (1.2.3",
    "\n\n\n",
    "{}",
)


@pytest.mark.parametrize("text", NO_TELEMETRY)
def test_subtitles_of_a_film_are_no_telemetry(tmp_path: Path, text: str) -> None:
    with pytest.raises(PointsError):
        read_srt(written(tmp_path, text))


def test_no_fix_at_all_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(PointsError, match="no usable position"):
        read_srt(written(tmp_path, "1\n00:00:00,000 --> 00:00:01,000\n[latitude: 0] [longitude: 0] [rel_alt: 1]\n"))


def test_the_file_beside_a_video_is_found_whatever_its_case(tmp_path: Path) -> None:
    written(tmp_path, MINI_3, "dji_0001.srt")
    written(tmp_path, MINI_3, "DJI_0002.SRT")
    assert beside(tmp_path / "DJI_0001.MP4") == tmp_path / "dji_0001.srt"
    assert beside(tmp_path / "DJI_0003.MP4") is None
    assert beside(tmp_path / "nowhere" / "DJI_0003.MP4") is None
