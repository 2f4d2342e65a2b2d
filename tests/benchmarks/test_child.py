"""A stage in a process of its own: whatever becomes of it is a result or one sentence."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from benchmarks.nvidia.child import LONGEST, run_child, sentence
from roadedge.errors import UsageError

ROOT = Path(__file__).parent.parent.parent


def program(body: str) -> list[str]:
    """A stage whose task and result are files at the end of its arguments."""
    return [sys.executable, "-c", f"import json, os, sys, time\ngiven, out = sys.argv[-2:]\n{body}"]


def answering(function: str) -> list[str]:
    start = f"sys.path.insert(0, {str(ROOT)!r})\nfrom benchmarks.nvidia.child import answer\n"
    return program(f"{start}def stage(a):\n    {function}\nanswer({{'add': stage}}, given, out)")


def test_a_stage_gets_its_task_and_its_result_comes_back() -> None:
    done = run_child(answering("return {'sum': a + 1}"), {"kind": "add", "a": 2}, 30.0)
    assert (done.result, done.why) == ({"sum": 3}, "")


def test_an_error_of_a_stage_is_one_sentence() -> None:
    done = run_child(answering("raise ValueError('two\\nlines')"), {"kind": "add", "a": 2}, 30.0)
    assert (done.result, done.why) == (None, "ValueError: two lines")


def test_a_crash_is_named_with_what_was_said_last() -> None:
    done = run_child(program("print('[E] bad kernel', flush=True); os.abort()"), {}, 30.0)
    assert done.result is None
    assert done.why == "its process ended by SIGABRT; the last that it said: [E] bad kernel"


def test_a_silent_end_without_a_result_is_said() -> None:
    assert run_child(program("sys.exit(7)"), {}, 30.0).why == "its process ended with status 7 and without a result"


def test_a_stage_that_hangs_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    mark = tmp_path / "grandchild"
    started = (
        "import subprocess\n"
        f"p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(mark)!r}, 'w').write(str(p.pid))\ntime.sleep(60)"
    )
    began = time.monotonic()
    done = run_child(program(started), {}, 2.0)
    assert time.monotonic() - began < 20
    assert done.why == "stopped after 2 s, its share of the time"
    deadline = time.monotonic() + 5
    while running(int(mark.read_text())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running(int(mark.read_text()))


def running(pid: int) -> bool:
    """Whether a process lives; one that only waits to be reaped does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.parametrize(
    ("error", "text"),
    [(UsageError("give a size"), "give a size"), (KeyError("x"), "KeyError: 'x'")],
)
def test_errors_of_this_package_speak_for_themselves(error: Exception, text: str) -> None:
    assert sentence(error) == text


def test_a_long_error_is_cut() -> None:
    assert len(sentence(ValueError("x" * 5000))) == LONGEST
    json.dumps(sentence(ValueError("\x00")))
