"""The harness sees what it is there to see: without these, no finding would mean nothing."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pytest

from specdsl.diagnostics import SpecError
from specdsl.source import Source, Span
from tests.fuzz import harness, watch
from tests.fuzz.harness import fuzz, generated, run
from tests.fuzz.minimise import minimise
from tests.fuzz.mutators import binary
from tests.fuzz.target import Target
from tests.fuzz.targets import BY_NAME, TARGETS

SECRET = "/etc/hostname"
INPUTS = (b"good", b"bad", b"good", b"refused")


def target(act: Callable[[Path], object]) -> Target:
    """Reads `good`, refuses `refused`, and does something wrong at `bad`."""

    def read(content: bytes, folder: Path) -> None:
        if content == b"bad":
            act(folder)
        elif content != b"good":
            raise SpecError.of("E0501", "not to be read")

    return Target("fake", ".txt", lambda: (b"good",), binary.mutate, read, 1)


def raise_type_error(_folder: Path) -> None:
    raise TypeError("a bug")


def recurse(folder: Path) -> None:
    recurse(folder)


def refuse_with_a_stop(_folder: Path) -> None:
    raise SpecError.of("E0501", "this ends with a full stop.")


def refuse_at_length(_folder: Path) -> None:
    raise SpecError([])


def refuse_outside_of_the_text(_folder: Path) -> None:
    raise SpecError.of("E0501", "placed nowhere", Span(Source("f.spec", "text"), 2, 40))


def read_by_number(_folder: Path) -> None:
    os.close(os.open(SECRET, os.O_RDONLY))


def refuse_after_reading(_folder: Path) -> None:
    with Path(SECRET).open("rb"):
        raise SpecError.of("E0501", "refused, but it was read")


def read_above(folder: Path) -> None:
    (folder / ".." / "elsewhere").write_bytes(b"x")


def loop(_folder: Path) -> None:
    while True:
        pass


def swallow(_folder: Path) -> None:
    """A broad `except` does not keep the harness from stopping a run."""
    while True:
        try:
            time.process_time()
        except Exception:  # noqa: BLE001 - the point of it
            continue


def fill(_folder: Path) -> None:
    with mmap.mmap(-1, 2**30 + 2**28) as much:
        for start in range(0, len(much), mmap.PAGESIZE):
            much[start] = 1


def open_natively(_folder: Path) -> None:
    """No hook sees it; but what lies there is a FIFO."""
    ctypes.CDLL(None).open(b"../secret", os.O_RDONLY)


FOUND: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "an exception": (raise_type_error, "traceback", "TypeError"),
    "endless recursion": (recurse, "traceback", "RecursionError"),
    "leaving": (lambda _: sys.exit(0), "traceback", "SystemExit"),
    "too large an array": (lambda _: np.ones(2**33), "traceback", "MemoryError"),
    "a full stop": (refuse_with_a_stop, "diagnostic", "E0501"),
    "no diagnostics": (refuse_at_length, "diagnostic", "none"),
    "a wrong place": (refuse_outside_of_the_text, "diagnostic", "outside of its text"),
    "a file": (lambda _: Path(SECRET).read_text(), "stray read", SECRET),
    "a file by its number": (read_by_number, "stray read", SECRET),
    "a file before a diagnostic": (refuse_after_reading, "stray read", SECRET),
    "a file that is written": (read_above, "stray read", "elsewhere"),
    "a database": (lambda _: sqlite3.connect("/tmp/elsewhere.db"), "stray read", "elsewhere"),
    "a program": (lambda _: subprocess.run(["true"], check=True), "stray read", "subprocess.Popen"),
    "a loop": (loop, "hang", ""),
    "a loop that swallows": (swallow, "hang", ""),
    "memory": (fill, "memory", "too much memory"),
    "a crash": (lambda _: os.kill(os.getpid(), signal.SIGSEGV), "crash", "signal 11"),
    "an end without a word": (lambda _: os._exit(3), "crash", "status"),
    "waiting": (lambda _: time.sleep(600), "hang", "no progress"),
    "a file by native code": (open_natively, "hang", "no progress"),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_goes_wrong_is_found_and_the_rest_is_run(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    act, kind, key = FOUND[name]
    if kind == "hang":
        # Only where time is to run out: a slow machine takes more than 1 s to fill its memory.
        monkeypatch.setattr(watch, "MAX_SECONDS", 1)
        monkeypatch.setattr(harness, "MAX_WAIT", 3)
    report = run(target(act), INPUTS.__getitem__, len(INPUTS))
    (found,) = report.found
    assert (found.finding.kind, found.content, found.number) == (kind, b"bad", 1)
    assert key in found.finding.key
    assert report.runs == len(INPUTS)
    assert report.refused == 1 + act.__name__.startswith("refuse")


def test_a_crash_says_where() -> None:
    (found,) = run(target(FOUND["a crash"][0]), INPUTS.__getitem__, len(INPUTS)).found
    assert "Segmentation fault" in found.finding.text
    assert "test_harness.py" in found.finding.text


def test_what_is_good_is_no_finding() -> None:
    report = run(target(loop), lambda _: b"good", 50)
    assert (report.runs, report.refused, report.found) == (50, 0, [])


def test_one_bug_is_reported_once() -> None:
    report = run(target(raise_type_error), lambda _: b"bad", 20)
    assert len(report.found) == 1
    assert report.repeated == 19


def test_findings_are_made_smaller() -> None:
    def read(content: bytes, _folder: Path) -> None:
        if b"(" in content and b")" in content:
            raise TypeError

    seeds = (b"something ( with brackets ) in it",)
    fake = Target("fake", ".txt", lambda: seeds, binary.mutate, read, 1)
    (found,) = fuzz(fake, seed=0, runs=1).found
    assert found.content == b"()"


def test_minimising_keeps_what_matters() -> None:
    content = bytes(range(256)) * 8
    smaller = minimise(content, lambda c: c.count(b"\x07") >= 2 and b"\xff" in c)
    assert sorted(smaller) == [7, 7, 255]


@pytest.mark.parametrize("name", [t.name for t in TARGETS])
def test_inputs_follow_from_the_seed(name: str) -> None:
    target = BY_NAME[name]
    seeds = target.seeds()
    numbers = range(len(seeds), len(seeds) + 20)
    first = [generated(target, seeds, 1, n) for n in numbers]
    assert first == [generated(target, seeds, 1, n) for n in numbers]
    assert first != [generated(target, seeds, 2, n) for n in numbers]
    # Most are changed, and stay small enough to be read thousands of times.
    assert len(set(first)) > 10
    assert max(map(len, first)) < 2**19


def test_mutations_take_anything() -> None:
    odd = [b"", b"\0", b"\xff\xfe", b"{", b"(" * 200, bytes(300), b"\x93NUMPY", b"PK\x03\x04"]
    for target in TARGETS:
        for number, content in enumerate(odd * 20):
            assert isinstance(target.mutate(Random(number), content, [*odd]), bytes)
