"""Turn a training run into the files that are shipped: a compact `.pt`, FP32 and FP16 ONNX, each with its sidecar.

python weights/publish.py runs/train/roadedge-s roadedge-s roadedge/carried
python weights/publish.py runs/train/roadedge-s-research roadedge-s-research weights
python weights/publish.py runs/quantize/roadedge-s roadedge-s roadedge/carried     # INT8 that passed the gate
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from roadedge.export import export_model
from roadedge.models.checkpoint import load_network, save_network
from roadedge.spec import read_sidecar, sidecar_path

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


def publish_int8(run: Path, name: str, folder: Path) -> None:
    """Copy `NAME.int8.onnx` with its sidecar out of a run of `roadedge quantize`.

    The one with an FP16 remainder goes along but into the wheel, which is to stay small.
    """
    for emission in ("int8",) if folder.name == "carried" else ("int8", "int8-fp16"):
        file = run / f"{name}.{emission}.onnx"
        stated = read_sidecar(file)
        if stated is None or stated[1].get("gate", {}).get("verdict") != "passed":
            sys.exit(f"{file} did not pass the accuracy gate; judge it first: roadedge gate FP32.onnx {file} --mark")
        for path in (file, sidecar_path(file)):
            shutil.copyfile(path, folder / path.name)
        print(f"{file.name}: {file.stat().st_size / 2**20:.2f} MiB")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(f"usage: {sys.argv[0]} RUN NAME FOLDER")
    quantized = (Path(sys.argv[1]) / "calibration.json").exists()
    (publish_int8 if quantized else publish)(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
