"""Who computes the tiles: this thread, threads of this process, processes, or actors on a Ray cluster.

All take the same job and the same batches, and a tile's file does not depend on who wrote it: the executors differ in
where the work is done and in nothing else.
"""

from __future__ import annotations

import importlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from roadedge.errors import RoadEdgeError, UnknownNameError
from roadedge.roadmap.job import Job, TileDone
from roadedge.roadmap.worker import Sources, Worker
from roadedge.runners import Runner

Batches = Sequence[list[int]]
OnDone = Callable[[TileDone], None]
Tell = Callable[[str], None]
MOST_LOSSES = 3  # workers that one batch may take with it before it is given up


@dataclass(frozen=True, slots=True)
class Crew:
    """How many workers of how many threads; `chosen`: by the user, not by the number of processors here.

    `first` is a network that is loaded already, for a worker of this process. Of Ray: where its cluster is, what an
    actor asks for, and how long a batch may take before it counts as lost.
    """

    workers: int
    threads: int = 1
    chosen: bool = False
    first: Runner | None = None
    ray_address: str | None = None
    ray_gpus: float = 0.0
    ray_cpus: float = 0.5
    patience_s: float = 600.0


Executor = Callable[[Job, Batches, Crew, OnDone, Tell], None]


def run_serial(job: Job, batches: Batches, crew: Crew, on_done: OnDone, tell: Tell) -> None:
    """One after the other, in this thread; the back-end may use all cores for each."""
    with Worker(job, runner=crew.first) as worker:
        for batch in batches:
            for done in worker.run(batch):
                on_done(done)


def run_threads(job: Job, batches: Batches, crew: Crew, on_done: OnDone, tell: Tell) -> None:
    """Threads that share the open files, each with a network of its own: reading, inference and writing overlap."""
    todo: deque[list[int]] = deque(batches)  # popping is atomic
    results: queue.Queue[list[TileDone] | BaseException] = queue.Queue()
    stop = threading.Event()
    sources = Sources(job)

    def work(runner: Runner | None) -> None:
        try:
            with Worker(job, sources, runner) as worker:
                while not stop.is_set():
                    try:
                        batch = todo.popleft()
                    except IndexError:
                        return
                    results.put(worker.run(batch))
        except BaseException as error:  # handed to the thread that waits for it
            results.put(error)

    loaded = [crew.first, *[None] * (crew.workers - 1)]
    crowd = [threading.Thread(target=work, args=(runner,), name="map") for runner in loaded[: len(batches)]]
    try:
        for thread in crowd:
            thread.start()
        for _ in batches:
            answer = results.get()
            if isinstance(answer, BaseException):
                raise answer
            for done in answer:
                on_done(done)
    finally:
        stop.set()
        for thread in crowd:
            if thread.ident is not None:
                thread.join()
        sources.close()


def gave_up(batch: list[int], losses: int) -> RoadEdgeError:
    """What is said of a batch that takes its workers with it."""
    return RoadEdgeError(
        f"{losses} workers were lost with tile {batch[0]}; is memory short? take a smaller --tile or fewer --workers, "
        "and go on with --resume"
    )


def executor(name: str) -> Executor:
    """Look an executor up by its name; raises UnknownNameError."""
    if name not in EXECUTORS:
        raise UnknownNameError("executor", name, EXECUTORS)
    found = EXECUTORS[name]
    if isinstance(found, str):  # of a module that is loaded when it is wanted
        module, _, function = found.partition(":")
        found = getattr(importlib.import_module(module), function)
    return found


HERE = ("serial", "threads")  # compute in this process
EXECUTORS: dict[str, Executor | str] = {
    "serial": run_serial,
    "threads": run_threads,
    "processes": "roadedge.roadmap.processes:run_processes",
    "ray": "roadedge.roadmap.ray_actors:run_ray",
}
