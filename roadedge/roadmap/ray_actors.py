"""Tiles on a Ray cluster: actors that keep the network loaded; one that is lost is replaced, its tiles are done again.

An actor asks for a fraction of a processor, so that it never takes the last one from the tasks that Ray itself has to
run; GPUs are asked for as a whole. What is silent for too long counts as lost: a dead actor may never say so.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections import Counter, deque
from typing import Any

from roadedge.errors import EnvironmentFault, MissingExtraError, RoadEdgeError
from roadedge.roadmap.executors import MOST_LOSSES, Batches, Crew, OnDone, Tell, gave_up
from roadedge.roadmap.job import Job, TileDone
from roadedge.roadmap.worker import Worker

LOOK_S = 5.0  # between two looks at who is silent
HIRE_S = 120.0  # until a cluster without room for one actor is an error


class _Actor:
    """What runs on the cluster. Its network is loaded with its first batch, so that an error comes back as one."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._worker: Worker | None = None

    def ready(self) -> bool:
        return True

    def run(self, batch: list[int]) -> list[TileDone]:
        if self._worker is None:
            self._worker = Worker(self._job)
        return self._worker.run(batch)


def run_ray(job: Job, batches: Batches, crew: Crew, on_done: OnDone, tell: Tell) -> None:
    """Actors on a Ray cluster, which all see the scene, the points and the output folder under the same paths.

    Raises:
        MissingExtraError: Ray is not installed.
        EnvironmentFault: no cluster is there, or it has no room for an actor.
        RoadEdgeError: a batch took three actors with it; what an actor raised.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("ray", "ray", "the executor ray") from error
    started = _start(ray, crew)
    try:
        _Crowd(ray, job, crew, tell).work(batches, on_done)
    finally:
        if started:
            ray.shutdown()


def _start(ray: Any, crew: Crew) -> bool:
    """Connect to the cluster, or start one of this machine; False where this process is connected already."""
    if ray.is_initialized():
        return False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if crew.ray_address is None:  # workers find what this process finds, installed or not
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        options |= {"include_dashboard": False, "num_cpus": max(1, crew.workers)}
        options["runtime_env"] = {"env_vars": {"PYTHONPATH": paths}}
    try:
        ray.init(address=crew.ray_address, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0][:160]
        raise EnvironmentFault(
            f"no Ray cluster at {crew.ray_address or 'this machine'} ({reason}); start one with ray start --head"
        ) from error
    return True


class _Crowd:
    """The actors and what each is at."""

    def __init__(self, ray: Any, job: Job, crew: Crew, tell: Tell) -> None:
        self._ray, self._crew, self._tell = ray, crew, tell
        self._kind = ray.remote(num_cpus=crew.ray_cpus, num_gpus=crew.ray_gpus, max_restarts=0)(_Actor)
        self._job = ray.put(job)
        self._todo: deque[list[int]] = deque()
        self._losses: Counter[int] = Counter()
        self._at: dict[Any, tuple[Any, list[int], float]] = {}  # answer to come → actor, batch, since when

    def work(self, batches: Batches, on_done: OnDone) -> None:
        """All batches, each until it is done."""
        self._todo.extend(batches)
        actors = [self._kind.remote(self._job) for _ in range(min(self._size(), len(batches)))]
        self._await_one(actors)
        for actor in actors:
            self._give(actor)
        while self._at:
            ready, _ = self._ray.wait(list(self._at), num_returns=1, timeout=LOOK_S)
            for answer in ready:
                self._take(answer, on_done)
            self._look_for_the_silent()

    def _await_one(self, actors: list[Any]) -> None:
        """Until one has begun, on whatever machine; the others may come later, as room is made for them."""
        ready, _ = self._ray.wait([actor.ready.remote() for actor in actors], num_returns=1, timeout=HIRE_S)
        if not ready:
            raise EnvironmentFault(
                f"no actor has begun within {HIRE_S:.0f} s: one asks for {self._crew.ray_cpus} CPU and "
                f"{self._crew.ray_gpus} GPU, the cluster has {self._ray.cluster_resources()}"
            )

    def _size(self) -> int:
        """As many as were asked for, else as many as the cluster has room for."""
        if self._crew.chosen or self._crew.ray_address is None:
            return self._crew.workers
        there = self._ray.cluster_resources()
        if self._crew.ray_gpus:
            return max(1, int(there.get("GPU", 0) / self._crew.ray_gpus))
        return max(1, int(there.get("CPU", 1) / max(1, self._crew.threads)))

    def _give(self, actor: Any) -> None:
        if self._todo:
            batch = self._todo.popleft()
            self._at[actor.run.remote(batch)] = actor, batch, time.monotonic()
        else:
            self._ray.kill(actor)

    def _take(self, answer: Any, on_done: OnDone) -> None:
        actor, batch, _ = self._at.pop(answer)
        try:
            finished = self._ray.get(answer)
        except self._ray.exceptions.RayActorError as error:
            self._lost(batch, str(error).strip().splitlines()[0][:120])
        except self._ray.exceptions.RayTaskError as error:
            raise (error.cause if isinstance(error.cause, RoadEdgeError) else error) from error
        else:
            self._give(actor)
            for done in finished:
                on_done(done)

    def _lost(self, batch: list[int], how: str) -> None:
        self._losses[batch[0]] += 1
        if self._losses[batch[0]] >= MOST_LOSSES:
            raise gave_up(batch, MOST_LOSSES)
        self._todo.appendleft(batch)
        self._tell(f"an actor was lost ({how}); tile {batch[0]} is done again")
        self._give(self._kind.remote(self._job))

    def _look_for_the_silent(self) -> None:
        now = time.monotonic()
        for answer in [a for a, (*_, since) in self._at.items() if now - since > self._crew.patience_s]:
            actor, batch, _ = self._at.pop(answer)
            self._ray.kill(actor)
            self._lost(batch, f"silent for {self._crew.patience_s:.0f} s")
