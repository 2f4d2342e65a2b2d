"""Latency of the networks in torch on an NVIDIA GPU: FP32 (TF32 off) and FP16, 512 x 512, batch 1.

What this is not: no TensorRT engine is built and no weights are loaded, so the figures are those of torch's kernels on
fresh weights, which is an upper bound for an engine and says nothing about accuracy. Times are of the network alone,
from device memory to device memory, between two CUDA events; copies and preprocessing are left out.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a machine for measuring need not have the package installed

import torch  # noqa: E402
from torch import nn  # noqa: E402

from roadedge.atomic import write_json  # noqa: E402
from roadedge.environment import environment  # noqa: E402
from roadedge.latency.summary import summarize  # noqa: E402
from roadedge.models import MODELS, create_model  # noqa: E402
from roadedge.models.border import Border  # noqa: E402

SIZE = 512
WARM_UP = 50


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passes", type=int, default=1000, help="timed passes for each network and precision")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "benchmarks" / "results" / "gpu-torch.json")
    return parser.parse_args()


def network_of(name: str, precision: str) -> tuple[nn.Module, list[torch.Tensor]]:
    """The deployed network on the GPU and feeds for it."""
    torch.manual_seed(0)
    border = Border(create_model(name).deployed()).eval().to("cuda", memory_format=torch.channels_last)
    if precision == "fp16":
        border = border.half()
    channels = [3 if modality == "image" else 1 for modality in create_model(name).spec.inputs]
    feeds = [torch.randint(0, 256, (1, SIZE, SIZE, c), dtype=torch.uint8, device="cuda") for c in channels]
    return border, feeds


def device_times_ms(network: nn.Module, feeds: list[torch.Tensor], passes: int) -> list[float]:
    """One time per pass, by CUDA events, each pass awaited before the next begins."""
    times = []
    with torch.inference_mode():
        for i in range(WARM_UP + passes):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            probability = network(*feeds)[0]
            end.record()
            end.synchronize()
            if i >= WARM_UP:
                times.append(begin.elapsed_time(end))
    assert probability.shape == (1, SIZE, SIZE)
    return times


def measure(name: str, precision: str, passes: int) -> dict[str, Any]:
    network, feeds = network_of(name, precision)
    summary = summarize(device_times_ms(network, feeds, passes)).to_dict()
    p50, p99 = (f"{summary[p]:.3f}" if summary[p] is not None else "too few" for p in ("p50", "p99"))
    print(f"{name:12} {precision:5} p50 {p50} ms   p99 {p99} ms   n {summary['n']}", flush=True)
    return {"model": name, "precision": precision, "size": [SIZE, SIZE], "batch": 1, "device_ms": summary}


def main() -> int:
    arguments = parse()
    if not torch.cuda.is_available():
        built = torch.version.cuda or "no CUDA"
        print(f"torch {torch.__version__} was built for {built} and sees no GPU; nothing was measured", file=sys.stderr)
        return 3
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    print(f"torch {torch.__version__}, CUDA {torch.version.cuda}, {torch.cuda.get_device_name()}; eager, fresh weights")
    rows = [measure(name, precision, arguments.passes) for name in MODELS for precision in ("fp32", "fp16")]
    write_json(
        arguments.output,
        {
            "schema_version": 1,
            "what": __doc__,
            "device": torch.cuda.get_device_name(),
            "cuda": torch.version.cuda,
            "environment": environment(),
            "warm_up_passes": WARM_UP,
            "rows": rows,
        },
    )
    print(f"Results saved to {arguments.output.resolve()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
