"""Ways to run one network that take turns, so that a warmer or busier moment strikes all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median, pstdev
from typing import Any

from benchmarks.nvidia.child import sentence
from roadedge.latency.summary import summarize

Stages = Mapping[str, float]  # of one call, milliseconds: `infer`, and beside it `h2d`, `gpu`, `d2h` where known
WARM_UP, SETTLE, TIMED = 10, 3, 20  # calls before all, untimed and timed ones of a turn
ROUNDS = 35  # of 20 timed calls: 700, which allows a p99
COPIES = ("h2d", "d2h")
LONG_S, LEAST = 0.5, 3  # a turn of slow calls ends after so long, but not before so many calls
FEWEST = 5  # rounds below which nothing is said
AGREE = 0.9  # share of the rounds that must say the same before one way is called faster
WORTH_IT = 1.10  # an INT8 engine that is not this much faster than FP16 is not worth its risk


@dataclass(slots=True)
class Turns:
    """The calls of each way, round by round, and why a way fell out."""

    rounds: dict[str, list[list[Stages]]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    stopped: bool = False  # the time was up before all rounds were done


def take_turns(
    calls: Mapping[str, Callable[[], Stages]],
    rounds: int,
    timed: int,
    time_is_up: Callable[[], bool],
    warm_up: int = WARM_UP,
    settle: int = SETTLE,
    now: Callable[[], float] = time.monotonic,
) -> Turns:
    """Call every way `timed` times in each round, after `settle` calls that are not counted.

    A way that raises falls out with its sentence and the others go on. When the time is up, whole rounds are kept.
    Slow calls are made less often: their turns end after `LONG_S`.
    """
    turns = Turns({name: [] for name in calls})
    alive = dict(calls)
    _each(alive, turns, lambda call: _called(call, warm_up, now))
    for number in range(rounds):
        if number and time_is_up():
            turns.stopped = True
            break

        def turn(call: Callable[[], Stages]) -> list[Stages]:
            _called(call, settle, now)
            return _called(call, timed, now)

        for name, stages in _each(alive, turns, turn).items():
            turns.rounds[name].append(stages)
    return turns


def _called(call: Callable[[], Stages], count: int, now: Callable[[], float]) -> list[Stages]:
    began, stages = now(), list[Stages]()
    while len(stages) < count and (len(stages) < LEAST or now() - began < LONG_S):
        stages.append(dict(call()))
    return stages


def _each(
    alive: dict[str, Callable[[], Stages]], turns: Turns, work: Callable[[Callable[[], Stages]], list[Stages]]
) -> dict[str, list[Stages]]:
    done = {}
    for name, call in list(alive.items()):
        try:
            done[name] = work(call)
        except Exception as error:  # of whatever library runs it
            turns.failed[name] = sentence(error)
            turns.rounds.pop(name, None)
            del alive[name]
    return done


def times_of(rounds: Sequence[Sequence[Stages]]) -> dict[str, Any]:
    """Summaries of a way's times, milliseconds: `device_ms`, `with_transfers_ms` (None where unknown), `host_ms`.

    `round_medians_ms` has the median of each round for comparisons; `variation` is that of the time on the device,
    standard deviation / mean.
    """
    values: dict[str, list[list[float]]] = {}
    for kind, read in (("device", _device), ("with_transfers", _with_transfers), ("host", lambda s: s["infer"])):
        listed = [[read(stages) for stages in one] for one in rounds]
        if listed and all(value is not None for one in listed for value in one):
            values[kind] = listed  # type: ignore[assignment] # none of them is None
    flat = {kind: [value for one in listed for value in one] for kind, listed in values.items()}
    device = flat.get("device", [])
    return {
        "n": sum(map(len, rounds)),
        "rounds": len(rounds),
        **{f"{kind}_ms": summarize(flat[kind]).to_dict() if kind in flat else None for kind in KINDS},
        **{f"{name}_ms": _median_of(rounds, name) for name in COPIES},
        "variation": round(pstdev(device) / fmean(device), 4) if len(device) > 1 and fmean(device) > 0 else None,
        "round_medians_ms": {kind: [round(median(one), 5) for one in listed] for kind, listed in values.items()},
    }


KINDS = ("device", "with_transfers", "host")


def compared(name: str, ours: list[float], other: str, theirs: list[float], where: str) -> str:
    """`INT8 is 41 % faster than FP16 on this device (1.41×, faster in 35 of 35 rounds; WHERE)`.

    Per cent of the frames in the same time, by the medians of the rounds, which both went through together. Where less
    than nine tenths of the rounds agree on which is faster, that is what is said.
    """
    ratio = median(theirs) / median(ours)
    rounds = list(zip(ours, theirs, strict=True))
    faster = sum(mine < yours for mine, yours in rounds)
    slower = sum(mine > yours for mine, yours in rounds)
    if len(rounds) < FEWEST:
        return f"{name} and {other}: {len(rounds)} rounds are too few to say which is faster ({where})"
    if max(faster, slower) < AGREE * len(rounds) or (faster > slower) != (ratio > 1):
        told = f"{ratio:.2f}×, faster in {faster} of {len(rounds)} rounds"
        return f"{name} and {other} cannot be told apart on this device ({told}; {where})"
    word, count = ("faster", faster) if faster > slower else ("slower", slower)
    told = f"{ratio:.2f}×, {word} in {count} of {len(rounds)} rounds"
    return f"{name} is {100 * abs(ratio - 1):.0f} % {word} than {other} on this device ({told}; {where})"


def advice(name: str, ours: list[float], half: str, theirs: list[float]) -> str:
    """What to take where `name` gains less than a tenth against `half`; else an empty text."""
    if len(ours) < FEWEST or median(theirs) / median(ours) >= WORTH_IT:
        return ""
    return f"take {half} on this device: {name} gains less than {100 * (WORTH_IT - 1):.0f} % here"


def _device(stages: Stages) -> float | None:
    return stages.get("gpu")


def _with_transfers(stages: Stages) -> float | None:
    known = [stages.get(name) for name in ("h2d", "gpu", "d2h")]
    return None if None in known else sum(value for value in known if value is not None)


def _median_of(rounds: Sequence[Sequence[Stages]], name: str) -> float | None:
    found = [stages[name] for one in rounds for stages in one if name in stages]
    return round(median(found), 5) if found else None
