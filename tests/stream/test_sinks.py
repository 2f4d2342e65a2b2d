"""Masks and overlays: whole files, counted; and what all sinks have in common."""

from __future__ import annotations

import re
import select
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from roadedge.errors import OutputError
from roadedge.imagery import read_image, read_mask
from roadedge.stream.road_lines import RoadLine, RoadLines
from roadedge.stream.sink_message import SCHEMA, message_of
from roadedge.stream.sink_send import open_send
from roadedge.stream.sinks import MaskSink, OverlaySink, Result, Sink
from tests.stream.results import nadir, result

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "live-output.md").read_text()


def test_masks_and_overlays_are_counted_with_their_bytes(tmp_path: Path) -> None:
    for sink in (MaskSink(tmp_path / "masks"), OverlaySink(tmp_path / "overlays")):
        for index in range(3):
            sink.write(result(index))
        folder = tmp_path / f"{sink.name}s"
        size = sum(path.stat().st_size for path in folder.iterdir())
        assert sink.describe() == {"sink": sink.name, "frames": 3, "bytes": size}
    assert (read_mask(tmp_path / "masks" / "000001.png") == 255).sum() == 12 * 128
    assert read_image(tmp_path / "overlays" / "000002.jpg").shape == (96, 128, 3)


def test_frames_may_change_their_size(tmp_path: Path) -> None:
    sink = MaskSink(tmp_path)
    sink.write(result(0))
    sink.write(result(1, size=(40, 30)))
    assert read_mask(tmp_path / "000001.png").shape == (40, 30)


def test_a_folder_that_goes_away_is_one_sentence_and_not_counted(tmp_path: Path) -> None:
    (tmp_path / "masks").write_text("in the way")
    sink = MaskSink(tmp_path / "masks")
    with pytest.raises(OutputError, match="cannot write"):
        sink.write(result(0))
    assert sink.describe()["frames"] == 0


class Broken(Sink):
    def write(self, result: Result) -> None:
        raise OutputError("the first error")

    def close(self) -> None:
        raise OutputError("the second error")


def test_the_first_error_counts() -> None:
    with pytest.raises(OutputError, match="the first error"), Broken() as sink:
        sink.write(result())
    with pytest.raises(OutputError, match="the second error"), Broken():
        pass


def test_the_page_names_every_field_of_a_message() -> None:
    lines = [RoadLine(np.array([[0.0, 48.0], [128.0, 48.0]]), 0.8)]
    content = message_of(result(0, nadir()), lines, 0, 0, epoch_s=0.0).leaving(0, 0.0).decode()
    content += message_of(result(0, nadir("local")), lines, 0, 0).leaving(0, 0.0).decode()
    fields = set(re.findall(r'"(\w+)":', content))
    assert len(fields) > 20
    assert not {field for field in fields if f"`{field}`" not in DOCUMENT}
    assert f"`{SCHEMA}`" in DOCUMENT


def test_the_consumer_on_the_page_runs_as_it_stands() -> None:
    """It gets the port of this test; all else is the page's."""
    [code] = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", code.replace("5005", str(port))]
    road = RoadLine(np.array([[0.0, 48.0], [128.0, 48.0]]), 0.8)
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as consumer,
        open_send(f"udp://127.0.0.1:{port}", RoadLines(lambda mask, gsd_m: [road])) as sink,
    ):
        assert consumer.stdout is not None
        try:
            for index in range(1000):  # until the consumer listens, nobody does
                sink.write(result(index))
                if select.select([consumer.stdout], [], [], 0.02)[0]:
                    break
            words = consumer.stdout.readline().split()
        finally:
            consumer.kill()
    assert words[2] == "0.8"
    assert "128.0," in words[5]
