"""The log of a run: a table that is written whole with each row, and TensorBoard's files where that is installed."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from roadedge.atomic import replacing

LOG_COLUMNS = ("step", "loss", "lr", "gradient_norm", "images_per_s", "g_iou", "a_iou")


class Log:
    """log.csv and, where TensorBoard is installed, its event files. Rows after the resumed step are cut."""

    def __init__(self, folder: Path, step: int) -> None:
        self.path = folder / "log.csv"
        self.rows: list[dict[str, Any]] = []
        if step and self.path.exists():
            with self.path.open(newline="") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
        self.board: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=step)
        except ImportError:
            pass  # log.csv and curves.png say the same; the `train` extra brings TensorBoard

    def add(self, row: dict[str, Any]) -> None:
        """Append a row and write the table anew."""
        # digits, not decimals: a rate of 3.2e-07 is one
        self.rows.append({key: float(f"{v:.7g}") if isinstance(v, float) else v for key, v in row.items()})
        with replacing(self.path) as temporary, temporary.open("w", newline="") as file:
            table = csv.DictWriter(file, LOG_COLUMNS)
            table.writeheader()
            table.writerows(self.rows)
        if self.board is not None:
            for key, value in row.items():
                if key != "step":
                    self.board.add_scalar(key, value, row["step"])

    def close(self) -> None:
        """Flush TensorBoard."""
        if self.board is not None:
            self.board.close()
