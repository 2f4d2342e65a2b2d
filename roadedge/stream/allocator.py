"""The C library's memory, kept from growing under threads that hand large arrays to one another."""

from __future__ import annotations

import ctypes
import platform

M_ARENA_MAX = -8  # of glibc's malloc.h
ARENAS = 2


def keep_memory_flat() -> bool:
    """Let the threads share two heaps, before they are started; False where the C library is not glibc.

    By itself glibc gives each thread a heap of its own: frames that are made on one thread and freed on another leave
    holes there, and the process grows by some megabytes now and then.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    return bool(ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS))
