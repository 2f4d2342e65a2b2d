"""CUDA memory by cuda-python and by pycuda: what is called, in which context, and what a failure says."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

from roadedge.errors import EnvironmentFault, RoadEdgeError, UsageError
from roadedge.runners.cuda_python_memory import CudaPython
from roadedge.runners.device_memory import DeviceMemory, open_memory
from roadedge.runners.pycuda_memory import PyCuda
from tests.runners.fake_cuda import FakeCudaRuntime, FakePyCuda

Fake = FakeCudaRuntime | FakePyCuda


def install(monkeypatch: pytest.MonkeyPatch, fake: Fake) -> None:
    """Let `import` find this library and not the other one."""
    for name in ("cuda", "cuda.bindings", "cuda.bindings.runtime", "pycuda", "pycuda.driver"):
        monkeypatch.setitem(sys.modules, name, None)
    library = "pycuda" if isinstance(fake, FakePyCuda) else "cuda"
    packages = [ModuleType(library), *([ModuleType("cuda.bindings")] if library == "cuda" else []), fake]
    for package, inner in itertools.pairwise(packages):
        setattr(package, inner.__name__.rsplit(".", 1)[1], inner)
    for package in packages:
        monkeypatch.setitem(sys.modules, package.__name__, package)


def there_and_back(memory: DeviceMemory) -> bool:
    """What a runner does in its life, graph included where there is one; whether the bytes came back."""
    sent = np.arange(24, dtype=np.uint8)
    with memory.active():
        stream, events = memory.stream(), [memory.event(), memory.event()]
        address, out, back = memory.allocate(24), memory.pinned(24), memory.pinned(24)
        np.copyto(out, sent)
        memory.record(events[0], stream)
        memory.to_device(address, out.view(np.float32).reshape(2, 3), stream)
        memory.to_host(back, address, stream)
        memory.record(events[1], stream)
        memory.wait(events[1])
        memory.synchronize(stream)
        assert memory.elapsed_ms(*events) == 0.5
        assert isinstance(memory.handle(stream), int)
        if memory.captures:
            memory.begin_capture(stream)
            graph = memory.end_capture(stream)
            memory.launch(graph, stream)
            memory.drop_graph(graph)
        arrived = bool((back == sent).all())
        memory.unpin(out)
        memory.unpin(back)
        memory.free(address)
        for event in events:
            memory.drop_event(event)
        memory.drop_stream(stream)
    memory.close()
    return arrived


def test_bytes_go_there_and_back_by_cuda_python(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeCudaRuntime()
    install(monkeypatch, fake)
    assert there_and_back(CudaPython())
    assert not fake.held
    assert not fake.alive


def test_bytes_go_there_and_back_by_pycuda(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakePyCuda()
    install(monkeypatch, fake)
    assert there_and_back(PyCuda())
    assert not fake.held
    assert fake.depth == 0
    assert (fake.calls.count("retain_primary_context"), fake.calls.count("push"), fake.calls.count("pop")) == (1, 1, 1)


def test_pycuda_makes_no_context_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, FakePyCuda())
    PyCuda()
    assert "pycuda.autoinit" not in sys.modules
    assert "pycuda.autoprimaryctx" not in sys.modules


def calls_of(make: Callable[[], Fake], memory: type[DeviceMemory]) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        fake = make()
        install(patch, fake)
        assert there_and_back(memory())
    return sorted(set(fake.calls))


@pytest.mark.parametrize("name", calls_of(FakeCudaRuntime, CudaPython))
def test_each_status_of_cuda_python_is_looked_at(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    install(monkeypatch, FakeCudaRuntime(name))
    with pytest.raises(EnvironmentFault, match=r"^CUDA failed at [^\n]*: an illegal memory access [^\n]*; start the"):
        there_and_back(CudaPython())


@pytest.mark.parametrize("name", calls_of(FakePyCuda, PyCuda))
def test_each_error_of_pycuda_is_one_sentence(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    fake = FakePyCuda(name)
    install(monkeypatch, fake)
    with pytest.raises(
        EnvironmentFault, match=r"^CUDA failed at [^\n]* failed: out of memory; the GPU's memory is full"
    ):
        there_and_back(PyCuda())
    assert fake.depth == 0


def test_a_full_gpu_says_how_much_was_wanted_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, FakeCudaRuntime("cudaMalloc", status=2))
    memory = CudaPython()
    with memory.active(), pytest.raises(EnvironmentFault) as caught:
        memory.allocate(1 << 20)
    assert str(caught.value) == (
        "CUDA failed at allocating 1048576 bytes on the GPU: out of memory; "
        "the GPU's memory is full; close other programs, or take a smaller batch or size"
    )
    assert caught.value.exit_code == 3


def test_a_missing_library_of_cuda_is_a_sentence_too(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeCudaRuntime()

    def absent(device: int) -> tuple[int]:
        raise RuntimeError("Failed to dlopen libcuda.so.1")

    monkeypatch.setattr(fake, "cudaSetDevice", absent)
    install(monkeypatch, fake)
    with pytest.raises(EnvironmentFault, match=r"choosing the GPU: Failed to dlopen libcuda\.so\.1"):
        open_memory()


def test_pycuda_has_no_graphs_and_says_what_has(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, FakePyCuda())
    memory = PyCuda()
    for call in (lambda: memory.begin_capture(1), lambda: memory.end_capture(1), lambda: memory.launch(1, 1)):
        with pytest.raises(UsageError, match="pycuda has no CUDA graphs; pip install cuda-python"):
            call()


@pytest.mark.parametrize(("fake", "name"), [(FakeCudaRuntime(), "cuda-python"), (FakePyCuda(), "pycuda")])
def test_the_library_that_is_there_is_taken(monkeypatch: pytest.MonkeyPatch, fake: Fake, name: str) -> None:
    install(monkeypatch, fake)
    assert open_memory().name == name


def test_without_either_both_are_named_with_how_to_install_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cuda", "cuda.bindings", "pycuda", "pycuda.driver"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RoadEdgeError, match=r"pip install 'cuda-python==12\.\*', or pip install pycuda") as caught:
        open_memory("12.6")
    assert caught.value.exit_code == 3
