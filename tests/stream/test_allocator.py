"""glibc is told once; other C libraries are left alone."""

from __future__ import annotations

import platform

import pytest

from roadedge.stream.allocator import keep_memory_flat


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_glibc_takes_the_setting() -> None:
    assert keep_memory_flat()


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_memory_flat()
