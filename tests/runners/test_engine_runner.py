"""The runner of engines on a fake GPU: what it computes, in which order, and what it gives back when a call fails."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from roadedge.errors import BackendMismatchError, RoadEdgeError, SpecMismatchError, UsageError
from roadedge.runners.base import Requested
from roadedge.runners.engine_runner import TensorRtRunner
from roadedge.spec import ModelSpec
from tests.runners.fake_gpu import (
    ORIN,
    SIZE,
    STEP_MS,
    FakeMemory,
    Gpu,
    Tensor,
    expected,
    fake_module,
    frames,
    open_fake,
    tensors,
    write_engine,
)

FREE = ModelSpec("roadedge-s", size=None, batch=None)
PROFILE = ((2, 32, 32), (2, 64, 64), (4, 128, 128))


def test_feeds_go_in_and_a_probability_comes_out(tmp_path: Path) -> None:
    feeds = frames()
    with open_fake(tmp_path, Gpu()) as runner:
        outputs = runner.infer(feeds)
    assert set(outputs) == {"probability"}
    assert (outputs["probability"] == expected(feeds)).all()


def test_logits_are_fetched_only_when_asked_for(tmp_path: Path) -> None:
    gpu = Gpu()
    with open_fake(tmp_path, gpu) as runner:
        plain = runner.infer(frames())
        once = gpu.calls.count("to_host")
        outputs = runner.infer(frames(), logits=True)
    assert set(plain) == {"probability"}
    assert (once, gpu.calls.count("to_host")) == (1, 3)
    assert outputs["logits"].shape == (1, 1, *SIZE)
    assert outputs["logits"].dtype == np.float32
    assert (outputs["logits"][:, 0] == expected(frames()).astype(np.float32) - 100).all()


def test_an_engine_without_logits_says_so(tmp_path: Path) -> None:
    with open_fake(tmp_path, Gpu(), tensors(logits=False)) as runner:
        with pytest.raises(SpecMismatchError, match=r"no output logits, only \['probability'\]; build it from"):
            runner.infer(frames(), logits=True)
        assert set(runner.infer(frames())) == {"probability"}  # and goes on


def test_a_result_is_not_overwritten_by_the_next(tmp_path: Path) -> None:
    with open_fake(tmp_path, Gpu(), frames=1) as runner:
        first = runner.infer(frames(seed=1))["probability"]
        runner.infer(frames(seed=2))
    assert (first == expected(frames(seed=1))).all()


def test_more_windows_than_the_batch_are_cut_and_the_rest_is_padded(tmp_path: Path) -> None:
    gpu, feeds = Gpu(), frames(5)
    with open_fake(tmp_path, gpu, tensors(batch=2), ModelSpec("roadedge-s", size=SIZE, batch=2)) as runner:
        outputs = runner.infer(feeds, logits=True)
    assert gpu.calls.count("execute_async_v3") == 3
    assert (outputs["probability"] == expected(feeds)).all()
    assert outputs["logits"].shape == (5, 1, *SIZE)


def test_nothing_is_allocated_after_opening(tmp_path: Path) -> None:
    gpu = Gpu()
    with open_fake(tmp_path, gpu) as runner:
        opened = Counter(gpu.calls)
        for seed in range(5):
            runner.infer(frames(seed=seed))
        taken = Counter(gpu.calls) - opened
    assert not {"allocate", "pinned", "event", "stream", "create_execution_context"} & set(taken)


# Several frames in flight


def test_frames_in_flight_come_back_in_the_order_of_submission(tmp_path: Path) -> None:
    given = [frames(seed=seed) for seed in range(7)]
    got = []
    with open_fake(tmp_path, Gpu(), frames=3) as runner:
        for feeds in given:
            if runner.in_flight == 3:
                got.append(runner.collect())
            runner.submit(feeds)
        got += [runner.collect() for _ in range(3)]
    assert all((out["probability"] == expected(feeds)).all() for feeds, out in zip(given, got, strict=True))


def test_a_frame_is_on_its_way_before_anybody_waits(tmp_path: Path) -> None:
    gpu = Gpu()
    with open_fake(tmp_path, gpu) as runner:
        runner.submit(frames(seed=1))
        runner.submit(frames(seed=2), logits=True)
        assert gpu.calls.count("wait") == 0
        assert set(runner.collect()) == {"probability"}
        assert set(runner.collect()) == {"probability", "logits"}


def test_one_frame_too_many_is_refused_and_the_others_are_kept(tmp_path: Path) -> None:
    with open_fake(tmp_path, Gpu(), frames=1) as runner:
        runner.submit(frames(seed=1))
        with pytest.raises(RoadEdgeError, match="all 1 frames are in flight"):
            runner.submit(frames(seed=2))
        with pytest.raises(RoadEdgeError, match="1 frames are in flight; collect"):
            runner.infer(frames(seed=2))
        assert (runner.collect()["probability"] == expected(frames(seed=1))).all()
        with pytest.raises(RoadEdgeError, match="no frame is in flight"):
            runner.collect()


def test_submit_takes_exactly_one_batch(tmp_path: Path) -> None:
    with open_fake(tmp_path, Gpu()) as runner, pytest.raises(SpecMismatchError, match="takes 1 windows at once, got 2"):
        runner.submit(frames(2))


def test_threads_share_a_runner_and_each_gets_its_own_answer(tmp_path: Path) -> None:
    windows = [frames(seed=seed) for seed in range(4)]
    with open_fake(tmp_path, Gpu()) as runner, ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda n: runner.infer(windows[n % 4])["probability"], range(40)))
    assert all((one == expected(windows[n % 4])).all() for n, one in enumerate(got))


# Shapes that vary


def free(folder: Path, gpu: Gpu, **options: object) -> TensorRtRunner:
    return open_fake(folder, gpu, tensors(profile=PROFILE), FREE, **options)


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (128, 128)])
@pytest.mark.parametrize("windows", [2, 3, 4])
def test_every_shape_inside_the_profile_is_taken(tmp_path: Path, windows: int, size: tuple[int, int]) -> None:
    feeds = frames(windows, size)
    with free(tmp_path, Gpu()) as runner:
        outputs = runner.infer(feeds, logits=True)
    assert (outputs["probability"] == expected(feeds)).all()
    assert outputs["logits"].shape == (windows, 1, *size)


@pytest.mark.parametrize("size", [(160, 128), (128, 160), (32, 160)])
def test_a_size_outside_the_profile_is_refused_and_the_runner_goes_on(tmp_path: Path, size: tuple[int, int]) -> None:
    with free(tmp_path, Gpu()) as runner:
        with pytest.raises(SpecMismatchError, match=r"from \(2, 32, 32, 3\) to \(4, 128, 128, 3\), got .*--dynamic"):
            runner.infer(frames(2, size))
        assert (runner.infer(frames(2))["probability"] == expected(frames(2))).all()


@pytest.mark.parametrize(("windows", "runs"), [(1, 1), (4, 1), (9, 3)])
def test_windows_are_cut_to_what_the_profile_takes_at_once(tmp_path: Path, windows: int, runs: int) -> None:
    gpu, feeds = Gpu(), frames(windows)
    with free(tmp_path, gpu) as runner:
        got = runner.infer(feeds)["probability"]
    assert gpu.calls.count("execute_async_v3") == runs
    assert (got == expected(feeds)).all()


def test_frames_of_different_shapes_fly_together(tmp_path: Path) -> None:
    small, large = frames(2, (32, 64), seed=1), frames(4, (128, 96), seed=2)
    with free(tmp_path, Gpu()) as runner:
        runner.submit(small)
        runner.submit(large)
        got = [runner.collect()["probability"] for _ in range(2)]
    assert (got[0] == expected(small)).all()
    assert (got[1] == expected(large)).all()


# Time


def test_the_stages_are_timed_by_events(tmp_path: Path) -> None:
    with open_fake(tmp_path, Gpu()) as runner:
        runner.infer(frames(), logits=True)
        spent = runner.last_ms
    # From the event that opens a stage to the one that ends it: two copies in, one network, two copies out.
    assert {name: spent[name] / STEP_MS for name in ("h2d", "gpu", "d2h")} == {"h2d": 3, "gpu": 2, "d2h": 3}
    assert 0 < spent["enqueue"] < spent["infer"]  # by the host, beside the device
    assert spent["infer"] > 0


def test_the_stages_of_several_batches_add_up(tmp_path: Path) -> None:
    with open_fake(tmp_path, Gpu()) as runner:
        runner.infer(frames(3))
        assert runner.last_ms["gpu"] == 3 * 2 * STEP_MS
        runner.infer(frames())
        assert runner.last_ms["gpu"] == 2 * STEP_MS


# CUDA graphs


def test_a_graph_is_captured_once_for_each_frame_and_launched_ever_after(tmp_path: Path) -> None:
    gpu, given = Gpu(), [frames(seed=seed) for seed in range(6)]
    with open_fake(tmp_path, gpu, cuda_graph=True, frames=2) as runner:
        opened = Counter(gpu.calls)
        got = [runner.infer(feeds)["probability"] for feeds in given]
    assert opened["begin_capture"] == opened["end_capture"] == 2
    assert Counter(gpu.calls)["begin_capture"] == 2
    assert Counter(gpu.calls)["execute_async_v3"] == opened["execute_async_v3"] == 4  # one run before each capture
    assert gpu.calls.count("launch") == 6
    assert all((one == expected(feeds)).all() for feeds, one in zip(given, got, strict=True))


def test_an_engine_of_several_shapes_takes_no_graph(tmp_path: Path) -> None:
    gpu = Gpu()
    with pytest.raises(UsageError, match="one shape"):
        free(tmp_path, gpu, cuda_graph=True)
    assert not gpu.live


# What is given back


ORDER = ("context", "engine", "runtime", "device memory", "stream", "primary context")


def test_everything_is_given_back_context_first_and_memory_last(tmp_path: Path) -> None:
    gpu = Gpu()
    runner = open_fake(tmp_path, gpu, cuda_graph=True)
    runner.infer(frames())
    runner.close()
    kinds = [name.rsplit(" ", 1)[0] for name in gpu.released]
    assert not gpu.live
    assert [kind for kind in dict.fromkeys(kinds) if kind in ORDER] == list(ORDER)
    calls = len(gpu.calls)
    runner.close()
    assert len(gpu.calls) == calls


def test_frames_in_flight_are_waited_for_before_their_memory_goes(tmp_path: Path) -> None:
    gpu = Gpu()
    runner = open_fake(tmp_path, gpu)
    runner.submit(frames())
    runner.close()
    assert not gpu.queue
    assert gpu.calls.index("synchronize") < gpu.calls.index("unpin")
    with pytest.raises(RoadEdgeError, match="closed"):
        runner.infer(frames())
    with pytest.raises(RoadEdgeError, match="closed"):
        runner.submit(frames())


def lifetime(folder: Path, gpu: Gpu, listed: Callable[[], list[Tensor]], spec: ModelSpec | None, graph: bool) -> None:
    """Opening, three frames, closing."""
    with open_fake(folder, gpu, listed(), spec, cuda_graph=graph) as runner:
        runner.infer(frames(2), logits=True)
        runner.submit(frames(2 if spec is FREE else 1))
        runner.collect()


KINDS = {
    "fixed": (tensors, None, False),
    "free": (lambda: tensors(profile=PROFILE), FREE, False),
    "graph": (tensors, None, True),
}


def sequence(kind: str, folder: Path) -> list[str]:
    gpu = Gpu()
    lifetime(folder, gpu, *KINDS[kind])
    assert not gpu.live
    return gpu.calls


@pytest.mark.parametrize("kind", KINDS)
def test_whichever_call_fails_it_is_one_sentence_and_nothing_is_leaked(tmp_path: Path, kind: str) -> None:
    calls = sequence(kind, tmp_path)
    assert len(calls) > 50
    for number, name in enumerate(calls):
        gpu = Gpu(fail_at=number)
        with pytest.raises(RoadEdgeError) as caught:
            lifetime(tmp_path, gpu, *KINDS[kind])
        assert gpu.calls[number] == name
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) > 40, f"call {number}, {name}: {caught.value}"
        assert not gpu.live, f"call {number}, {name}: {sorted(gpu.live)} leaked"
        assert gpu.inside == 0


def test_after_a_failure_the_runner_says_so_and_goes_quietly(tmp_path: Path) -> None:
    well = Gpu()
    with open_fake(tmp_path, well) as runner:
        runner.infer(frames())
    gpu = Gpu(fail_at=well.calls.index("wait"))
    runner = open_fake(tmp_path, gpu)
    with pytest.raises(RoadEdgeError, match="CUDA failed at wait"):
        runner.infer(frames())
    with pytest.raises(RoadEdgeError, match=r"closed after a failure .*CUDA failed at wait.*open it again"):
        runner.infer(frames())
    gpu.fail_at = len(gpu.calls) + 3  # what fails while it is closed is a consequence, and not said
    runner.close()
    assert not gpu.live


# What it says of itself


def test_the_runner_says_what_runs(tmp_path: Path) -> None:
    with open_fake(tmp_path, Gpu()) as runner:
        said = json.loads(json.dumps(runner.describe()))
    assert (said["backend"], said["version"], said["device"]) == ("tensorrt", "10.3.0", "Orin (compute capability 8.7)")
    assert (said["precision"], said["graph_precision"]) == ("int8+fp16", "int8")
    assert said["requested"]["backend"] == "tensorrt"


def test_another_precision_than_the_engines_is_refused_before_the_gpu_is_touched(tmp_path: Path) -> None:
    gpu = Gpu()
    engine = write_engine(tmp_path)
    with pytest.raises(BackendMismatchError, match=r"int8\+fp16 .* and fp16 was asked for"):
        TensorRtRunner(
            engine, Requested("tensorrt", "fp16"), ORIN, fake_module(gpu, tensors()), lambda: FakeMemory(gpu)
        )
    assert gpu.calls == []


def test_no_frames_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least one frame"):
        open_fake(tmp_path, Gpu(), frames=0)


def test_a_foreign_engine_is_fed_by_its_ports(tmp_path: Path) -> None:
    from tests.runners.fake_gpu import Kind, Mode

    listed = [
        Tensor("rgb", Mode.INPUT, Kind.FLOAT, (1, 3, *SIZE)),
        Tensor("road_prob", Mode.OUTPUT, Kind.HALF, (1, 1, *SIZE)),
    ]
    with open_fake(tmp_path, Gpu(), listed, ModelSpec("other", ("image",), SIZE, 1)) as runner:
        assert runner._face.foreign
        assert [plug.channels_first for plug in runner._face.plugs] == [True]
