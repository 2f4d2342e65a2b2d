"""Signals that are heard between two steps."""

from __future__ import annotations

import signal

import pytest

from roadedge.training.interruption import Interruption


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_the_second_one_interrupts_and_afterwards_all_is_as_before(
    number: signal.Signals,
) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), Interruption() as interruption:  # noqa: PT012
        signal.raise_signal(number)
        assert interruption.asked
        signal.raise_signal(number)
    assert signal.getsignal(number) == before
