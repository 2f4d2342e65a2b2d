"""Processor, memory, heat and quotas, from trees and text."""

from __future__ import annotations

from pathlib import Path

import pytest

from roadedge.latency.machine_cgroup import CgroupReader, cgroup_folders, quota_cpus
from roadedge.latency.machine_linux import (
    CpuClockReader,
    CpuReader,
    MemoryReader,
    PackagePowerReader,
    ThermalReader,
    ThrottleCountReader,
    cpu_times,
    memory_mb,
    process_values,
)
from roadedge.latency.machine_reading import AbsentError, number_of
from tests.latency.trees import plant

# The first lines of /proc/stat and /proc/meminfo of a 2-core EPYC machine.
STAT = "cpu  1936679 639642 285262 1579228 8509 0 1532 4670 0 0\ncpu0 929887 287869 127844 877818 1901 0 342 2305 0 0\n"
MEMINFO = """\
MemTotal:       24684084 kB
MemFree:        20216836 kB
MemAvailable:   24021508 kB
SwapTotal:          2048 kB
SwapFree:           1024 kB
"""
STATUS = "Name:\tpython\nVmPeak:\t  900000 kB\nVmRSS:\t  524288 kB\nVmSwap:\t  1024 kB\nThreads:\t7\n"


def test_waiting_for_a_disk_is_idle_time() -> None:
    busy, total, stolen = cpu_times(STAT)
    assert stolen == 4670
    assert total == 1936679 + 639642 + 285262 + 1579228 + 8509 + 1532 + 4670
    assert total - busy == 1579228 + 8509


def test_guest_time_is_not_counted_twice() -> None:
    assert cpu_times("cpu 100 0 0 100 0 0 0 0 90 0") == (100, 200, 0)


@pytest.mark.parametrize("text", ["", "cpu0 1 2 3 4\n", "cpu 1 2\n"])
def test_text_that_is_no_proc_stat_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="no line 'cpu user"):
        cpu_times(text)


def test_load_is_the_share_of_ticks_between_two_looks(tmp_path: Path) -> None:
    plant(tmp_path, {"proc/stat": "cpu 100 0 0 100 0 0 0 0 0 0"})
    reader = CpuReader(tmp_path)
    assert reader.read(0.0).values == {}
    plant(tmp_path, {"proc/stat": "cpu 130 0 0 170 0 0 0 0 0 0"})
    assert reader.read(1.0).values == {"cpu_load": 0.3, "cpu_stolen": 0.0}
    assert reader.read(2.0).values == {}  # no tick since


def test_what_the_host_of_a_virtual_machine_stole_is_shown(tmp_path: Path) -> None:
    reader = CpuReader(plant(tmp_path, {"proc/stat": "cpu 100 0 0 100 0 0 0 0 0 0"}))
    reader.read(0.0)
    plant(tmp_path, {"proc/stat": "cpu 120 0 0 140 0 0 0 40 0 0"})
    assert reader.read(1.0).values == {"cpu_load": 0.6, "cpu_stolen": 0.4}


def test_looks_that_follow_at_once_make_no_rate(tmp_path: Path) -> None:
    plant(tmp_path, {"proc/stat": "cpu 100 0 0 100 0 0 0 0 0 0"})
    reader = CpuReader(tmp_path)
    reader.read(0.0)
    plant(tmp_path, {"proc/stat": "cpu 101 0 0 100 0 0 0 0 0 0"})
    assert reader.read(0.01).values == {}
    plant(tmp_path, {"proc/stat": "cpu 150 0 0 150 0 0 0 0 0 0"})
    assert reader.read(1.0).values == {"cpu_load": 0.5, "cpu_stolen": 0.0}  # of the whole second


def test_memory_is_in_megabytes() -> None:
    assert memory_mb(MEMINFO) == {
        "memory_total_mb": 24684084 / 1024,
        "memory_available_mb": 24021508 / 1024,
        "swap_total_mb": 2.0,
        "swap_used_mb": 1.0,
    }
    assert process_values(STATUS) == {"rss_mb": 512.0, "process_swap_mb": 1.0, "threads": 7.0}


def test_memory_without_its_lines_is_said() -> None:
    with pytest.raises(ValueError, match="no MemAvailable"):
        memory_mb("MemTotal: 5 kB\n")
    with pytest.raises(ValueError, match="no VmRSS"):
        process_values("Name: x\n")


def test_the_process_is_measured_in_processors(tmp_path: Path) -> None:
    reader = MemoryReader(plant(tmp_path, {"proc/meminfo": MEMINFO.strip(), "proc/self/status": STATUS.strip()}))
    assert "process_cpu" not in reader.read(0.0).values
    sum(i * i for i in range(200_000))
    assert 0 < reader.read(1.0).values["process_cpu"] < 1


def test_clocks_are_a_mean_over_domains_that_are_on(tmp_path: Path) -> None:
    cpu = "sys/devices/system/cpu/cpufreq"
    plant(tmp_path, {f"{cpu}/policy0/scaling_cur_freq": 2000000, f"{cpu}/policy1/scaling_cur_freq": 1000000})
    plant(tmp_path, {f"{cpu}/policy0/scaling_governor": "schedutil", f"{cpu}/policy2/scaling_cur_freq": "<unknown>"})
    reading = CpuClockReader(tmp_path).read(0.0)
    assert reading.values == {"cpu_mhz": 1500.0, "cpu_mhz_min": 1000.0}


def test_a_machine_without_a_part_says_so(tmp_path: Path) -> None:
    for reader in (CpuReader, MemoryReader, CpuClockReader, ThermalReader, ThrottleCountReader, PackagePowerReader):
        with pytest.raises(AbsentError, match="no "):
            reader(tmp_path)


def test_temperatures_of_zones_and_of_amd_processors(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "sys/class/thermal/thermal_zone0/type": "acpitz",
            "sys/class/thermal/thermal_zone0/temp": 27800,
            "sys/class/thermal/thermal_zone1/type": "iwlwifi_1",
            "sys/class/hwmon/hwmon4/name": "k10temp",
            "sys/class/hwmon/hwmon4/temp1_input": 71250,
        },
    )
    reading = ThermalReader(tmp_path).read(0.0)
    assert reading.values == {"temp_acpitz_c": 27.8, "temp_k10temp_c": 71.25, "temp_c": 71.25}
    assert reading.failed == {"temperature iwlwifi_1": "No such file or directory"}


def test_a_processor_that_passively_cools_itself_throttles_and_a_fan_does_not(tmp_path: Path) -> None:
    cooler = "sys/class/thermal/cooling_device"
    plant(tmp_path, {f"{cooler}0/type": "Processor", f"{cooler}0/cur_state": 0})
    plant(tmp_path, {f"{cooler}1/type": "Fan", f"{cooler}1/cur_state": 1})
    plant(tmp_path, {f"{cooler}2/type": "intel_powerclamp", f"{cooler}2/cur_state": -1})
    reader = ThermalReader(tmp_path)
    assert reader.read(0.0).throttle == ()
    assert reader.sees_throttle
    plant(tmp_path, {f"{cooler}0/cur_state": 2})
    assert reader.read(1.0).throttle == ("Processor is slowing down",)


def test_throttle_counters_count_from_the_first_look(tmp_path: Path) -> None:
    counts = "sys/devices/system/cpu/cpu{}/thermal_throttle/{}_throttle_count"
    plant(tmp_path, {counts.format(0, "core"): 7, counts.format(1, "core"): 7, counts.format(0, "package"): 9})
    reader = ThrottleCountReader(tmp_path)
    assert reader.read(0.0).throttle == ()  # of earlier days
    plant(tmp_path, {counts.format(1, "core"): 8})
    assert reader.read(1.0).throttle == ("processor core too hot",)
    assert reader.read(2.0).throttle == ()


def test_counters_that_cannot_be_read_see_nothing(tmp_path: Path) -> None:
    plant(tmp_path, {"sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": ""})
    plant(tmp_path, {"sys/class/thermal/cooling_device0/type": "cpufreq-cpu0"})
    for reader in (ThrottleCountReader(tmp_path), ThermalReader(tmp_path)):
        assert list(reader.read(0.0).failed)
        assert not reader.sees_throttle


def test_package_power_is_energy_over_time_through_a_wrap(tmp_path: Path) -> None:
    rapl = "sys/class/powercap"
    for zone, name, joules in (
        ("intel-rapl:0", "package-0", 10),
        ("intel-rapl:0:0", "core", 5),
        ("intel-rapl:1", "psys", 9),
    ):
        plant(tmp_path, {f"{rapl}/{zone}/name": name, f"{rapl}/{zone}/energy_uj": joules * 1_000_000})
    plant(tmp_path, {f"{rapl}/intel-rapl:0/max_energy_range_uj": 100_000_000})
    reader = PackagePowerReader(tmp_path)
    assert reader.read(0.0).values == {}
    plant(tmp_path, {f"{rapl}/intel-rapl:0/energy_uj": 40_000_000})
    assert reader.read(2.0).values == {"cpu_power_w": 15.0}
    plant(tmp_path, {f"{rapl}/intel-rapl:0/energy_uj": 2_000_000})
    assert reader.read(3.0).values == {"cpu_power_w": 62.0}


@pytest.mark.parametrize(
    ("membership", "folder"),
    [
        ("0::/docker/abc", "sys/fs/cgroup/docker/abc"),
        ("0::/", "sys/fs/cgroup"),
        ("4:cpu,cpuacct:/docker/abc", "sys/fs/cgroup/cpu,cpuacct/docker/abc"),
        ("1:cpu:/gone/from/inside", "sys/fs/cgroup/cpu"),  # a container sees its own folder as the top
        ("0::/../elsewhere", "sys/fs/cgroup"),
    ],
)
def test_the_group_that_bounds_this_process_is_found(tmp_path: Path, membership: str, folder: str) -> None:
    plant(tmp_path, {f"{folder}/cpu.stat": "nr_periods 10\nnr_throttled 3\nthrottled_usec 5"})
    plant(tmp_path, {"proc/self/cgroup": f"9:name=systemd:/\n8:cpuset:/x\n{membership}"})
    assert cgroup_folders(tmp_path, (tmp_path / "proc/self/cgroup").read_text()) == [tmp_path / folder]


def test_a_quota_of_a_group_above_holds_too_and_its_throttle_is_a_throttle(tmp_path: Path) -> None:
    top = "sys/fs/cgroup/pod"
    plant(tmp_path, {"proc/self/cgroup": "0::/pod/one", f"{top}/cpu.max": "150000 100000"})
    plant(tmp_path, {f"{top}/cpu.stat": "nr_throttled 0", f"{top}/one/cpu.stat": "nr_throttled 5"})
    plant(tmp_path, {f"{top}/one/cpu.max": "max 100000"})
    reader = CgroupReader(tmp_path)
    first = reader.read(0.0)
    assert (first.values, first.throttle) == ({"cpu_quota": 1.5}, ())
    plant(tmp_path, {f"{top}/cpu.stat": "nr_throttled 2"})
    assert reader.read(1.0).throttle == ("container's processor quota",)


def test_version_1_says_its_quota_in_two_files(tmp_path: Path) -> None:
    assert quota_cpus(plant(tmp_path / "a", {"cpu.cfs_quota_us": 50000, "cpu.cfs_period_us": 100000})) == 0.5
    assert quota_cpus(plant(tmp_path / "b", {"cpu.cfs_quota_us": -1, "cpu.cfs_period_us": 100000})) is None
    assert quota_cpus(tmp_path / "c") is None


@pytest.mark.parametrize("content", ["", "   ", "nan", "inf", "four"])
def test_a_file_without_a_number_is_an_error(tmp_path: Path, content: str) -> None:
    with pytest.raises(ValueError, match=r"four|no number"):
        number_of(plant(tmp_path, {"temp": content}) / "temp")
