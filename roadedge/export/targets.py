"""Export targets: what a device is and wants, one TOML file each in `export/`, read into a frozen dataclass."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadedge.errors import RecipeError
from roadedge.resources import recipe_names, recipe_path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

BOARD_FILE = Path("/proc/device-tree/model")  # where a Jetson says its name
RUNTIMES = ("tensorrt", "tensorrt-rtx", "cpu")
PRECISIONS = ("fp32", "fp16", "int8")


@dataclass(frozen=True, slots=True)
class Target:
    """A kind of device. `precision`, `size` and `batch` are what is recommended for it, not what it is held to.

    `workspace_mib` of 0 stands for a share of what is free when the build begins. `clocks` are commands for a person:
    they are printed and never run.
    """

    name: str
    device: str  # in words
    runtime: str  # one of RUNTIMES
    compute_capabilities: tuple[str, ...]  # "8.7"
    precision: str = "fp16"
    size: tuple[int, int] = (512, 512)  # (H, W) in pixels
    batch: int = 1
    workspace_mib: int = 0
    shared_memory: bool = False  # the GPU's memory is the processor's
    dla_cores: int = 0
    tensorrt: tuple[str, ...] = ()  # lines that run on it, "10.3"
    jetpack: tuple[str, ...] = ()
    clocks: tuple[str, ...] = ()
    board: str = ""  # part of a Jetson's name
    note: str = ""

    def __post_init__(self) -> None:
        if self.runtime not in RUNTIMES or self.precision not in PRECISIONS:
            raise RecipeError(
                f"the target {self.name} has runtime {self.runtime!r} and precision {self.precision!r}; "
                f"expected one of {RUNTIMES} and one of {PRECISIONS}"
            )
        if min(*self.size, self.batch) < 1 or self.workspace_mib < 0 or self.dla_cores < 0:
            raise RecipeError(f"the target {self.name} has a size, batch, workspace_mib or dla_cores out of range")

    @property
    def builds(self) -> bool:
        """Whether there is an engine to build for it."""
        return self.runtime != "cpu"

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return dataclasses.asdict(self)


def read_target(name: str | Path) -> Target:
    """The target of a name in `export/`, or of a TOML file.

    Raises:
        UnknownNameError: neither; the message lists the names.
        RecipeError: the file is not TOML, or has an unknown key or a value that does not fit.
    """
    path = recipe_path(name, "export")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"cannot read the target {path}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path} is not TOML: {error}") from error
    return _target(path, values)


def target_names() -> list[str]:
    """Names of the targets that the project carries."""
    return recipe_names("export")


def target_here(runtime: str | None, board: str | None = None) -> Target | None:
    """The target that this machine is: by the name of a Jetson's board, else by the TensorRT that is installed.

    Args:
        runtime: `tensorrt`, `tensorrt-rtx`, or None where neither is installed.
        board: what the device tree says; default read from this machine.

    Returns:
        None where no TensorRT is installed.
    """
    name = _board() if board is None else board
    if runtime == "tensorrt-rtx":
        return read_target("rtx")
    if runtime is None:
        return None
    known = (read_target(one) for one in target_names())
    return next((target for target in known if target.board and target.board in name), read_target("desktop-rtx"))


def _board() -> str:
    try:
        return BOARD_FILE.read_text(errors="replace")
    except OSError:
        return ""


def _target(path: Path, values: dict[str, Any]) -> Target:
    fields = {f.name: f for f in dataclasses.fields(Target)}
    unknown = sorted(set(values) - set(fields))
    lacking = sorted({"device", "runtime", "compute_capabilities"} - set(values))
    if unknown or lacking:
        what = f"the unknown keys {unknown}" if unknown else f"no {' and no '.join(lacking)}"
        raise RecipeError(f"{path} has {what}; a target has {sorted(set(fields) - {'name'})}")
    plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    for key, value in plain.items():
        kind = str(fields[key].type).split("[")[0]
        inner = "int" if key == "size" else "str"
        fits = type(value).__name__ == kind and (kind != "tuple" or all(type(v).__name__ == inner for v in value))
        fits = fits and (key != "size" or len(value) == 2)
        if not fits:
            raise RecipeError(f"{path} has {key} = {values[key]!r}; expected {fields[key].type}")
    return Target(name=path.stem, **plain)
