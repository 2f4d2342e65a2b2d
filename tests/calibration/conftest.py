"""Graphs that are made once."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from tests.calibration.graphs import foreign_file, own_graph


@pytest.fixture(scope="session")
def own(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    return own_graph(tmp_path_factory.mktemp("own") / "own.onnx")


@pytest.fixture(scope="session")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return foreign_file(tmp_path_factory.mktemp("foreign") / "theirs.onnx")


@pytest.fixture(scope="session")
def cmipnet(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    return own_graph(tmp_path_factory.mktemp("cmipnet") / "cmipnet.onnx", "cmipnet")
