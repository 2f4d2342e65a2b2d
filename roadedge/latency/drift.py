"""Does a device slow down as it warms up? The last minute of a run held against its first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from roadedge.latency.clock import STAGES
from roadedge.latency.profile import FrameRecord

PHASE_S = 60.0  # the burst at the start, and as much at the end


def infer_drift(records: Sequence[FrameRecord], warmup: int = 0) -> float | None:
    """Median inference of the last minute by that of the first; above 1 the device became slower.

    Inference, not the age: an age that grows in an overload says nothing about heat.

    Args:
        records: of a run, in order; frames without an answer are passed over.
        warmup: answered frames at the start to leave out.

    Returns:
        None where less than two minutes were measured.
    """
    stage = STAGES.index("infer")
    measured = [record for record in records if record.age_ms is not None][warmup:]
    done_s = np.array([record.done_s for record in measured])
    if not done_s.size or done_s[-1] - done_s[0] < 2 * PHASE_S:
        return None
    infer_ms = np.array([record.stage_ms[stage] for record in measured])
    first = float(np.median(infer_ms[done_s <= done_s[0] + PHASE_S]))
    last = float(np.median(infer_ms[done_s >= done_s[-1] - PHASE_S]))
    return last / first if first > 0 else None
