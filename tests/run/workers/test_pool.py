"""Whatever goes wrong in a worker costs the piece of work that it was at, and nothing else."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from specdsl.run.workers import pool
from specdsl.run.workers.child import Done, Watch, Work
from specdsl.run.workers.limits import Lost, Workers, can_fork
from specdsl.run.workers.pool import WorkerBug, in_workers
from tests.run.workers.processes import alive, children_of

pytestmark = pytest.mark.skipif(not can_fork(), reason="workers are forked, which takes Linux")

Do = Callable[[int, Callable[[Watch], None]], Any]
SHORT = Watch(0.3, "timeout after 0.3 s")


def prepared(do: Do, worn: bool = False) -> Callable[[], Any]:
    @contextmanager
    def prepare() -> Generator[Work[Any]]:
        yield lambda number, watch: Done(do(number, watch), worn)

    return prepare


def results(do: Do, count: int = 3, *, worn: bool = False, **workers: Any) -> dict[int, Any]:
    return dict(in_workers(prepared(do, worn), range(count), Workers(**workers)))


def at_one(fault: Callable[[], object]) -> Do:
    """The number itself, but for 1, where something happens."""

    def do(number: int, watch: Callable[[Watch], None]) -> int:
        if number == 1:
            fault()
            watch(SHORT)
            time.sleep(60)
        return number

    return do


def ended_by(sent: int) -> Callable[[], object]:
    def end() -> None:
        # pytest tells of these, and here they are meant.
        faulthandler.disable()
        os.kill(os.getpid(), sent)

    return end


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (ended_by(signal.SIGSEGV), "solver crashed (signal 11)"),
        (ended_by(signal.SIGABRT), "solver crashed (signal 6)"),
        (ended_by(signal.SIGKILL), "solver crashed (signal 9)"),
        (lambda: os._exit(3), "solver crashed (exit status 3)"),
        (lambda: None, "timeout after 0.3 s"),
        (lambda: bytearray(2**45), "out of memory (limit 4 GiB)"),
        (lambda: [np.empty(2**28, np.uint8) for _ in range(99)], "out of memory (limit 4 GiB)"),
    ],
    ids=["segmentation", "abort", "kill", "exit", "hang", "huge", "gradually"],
)
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_fault_costs_its_own_piece_of_work(
    fault: Callable[[], object], reason: str, jobs: int
) -> None:
    found = results(at_one(fault), jobs=jobs, memory=4)
    lost = found.pop(1)
    assert isinstance(lost, Lost)
    assert lost.reason == reason
    assert lost.seconds < 30
    assert found == {0: 0, 2: 2}


def test_what_the_system_killed_is_told_how_to_take_less() -> None:
    lost = results(at_one(ended_by(signal.SIGKILL)))[1]
    assert "--memory" in lost.advice


def test_out_of_memory_without_a_limit_names_none() -> None:
    def refused() -> None:
        raise MemoryError

    assert results(at_one(refused))[1].reason == "out of memory"


def test_an_unexpected_exception_is_a_bug_of_ours() -> None:
    def broken() -> None:
        raise ZeroDivisionError("a bug")

    with pytest.raises(WorkerBug, match=r"(?s)Traceback.*ZeroDivisionError: a bug"):
        results(at_one(broken))


def test_what_cannot_be_sent_is_a_bug_of_ours() -> None:
    with pytest.raises(WorkerBug, match="pickle"):
        results(lambda number, watch: lambda: number)


def test_a_worker_is_used_again_unless_it_is_worn() -> None:
    processes = results(lambda number, watch: os.getpid(), 5)
    assert len(set(processes.values())) == 1
    assert os.getpid() not in processes.values()
    assert len(set(results(lambda number, watch: os.getpid(), 5, worn=True).values())) == 5


def test_so_many_jobs_work_at_a_time() -> None:
    def meet(number: int, watch: Callable[[Watch], None]) -> int:
        barrier.wait(30)
        return os.getpid()

    # Three meet, or nobody goes on.
    barrier = multiprocessing.get_context("fork").Barrier(3)
    processes = results(meet, 6, jobs=3)
    assert len(set(processes.values())) == 3


def test_who_says_something_in_time_goes_on() -> None:
    def patient(number: int, watch: Callable[[Watch], None]) -> str:
        for _ in range(4):
            watch(Watch(20, "too late"))
            time.sleep(0.05)
        watch(Watch(None, "never"))
        time.sleep(0.4)
        return "done"

    assert results(patient, 1) == {0: "done"}


def test_pieces_are_announced_when_somebody_begins_them() -> None:
    begun: list[int] = []
    work = in_workers(prepared(lambda n, w: n), range(3), Workers(1), begun.append)
    for number, _ in work:
        assert begun == list(range(number + 1))


def test_leaving_the_loop_ends_who_still_works() -> None:
    def work(number: int, watch: Callable[[Watch], None]) -> int:
        if number:
            time.sleep(60)
        return os.getpid()

    with closing(in_workers(prepared(work), range(4), Workers(2))) as found:
        next(found)
        children = list(children_of(os.getpid()))
        assert children
    assert not any(map(alive, children))


def test_workers_that_are_done_put_things_in_order(tmp_path: Path) -> None:
    @contextmanager
    def prepare() -> Generator[Work[int]]:
        yield lambda number, watch: Done(number)
        (tmp_path / "in order").touch()

    assert dict(in_workers(prepare, range(2), Workers(2))) == {0: 0, 1: 1}
    assert (tmp_path / "in order").exists()


def test_a_worker_that_was_killed_while_it_waited_is_replaced() -> None:
    pids: list[int] = []
    for _, pid in in_workers(prepared(lambda n, w: os.getpid()), range(3), Workers(1)):
        pids.append(pid)
        os.kill(pid, signal.SIGKILL)
        while alive(pid):
            time.sleep(0.01)
    assert len(set(pids)) == 3


PARENT = """
import os, time
from contextlib import contextmanager
from specdsl.run.workers.limits import Workers
from specdsl.run.workers.pool import in_workers

@contextmanager
def prepare():
    def work(number, watch):
        os.write(1, b"%d\\n" % os.getpid())
        time.sleep(60)
    yield work

list(in_workers(prepare, range(2), Workers(2)))
"""


def test_no_worker_outlives_its_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    workers = [int(parent.stdout.readline()) for _ in range(2)]
    assert all(map(alive, workers))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    give_up = time.monotonic() + 10
    while any(map(alive, workers)):
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_a_worker_that_will_not_end_is_made_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "GRACE", 0.2)

    @contextmanager
    def prepare() -> Generator[Work[int]]:
        yield lambda number, watch: Done(number)
        time.sleep(60)

    start = time.monotonic()
    assert dict(in_workers(prepare, range(1), Workers(1))) == {0: 0}
    assert time.monotonic() - start < 30
