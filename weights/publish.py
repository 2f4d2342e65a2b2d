"""Turn a training run into the files that are shipped: a compact `.pt`, FP32 and FP16 ONNX, each with its sidecar.

python weights/publish.py runs/train/roadedge-s roadedge-s roadedge/carried
python weights/publish.py runs/train/roadedge-s-research roadedge-s-research weights
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from roadedge.export import export_model
from roadedge.models.checkpoint import load_network, save_network

PICTURES = Path(__file__).parents[1] / "docs" / "images"


def publish(run: Path, name: str, folder: Path) -> None:
    """Write `folder/NAME.{pt,onnx,fp16.onnx}` from the best checkpoint of a run; the exports are held to the `.pt`."""
    network, provenance = load_network(run / "best.pt")
    checkpoint = folder / f"{name}.pt"
    save_network(checkpoint, network, provenance, compact=True)
    for precision in ("fp32", "fp16"):
        result = export_model(checkpoint, folder, precision, overwrite=True)
        print(f"{result.onnx.name}: {result.onnx.stat().st_size / 2**20:.2f} MiB")
    print(f"{checkpoint.name}: {checkpoint.stat().st_size / 2**20:.2f} MiB")
    if (run / "curves.png").exists():
        PICTURES.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(run / "curves.png", PICTURES / f"{name}.curves.png")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(f"usage: {sys.argv[0]} RUN NAME FOLDER")
    publish(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
