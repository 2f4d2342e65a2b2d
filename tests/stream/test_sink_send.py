"""Sending to real consumers: one that reads, one that is slow, one that does not read, one that is gone."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roadedge.errors import OutputError, UsageError
from roadedge.sample import RoadMask
from roadedge.stream.road_lines import RoadLine, RoadLines
from roadedge.stream.sink_pipe import WAITING, PipeSink
from roadedge.stream.sink_send import open_send, open_sends
from roadedge.stream.sink_sender import Way
from roadedge.stream.sink_udp import DATAGRAM_BYTES, UdpSink
from tests.latency.hand_clock import HandClock
from tests.stream.results import many_lines, nadir, result

ROOT = Path(__file__).parents[2]
LINES = many_lines(60)


def roads(mask: RoadMask, gsd_m: float | None) -> list[RoadLine]:
    return LINES


def way(clock: HandClock | None = None) -> Way:
    return Way(RoadLines(roads), lambda: None, clock or HandClock())


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        found.settimeout(5)
        yield found


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_each_frame_is_one_datagram(listener: socket.socket, host: str) -> None:
    with open_send(f"udp://{host}:{port_of(listener)}", RoadLines(roads)) as sink:
        for index in range(3):
            sink.write(result(index, nadir()))
            content = listener.recv(65536)
            assert len(content) <= DATAGRAM_BYTES
            told = json.loads(content)
            assert (told["number"], told["frame"]) == (index, f"{index:06d}")
            assert told["truncated"]
            assert len(told["lines"]) + told["left_out"] == 60
            assert 20 < told["age_ms"] < 2000
            assert abs(told["sent_s"] - time.time()) < 60
    facts = sink.describe()
    assert (facts["frames"], facts["made"], facts["truncated"], facts["dropped"]) == (3, 3, 3, {})
    assert facts["bytes"] <= 3 * facts["largest_bytes"] <= 3 * DATAGRAM_BYTES


def test_datagrams_may_be_longer_and_hold_one_kind_of_coordinates(listener: socket.socket) -> None:
    with open_send(f"udp://127.0.0.1:{port_of(listener)}?bytes=60000&lines=lonlat", RoadLines(roads)) as sink:
        sink.write(result(0, nadir()))
        told = json.loads(listener.recv(65536))
    assert not told["truncated"]
    assert len(told["lines"]) == 60
    assert "px" not in told["lines"][0]


def test_nobody_who_listens_is_no_error_and_one_who_comes_later_is_served(listener: socket.socket) -> None:
    port = port_of(listener)
    listener.close()
    with open_send(f"udp://127.0.0.1:{port}", RoadLines(roads)) as sink:
        for index in range(20):
            sink.write(result(index))
            time.sleep(0.001)  # for the host to say that nobody listens
        assert sink.describe()["dropped"]["nobody listens"] >= 10
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as late:
            late.bind(("127.0.0.1", port))
            late.settimeout(5)
            sink.write(result(20))
            assert json.loads(late.recv(65536))["number"] == 20


def test_a_consumer_that_does_not_read_its_socket_costs_no_time(listener: socket.socket) -> None:
    with open_send(f"udp://127.0.0.1:{port_of(listener)}", RoadLines(lambda mask, gsd_m: [])) as sink:
        begin = time.monotonic()
        for index in range(2000):
            sink.write(result(index))
        assert time.monotonic() - begin < 10
    assert sink.describe()["made"] == 2000


class Unreachable:
    """A socket of a machine that has lost its network."""

    def __init__(self, error: OSError) -> None:
        self.error = error

    def send(self, content: bytes) -> int:
        raise self.error

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (OSError(101, "Network is unreachable"), "Network is unreachable"),
        (BlockingIOError(11, "Resource temporarily unavailable"), "network too slow"),
        (OSError(90, "Message too long"), "Message too long"),
    ],
)
def test_a_network_that_is_gone_is_counted_and_the_run_goes_on(
    monkeypatch: pytest.MonkeyPatch, error: OSError, cause: str
) -> None:
    sink = UdpSink("127.0.0.1", 9, way())
    monkeypatch.setattr(sink, "_socket", Unreachable(error))
    for index in range(3):
        sink.write(result(index))
    assert sink.describe()["dropped"] == {cause: 3}
    assert sink.describe()["frames"] == 0


@pytest.mark.parametrize(
    "to",
    ["", "udp://", "udp://host", "udp://host:0", "udp://host:99999", "udp://host:x", "tcp://host:5", "stdout:1",
     "host:5", "udp://host:5/path", "udp://host:5?bytes=10", "udp://host:5?bytes=70000", "udp://host:5?lines=utm",
     "stdout?bytes=900", "udp://host:5?speed=3", "udp://[::1:5", "stdout?lines=", "STDOUT "],
)  # fmt: skip
def test_what_is_no_consumer_is_said_with_what_would_be(to: str) -> None:
    with pytest.raises(UsageError, match=r"takes|datagrams have"):
        open_send(to, RoadLines(roads))


def test_stdout_can_be_given_once() -> None:
    assert len(open_sends(["stdout", "udp://127.0.0.1:9", "udp://127.0.0.1:10"], RoadLines(roads))) == 3
    with pytest.raises(UsageError, match="twice"):
        open_sends(["stdout", "stdout?lines=px"], RoadLines(roads))


def test_a_closed_stdout_is_exit_9() -> None:
    command = ["bash", "-c", f'"{sys.executable}" -c "$RUN" 5 >&-']
    ended = subprocess.run(
        command, env={**os.environ, "RUN": RUN}, capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert ended.returncode == 9, ended.stderr
    assert "cannot write stdout" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_network_that_is_not_there_when_the_run_begins_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(sink: UdpSink) -> socket.socket:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(UdpSink, "_open", no_network)
    with open_send("udp://10.0.0.1:5005", RoadLines(roads)) as sink:
        sink.write(result(0))
    assert sink.describe()["dropped"] == {"Network is unreachable": 1}


def test_an_ipv6_address_stands_in_brackets() -> None:
    try:
        listener = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        listener.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 on this machine")
    with listener, open_send(f"udp://[::1]:{listener.getsockname()[1]}", RoadLines(roads)) as sink:
        listener.settimeout(5)
        sink.write(result(0))
        assert json.loads(listener.recv(65536))["number"] == 0
        assert "udp://[::1]:" in sink.describe()["sink"]


def test_a_host_without_an_address_is_found_before_the_run() -> None:
    with pytest.raises(OutputError, match=r"cannot send to no-such-host\.invalid:5005"):
        open_send("udp://no-such-host.invalid:5005", RoadLines(roads))


def pipe_sink(write: int, how: Way | None = None) -> PipeSink:
    """It takes a copy of the descriptor with its first message, which nobody reads here; ours is closed then."""
    sink = PipeSink(write, "stdout", how or way())
    sink._start()
    os.close(write)
    return sink


def lines_of(content: bytes) -> list[dict[str, Any]]:
    assert content.endswith(b"\n")
    return [json.loads(line) for line in content.splitlines()]


def test_a_consumer_on_a_pipe_gets_a_line_a_frame() -> None:
    read, write = os.pipe()
    sink = pipe_sink(write)
    taken = b""
    for index in range(5):
        sink.write(result(index))
        while taken.count(b"\n") < index + 1:
            assert select.select([read], [], [], 5)[0]
            taken += os.read(read, 65536)
    sink.close()
    sink.close()  # twice is no error
    assert os.read(read, 1) == b""  # its end of the pipe is closed
    os.close(read)
    assert [one["number"] for one in lines_of(taken)] == [0, 1, 2, 3, 4]
    assert len(lines_of(taken)[0]["lines"]) == 60
    assert sink.describe()["frames"] == 5
    assert sink.describe()["bytes"] == len(taken)


def test_a_consumer_that_does_not_read_costs_neither_time_nor_memory() -> None:
    read, write = os.pipe()
    sink = pipe_sink(write)
    begin = time.monotonic()
    for index in range(200):
        sink.write(result(index))
        assert len(sink._waiting) <= WAITING
    assert time.monotonic() - begin < 10
    begin = time.monotonic()
    sink.close()
    assert time.monotonic() - begin < 5
    facts = sink.describe()
    assert facts["made"] == 200
    assert facts["frames"] + facts["dropped"]["consumer too slow"] == 200
    assert facts["dropped"]["consumer too slow"] > 150
    os.close(read)


def test_a_slow_consumer_gets_whole_lines_the_newest_first_and_true_ages() -> None:
    read, write = os.pipe()
    clock = HandClock()
    sink = pipe_sink(write, way(clock))
    for index in range(300):
        sink.write(result(index))
    deadline = time.monotonic() + 5
    while sink._made - len(sink._waiting) - sink.dropped["consumer too slow"] < 2:  # the thread is stuck in the pipe
        assert time.monotonic() < deadline
        time.sleep(0.01)
    clock.pass_ms(5000)
    taken = b""
    while not taken.endswith(b"\n") or json.loads(taken.splitlines()[-1])["number"] != 299:
        assert select.select([read], [], [], 5)[0], "the last message never came"
        taken += os.read(read, 65536)
    sink.close()
    os.close(read)
    told = lines_of(taken)
    assert [one["number"] for one in told[-WAITING:]] == list(range(300 - WAITING, 300))
    assert [one["number"] for one in told] == sorted(one["number"] for one in told)
    assert told[0]["age_ms"] == 20.0
    assert told[-1]["age_ms"] == 5020.0  # it stood in line meanwhile


def write_for_a_while(sink: PipeSink) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        sink.write(result(0))
        time.sleep(0.01)


def test_a_consumer_that_closes_its_end_ends_the_run_with_one_sentence() -> None:
    read, write = os.pipe()
    sink = pipe_sink(write)
    os.close(read)
    with pytest.raises(OutputError, match="the consumer of stdout closed its end after 0 messages; the run ends"):
        write_for_a_while(sink)
    sink.close()
    assert sink.describe()["dropped"]["consumer gone"] >= 1


def test_a_consumer_that_goes_after_the_last_frame_is_no_error() -> None:
    read, write = os.pipe()
    sink = pipe_sink(write)
    os.close(read)
    with sink:
        sink.write(result(0))
    assert sink.describe()["dropped"] == {"consumer gone": 1}


def test_a_pipe_that_was_made_nonblocking_by_another_process_still_works() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    sink = pipe_sink(write)
    for index in range(60):  # more than the pipe holds
        sink.write(result(index))
    taken = b""
    while select.select([read], [], [], 0.3)[0]:
        taken += os.read(read, 4096)
    sink.close()
    os.close(read)
    assert lines_of(taken)[-1]["number"] == 59


RUN = """
import os, sys, time
from roadedge.errors import RoadEdgeError
from roadedge.stream.road_lines import RoadLines
from roadedge.stream.sink_pipe import WAITING, PipeSink
from roadedge.stream.sink_send import open_send, open_sends
from roadedge.stream.sink_sender import Way
from roadedge.stream.sink_udp import DATAGRAM_BYTES, UdpSink
from tests.stream.results import many_lines, nadir, result

lines, count = many_lines(60), int(sys.argv[1])
sink = open_send("stdout", RoadLines(lambda mask, gsd_m: lines))
begin = time.monotonic()
try:
    with sink:
        for index in range(count):
            sink.write(result(index, nadir()))
            time.sleep(0.002)
except RoadEdgeError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
finally:
    print(sink.describe(), f"in {time.monotonic() - begin:.1f} s", file=sys.stderr)
"""


def run(count: int, consumer: str) -> subprocess.CompletedProcess[str]:
    command = f'"{sys.executable}" -c "$RUN" {count} | {consumer}; exit ${{PIPESTATUS[0]}}'
    return subprocess.run(
        ["bash", "-c", command], env={**os.environ, "RUN": RUN}, capture_output=True, text=True, cwd=ROOT, timeout=60
    )


READER = """import json, sys
for line in sys.stdin:
    frame = json.loads(line)
    print(frame["number"], len(frame["lines"]))
"""


def test_a_consumer_in_a_process_of_its_own_reads_every_frame(tmp_path: Path) -> None:
    (tmp_path / "reader.py").write_text(READER)
    ended = run(50, f'"{sys.executable}" {tmp_path / "reader.py"}')
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "49 60"
    assert "'dropped': {}" in ended.stderr


def test_a_process_that_does_not_read_does_not_hold_the_run_up() -> None:
    command = [sys.executable, "-c", RUN, "200"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as ended:
        assert ended.wait(30) == 0  # it would wait for ever: nobody reads here
        assert ended.stderr is not None
        assert "'consumer too slow'" in ended.stderr.read()


def test_a_process_that_has_read_enough_ends_the_run() -> None:
    ended = run(5000, "head -n 3")
    assert ended.returncode == 9, ended.stderr
    assert [json.loads(line)["number"] for line in ended.stdout.splitlines()] == [0, 1, 2]
    assert "the consumer of stdout closed its end" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_stdout_may_be_a_file(tmp_path: Path) -> None:
    ended = run(20, f"cat > {tmp_path / 'a.jsonl'}")
    assert ended.returncode == 0
    assert lines_of((tmp_path / "a.jsonl").read_bytes())[-1]["number"] == 19
    with (tmp_path / "b.jsonl").open("wb") as file:
        sink = PipeSink(file.fileno(), "stdout", way())
        for index in range(5):
            sink.write(result(index))
        sink.close()
    assert [one["number"] for one in lines_of((tmp_path / "b.jsonl").read_bytes())] == [0, 1, 2, 3, 4]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_disk_behind_stdout_that_is_full_is_exit_9() -> None:
    sink = pipe_sink(os.open("/dev/full", os.O_WRONLY))
    with pytest.raises(OutputError, match="cannot write stdout: the disk is full"):
        write_for_a_while(sink)
    sink.close()
    assert sink.describe()["dropped"]["not written"] == 1


def test_crooked_roads_do_not_take_long_to_fit() -> None:
    lines = many_lines(400, 60)
    sink = UdpSink("127.0.0.1", 9, Way(RoadLines(lambda mask, gsd_m: lines), lambda: None, HandClock()))
    begin = time.monotonic()
    sink.write(result(0, nadir()))
    assert time.monotonic() - begin < 2
    assert np.isfinite(sink.describe()["largest_bytes"])
    sink.close()
