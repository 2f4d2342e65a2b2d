"""The house plan, held: imports go one way, `import roadedge` is light, names say what they are."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "roadedge"
FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))

# A room, or one file of it, may import from its own tier and from those above it in this list (docs/adr/0001).
TIERS = (
    {"errors", "atomic", "sample", "place", "spec", "resources", "environment", "downloads", "run_folder", "terminal"},
    {"preprocess", "postprocess", "trajectory", "georeference", "lidar", "roadgraph", "imagery", "pictures"},
    {"models", "data", "runners", "metrics", "weights"},
    {"training", "calibration", "export", "stream", "latency", "benchmark", "evaluation", "scoring", "roadmap"},
    {"predictor", "demo", "doctor"},
    {"cli_map"},
    {"cli"},
    {"__main__"},
)
TIER_OF = {name: number for number, names in enumerate(TIERS) for name in names}
HEAVY = ("torch", "onnx", "onnxruntime", "cv2", "openvino", "pyarrow", "numba", "matplotlib", "av", "rich", "typer")
FORBIDDEN = ("utils", "helpers", "common", "misc", "manager")


def tier_of(module: str) -> int | None:
    """Tier of `roadedge.data.city`, that of `data`; None for the package itself, which names what others hold."""
    _, _, inner = module.partition(".")
    room = inner.split(".")[0]
    if not inner:
        return None
    assert room in TIER_OF, f"{module} stands in no tier; give its room a place in TIERS"
    return TIER_OF.get(inner, TIER_OF[room])


def module_name(path: Path) -> str:
    parts = ("roadedge", *path.with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def own_imports(path: Path, top_level_only: bool = False) -> set[str]:
    """Modules of this package that a file imports; `if TYPE_CHECKING` is left out, since it never runs."""
    tree = ast.parse((PACKAGE / path).read_text())
    tree.body = [node for node in tree.body if not is_type_checking(node)]
    found = set()
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found.add(node.module or "")
            if node.module == "roadedge":
                found |= {f"roadedge.{alias.name}" for alias in node.names}
    known = {module_name(file) for file in FILES}
    return {name for name in found if name in known}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_go_one_way(path: Path) -> None:
    own = tier_of(module_name(path))
    if own is None or path.name == "__main__.py":
        return
    below = {name for name in own_imports(path) if (tier_of(name) or 0) > own}
    assert not below, f"{path} (tier {own}) imports from tiers below it: {sorted(below)}"


def test_no_circle_of_imports() -> None:
    edges = {module_name(path): own_imports(path, top_level_only=True) - {module_name(path)} for path in FILES}
    while leaves := [name for name, targets in edges.items() if not targets & edges.keys()]:
        for name in leaves:
            del edges[name]
    assert not edges, f"these modules import each other in a circle: {sorted(edges)}"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_names_say_what_a_file_is_about(path: Path) -> None:
    assert not [part for part in path.with_suffix("").parts if part.lower() in FORBIDDEN]
    tree = ast.parse((PACKAGE / path).read_text())
    classes = [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    assert not [name for name in classes if name.endswith(("Manager", "Helper", "Utils"))]


def test_import_roadedge_loads_nothing_heavy() -> None:
    code = f"import sys, roadedge; print(*[name for name in {HEAVY} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert loaded == []


def test_help_loads_no_network_library_and_answers_soon() -> None:
    heavy = [name for name in HEAVY if name not in ("typer", "rich")]
    code = (
        "import sys, time; from roadedge.cli import main; code = main(['--help']);"
        f"print(time.process_time(), *[name for name in {heavy} if name in sys.modules]); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, *loaded = done.stdout.splitlines()[-1].split()
    assert loaded == []
    # Processor time: a busy machine stretches the wall's. The aim is 0.5 s, the bound allows for a slow processor.
    assert float(seconds) < 2


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()
