"""Folders as /proc and /sys show them, built for a test."""

from __future__ import annotations

from pathlib import Path


def plant(root: Path, files: dict[str, str | float]) -> Path:
    """Write files under `root`, each ended by a line break as the kernel does it; `root` again."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


def orin_nano(root: Path) -> Path:
    """An Orin Nano with JetPack 6: values as such a board shows them, at rest, its clocks following the load."""
    cpu = "sys/devices/system/cpu/cpufreq"
    files: dict[str, str | float] = {
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64",
        "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=1 NAME=25W >\n"
        "< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n# < POWER_MODEL ID=9 NAME=GONE >",
        "var/lib/nvpmodel/status": "pmode:0001",
        "sys/class/hwmon/hwmon0/name": "pwmfan",
        "sys/class/hwmon/hwmon1/name": "ina3221",
        "sys/class/hwmon/hwmon1/in1_label": "VDD_IN",
        "sys/class/hwmon/hwmon1/in1_input": 4984,
        "sys/class/hwmon/hwmon1/curr1_input": 1856,
        "sys/class/hwmon/hwmon1/curr1_crit_alarm": 0,
        "sys/class/hwmon/hwmon1/in2_label": "VDD_CPU_GPU_CV",
        "sys/class/hwmon/hwmon1/in2_input": 4984,
        "sys/class/hwmon/hwmon1/curr2_input": 400,
        "sys/class/hwmon/hwmon1/in7_label": "sum of shunt voltages",
        "sys/class/hwmon/hwmon1/in7_input": 1200,
        "sys/class/hwmon/hwmon1/curr7_input": 5,
        "sys/class/hwmon/hwmon1/curr4_input": 2300,
        "sys/class/hwmon/hwmon3/name": "soctherm_oc",
        "sys/class/hwmon/hwmon3/oc1_event_cnt": 1,
        "sys/class/hwmon/hwmon3/oc2_event_cnt": 0,
        "sys/class/hwmon/hwmon3/oc3_event_cnt": 2,
        "sys/class/hwmon/hwmon3/oc1_throt_en": 1,
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
        "sys/class/thermal/thermal_zone0/temp": 63625,
        "sys/class/thermal/thermal_zone2/type": "cv0-thermal",
        "sys/class/thermal/thermal_zone2/temp": -256000,
        "sys/class/thermal/thermal_zone8/type": "tj-thermal",
        "sys/class/thermal/thermal_zone8/temp": 63781,
        "sys/class/thermal/cooling_device0/type": "pwm-fan",
        "sys/class/thermal/cooling_device0/cur_state": 3,
        "sys/class/thermal/cooling_device2/type": "gpu-throttle-alert",
        "sys/class/thermal/cooling_device2/cur_state": 0,
        "sys/class/thermal/cooling_device10/type": "cpufreq-cpu0",
        "sys/class/thermal/cooling_device10/cur_state": 0,
        "sys/class/thermal/cooling_device11/type": "hot-surface-alert",
        "sys/class/thermal/cooling_device11/cur_state": 1,
        "sys/class/devfreq/17000000.gpu/cur_freq": 624750000,
        "sys/class/devfreq/17000000.gpu/min_freq": 306000000,
        "sys/class/devfreq/17000000.gpu/max_freq": 1020000000,
        "sys/class/devfreq/17000000.gpu/device/load": 432,
        "sys/class/devfreq/17000000.gpu/device/of_node/name": "gpu\0",
        "sys/class/devfreq/154c0000.nvenc/cur_freq": 1,
    }
    for policy, mhz in (("policy0", 1728), ("policy4", 1344)):
        files |= {
            f"{cpu}/{policy}/scaling_cur_freq": mhz * 1000,
            f"{cpu}/{policy}/scaling_min_freq": 729600,
            f"{cpu}/{policy}/scaling_max_freq": 1728000,
            f"{cpu}/{policy}/scaling_governor": "schedutil",
        }
    return plant(root, files)
