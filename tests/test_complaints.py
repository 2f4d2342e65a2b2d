"""docs/complaints.md is held to the suite: all its rows are there, and the tests that they name exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROWS = re.findall(r"^\| (\d+) \|(.*)\|(.*)\|(.*)\|$", (ROOT / "docs" / "complaints.md").read_text(), re.MULTILINE)
TESTS = [(number, test) for number, *_, tests in ROWS for test in re.findall(r"`([^`]*)`", tests)]


@cache
def functions_of(file: str) -> dict[str, str]:
    """The test functions of a file, each with its decorators."""
    tree = ast.parse((ROOT / file).read_text())
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    return {node.name: " ".join(map(ast.unparse, node.decorator_list)) for node in functions}


def test_the_table_has_all_complaints_in_their_order() -> None:
    """23 is about the modes of another program, which no test of ours could hold to anything."""
    assert [int(number) for number, *_ in ROWS] == [*range(1, 23), *range(24, 28)]


@pytest.mark.parametrize(("number", "complaint", "answer", "tests"), ROWS, ids=[number for number, *_ in ROWS])
def test_a_row_says_who_complains_what_is_done_and_what_covers_it(
    number: str, complaint: str, answer: str, tests: str
) -> None:
    assert re.search(r"\b[\w.-]+/[\w.-]+#\d+\b", complaint), f"complaint {number} names no thread"
    assert answer.strip(), f"complaint {number} has no answer"
    assert "tests/" in tests, f"complaint {number} has no test"


@pytest.mark.parametrize(("number", "test"), TESTS, ids=[f"{number}-{test}" for number, test in TESTS])
def test_a_named_test_exists_and_is_not_switched_off(number: str, test: str) -> None:
    file, _, name = test.partition("::")
    assert (ROOT / file).is_file(), f"complaint {number} names {test}, and there is no such file"
    known = functions_of(file)
    assert name in known, f"complaint {number} names {test}, and that file has no such test"
    assert not re.search(r"mark\.(skip|xfail)\b", known[name]), f"{test} is switched off"
