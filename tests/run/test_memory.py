"""Whatever says so, or only comes of it: an error for want of memory is told from others."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

import numpy as np
import pytest

from specdsl.run import memory
from tests.run.store.test_faults import LINUX, in_a_process


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"
        ),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("std::bad_alloc"),
        OSError("[Errno 12] Cannot allocate memory"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
    ],
)
def test_libraries_say_it_in_their_own_words(error: Exception) -> None:
    assert memory.ran_out(error)


@pytest.mark.parametrize("error", [ValueError("no"), RuntimeError("memory layout")])
def test_other_errors_are_others(error: Exception) -> None:
    assert not memory.ran_out(error)


def used() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def cramped_at_last() -> None:
    memory.limit_memory((used() + 2**28) / memory.GIB)
    roomy = memory.ran_out(ValueError("no"))
    held: list[object] = []
    while not memory.cramped():
        held.append(np.empty(2**20, np.uint8))
    odd = memory.ran_out(SystemError("error return without exception set"))
    os._exit(0 if odd and not roomy and len(held) > 100 else 1)


@LINUX
def test_any_error_without_memory_left_is_one_of_memory() -> None:
    assert in_a_process(cramped_at_last) == 0


def names_its_limit() -> None:
    said = memory.out_of_memory(), memory.more_memory()
    memory.limit_memory(2.5)
    limited = memory.out_of_memory(), memory.more_memory()
    expected = ("out of memory (limit 2.5 GiB)", "give more with `--memory`")
    os._exit(0 if said == ("out of memory", None) and limited == expected else 1)


@LINUX
def test_the_limit_is_named_where_there_is_one() -> None:
    assert in_a_process(names_its_limit) == 0


def test_systems_without_limits_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert not memory.can_limit()
    assert (memory.out_of_memory(), memory.cramped()) == ("out of memory", False)
