"""Worker processes for the tiles of a map: one that dies is replaced, and what it was at is done again."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
from collections import Counter, deque
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from roadedge.errors import RoadEdgeError
from roadedge.roadmap.executors import MOST_LOSSES, Batches, Crew, OnDone, Tell, gave_up
from roadedge.roadmap.job import Job
from roadedge.roadmap.worker import Worker

END_S = 5.0  # for a worker to end by itself when it is told to


@dataclass(slots=True, eq=False)
class _Hand:
    """A worker process, seen from here: `batch` is what it is at."""

    process: SpawnProcess
    pipe: Connection
    batch: list[int] | None = None


def run_processes(job: Job, batches: Batches, crew: Crew, on_done: OnDone, tell: Tell) -> None:
    """Processes with a network and open files each.

    Raises:
        RoadEdgeError: a batch took three workers with it; what a worker raised.
    """
    # Started afresh, not forked: threads of the back-end and open files do not survive a fork.
    context = multiprocessing.get_context("spawn")
    todo, losses = deque(batches), Counter[int]()
    hands: list[_Hand] = []
    finished = 0
    try:
        for _ in range(min(crew.workers, len(batches))):
            hands.append(_hire(context, job, todo))
        while finished < len(batches):
            ready = wait([hand.pipe for hand in hands] + [hand.process.sentinel for hand in hands])
            for hand in [h for h in hands if h.pipe in ready or h.process.sentinel in ready]:
                answer = _answer(hand)
                if answer is None:
                    hands.remove(hand)
                    if _mourn(hand, todo, losses, tell):
                        hands.append(_hire(context, job, todo))
                    continue
                if isinstance(answer, BaseException):
                    raise answer
                finished += 1
                _give(hand, todo)
                for done in answer:
                    on_done(done)
    finally:
        _dismiss(hands)


def _hire(context: Any, job: Job, todo: deque[list[int]]) -> _Hand:
    ours, theirs = context.Pipe()
    process = context.Process(target=_labour, args=(job, theirs, sys.flags.dev_mode), daemon=True)
    process.start()
    theirs.close()  # so that its end is seen here
    hand = _Hand(process, ours)
    _give(hand, todo)
    return hand


def _give(hand: _Hand, todo: deque[list[int]]) -> None:
    hand.batch = todo.popleft() if todo else None
    with contextlib.suppress(OSError):  # it died: its sentinel says so at the next look, and the batch is done again
        hand.pipe.send(hand.batch)


def _answer(hand: _Hand) -> Any:
    """What a worker says; None where it died."""
    try:
        return hand.pipe.recv() if hand.pipe.poll() else None
    except (EOFError, OSError):
        return None


def _mourn(hand: _Hand, todo: deque[list[int]], losses: Counter[int], tell: Tell) -> bool:
    """Take leave of a worker that has ended; whether it was at something, which is then to be done again."""
    hand.pipe.close()
    hand.process.join()
    code = hand.process.exitcode or 0
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"it ended with code {code}"
    if hand.batch is None:  # it was told to go
        return False
    losses[hand.batch[0]] += 1
    if losses[hand.batch[0]] >= MOST_LOSSES:
        raise gave_up(hand.batch, MOST_LOSSES)
    todo.appendleft(hand.batch)
    tell(f"a worker was lost ({how}); tile {hand.batch[0]} is done again")
    return True


def _dismiss(hands: list[_Hand]) -> None:
    for hand in hands:
        if hand.batch is not None:  # in the middle of something that nobody waits for
            hand.process.terminate()
        hand.pipe.close()
    for hand in hands:
        hand.process.join(END_S)
        if hand.process.is_alive():
            hand.process.kill()
            hand.process.join()


def _labour(job: Job, pipe: Connection, verbose: bool) -> None:
    """The life of a worker process: batches in, finished tiles or an error out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the one who hired decides
    try:
        with Worker(job) as worker:
            while (batch := pipe.recv()) is not None:
                pipe.send(worker.run(batch))
    except EOFError:  # the one who hired is gone
        return
    except BaseException as error:
        with contextlib.suppress(OSError):
            pipe.send(error if isinstance(error, RoadEdgeError) else RuntimeError(f"{type(error).__name__}: {error}"))
