"""Errors of several processes that train together: how one's becomes that of all, and how a lost one is known."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any, TypeVar

import torch.distributed as dist

from roadedge.errors import RoadEdgeError

T = TypeVar("T")
LOST = ("onnection closed", "onnection reset", "roken pipe", "imed out", "emote process", "socketPoll")


def everywhere(error: BaseException) -> BaseException:
    """Mark an error that all processes raise."""
    error.everywhere = True  # type: ignore[attr-defined]
    return error


def is_everywhere(error: BaseException) -> bool:
    """Whether all processes raise this very error."""
    return bool(getattr(error, "everywhere", False))


def attempt(work: Callable[[], T]) -> tuple[T, None] | tuple[Any, BaseException]:
    """What `work` gives, or the error that it raises."""
    try:
        return work(), None
    except (Exception, KeyboardInterrupt) as error:
        return None, error


def portable(error: BaseException) -> BaseException:
    """The error itself where it can be sent to another process, else what it says."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever its pickling raised, what is told is the error itself
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def restated(error: BaseException, text: str) -> BaseException:
    """An error of the same kind that says something else; some constructors take more than a text."""
    kind = type(error)
    if isinstance(error, (RoadEdgeError, KeyboardInterrupt)):
        return kind.__new__(kind, text)
    return RuntimeError(f"{text} ({kind.__name__})")


def is_loss(error: RuntimeError) -> bool:
    """Whether a collective failed because another process is gone; gloo says so in words alone."""
    if isinstance(error, RoadEdgeError) or is_everywhere(error):
        return False
    return isinstance(error, dist.DistError) or any(word in str(error) for word in LOST)


def first_line(error: BaseException) -> str:
    """What an error says, without the lines of C++ below it."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
