"""A run that is killed goes on where it was."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from pathlib import Path

import pytest

import specdsl.bounds.rounding  # noqa: F401 - torch, once, and not in every process
from specdsl.backends import registry
from specdsl.run.execution import Execution
from specdsl.run.pipeline import RunOptions, verify
from specdsl.run.result import Report
from specdsl.run.store.database import FILE, Database
from specdsl.run.store.row import Row
from specdsl.run.workers.limits import Workers, can_fork
from tests.run.faulty import SLOW, SLOW_PLACE
from tests.run.test_executing import spec
from tests.run.workers.processes import alive, children_of

pytestmark = pytest.mark.skipif(not can_fork(), reason="workers take Linux")

NAMES = tuple(f"{kind}{i}" for i in range(6) for kind in ("fine", "other"))
POINTS = 10
MOST_LOST = 5.0
"""Seconds: what the design allows. A busy machine takes its share of them."""


def run(path: Path, cache: Path | None, jobs: int = 1) -> Report:
    execution = Execution(Workers(jobs), cache)
    return verify(path, options=RunOptions(using=SLOW, timeout=60.0, execution=execution))


def made(cache: Path) -> dict[str, float]:
    """When each answer was kept; all of them are whole."""
    if not (cache / FILE).exists():
        return {}
    with Database(cache).closing() as database:
        rows = list(database.rows())
    assert all(isinstance(row, Row) for row in rows)
    return {row.key.text: row.made for row in rows if isinstance(row, Row)}


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_killed_run_comes_to_the_same_and_asks_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    monkeypatch.setitem(registry.CLASSES, SLOW, SLOW_PLACE)  # type: ignore[arg-type]
    draw, context = random.Random(jobs), multiprocessing.get_context("fork")
    path, cache = spec(tmp_path, NAMES), tmp_path / "kept"
    start = time.monotonic()
    reference = run(path, None, jobs)
    longest = time.monotonic() - start
    before: dict[str, float] = {}
    for _ in range(POINTS // 2):
        began = time.time()
        process = context.Process(target=run, args=(path, cache, jobs))
        process.start()
        process.join(draw.uniform(0, longest))
        assert process.pid is not None
        children = list(children_of(process.pid))
        process.kill()
        killed = time.time()
        process.join()
        wait_for(children)
        after = made(cache)
        assert before.items() <= after.items()
        fresh = (when for key, when in after.items() if key not in before)
        assert killed - max(fresh, default=began) < MOST_LOST
        before = after
    report = run(path, cache, jobs)
    assert [r.verdict for r in report.results] == [r.verdict for r in reference.results]
    assert sum(r.cached for r in report.results) == len(before)
    assert all(r.cached for r in run(path, cache, jobs).results)


def wait_for(pids: list[int]) -> None:
    """They die with their parent, and soon."""
    give_up = time.monotonic() + 10
    while any(map(alive, pids)):
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_two_runs_on_one_store_both_come_to_their_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.CLASSES, SLOW, SLOW_PLACE)  # type: ignore[arg-type]
    path, cache = spec(tmp_path, NAMES), tmp_path / "kept"
    context = multiprocessing.get_context("fork")

    def whole() -> None:
        report = run(path, cache, jobs=2)
        told = [d.code for d in report.diagnostics]
        os._exit(0 if not told and report.counts["verified"] == len(NAMES) else 1)

    processes = [context.Process(target=whole) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(made(cache)) == len(NAMES)
