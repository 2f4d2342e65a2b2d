"""Cameras that this machine's kernel knows (Video4Linux), by path and by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from roadedge.errors import SourceError

SYSFS = Path("/sys/class/video4linux")
DEV = Path("/dev")


@dataclass(frozen=True, slots=True)
class Device:
    """A camera: its path (/dev/video0) and the name that its driver gives it."""

    path: str
    name: str


def list_devices(sysfs: Path = SYSFS, dev: Path = DEV) -> list[Device]:
    """The cameras of this machine, by path.

    One camera often has several nodes, of which all but the first carry metadata: only the first is listed.
    """
    first: dict[Path, tuple[int, Device]] = {}
    for node in sorted(sysfs.glob("video*"), key=lambda node: (len(node.name), node.name)):
        index = int(_read(node / "index") or 0)
        device = Device(str(dev / node.name), _read(node / "name") or node.name)
        hardware = (node / "device").resolve() if (node / "device").exists() else node
        if hardware not in first or index < first[hardware][0]:
            first[hardware] = index, device
    return [device for _, device in first.values()]


def find_device(wanted: str, sysfs: Path = SYSFS, dev: Path = DEV) -> str:
    """Path of the camera with this path or name.

    Raises:
        SourceError: there is none, or two have that name.
    """
    devices = list_devices(sysfs, dev)
    if wanted.startswith("/"):
        if Path(wanted).exists():
            return wanted
        raise SourceError(f"there is no camera {wanted}; {_present(devices)}")
    paths = [device.path for device in devices if device.name == wanted]
    if not paths:
        raise SourceError(f"no camera is called {wanted!r}; {_present(devices)}")
    if len(paths) > 1:
        raise SourceError(
            f"{len(paths)} cameras are called {wanted!r}: {', '.join(paths)}; say which by its path, as in "
            f"v4l2://{paths[0]}"
        )
    return paths[0]


def _present(devices: list[Device]) -> str:
    if not devices:
        return "the kernel lists no camera (is it plugged in, and given to the container with --device?)"
    return "there is " + ", ".join(f"{device.path} ({device.name})" for device in devices)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
