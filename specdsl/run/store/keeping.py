"""In front of the backends: what was answered before is not asked again."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from specdsl.backend import Backend
from specdsl.query.digest import Digests
from specdsl.query.query import Query
from specdsl.run.asking import Answered, AskBackend
from specdsl.run.demand import Demand
from specdsl.run.store.database import Damaged, Database, words
from specdsl.run.store.encoding import Undecodable, decode, encode
from specdsl.run.store.key import Key, backend_text, versions
from specdsl.run.store.origin import Origin
from specdsl.run.store.recheck import certificate_of, recheck
from specdsl.run.store.row import Row
from specdsl.verdict import Answer, Unknown

_LOG = logging.getLogger(__name__)

MAX_CERTIFICATE = 2**28
"""Bytes. An answer with a larger one is found again instead: SQLite takes a row as a whole."""


@dataclass(slots=True)
class Keeper:
    """Looks an answer up, and keeps those that backends give.

    A verdict is never lost for the sake of keeping it: what goes wrong with the file is said in
    `problem`, the first of it, and answers go on coming. Without a `database` nothing is kept.
    """

    database: Database | None
    demand: Demand
    problem: str | None = None
    _versions: str = field(default_factory=versions)
    _digests: Digests = field(default_factory=Digests)

    def ask(
        self,
        query: Query,
        backend: Backend,
        timeout: float | None,
        since: float,
        origin: Origin | None = None,
    ) -> Answered:
        """As `asking.Ask`. `origin`: where the question is from, if that is a file."""
        if self.database is None or not query.cases:
            return self._asked(query, backend, timeout, since)
        asked = backend_text(backend)
        key = Key(self._digests.of(query), asked, self._versions, self.demand.text)
        kept = self._kept(key, query, timeout)
        if kept is not None:
            return kept
        answered = self._asked(query, backend, timeout, since)
        verdict = answered.answer.verdict
        # A crash says nothing about the question, so it is asked again.
        if not (isinstance(verdict, Unknown) and verdict.crashed):
            self._keep(key, answered, timeout, origin)
        return answered

    def _asked(
        self, query: Query, backend: Backend, timeout: float | None, since: float
    ) -> Answered:
        return AskBackend(self.demand)(query, backend, timeout, since)

    def _kept(self, key: Key, query: Query, timeout: float | None) -> Answered | None:
        """What is known and still holds; None where the backend must be asked."""
        row = self._row(key)
        if row is None:
            return None
        try:
            answer = decode(row.answer)
        except Undecodable:
            _LOG.debug("a kept answer cannot be read", exc_info=True)
            return None
        if not serves(answer, row.limit, timeout):
            return None
        found = recheck(query, answer, row)
        return None if found is None else Answered(found, row.seconds, cached=True)

    def _row(self, key: Key) -> Row | None:
        if self.database is None:
            return None
        try:
            return self.database.get(key)
        except Damaged as error:
            # The answer that is found instead takes its place.
            _LOG.debug("%s", error)
        except sqlite3.Error as error:
            self._failed("read", error)
        return None

    def _keep(
        self, key: Key, answered: Answered, timeout: float | None, origin: Origin | None
    ) -> None:
        if self.database is None or self.database.read_only is not None:
            return
        certificate = certificate_of(answered.answer)
        if certificate is not None and len(certificate) > MAX_CERTIFICATE:
            return
        row = Row(
            key=key,
            answer=encode(answered.answer),
            limit=None if timeout is None else float(timeout),
            seconds=answered.seconds,
            made=time.time(),
            origin="null" if origin is None else origin.written,
            certificate=certificate,
        )
        try:
            self.database.put(row)
        except sqlite3.Error as error:
            # The next may find room again; a file that somebody holds is not waited for twice.
            self._failed("kept", error)
            self.database.impatient()

    def _failed(self, what: str, error: sqlite3.Error) -> None:
        if self.database is not None and self.problem is None:
            folder = self.database.path.parent
            self.problem = f"answers cannot be {what} in `{folder}`: {words(error)}"


def serves(answer: Answer, limit: float | None, timeout: float | None) -> bool:
    """Whether an answer that was found within `limit` seconds says what asking again would.

    A verdict does. That nothing was decided does for those who give no more time.
    """
    if not isinstance(answer.verdict, Unknown) or limit is None:
        return True
    return timeout is not None and timeout <= limit


@contextmanager
def keeping(folder: Path, demand: Demand) -> Generator[Keeper]:
    """A keeper of a folder's answers; one that keeps nothing, and says why, if that cannot be."""
    try:
        database = Database(folder)
    except (OSError, sqlite3.Error) as error:
        yield Keeper(None, demand, f"answers cannot be kept in `{folder}`: {words(error)}")
        return
    refused = database.read_only
    try:
        problem = refused and f"answers cannot be kept in `{folder}`: {refused}"
        yield Keeper(database, demand, problem)
    finally:
        database.close()
