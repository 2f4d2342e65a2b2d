"""What `import roadedge` offers."""

from __future__ import annotations

import importlib

import pytest

import roadedge


def test_every_public_name_is_there_and_has_a_docstring() -> None:
    for name in roadedge.__all__:
        assert getattr(roadedge, name).__doc__, name


def test_names_are_those_of_their_modules() -> None:
    assert roadedge.load is importlib.import_module("roadedge.predictor").load
    assert roadedge.Sample is importlib.import_module("roadedge.sample").Sample


def test_dir_lists_what_was_not_loaded_yet() -> None:
    assert set(roadedge.__all__) <= set(dir(roadedge))


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'unload'"):
        roadedge.unload  # noqa: B018 - looking it up is the test
