"""Every name that the code uses of TensorRT is in the Python API of 10.3, 10.16 and 11.4, and in that of the RTX kind.

The listings under tensorrt_api/ are facts (class → attribute names) read from the published binding wheels, which
import against empty libraries; "" lists the module itself.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2] / "roadedge"
LISTINGS = {path.stem: path for path in sorted((Path(__file__).parent / "tensorrt_api").glob("*.json"))}
# What the variables of these files hold; "" is the module.
BUILDING = {
    "trt": "", "builder": "Builder", "network": "INetworkDefinition", "parser": "OnnxParser",
    "config": "IBuilderConfig", "profile": "IOptimizationProfile", "cache": "ITimingCache", "layer": "ILayer",
    "tensor": "ITensor", "error": "ParserError",
}  # fmt: skip
RUNNING = {
    "module": "", "self._runtime": "Runtime", "self._engine": "ICudaEngine", "engine": "ICudaEngine",
    "self._context": "IExecutionContext",
}  # fmt: skip
FILES = {"export/plan.py": BUILDING, "runners/tensorrt.py": RUNNING}
OF_8_6 = {("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH"), ("BuilderFlag", "FP16"), ("BuilderFlag", "INT8")}
OF_RTX = {
    ("", "ComputeCapability"), ("ComputeCapability", "__members__"), ("IBuilderConfig", "num_compute_capabilities"),
    ("IBuilderConfig", "set_compute_capability"),
}  # fmt: skip
OURS = {"engine.facts", "engine.path"}  # an EngineFile of this package


@dataclass(frozen=True)
class Use:
    owner: str  # class, or "" for the module
    name: str
    function: str  # in which it stands


def uses(file: str) -> set[Use]:
    """What a file uses of TensorRT: `trt.Name`, `trt.Class.NAME`, and attributes of the variables listed above."""
    tree = ast.parse((ROOT / file).read_text())
    return {use for node in tree.body for use in _uses_in(node, FILES[file])}


def _uses_in(top: ast.stmt, holds: dict[str, str]) -> Iterator[Use]:
    function = getattr(top, "name", "")
    for node in ast.walk(top):
        if not isinstance(node, ast.Attribute) or node.attr == "__version__" or ast.unparse(node) in OURS:
            continue
        owner = ast.unparse(node.value)
        if owner in holds:
            yield Use(holds[owner], node.attr, function)
        module, _, inner = owner.partition(".")
        if holds.get(module) == "" and inner and "." not in inner:
            yield Use(inner, node.attr, function)


def listing(version: str) -> dict[str, list[str]]:
    content: dict[str, Any] = json.loads(LISTINGS[version].read_text())
    classes: dict[str, list[str]] = content["classes"]
    return classes


def lacking(found: set[Use], version: str) -> set[tuple[str, str]]:
    classes = listing(version)
    special = {"__init__", "__members__"}  # of every class, of every enumeration
    return {
        (use.owner, use.name)
        for use in found
        if use.name not in classes.get(use.owner, []) and not (use.owner in classes and use.name in special)
    }


def test_the_listings_are_of_the_releases_that_are_supported() -> None:
    assert [json.loads(path.read_text())["version"] for path in LISTINGS.values()] == [
        "10.16.1.11", "10.3.0", "11.4.0.106", "1.7.1.116",
    ]  # fmt: skip


def test_the_listings_tell_the_releases_apart() -> None:
    old, new = listing("tensorrt-10.3.0"), listing("tensorrt-11.4.0.106")
    assert "FP16" in old["BuilderFlag"]
    assert "FP16" not in new["BuilderFlag"]
    assert "IInt8Calibrator" in old[""]
    assert "IInt8Calibrator" not in new[""]


@pytest.mark.parametrize(("file", "least"), [("export/plan.py", 45), ("runners/tensorrt.py", 12)])
def test_the_uses_are_found(file: str, least: int) -> None:
    assert len(uses(file)) >= least


@pytest.mark.parametrize("version", [name for name in LISTINGS if name.startswith("tensorrt-")])
@pytest.mark.parametrize("file", FILES)
def test_every_name_is_in_tensorrt_but_for_the_branches_of_8_6_and_rtx(file: str, version: str) -> None:
    assert lacking(uses(file), version) - OF_8_6 - OF_RTX == set()


@pytest.mark.parametrize("file", FILES)
def test_every_name_is_in_tensorrt_for_rtx_but_for_the_branch_of_8_6(file: str) -> None:
    assert lacking(uses(file), "tensorrt_rtx-1.7.1.116") - OF_8_6 == set()


def test_flags_of_8_6_and_names_of_rtx_stand_in_their_branches_alone() -> None:
    found = uses("export/plan.py")
    assert {use.function for use in found if (use.owner, use.name) in OF_8_6} == {"_network_flags", "_weakly_typed"}
    assert {use.function for use in found if (use.owner, use.name) in OF_RTX} == {"_name_capabilities"}


def test_nothing_else_of_the_package_names_what_11_removed() -> None:
    gone = (
        "BuilderFlag.FP16",
        "BuilderFlag.INT8",
        "EXPLICIT_BATCH",
        "CalibrationAlgoType",
        "Calibrator",
        "int8_calibrator",
    )
    for path in ROOT.rglob("*.py"):
        text = path.read_text()
        found = [name for name in gone if name in text]
        assert not found or path.name == "plan.py", f"{path} names {found}"


def test_a_name_that_is_in_no_listing_is_noticed() -> None:
    assert lacking({Use("IBuilderConfig", "max_workspace_size", "")}, "tensorrt-11.4.0.106") == {
        ("IBuilderConfig", "max_workspace_size")
    }
