"""The parent's side: hands out work, waits for it, and sees to workers that do not come back.

Workers are forked: they begin with everything that is loaded here, so a first one costs
milliseconds, and nothing has to be sent to it but a number. For processes that have computed
nothing with torch yet: its threads do not survive a fork (docs/decisions/030-workers.md).
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Generic, TypeVar, cast

from specdsl.run.workers.child import Bug, Done, Prepare, Side, Watch, serve
from specdsl.run.workers.limits import Lost, Workers, lost

T = TypeVar("T")

GRACE = 5.0
"""Seconds for a process to end that has nothing more to say."""

Ended = tuple[int, T | Lost]
"""The number of a piece of work, and what came of it."""


class WorkerBug(Exception):
    """An exception in a worker that nobody expected; its text is the traceback."""


def in_workers(
    prepare: Prepare[T],
    numbers: Iterable[int],
    workers: Workers,
    started: Callable[[int], None] = lambda _: None,
) -> Generator[Ended[T]]:
    """Each piece of work as it ends, in any order. Leaving the loop ends what still runs.

    A process that crashes, or is not heard of in time, costs its piece of work alone: another takes
    its place. Raises WorkerBug.
    """
    pool = _Pool(prepare, workers)
    waiting = deque(numbers)
    try:
        while waiting or pool.busy:
            while waiting and pool.has_room:
                started(waiting[0])
                pool.start(waiting.popleft())
            yield from pool.collect()
    finally:
        pool.close()


class _Pool(Generic[T]):
    """Workers that wait for work, and those that are at it."""

    def __init__(self, prepare: Prepare[T], workers: Workers) -> None:
        self._prepare = prepare
        self._workers = workers
        self._idle: list[_Worker] = []
        self.busy: dict[Connection, tuple[_Worker, _Piece]] = {}

    @property
    def has_room(self) -> bool:
        return len(self.busy) < self._workers.jobs

    def start(self, number: int) -> None:
        worker = self._sent(number) or self._forked(number)
        self.busy[worker.connection] = worker, _Piece(number, time.monotonic())

    def _sent(self, number: int) -> _Worker | None:
        """Somebody who waited for work and has it now."""
        while self._idle:
            worker = self._idle.pop()
            try:
                worker.connection.send(number)
            except OSError:
                # The system may have killed it while it waited.
                worker.kill()
            else:
                return worker
        return None

    def _forked(self, number: int) -> _Worker:
        """A new worker with its first piece of work."""
        context = multiprocessing.get_context("fork")
        ours, theirs = cast("tuple[Connection, Connection]", multiprocessing.Pipe())
        memory = self._workers.memory
        side = Side(theirs, (*(w.connection for w in self._idle), *self.busy, ours), os.getpid())
        process = context.Process(target=serve, args=(side, self._prepare, memory), daemon=True)
        process.start()
        # While this end is open here too, its worker's death could not be heard.
        theirs.close()
        with suppress(BrokenPipeError):
            # That it has ended already is heard as the end of any other.
            ours.send(number)
        return _Worker(process, ours)

    def collect(self) -> Generator[Ended[T]]:
        """Wait until something happens, and tell what has ended by it."""
        ends = [piece.end for _, piece in self.busy.values() if piece.end is not None]
        patience = max(0.0, min(ends) - time.monotonic()) if ends else None
        for connection in wait(list(self.busy), patience):
            yield from self._heard(connection)  # type: ignore[arg-type]
        now = time.monotonic()
        for connection, (worker, piece) in list(self.busy.items()):
            if piece.end is not None and now > piece.end and not connection.poll():
                del self.busy[connection]
                worker.kill()
                yield piece.number, Lost(piece.reason, now - piece.begun)

    def _heard(self, connection: Connection) -> Generator[Ended[T]]:
        worker, piece = self.busy[connection]
        said = _received(connection)
        if isinstance(said, Watch):
            piece.watch(said)
            return
        del self.busy[connection]
        match said:
            case Done(value, worn):
                if worn:
                    worker.kill()
                else:
                    self._idle.append(worker)
                yield piece.number, value
            case Lost():
                worker.kill()
                yield piece.number, said
            case Bug(trace):
                worker.kill()
                raise WorkerBug(trace)
            case _:
                yield piece.number, lost(worker.end(), time.monotonic() - piece.begun)

    def close(self) -> None:
        """End every worker, whatever it is at; one that is at nothing may put things in order."""
        for worker, _ in self.busy.values():
            worker.kill()
        for worker in self._idle:
            worker.connection.close()
        for worker in self._idle:
            worker.end()


@dataclass(slots=True)
class _Piece:
    """Work that somebody is at. `end`: when to have heard of it, else `reason` is what to say."""

    number: int
    begun: float
    end: float | None = None
    reason: str = ""

    def watch(self, said: Watch) -> None:
        self.end = None if said.seconds is None else time.monotonic() + said.seconds
        self.reason = said.reason


@dataclass(frozen=True, slots=True)
class _Worker:
    process: BaseProcess
    connection: Connection

    def kill(self) -> None:
        """End it, and wait until it has."""
        self.process.kill()
        self.process.join()
        self.connection.close()

    def end(self) -> int:
        """The exit code of a process that is about to end by itself."""
        self.process.join(GRACE)
        self.kill()
        return self.process.exitcode or 0


def _received(connection: Connection) -> object:
    """What a worker says; None where it has ended, be it in the middle of a word."""
    try:
        return connection.recv()
    except (EOFError, OSError, pickle.UnpicklingError):
        return None
