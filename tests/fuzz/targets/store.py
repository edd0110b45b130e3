"""Kept answers: a database, opened, read, and every answer in it looked at again."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tests.fuzz.mutators import binary, json_values
from tests.fuzz.target import Target

if TYPE_CHECKING:
    from specdsl.query.query import Query
    from specdsl.run.store.row import Row


@cache
def _queries() -> dict[str, tuple[Query, bool]]:
    """By digest, and whether it holds: one that does, and one that does not."""
    from specdsl.query.digest import Digests
    from tests.proof.test_container import narrow_query
    from tests.run.fakes import query

    digests = Digests()
    both = ((narrow_query(), True), (query(-0.5), False))
    return {digests.of(each): (each, holds) for each, holds in both}


@cache
def _files() -> tuple[bytes, ...]:
    """With a proof, a witness, and an answer that says nothing. Nothing in it is of a clock."""
    from specdsl.backends.search import Search
    from specdsl.run.asking import AskBackend
    from specdsl.run.demand import Demand
    from specdsl.run.store.encoding import encode
    from specdsl.run.store.key import Key
    from specdsl.run.store.origin import Origin
    from specdsl.run.store.recheck import certificate_of
    from specdsl.run.store.row import Row
    from specdsl.verdict import Answer
    from tests.run.fakes import UNDECIDED

    rows: list[Row] = []
    for digest, (query, _) in _queries().items():
        found = AskBackend(Demand())(query, Search(), 20.0, 0.0).answer
        for backend, answer in (("search", found), ("fake", Answer(UNDECIDED, "fake", 0.5))):
            same = replace(answer, seconds=0.5, statistics={"domains": 3.0})
            key = Key(digest, f"{backend}()", "{}", "float32_any_order")
            origin = Origin("/f.spec", {"eps": "1/2"}, query.name).written
            certificate = certificate_of(same)
            rows.append(Row(key, encode(same), 20.0, 0.5, 1.0, origin, certificate))
    return (_packed(rows),)


def _packed(rows: Sequence[Row]) -> bytes:
    """A database file, all of whose rows stand as they are written."""
    from specdsl.run.store.database import PUT, TABLE

    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute(TABLE)
        for row in rows:
            key = row.key
            values = (key.query, key.backend, key.versions, key.semantics, row.answer, row.limit)
            rest = (row.seconds, row.made, row.origin, row.certificate, row.checksum, key.text)
            connection.execute(PUT, (*values, *rest))
        return connection.serialize()


def _mutate(random: Random, content: bytes, corpus: Sequence[bytes]) -> bytes:
    """Mostly rows that are as they were written, by somebody who writes what nobody would."""
    if random.random() < 0.4:
        return binary.mutate(random, content, corpus)
    rows = _rows(content)
    return _packed([_changed(random, row) if random.random() < 0.6 else row for row in rows])


@cache
def _rows(content: bytes) -> tuple[Row, ...]:
    """Of an undamaged file; none of another."""
    from specdsl.run.store.database import FILE, Database
    from specdsl.run.store.row import Row

    with TemporaryDirectory() as name:
        (Path(name) / FILE).write_bytes(content)
        try:
            with Database(Path(name)).closing() as database:
                return tuple(r for r in database.rows() if isinstance(r, Row))
        except sqlite3.Error:
            return ()


def _changed(random: Random, row: Row) -> Row:
    """One column."""
    from tests.fuzz.targets.certificates import mutate_certificate

    match random.randrange(5):
        case 0:
            origin = json_values.mutate(random, row.origin.encode(), [row.origin.encode()])
            return replace(row, origin=origin.decode(errors="replace"))
        case 1 if row.certificate is not None:
            others = [row.certificate]
            return replace(row, certificate=mutate_certificate(random, row.certificate, others))
        case 2:
            number = random.choice((-1.0, 1e308, float("inf"), "x", 2**62))
            limit = random.choice((None, number))
            return replace(row, limit=limit, seconds=number)  # type: ignore[arg-type]
        case _:
            answer = json_values.mutate(random, row.answer.encode(), [row.answer.encode()])
            return replace(row, answer=answer.decode(errors="replace"))


def _read(content: bytes, folder: Path) -> None:
    """As `cache verify` does; what is not believed is told as a refusal."""
    from specdsl.diagnostics import SpecError
    from specdsl.run.store.database import FILE, Damaged, Database, remove

    refused: list[str | None] = []
    (folder / FILE).write_bytes(content)
    try:
        with Database(folder).closing() as database:
            for row in database.rows():
                refused.append(str(row) if isinstance(row, Damaged) else _refusal(row))
    except sqlite3.Error as error:
        refused.append(str(error))
    finally:
        remove(folder)
    for reason in filter(None, refused):
        raise SpecError.of("E0603", f"refused: {reason}")


def _refusal(row: Row) -> str | None:
    """Why an answer is not believed; what is believed is true."""
    from specdsl.run.store.encoding import Undecodable, decode
    from specdsl.run.store.origin import Origin
    from specdsl.run.store.recheck import certificate_again, recheck
    from specdsl.verdict import Falsified, Verified

    try:
        answer = decode(row.answer)
        Origin.read(row.origin)
    except (Undecodable, ValueError) as error:
        return str(error)
    if row.key.query not in _queries():
        return "another question"
    query, holds = _queries()[row.key.query]
    found = recheck(query, answer, row)
    if found is None:
        return "its evidence does not hold"
    problem = certificate_again(query, found)
    if problem is not None:
        return problem
    match found.verdict:
        case Falsified():
            assert not holds
        case Verified(certificate) if certificate.accepted:
            assert holds
        case _:
            pass
    return None


TARGETS = (Target("store", ".sqlite", _files, _mutate, _read, 250),)
