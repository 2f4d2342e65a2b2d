"""Video in and out: presentation times are kept, a cut file says so, what came before a kill or a full disk plays."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from roadedge.errors import DataError, EnvironmentFault, MissingExtraError, OutputError
from roadedge.sample import RoadMask, Sample
from roadedge.stream.sinks import Result, VideoSink
from roadedge.stream.sources import Frame, Second
from roadedge.stream.video import VideoFile

av = pytest.importorskip("av", reason="the video extra is not installed")
TIMES_S = (0.0, 0.1, 0.2, 0.5, 0.6, 0.7, 0.8, 0.9)  # a gap of two frames


def result(index: int, time_s: float, size: tuple[int, int] = (48, 64)) -> Result:
    image = np.random.default_rng(index).integers(0, 255, (*size, 3), np.uint8)
    mask = np.zeros(size, bool)
    mask[10:20] = True
    road = RoadMask(np.where(mask, np.uint8(255), np.uint8(0)), mask)
    frame = Frame(f"{index:06d}", Sample(image, id=f"{index:06d}"))
    return Result(frame, road, Second(np.zeros(size, np.uint8), 0), time_s)


def write_video(path: Path, fast_start: bool = False) -> None:
    with VideoSink(path, side_by_side=False) as sink:
        for index, time_s in enumerate(TIMES_S):
            sink.write(result(index, time_s))


def test_frames_come_back_at_the_times_they_were_captured(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4")
    with VideoFile(tmp_path / "a.mp4", gsd_m=0.4) as video:
        assert video.count == len(TIMES_S)
        frames = [video.read() for _ in range(len(TIMES_S) + 2)]
    assert frames[-2:] == [None, None]
    shown = [frame for frame in frames if frame is not None]
    assert [frame.capture_s for frame in shown] == pytest.approx(list(TIMES_S))
    assert {frame.clock for frame in shown} == {"pts"}
    assert shown[0].sample.size == (48, 64)
    assert shown[0].sample.gsd_m == 0.4
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]  # no temporary file is left


def test_skipped_frames_are_passed_over(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4")
    with VideoFile(tmp_path / "a.mp4") as video:
        assert video.skip(3) == 3
        frame = video.read()
        assert frame is not None
        assert frame.capture_s == pytest.approx(0.5)
        assert video.skip(100) == 4


def encode(
    path: Path,
    coder: str = "libx264",
    container: str | None = None,
    at: Sequence[int] = range(6),
    tags: dict[str, str] | None = None,
) -> Path:
    """A video of 10 pictures a second, each shown `at` tenths of a second."""
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(coder, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p" if coder == "mjpeg" else "yuv420p"
        out.metadata.update(tags or {})
        for number, tenth in enumerate(at):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = tenth, Fraction(1, 10)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def read_all(path: Path) -> list[Frame]:
    with VideoFile(path) as video:
        return list(iter(video.read, None))


def test_a_steady_video_has_nothing_to_be_said(tmp_path: Path) -> None:
    frames = read_all(encode(tmp_path / "a.mp4"))
    assert [frame.notice for frame in frames] == [""] * 6
    assert [frame.capture_s for frame in frames] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])


def test_a_variable_rate_is_read_by_its_presentation_times_and_said_once(tmp_path: Path) -> None:
    frames = read_all(encode(tmp_path / "a.mkv", at=(0, 1, 2, 5, 6, 12)))
    assert [frame.capture_s for frame in frames] == pytest.approx([0.0, 0.1, 0.2, 0.5, 0.6, 1.2])
    assert ["variable frame rate" in frame.notice for frame in frames] == [False] * 3 + [True] + [False] * 2


@pytest.mark.parametrize(
    ("coder", "suffix", "said"), [("libx264", "h264", "/ 10 a"), ("mjpeg", "mjpeg", "/ 25 a second, which is assumed")]
)
def test_a_video_without_timestamps_is_counted_by_its_rate_and_says_so(
    tmp_path: Path, coder: str, suffix: str, said: str
) -> None:
    frames = read_all(encode(tmp_path / f"a.{suffix}", coder, suffix))
    assert {frame.clock for frame in frames} == {"frame-rate"}
    step_s = 0.1 if coder == "libx264" else 0.04
    assert [frame.capture_s for frame in frames] == pytest.approx([number * step_s for number in range(6)])
    assert "has no timestamps" in frames[0].notice
    assert said in frames[0].notice
    assert [frame.notice for frame in frames[1:]] == [""] * 5


@pytest.mark.parametrize(
    ("coder", "suffix", "tag", "other", "named"),
    [
        ("libx264", "mp4", b"avc1", b"evc1", "coded in evc,"),
        ("mjpeg", "avi", b"MJPG", b"QZQZ", r"unknown codec \(QZQZ\)"),
    ],
)
def test_a_codec_that_is_missing_is_named(
    tmp_path: Path, coder: str, suffix: str, tag: bytes, other: bytes, named: str
) -> None:
    path = encode(tmp_path / f"a.{suffix}", coder)
    path.write_bytes(path.read_bytes().replace(tag, other))
    with pytest.raises(DataError, match=rf"a\.{suffix} is .*{named}.* has no decoder; convert it"):
        VideoFile(path)


@pytest.mark.parametrize(
    ("written", "epoch_s"),
    [
        ("2024-05-03T12:01:02.500000Z", 1714737662.5),
        ("2024-05-03T14:01:02+02:00", 1714737662.0),
        ("1970-01-01T00:00:00Z", None),  # a clock that was never set
        ("yesterday", None),
        ("", None),
    ],
)
def test_when_a_recording_began_is_taken_from_its_container(
    tmp_path: Path, written: str, epoch_s: float | None
) -> None:
    with VideoFile(encode(tmp_path / "a.mkv", tags={"creation_time": written} if written else {})) as video:
        assert video.epoch_s == epoch_s


def frames_until_it_breaks(path: Path) -> int:
    read = 0
    with VideoFile(path) as video:
        try:
            while video.read() is not None:
                read += 1
        except DataError:
            return read
    pytest.fail("a cut file ended without a word")


def test_a_file_cut_in_the_middle_gives_what_it_holds_and_then_says_so(tmp_path: Path) -> None:
    whole = tmp_path / "whole.mp4"
    with av.open(str(whole), "w", options={"movflags": "faststart"}) as out:  # its index stands in front
        stream = out.add_stream("libx264", rate=10, options={"g": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(12):
            frame = av.VideoFrame.from_ndarray(np.asarray(result(index, 0.0).frame.sample.image), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 10)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.6)])
    read = frames_until_it_breaks(cut)
    assert 3 <= read < 12
    with VideoFile(cut) as video:
        assert video.skip(read) == read
        with pytest.raises(DataError, match=f"after {read}"):
            video.read()
        assert video.read() is None  # then it has ended


def write_matroska(path: Path, count: int = 20) -> bytes:
    """A file that states how long it is, and not how many frames it has."""
    with av.open(str(path), "w", format="matroska") as out:
        stream = out.add_stream("libx264", rate=10, options={"g": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(count):
            picture = np.asarray(result(index, 0.0).frame.sample.image)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode(None))
    return path.read_bytes()


def test_a_whole_file_without_a_count_of_frames_ends_in_peace(tmp_path: Path) -> None:
    write_matroska(tmp_path / "a.mkv")
    with VideoFile(tmp_path / "a.mkv") as video:
        assert video.count is None
        assert video.skip(100) == 20
        assert video.read() is None


@pytest.mark.parametrize("share", [0.2, 0.6, 0.9])
def test_a_cut_file_without_a_count_of_frames_is_told_by_its_duration(tmp_path: Path, share: float) -> None:
    whole = write_matroska(tmp_path / "a.mkv")
    (tmp_path / "cut.mkv").write_bytes(whole[: int(len(whole) * share)])
    assert frames_until_it_breaks(tmp_path / "cut.mkv") < 20


def test_a_video_without_its_index_cannot_be_opened(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4")
    whole = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="was it copied whole"):
        VideoFile(tmp_path / "cut.mp4")


def test_odd_sizes_and_a_change_of_size_fit_one_video(tmp_path: Path) -> None:
    with VideoSink(tmp_path / "a.mp4", side_by_side=True) as sink:
        sink.write(result(0, 0.0, (33, 47)))
        sink.write(result(1, 0.1, (60, 20)))
        sink.write(result(2, 0.1, (60, 20)))  # the same time again: pushed on by a millisecond
    with VideoFile(tmp_path / "a.mp4") as video:
        frames = [video.read() for _ in range(3)]
    assert all(frame is not None and min(frame.sample.size) > 0 for frame in frames)
    assert frames[0] is not None
    assert frames[0].sample.size[0] % 2 == frames[0].sample.size[1] % 2 == 0


def test_without_a_single_frame_no_video_is_made(tmp_path: Path) -> None:
    with VideoSink(tmp_path / "a.mp4", side_by_side=False):
        pass
    assert list(tmp_path.iterdir()) == []


def frames_of(path: Path) -> int:
    with VideoFile(path) as video:
        return video.skip(10_000)


def test_an_error_on_the_way_leaves_the_video_up_to_there(tmp_path: Path) -> None:
    def broken_run() -> None:
        with VideoSink(tmp_path / "a.mp4", side_by_side=False) as sink:
            sink.write(result(0, 0.0))
            raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        broken_run()
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert frames_of(tmp_path / "a.mp4") == 1


WRITE_WITHOUT_END = """
import os, resource, sys
from pathlib import Path
from roadedge.errors import OutputError
from roadedge.stream.sinks import VideoSink
from tests.stream.test_video import result

path, limit = Path(sys.argv[1]), int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
sink = VideoSink(path, side_by_side=False)
for index in range(400):
    try:
        sink.write(result(index, index / 10, (96, 128)))
    except OutputError as error:
        sink.close()  # there is nothing to finish any more
        print(error)
        sys.exit(error.exit_code)
os.kill(os.getpid(), 9)
"""


def write_without_end(path: Path, limit: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WRITE_WITHOUT_END, str(path), str(limit)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=Path(__file__).parents[2])


def test_a_run_that_is_killed_leaves_a_video_that_plays(tmp_path: Path) -> None:
    assert write_without_end(tmp_path / "a.mp4", 0).returncode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == ["a.part.mp4"]
    assert frames_of(tmp_path / "a.part.mp4") > 300  # of 400: the encoder and the last fragment are lost


def test_a_file_that_must_not_grow_is_an_output_error_and_stays_playable(tmp_path: Path) -> None:
    ended = write_without_end(tmp_path / "a.mp4", 600_000)
    assert ended.returncode == 9, ended.stderr
    assert "cannot write" in ended.stdout
    assert "the video up to there is" in ended.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["a.part.mp4"]
    assert frames_of(tmp_path / "a.part.mp4") > 20


def test_a_disk_that_is_full_from_the_start_leaves_no_video(tmp_path: Path) -> None:
    ended = write_without_end(tmp_path / "a.mp4", 100)
    assert ended.returncode == 9, ended.stderr
    assert "the video up to there" not in ended.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_is_an_output_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = VideoSink(tmp_path / "a.mp4", side_by_side=False)
    sink.write(result(0, 0.0))

    class Full:
        def mux(self, packets: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sink, "_container", Full())
    with pytest.raises(OutputError, match="the disk is full"):
        sink.write(result(1, 0.1))
    sink.close()  # there is nothing to finish any more
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("first_s", [-5.0, 0.0, 1000.0, 1.7e9])
def test_a_video_begins_with_its_first_frame_whatever_the_clock(tmp_path: Path, first_s: float) -> None:
    with VideoSink(tmp_path / "a.mp4", side_by_side=False) as sink:
        for index, time_s in enumerate(TIMES_S):
            sink.write(result(index, first_s + time_s))
    with VideoFile(tmp_path / "a.mp4") as video:
        frames = [video.read() for _ in TIMES_S]
    assert [frame and frame.capture_s for frame in frames] == pytest.approx(list(TIMES_S), abs=1e-6)


def test_time_that_goes_back_does_not_end_a_video(tmp_path: Path) -> None:
    with VideoSink(tmp_path / "a.mp4", side_by_side=False) as sink:
        for index, time_s in enumerate((0.0, 5.0, 1.0, 2.0, 6.0)):
            sink.write(result(index, time_s))
    assert frames_of(tmp_path / "a.mp4") == 5


def test_a_picture_of_one_pixel_is_padded(tmp_path: Path) -> None:
    with VideoSink(tmp_path / "a.mp4", side_by_side=False) as sink:
        sink.write(result(0, 0.0, (1, 1)))
    assert frames_of(tmp_path / "a.mp4") == 1


def test_a_pyav_without_the_encoder_is_said_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str, mode: str) -> object:
        raise av.codec.codec.UnknownCodecError(name)

    monkeypatch.setattr(av.codec, "Codec", unknown)
    with pytest.raises(EnvironmentFault, match="x264"):
        VideoSink(tmp_path / "a.mp4", side_by_side=False)


def test_a_video_says_how_much_it_wrote(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "a.mp4", side_by_side=False)
    sink.write(result(0, 0.0))
    sink.close()
    assert sink.describe() == {"sink": "video", "frames": 1, "bytes": (tmp_path / "a.mp4").stat().st_size}


def test_without_the_extra_the_sentence_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"reading a video needs PyAV.*roadedge\[video\]"):
        VideoFile(tmp_path / "a.mp4")
