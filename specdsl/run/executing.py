"""Where the pieces of a run are decided: in workers or in this process, before a store or without.

A piece is all that a crash, a hang or a want of memory costs (docs/decisions/030-workers.md).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from specdsl.backend import Backend
from specdsl.query.query import Query
from specdsl.run.asking import Answered, Ask, AskBackend, AskForFiles
from specdsl.run.certifying import seconds_beyond
from specdsl.run.execution import Execution
from specdsl.run.filing import file_certificate
from specdsl.run.query_result import QueryResult
from specdsl.run.result import Result
from specdsl.run.store.keeping import Keeper, keeping
from specdsl.run.store.key import versions
from specdsl.run.store.origin import Origin
from specdsl.run.units import Unit
from specdsl.run.workers.child import Done, Watch, Work
from specdsl.run.workers.limits import Lost
from specdsl.run.workers.pool import in_workers
from specdsl.verdict import Unknown

if TYPE_CHECKING:
    from specdsl.query.elaboration.values.resources import Resources

GRACE = 30.0
"""Seconds beyond the limit of the whole unit, in which a backend that looks at the clock now and
then says how far it came, and its witness is replayed. HiGHS took 12 s on a machine with four times
as much to do as it had cores."""

BUILDING = 300.0
"""Seconds for what comes before the backend: reading networks, building the question. The largest
of the benchmarks takes a tenth of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What came of the unit with that number. `problem`: why answers are not kept, if so."""

    number: int
    result: Result | QueryResult
    problem: str | None = None


def outcomes(
    units: Sequence[Unit],
    resources: Resources,
    execution: Execution,
    origin: Origin | None,
    started: Callable[[str], None],
) -> Generator[Outcome]:
    """Each unit's outcome as it is known: in order here, in any order from workers.

    `origin`: the file and its parameters. `started` is told the id of what is being decided.
    """
    desk = _Desk(units, resources, execution, origin)
    if execution.cache is not None:
        # For all workers: when a later one is forked, the code on disk may have changed.
        versions()
    if execution.workers is None:
        yield from desk.one_by_one(started)
        return

    def began(number: int) -> None:
        started(units[number].id)

    for number, found in in_workers(desk.work, range(len(units)), execution.workers, began):
        if isinstance(found, Lost):
            yield Outcome(number, units[number].lost(found))
        else:
            yield found


@dataclass(frozen=True, slots=True, eq=False)
class _Desk:
    """What there is to decide, and with what."""

    units: Sequence[Unit]
    resources: Resources
    execution: Execution
    origin: Origin | None

    def one_by_one(self, started: Callable[[str], None]) -> Generator[Outcome]:
        with self._keeper() as keeper:
            for number, unit in enumerate(self.units):
                started(unit.id)
                result = self._filed(unit.answer(self.resources, self._ask(keeper, unit)))
                yield Outcome(number, result, keeper and keeper.problem)

    @contextmanager
    def work(self) -> Generator[Work[Outcome]]:
        """In a worker, which opens the store for itself: no connection survives a fork."""

        def decide(number: int, watch: Callable[[Watch], None]) -> Done[Outcome]:
            unit = self.units[number]
            limit = unit.method.timeout
            late = GRACE
            if limit is not None and self.execution.demand.certifies:
                late += seconds_beyond(limit)
            watched = _Watched(self._ask(keeper, unit), limit, late, watch)
            watched.build()
            result = self._filed(unit.answer(self.resources, watched))
            return Done(Outcome(number, result, keeper and keeper.problem), watched.crashed)

        with self._keeper() as keeper:
            yield decide

    def _keeper(self) -> AbstractContextManager[Keeper | None]:
        cache, demand = self.execution.cache, self.execution.demand
        return nullcontext() if cache is None else keeping(cache, demand)

    def _filed(self, result: Result | QueryResult) -> Result | QueryResult:
        """With its certificate in a file where that is asked for, and no more in memory."""
        return file_certificate(result, self.execution.certificates)

    def _ask(self, keeper: Keeper | None, unit: Unit) -> Ask:
        ask: Ask = AskBackend(self.execution.demand)
        if keeper is not None:
            from_here = None if self.origin is None else replace(self.origin, id=unit.id)
            ask = partial(keeper.ask, origin=from_here)
        return ask if self.execution.certificates is None else AskForFiles(ask)


class _Watched:
    """Says how long each step may take, and remembers whether a backend has crashed."""

    def __init__(
        self, ask: Ask, timeout: float | None, late: float, watch: Callable[[Watch], None]
    ) -> None:
        """`late`: seconds after the end of its time, at which an obligation is killed."""
        self._ask = ask
        self._timeout = timeout
        self._late = late
        self._watch = watch
        self.crashed = False

    def __call__(
        self, query: Query, backend: Backend, timeout: float | None, since: float
    ) -> Answered:
        # A step of a bisection has the time of all: a kill would cost what the others found.
        limit = self._timeout
        end = None if limit is None else limit + self._late
        text = f"timeout after {limit or 0:.3g} s, killed {self._late:.3g} s later"
        self._watch(Watch(end, text))
        answered = self._ask(query, backend, timeout, since)
        self.build()
        verdict = answered.answer.verdict
        self.crashed |= isinstance(verdict, Unknown) and verdict.crashed
        return answered

    def build(self) -> None:
        self._watch(Watch(BUILDING, f"the question took more than {BUILDING:g} s to build"))
