"""Counts come back as they went in."""

from __future__ import annotations

import pytest

from roadedge.metrics.pixel import PixelCounts, score
from roadedge.stream.count_log import CountLog


def test_counts_come_back_and_are_scored_as_a_list_is() -> None:
    counts = [PixelCounts(i, 2 * i, 3, 4 + i, i % 2) for i in range(1, 30)]
    log = CountLog()
    assert not log
    for one in counts:
        log.append(one)
    assert list(log) == counts
    assert (log[-1], log[3:9:2]) == (counts[-1], counts[3:9:2])
    assert score(log) == score(counts)
    with pytest.raises(IndexError):
        log[29]
