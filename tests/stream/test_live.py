"""Sources that deliver on their own: capture times, gaps, reconnection, interruption; with connections made by hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator

import numpy as np
import pytest

from roadedge.environment import masked
from roadedge.errors import SourceError, UsageError
from roadedge.stream import live
from roadedge.stream.capture_clock import CaptureClock
from roadedge.stream.connection import DEPTH, Connection, ConnectionLost, Picture, Stopping
from roadedge.stream.live import LiveOptions, LiveSource
from tests.stream.pixels import pixels

SOON_S = 5.0  # a busy machine's idea of soon
MS = 1_000_000


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "FIRST_PAUSE_S", 0.005)


def picture(number: int, size: tuple[int, int] = (4, 6), pts_s: float | None = None) -> Picture:
    image = np.full((*size, 3), number, np.uint8)
    return Picture(image, number / 10 if pts_s is None else pts_s, time.perf_counter_ns(), 0.5)


class Script:
    """Connections one after the other; each is a list of pictures, errors to raise and callables to wait in."""

    def __init__(self, *connections: list[Picture | Exception | Callable[[Stopping], None]]) -> None:
        self._connections = iter(connections)
        self.dialled = self.closed = 0

    def __call__(self, stopping: Stopping) -> Generator[Picture, None, None]:
        self.dialled += 1
        try:
            for step in next(self._connections, [ConnectionLost("refused")]):
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, Picture):
                    yield step
                else:
                    step(stopping)
        finally:
            self.closed += 1


def hang(stopping: Stopping) -> None:
    while not stopping():
        time.sleep(0.002)


def source(script: Script, options: LiveOptions | None = None) -> LiveSource:
    return LiveSource("cam", "rtsp://***@cam/1", script, options or LiveOptions())


def numbers(frames: LiveSource) -> list[int]:
    found = []
    while (frame := frames.read()) is not None:
        found.append(int(pixels(frame)[0, 0, 0]))
    return found


def test_a_stream_that_ends_gives_its_frames_and_then_nothing() -> None:
    script = Script([picture(1), picture(2)])
    with source(script) as cam:
        assert numbers(cam) == [1, 2]
        assert cam.read() is None
    assert cam.gaps == []
    assert (script.dialled, script.closed) == (1, 1)


def test_preparing_connects_and_loses_no_frame() -> None:
    script = Script([picture(1), picture(2)])
    with source(script) as cam:
        cam.prepare()
        assert script.dialled == 1
        assert numbers(cam) == [1, 2]


def test_frames_say_when_they_were_captured_and_by_which_clock() -> None:
    begin_ns, begin_s = time.perf_counter_ns(), time.time()
    untimed = Picture(np.zeros((4, 6, 3), np.uint8), None, begin_ns + 10 * MS, 0.25)
    with source(Script([untimed, picture(1)]), LiveOptions(gsd_m=0.3)) as cam:
        first, second = cam.read(), cam.read()
    assert first is not None
    assert second is not None
    assert (first.clock, second.clock) == ("arrival", "pts")
    assert first.captured_ns == begin_ns + 10 * MS
    assert (first.decode_ms, first.sample.gsd_m) == (0.25, 0.3)
    assert first.capture_s is not None
    assert cam.epoch_s == pytest.approx(begin_s, abs=1)
    assert first.sample.t_s == first.capture_s


def test_a_lost_stream_comes_back_and_the_gap_is_recorded() -> None:
    script = Script([picture(1), ConnectionLost("reset")], [ConnectionLost("refused")], [picture(7), picture(8)])
    with source(script) as cam:
        first = cam.read()
        again = cam.read()
        assert first is not None
        assert again is not None
        assert int(pixels(again)[0, 0, 0]) == 7  # what comes is what was sent
        assert numbers(cam) == [8]
    (gap,) = cam.gaps
    assert (gap.reason, gap.attempts) == ("reset", 2)
    assert gap.begin_ns == first.captured_ns
    assert gap.end_ns == again.captured_ns
    assert "was lost for" in again.notice
    assert "rtsp://***@cam/1" in again.notice
    assert script.dialled == script.closed == 3


def test_time_goes_on_over_a_gap_though_presentation_times_begin_anew() -> None:
    with source(Script([picture(50), ConnectionLost("reset")], [picture(1)])) as cam:
        before, after = cam.read(), cam.read()
    assert before is not None
    assert after is not None
    assert before.capture_s is not None
    assert after.capture_s is not None
    assert after.capture_s > before.capture_s
    assert after.capture_s - before.capture_s < SOON_S


def test_the_size_may_change_with_the_connection_and_is_said() -> None:
    with source(Script([picture(1), ConnectionLost("reset")], [picture(2, (8, 4)), picture(3, (8, 4))])) as cam:
        frames = [cam.read() for _ in range(3)]
    assert [frame.sample.size for frame in frames if frame] == [(4, 6), (8, 4), (8, 4)]
    assert ["4 x 8 pixels" in frame.notice for frame in frames if frame] == [False, True, False]


def test_after_the_attempts_are_spent_the_source_is_lost() -> None:
    script = Script([picture(1), ConnectionLost("reset")])
    with source(script, LiveOptions(attempts=3)) as cam:
        assert cam.read() is not None
        with pytest.raises(SourceError, match=r"rtsp://\*\*\*@cam/1 was lost \(reset\) .* 3 attempts .*refused"):
            cam.read()
        assert cam.read() is None
    assert script.dialled == 4
    (gap,) = cam.gaps
    assert (gap.end_ns, gap.attempts) == (None, 3)


def test_an_outage_is_bounded_in_time_too() -> None:
    begin_s = time.monotonic()
    with source(Script([picture(1), ConnectionLost("reset")]), LiveOptions(give_up_s=0.2)) as cam:
        cam.read()
        with pytest.raises(SourceError, match="given up"):
            cam.read()
    assert time.monotonic() - begin_s < SOON_S
    assert cam.gaps[0].attempts >= 2


def test_pauses_double_up_to_their_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "FIRST_PAUSE_S", 0.25)
    pauses: list[float] = []

    def wait(pause_s: float) -> bool:
        pauses.append(pause_s)
        return False

    with source(Script([picture(1), ConnectionLost("reset")]), LiveOptions(attempts=7)) as cam:
        cam.read()
        monkeypatch.setattr(cam._stop, "wait", wait)
        with pytest.raises(SourceError):
            cam.read()
    assert pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_what_cannot_be_mended_is_not_tried_again() -> None:
    script = Script([picture(1), ConnectionLost("reset")], [ConnectionLost("wrong password", for_good=True)])
    with source(script) as cam:
        cam.read()
        with pytest.raises(SourceError, match="wrong password"):
            cam.read()
    assert script.dialled == 2


def test_the_first_connection_is_not_tried_twice() -> None:
    script = Script([ConnectionLost("refused")])
    with source(script) as cam, pytest.raises(SourceError, match="cannot be read: refused"):
        cam.prepare()
    assert script.dialled == 1


def test_a_source_that_opens_and_never_delivers_is_lost() -> None:
    with (
        source(Script([hang]), LiveOptions(open_s=0.05)) as cam,
        pytest.raises(SourceError, match=r"no picture .*0\.05"),
    ):
        cam.read()


def test_a_source_that_ends_before_its_first_picture_is_an_error_and_no_empty_run() -> None:
    with source(Script([])) as cam, pytest.raises(SourceError, match="ended before its first picture"):
        cam.prepare()


def test_a_source_that_stops_delivering_is_dialled_again() -> None:
    with source(Script([picture(1), hang], [picture(2)]), LiveOptions(timeout_s=0.05)) as cam:
        assert numbers(cam) == [1, 2]
    assert cam.gaps[0].reason == "no picture came for 0.05 s"


@pytest.mark.parametrize("steps", [[hang], [ConnectionLost("reset")]], ids=["waiting for a frame", "in a pause"])
def test_another_thread_can_end_a_read_that_waits(
    steps: list[Picture | Exception | Callable[[Stopping], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "FIRST_PAUSE_S", 30.0)
    with source(Script([picture(1), *steps])) as cam:
        assert cam.read() is not None
        timer = threading.Timer(0.05, cam.interrupt)
        timer.start()
        begin_s = time.monotonic()
        assert cam.read() is None
        assert time.monotonic() - begin_s < SOON_S
        assert cam.read() is None
        timer.join()


def test_a_consumer_that_does_not_read_holds_up_the_sender_and_not_the_memory() -> None:
    sent = 0

    def dial(stopping: Stopping) -> Generator[Picture, None, None]:
        nonlocal sent
        while True:
            sent += 1
            yield picture(sent % 256)

    with LiveSource("cam", "cam", dial, LiveOptions()) as cam:
        assert cam.read() is not None
        time.sleep(0.1)
        assert sent <= DEPTH + 2


def test_pictures_that_cannot_be_decoded_are_counted_and_said_once() -> None:
    torn = [Picture(np.zeros((4, 6, 3), np.uint8), i / 10, time.perf_counter_ns(), 0.1, broken=2) for i in range(2)]
    with source(Script(list(torn))) as cam:
        frames = [cam.read(), cam.read()]
    assert ["cannot be decoded" in frame.notice for frame in frames if frame] == [True, False]
    assert cam.broken == 4


def test_what_goes_wrong_in_the_thread_is_seen_by_the_reader() -> None:
    connection = Connection(Script([ZeroDivisionError("a slip of ours")]))
    with pytest.raises(ZeroDivisionError, match="a slip of ours"):
        connection.take(SOON_S)
    assert connection.join(SOON_S)


def test_a_frame_that_waited_on_its_way_is_old() -> None:
    clock = CaptureClock()
    assert clock.captured_ns(0.0, 1000 * MS) == 1000 * MS
    assert clock.captured_ns(0.1, 1080 * MS) == 1080 * MS  # came faster than the first one, so that one was late
    assert clock.captured_ns(0.2, 1500 * MS) == pytest.approx(1180 * MS, abs=0.05 * MS)  # 320 ms late
    assert clock.captured_ns(None, 1600 * MS) == 1600 * MS


def test_a_sender_whose_clock_is_set_back_begins_anew() -> None:
    clock = CaptureClock()
    clock.captured_ns(3600.0, 1000 * MS)
    assert clock.captured_ns(5.0, 1100 * MS) == 1100 * MS
    assert clock.captured_ns(5.1, 1300 * MS) == pytest.approx(1200 * MS, abs=0.05 * MS)


def test_a_sender_with_a_slow_quartz_does_not_look_older_with_each_hour() -> None:
    clock = CaptureClock()
    ages_ms = []
    for number in range(36_000):  # an hour of 10 frames a second; each sixtieth is quick, the others take 20 ms more
        true_ns = number * 100 * MS
        arrived_ns = true_ns + (5 if number % 60 == 0 else 25) * MS
        ages_ms.append((arrived_ns - clock.captured_ns(true_ns / 1e9 * (1 - 8e-5), arrived_ns)) / 1e6)
    assert max(ages_ms) < 21
    assert min(ages_ms[-600:]) < 1


def test_a_queue_that_grows_is_seen_all_the_same() -> None:
    clock = CaptureClock()
    for number in range(600):  # a minute in which each frame comes 10 ms later than the one before it
        arrived_ns = number * 110 * MS
        captured_ns = clock.captured_ns(number / 10, arrived_ns)
    assert (arrived_ns - captured_ns) / 1e6 == pytest.approx(5990, abs=10)


def test_stamps_of_this_machines_kernel_are_taken_as_they_are() -> None:
    clock = CaptureClock(same_clock=True)
    assert clock.captured_ns(1.0, 1040 * MS) == 1000 * MS
    assert clock.captured_ns(1.1, 1145 * MS) == 1100 * MS
    assert clock.captured_ns(9999.0, 1200 * MS) == 1200 * MS  # another clock after all


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://user:geheim@cam.local:554/1?transport=udp", "rtsp://***@cam.local:554/1?transport=udp"),
        ("rtsp://user:ge@heim@cam/1", "rtsp://***@cam/1"),
        ("rtsp://user:ge/heim@cam/1", "rtsp://***@cam/1"),
        ("rtsp://cam/1?user=me&password=geheim&channel=2", "rtsp://cam/1?user=***&password=***&channel=2"),
        ("gst:rtspsrc location=rtsp://a:b@cam/1 ! decodebin", "gst:rtspsrc location=rtsp://***@cam/1 ! decodebin"),
        (
            "gst:rtspsrc location=rtsp://cam user-id=me user-pw=geheim !",
            "gst:rtspsrc location=rtsp://cam user-id=*** user-pw=*** !",
        ),
        ("v4l2:///dev/video0", "v4l2:///dev/video0"),
    ],
)
def test_no_message_shows_a_password(text: str, shown: str) -> None:
    assert masked(text) == shown


@pytest.mark.parametrize("wrong", [{"timeout_s": 0.0}, {"give_up_s": float("nan")}, {"attempts": -1}])
def test_limits_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        LiveOptions(**wrong)  # type: ignore[arg-type]
