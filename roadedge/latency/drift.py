"""Does a device slow down as it warms up? The last minute of a run held against its first."""

from __future__ import annotations

import array
import itertools
from collections.abc import Iterable

import numpy as np

from roadedge.latency.clock import STAGES
from roadedge.latency.profile import FrameRecord

PHASE_S = 60.0  # the burst at the start, and as much at the end


def infer_drift(records: Iterable[FrameRecord], warmup: int = 0) -> float | None:
    """Median inference of the last minute by that of the first; above 1 the device became slower.

    Inference, not the age: an age that grows in an overload says nothing about heat.

    Args:
        records: of a run, in order; frames without an answer are passed over.
        warmup: answered frames at the start to leave out.

    Returns:
        None where less than two minutes were measured.
    """
    stage = STAGES.index("infer")
    pairs = ((record.done_s, record.stage_ms[stage]) for record in records if record.age_ms is not None)
    values = np.array(array.array("d", itertools.chain.from_iterable(pairs)))  # of a million frames 16 MB
    done_s, infer_ms = values[2 * warmup :: 2], values[2 * warmup + 1 :: 2]
    if not done_s.size or done_s[-1] - done_s[0] < 2 * PHASE_S:
        return None
    first = float(np.median(infer_ms[done_s <= done_s[0] + PHASE_S]))
    last = float(np.median(infer_ms[done_s >= done_s[-1] - PHASE_S]))
    return last / first if first > 0 else None
