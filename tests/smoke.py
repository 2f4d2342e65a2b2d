"""A smoke test that needs the base install and nothing else: `python tests/smoke.py`, on every supported Python.

Not collected by pytest: it is for a clean environment that holds the wheel and its base dependencies, without pytest.
It imports the package, asks for help, and sends one image with points through the carried network by the command line
and from Python. It exits with 0 and says what it did, or with the first failure.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MODEL = "roadedge-s"
SIZE = (200, 300)  # neither side a multiple of the stride


def roadedge_command(*arguments: str) -> str:
    """Standard output of `roadedge ...`, run by this interpreter."""
    done = subprocess.run([sys.executable, "-m", "roadedge.cli", *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"roadedge {' '.join(arguments)}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


def check_light_import() -> None:
    """`import roadedge` must not bring what it does not need."""
    code = "import sys, roadedge; print(*{'torch', 'onnx', 'cv2', 'onnxruntime'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    if loaded:
        sys.exit(f"import roadedge loads {loaded}")


def check_command_line(folder: Path) -> None:
    import numpy as np

    from roadedge.imagery import write_png

    write_png(folder / "tile.png", np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8))
    (folder / "tile.csv").write_text("x,y\n10.5,20.5\n11.5,20.5\n")
    out = folder / "out"
    tile, points = str(folder / "tile.png"), str(folder / "tile.csv")
    roadedge_command("infer", MODEL, tile, "--trajectory", points, "--gsd", "0.46", "-o", str(out))
    masks = list((out / "masks").glob("tile*.png"))
    if len(masks) != 1:
        sys.exit(f"infer wrote no mask for tile.png, but {sorted(p.name for p in out.rglob('*'))}")
    json.loads((out / "metrics.json").read_text())


def check_python() -> None:
    import numpy as np

    import roadedge

    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    with_points = roadedge.load(MODEL).predict(image, np.array([[10.5, 20.5], [11.5, 20.5]]))
    if with_points.mask.shape != SIZE or with_points.mask.dtype != np.bool_:
        sys.exit(f"predict returned {with_points.mask.dtype} {with_points.mask.shape}, expected bool {SIZE}")


def main() -> None:
    """All checks, in the order of what they need."""
    start = time.perf_counter()
    check_light_import()
    for arguments in (("--version",), ("--help",), ("models",), ("info", MODEL)):
        roadedge_command(*arguments)
    check_python()
    with tempfile.TemporaryDirectory() as folder:
        check_command_line(Path(folder))
    print(f"smoke test passed on Python {sys.version.split()[0]} in {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
