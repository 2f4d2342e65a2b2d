"""Thinning in several threads of one process."""

from __future__ import annotations

import subprocess
import sys

SEVERAL_AT_ONCE = """
import threading
import numpy as np
from roadedge.roadgraph.skeleton import half_widths, skeletonize
mask = np.zeros((40, 60), bool)
mask[15:22] = True
ready, found = threading.Barrier(4), []
def thin():
    ready.wait()
    found.append(skeletonize(mask, half_widths(mask))[0].sum())
crowd = [threading.Thread(target=thin) for _ in range(4)]
[thread.start() for thread in crowd]
[thread.join() for thread in crowd]
assert len(found) == 4 and len(set(found)) == 1, found
"""


def test_threads_that_thin_first_do_not_find_the_library_half_loaded() -> None:
    run = subprocess.run([sys.executable, "-c", SEVERAL_AT_ONCE], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
