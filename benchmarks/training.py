"""Training throughput of a network on this processor: images a second with and without bf16 and channels-last.

python benchmarks/training.py --model roadedge-s -o benchmarks/results/training

The four settings take turns (A B C D, A B C D, …), so that a drift of the machine hits all alike; medians are quoted.
"""

from __future__ import annotations

import argparse
import statistics
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from roadedge.atomic import write_json, write_text
from roadedge.environment import environment
from roadedge.models import create_model
from roadedge.models.blocks import RoadNet
from roadedge.training.losses import road_loss

SETTINGS = [(precision, channels_last) for precision in ("fp32", "bf16") for channels_last in (False, True)]


class Trainee:
    """A network with its optimiser; `step` is one update on the same batch."""

    def __init__(self, model: str, precision: str, channels_last: bool, batch: int, crop: int) -> None:
        torch.manual_seed(0)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.network: RoadNet = create_model(model).train()
        self.network.to(memory_format=layout)  # type: ignore[call-overload]
        self.optimiser = torch.optim.AdamW(self.network.parameters(), 1e-3, fused=True)
        self.low = precision == "bf16"
        shape = (batch, crop, crop)
        self.feeds = {
            "image": torch.randint(0, 256, (*shape, 3), dtype=torch.uint8),
            "trajectory": torch.randint(0, 64, (*shape, 1), dtype=torch.uint8),
        }
        self.target = (torch.rand(shape) > 0.8).to(torch.uint8) * 255

    def step(self) -> float:
        """Seconds of one update."""
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16) if self.low else nullcontext():
            logits = self.network(self.feeds)["logits"]
        loss = road_loss(logits, self.target)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return time.perf_counter() - began


def main() -> None:
    """Parse, time, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="roadedge-s")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("-o", "--output", type=Path, help="path of the results without a suffix")
    arguments = parser.parse_args()
    trainees = {s: Trainee(arguments.model, *s, arguments.batch, arguments.crop) for s in SETTINGS}
    times: dict[Any, list[float]] = {s: [] for s in SETTINGS}
    for round_ in range(arguments.rounds + 2):  # two rounds of warm-up
        for setting, trainee in trainees.items():
            seconds = trainee.step()
            if round_ >= 2:
                times[setting].append(seconds)
    rows = [
        {
            "precision": precision,
            "channels_last": channels_last,
            "images_per_s": arguments.batch / statistics.median(times[precision, channels_last]),
            "median_step_ms": 1e3 * statistics.median(times[precision, channels_last]),
            "min_step_ms": 1e3 * min(times[precision, channels_last]),
        }
        for precision, channels_last in SETTINGS
    ]
    text = table(arguments, rows)
    print(text)
    if arguments.output:
        write_json(arguments.output.with_suffix(".json"), {"environment": environment(), "rows": rows})
        write_text(arguments.output.with_suffix(".md"), text)


def table(arguments: argparse.Namespace, rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    facts = environment()
    lines = [
        f"# Training throughput of {arguments.model}: batch {arguments.batch} of {arguments.crop}²",
        "",
        "| precision | memory format | images/s | median step, ms | fastest, ms | against plain fp32 |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        layout = "channels-last" if row["channels_last"] else "contiguous"
        ratio = row["images_per_s"] / rows[0]["images_per_s"]
        lines.append(
            f"| {row['precision']} | {layout} | {row['images_per_s']:.1f} | {row['median_step_ms']:.0f} | "
            f"{row['min_step_ms']:.0f} | {ratio:.2f} × |"
        )
    lines += [
        "",
        f"Network, loss and optimiser; batches are made beside it in training. {facts['date'][:10]}, "
        f"{facts['processor']}, {torch.get_num_threads()} threads, torch {torch.__version__}, `{facts['command']}`.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
