"""A simulation's clock jumps from event to event, and its threads take turns."""

from __future__ import annotations

import pytest

from roadedge.latency.virtual_clock import START_NS, VirtualClock


def test_sleeping_moves_the_clock_and_takes_no_time() -> None:
    clock = VirtualClock()
    clock.pass_ms(3_600_000.0)
    clock.sleep_until_ns(0)  # past: at once
    assert clock.now_ns() == START_NS + 3_600_000_000_000


def test_threads_sleep_side_by_side() -> None:
    clock = VirtualClock()
    woke: list[tuple[str, float]] = []

    def sleeper(name: str, duration_ms: float) -> None:
        clock.pass_ms(duration_ms)
        woke.append((name, (clock.now_ns() - START_NS) / 1e6))

    joins = [clock.start(lambda n=n, d=d: sleeper(n, d), n) for n, d in (("slow", 30.0), ("fast", 10.0))]  # type: ignore[misc]
    for join in joins:
        join()
    assert woke == [("fast", 10.0), ("slow", 30.0)]
    assert clock.now_ns() == START_NS + 30_000_000


def test_a_signal_wakes_who_waits_and_a_wait_may_end_by_the_clock() -> None:
    clock, seen = VirtualClock(), []
    signal = clock.signal()

    def waiter() -> None:
        with signal:
            clock.wait(signal)
        seen.append(("notified", clock.now_ns() - START_NS))
        with signal:
            clock.wait(signal, clock.now_ns() + 7)
        seen.append(("alarm", clock.now_ns() - START_NS))

    join = clock.start(waiter, "waiter")
    clock.pass_ms(1.0)
    with signal:
        signal.notify_all()
    join()
    assert seen == [("notified", 1_000_000), ("alarm", 1_000_007)]


def test_an_alarm_of_a_wait_that_was_notified_wakes_nobody_later() -> None:
    clock, woke = VirtualClock(), []
    signal = clock.signal()

    def waiter() -> None:
        with signal:
            clock.wait(signal, clock.now_ns() + 5_000_000)
        clock.pass_ms(100.0)
        woke.append(clock.now_ns() - START_NS)

    join = clock.start(waiter, "waiter")
    clock.pass_ms(1.0)
    with signal:
        signal.notify_all()
    join()
    assert woke == [101_000_000]


def test_waiting_for_ever_is_an_error_and_not_a_test_that_hangs() -> None:
    clock = VirtualClock()
    signal = clock.signal()
    with signal, pytest.raises(RuntimeError, match="every thread of the virtual clock waits"):
        clock.wait(signal)
