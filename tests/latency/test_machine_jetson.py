"""Jetson: power mode, rails, clocks, over-current events, and the text of its programs as recorded on real boards."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest

from roadedge.latency.machine import MachineWatch
from roadedge.latency.machine_clocks import clock_state, fastest_mode, lock_commands
from roadedge.latency.machine_jetson import (
    JetsonClockReader,
    OverCurrentReader,
    PowerModeReader,
    RailReader,
    module_power_w,
    power_mode,
    power_mode_of_files,
    shown_clocks_locked,
)
from roadedge.latency.machine_linux import ThermalReader
from roadedge.latency.machine_reading import AbsentError
from roadedge.latency.tegrastats import TegrastatsReader, parse_tegrastats
from tests.latency.hand_clock import HandClock
from tests.latency.trees import orin_nano, plant

SAMPLES = Path(__file__).parent / "samples"


def recorded(name: str) -> str:
    return (SAMPLES / f"{name}.txt").read_text()


def test_the_power_mode_by_program_and_by_files() -> None:
    assert power_mode("NV Power Mode: MAXN_SUPER\n2\n") == "MAXN_SUPER (2)"
    assert power_mode("NVPM WARN: fan mode is not set!\nNV Power Mode: MODE_50W\n") == "MODE_50W"
    assert power_mode("NVPM ERROR: Error opening /etc/nvpmodel.conf") is None
    conf = "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n"
    assert power_mode_of_files("pmode:0002\n", conf) == "MAXN_SUPER (2)"
    assert power_mode_of_files("pmode:0007 fmode:quiet\n", conf) == "mode 7"
    assert power_mode_of_files("", conf) is None


def test_the_mode_without_caps_has_another_number_on_each_module() -> None:
    assert fastest_mode("< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >") == 2
    assert fastest_mode("< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=10W >") == 0
    assert fastest_mode("< POWER_MODEL ID=0 NAME=15W >\n# < POWER_MODEL ID=2 NAME=MAXN >") is None


def test_a_mode_that_changes_during_the_run_is_seen(tmp_path: Path) -> None:
    reader = PowerModeReader(orin_nano(tmp_path))
    assert reader.read(0.0).facts == {"power_mode": "25W (1)"}
    plant(tmp_path, {"var/lib/nvpmodel/status": "pmode:0002"})
    assert reader.read(1.0).facts == {"power_mode": "MAXN_SUPER (2)"}
    (tmp_path / "var/lib/nvpmodel/status").unlink()
    assert "run nvpmodel -q" in reader.read(2.0).failed["nvpmodel"]


def test_rails_are_volts_times_amperes_and_sums_of_shunts_are_none(tmp_path: Path) -> None:
    reading = RailReader(orin_nano(tmp_path)).read(0.0)
    assert reading.values == pytest.approx(
        {"rail_vdd_in_w": 4.984 * 1.856, "rail_vdd_cpu_gpu_cv_w": 4.984 * 0.4, "module_power_w": 4.984 * 1.856}
    )
    assert reading.facts == {"module_power": "VDD_IN"}
    assert reading.throttle == ()


def test_a_critical_current_is_throttling(tmp_path: Path) -> None:
    plant(orin_nano(tmp_path), {"sys/class/hwmon/hwmon1/curr1_crit_alarm": 1})
    assert RailReader(tmp_path).read(0.0).throttle == ("VDD_IN above its critical current",)


def test_an_agx_has_no_input_rail_and_its_memory_rail_hangs_behind_another() -> None:
    rails = {"VDD_GPU_SOC": 9.8, "VDD_CPU_CV": 4.9, "VIN_SYS_5V0": 8.0, "VDDQ_VDD2_1V8AO": 0.9}
    power = module_power_w(rails)
    assert power is not None
    assert power[0] == pytest.approx(22.7)
    assert power[1] == "VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0"
    assert module_power_w(rails, complete=False) is None  # a sum with a rail missing would be too small
    assert module_power_w({}) is None


def test_a_rail_that_cannot_be_read_is_listed_and_the_others_are_read(tmp_path: Path) -> None:
    (orin_nano(tmp_path) / "sys/class/hwmon/hwmon1/curr2_input").unlink()
    with_missing = RailReader(tmp_path)  # the channel is gone: no rail
    assert "rail_vdd_cpu_gpu_cv_w" not in with_missing.read(0.0).values
    (tmp_path / "sys/class/hwmon/hwmon1/in1_input").write_text("")
    assert with_missing.read(1.0).failed == {"rail VDD_IN": "in1_input holds '', no number"}


def test_gpu_clock_and_load_and_a_memory_clock_that_is_roots(tmp_path: Path) -> None:
    reader = JetsonClockReader(orin_nano(tmp_path))
    reading = reader.read(0.0)
    assert reading.values == {"gpu_mhz": 624.75, "gpu_util": 0.432}
    assert "root alone" in reading.failed["memory clock"]
    plant(tmp_path, {"sys/kernel/debug/bpmp/debug/clk/emc/rate": 3199000000})
    assert reader.read(1.0).values["emc_mhz"] == 3199.0


def test_over_current_events_count_from_the_first_look(tmp_path: Path) -> None:
    reader = OverCurrentReader(orin_nano(tmp_path))
    first = reader.read(0.0)
    assert first.values == {"oc1_events": 1, "oc2_events": 0, "oc3_events": 2}
    assert first.throttle == ()  # since boot, before this run
    plant(tmp_path, {"sys/class/hwmon/hwmon3/oc3_event_cnt": 5, "sys/class/hwmon/hwmon3/oc1_event_cnt": 2})
    assert reader.read(1.0).throttle == ("under-voltage event", "instantaneous over-current event")
    assert reader.read(2.0).throttle == ()


def test_a_zone_that_is_off_is_listed_and_alerts_are_throttling(tmp_path: Path) -> None:
    reader = ThermalReader(orin_nano(tmp_path))
    reading = reader.read(0.0)
    assert reading.values == {"temp_cpu_thermal_c": 63.625, "temp_tj_thermal_c": 63.781, "temp_c": 63.781}
    assert reading.failed == {"temperature cv0-thermal": "-256 °C is no temperature of a part that is on"}
    assert reading.throttle == ()  # neither the fan nor the warm surface slows anything down
    plant(tmp_path, {"sys/class/thermal/cooling_device2/cur_state": 1})
    assert reader.read(1.0).throttle == ("gpu-throttle-alert is slowing down",)


def test_a_whole_board_in_one_watch(tmp_path: Path) -> None:
    watch = MachineWatch(HandClock(), root=orin_nano(tmp_path))
    one = watch.sample()
    assert one.values["power_w"] == pytest.approx(9.25, abs=0.01)
    assert one.values["cpu_mhz"] == 1536
    assert watch.throttled() == ()
    told = watch.to_dict()
    assert told["facts"]["power_mode"] == "25W (1)"
    assert told["power_from"] == "the module's input"
    assert told["clocks_locked"] is False
    assert told["lock_commands"] == ["sudo nvpmodel -m 2", "sudo jetson_clocks"]
    assert "cpu" in told["absent"]


def lock(root: Path) -> None:
    for policy in ("policy0", "policy4"):
        plant(root, {f"sys/devices/system/cpu/cpufreq/{policy}/scaling_min_freq": 1728000})
    plant(root, {"sys/class/devfreq/17000000.gpu/min_freq": 1020000000})


def test_clocks_are_locked_when_smallest_is_largest_for_processors_and_gpu(tmp_path: Path) -> None:
    assert clock_state(orin_nano(tmp_path)).locked is False
    lock(tmp_path)
    state = clock_state(tmp_path)
    assert state.locked is True
    assert "25W (1)" in state.told
    plant(tmp_path, {"sys/class/devfreq/17000000.gpu/max_freq": 1300000000})
    assert clock_state(tmp_path).locked is False


def test_a_container_on_a_jetson_does_not_know_whether_clocks_are_locked(tmp_path: Path) -> None:
    plant(tmp_path, {"proc/device-tree/compatible": "nvidia,p3767-0005\0nvidia,tegra234\0"})
    state = clock_state(tmp_path)
    assert state.locked is None
    assert state.commands == ("sudo jetson_clocks",)


def test_a_desktop_is_told_its_own_commands(tmp_path: Path) -> None:
    assert lock_commands(tmp_path) == ()
    cpu = "sys/devices/system/cpu/cpufreq/policy0"
    plant(
        tmp_path, {f"{cpu}/scaling_governor": "powersave", f"{cpu}/scaling_min_freq": 1, f"{cpu}/scaling_max_freq": 2}
    )
    assert clock_state(tmp_path).locked is False
    plant(tmp_path, {f"{cpu}/scaling_governor": "performance"})
    assert clock_state(tmp_path).locked is True
    plant(tmp_path, {"proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64  580.65.06  Sun"})
    state = clock_state(tmp_path)
    assert state.locked is None  # the driver does not say
    assert state.commands[0] == "sudo cpupower frequency-set -g performance"
    assert any("nvidia-smi -lgc" in command for command in state.commands)


def test_what_jetson_clocks_shows() -> None:
    following = recorded("jetson_clocks_following")
    assert shown_clocks_locked(following) is False
    locked = following.replace("MinFreq=729600", "MinFreq=1510400").replace("MinFreq=306000000", "MinFreq=624750000")
    assert shown_clocks_locked(locked) is False  # the memory still follows
    assert shown_clocks_locked(locked.replace("FreqOverride=0", "FreqOverride=1")) is True
    offline = locked.replace("cpu5:  Online=1 Governor=schedutil MinFreq=1510400", "cpu5:  Online=0 X MinFreq=5")
    assert shown_clocks_locked(offline.replace("FreqOverride=0", "FreqOverride=1")) is True
    assert shown_clocks_locked("Error: Run this script(/usr/bin/jetson_clocks) as a root user\n") is None


def test_tegrastats_of_jetpack_5() -> None:
    values = parse_tegrastats(recorded("tegrastats_jetpack5_agx_orin"))
    assert values["emc_mhz"] == 2133
    assert values["gpu_util"] == 0
    assert values["gpu_mhz"] == 0
    assert values["cpu_mhz"] == 729
    assert values["temp_cpu_c"] == 44.562
    assert values["temp_c"] == 44.562
    assert "temp_gpu_c" not in values  # -256: the GPU is off
    assert values["rail_vdd_gpu_soc_w"] == 2.34
    assert values["rail_vddq_vdd2_1v8ao_w"] == 0.301
    assert "rail_nc_w" not in values
    assert values["memory_available_mb"] == 62801 - 4321
    assert values["swap_used_mb"] == 19


def test_tegrastats_of_jetpack_6_under_load() -> None:
    values = parse_tegrastats(recorded("tegrastats_jetpack6_orin_nano"))
    assert values["gpu_util"] == 0.84
    assert values["gpu_mhz"] == 713
    assert (values["emc_util"], values["emc_mhz"]) == (0.18, 3199)
    assert values["cpu_load"] == pytest.approx((0.97 + 0.95 + 0.95 + 0.91 + 0.88 + 0.93) / 6)
    assert values["cpu_mhz_min"] == 247
    assert values["rail_vdd_in_w"] == 17.946  # now, not the mean since it began
    assert values["temp_tj_c"] == 65.562


def test_tegrastats_without_root_shows_less() -> None:
    values = parse_tegrastats(recorded("tegrastats_jetpack6_orin_nano_user"))
    assert "emc_util" not in values
    assert "gpu_mhz" not in values
    assert values["rail_vdd_in_w"] == 4.556


def test_tegrastats_of_jetpack_4_with_processors_off() -> None:
    values = parse_tegrastats(recorded("tegrastats_jetpack4_tx2"))
    assert values["cpu_load"] == pytest.approx((0.11 + 0.05 + 0.96 + 0.04) / 4)
    assert values["temp_c"] == 50.5


@pytest.mark.parametrize("line", ["", "tegrastats: not found", "CPU [off,off]"])
def test_a_line_of_something_else_is_said(line: str) -> None:
    with pytest.raises(ValueError, match="no line of tegrastats"):
        parse_tegrastats(line)


def program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_tegrastats_is_run_and_stopped(tmp_path: Path) -> None:
    line = recorded("tegrastats_jetpack6_orin_nano").strip()
    reader = TegrastatsReader(
        tmp_path, program(tmp_path / "tegrastats", f"while true; do echo '{line}'; sleep 0.1; done")
    )
    deadline = time.monotonic() + 5
    while not (reading := reader.read(0.0)).values and time.monotonic() < deadline:
        time.sleep(0.02)
    reader.close()
    assert reading.values["gpu_util"] == 0.84
    assert "ended" in reader.read(1.0).failed["tegrastats"]


def test_a_tegrastats_that_ends_is_said_and_one_that_is_absent_is_absent(tmp_path: Path) -> None:
    reader = TegrastatsReader(tmp_path, program(tmp_path / "tegrastats", "exit 3"))
    deadline = time.monotonic() + 5
    while not (reading := reader.read(0.0)).failed and time.monotonic() < deadline:
        time.sleep(0.02)
    reader.close()
    assert reading.failed["tegrastats"].startswith("it ended with")
    with pytest.raises(AbsentError, match="does not start"):
        TegrastatsReader(tmp_path, str(tmp_path / "nothing"))
    with pytest.raises(AbsentError, match="not a Jetson"):
        TegrastatsReader(tmp_path)
