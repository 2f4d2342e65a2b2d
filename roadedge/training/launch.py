"""What torchrun says in the environment; read without torch."""

from __future__ import annotations

import os

from roadedge.errors import UsageError

GIVEN = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # beside WORLD_SIZE


def launched() -> int:
    """How many processes torchrun started; 1 without it. Raises UsageError where its environment is not whole."""
    count = os.environ.get("WORLD_SIZE", "1")
    if not count.isdigit() or count == "0":
        raise UsageError(f"WORLD_SIZE is {count!r}; it is set by torchrun and must be a count of processes")
    absent = [name for name in GIVEN if name not in os.environ]
    if count != "1" and absent:
        raise UsageError(f"WORLD_SIZE is {count}, but {', '.join(absent)} is not set; start the training by torchrun")
    return int(count)


def restarted() -> bool:
    """Whether torchrun starts the same command anew after a process failed (`--max-restarts`)."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") not in ("", "0")


def is_follower() -> bool:
    """Whether this is a process of torchrun's that leaves writing and speaking to rank 0."""
    return launched() > 1 and os.environ["RANK"] != "0"
