"""The files of one small network, made once."""

from __future__ import annotations

import pytest

from tests.export.artefacts import Artefacts, make_artefacts


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Artefacts:
    return make_artefacts(tmp_path_factory.getbasetemp())
