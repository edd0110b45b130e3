"""`cache verify` and `cache prune`: what is looked at, and what goes."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from specdsl.run.demand import Demand
from specdsl.run.execution import Execution
from specdsl.run.pipeline import RunOptions, verify
from specdsl.run.store.audit import Audit, audit
from specdsl.run.store.database import FILE, Database
from specdsl.run.store.encoding import decode, encode
from specdsl.run.store.key import versions
from specdsl.run.store.origin import Origin
from specdsl.run.store.pruning import DAY, Pruning, prune
from specdsl.run.store.row import Row
from specdsl.verdict import Answer, Falsified, Verified
from tests.run.fakes import PROVEN, UNDECIDED
from tests.run.store.test_faults import row

SPEC = """spec 1.0
param limit: real = 3 in [0, 100]
network double: real[1] -> real[1] { layer dense(weight = [[2]], bias = [0]) }
property bounded { forall x in [1, 2]  show double(x) <= limit }
property reaches { exists x in [1, 2]  show double(x) >= 3 }
property holds   { forall x in [1, 2]  show double(x) <= 5 }
check bounded, reaches, holds using smt
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with the answers to two settings of a spec: three witnesses, three proofs."""
    (tmp_path / "f.spec").write_text(SPEC)
    options = RunOptions(execution=Execution(cache=tmp_path / "kept", demand=Demand()))
    for limit in ("3", "9/2"):
        verify(tmp_path / "f.spec", {"limit": limit}, options)
    return tmp_path / "kept"


def looked(folder: Path, *below: Path) -> Audit:
    with Database(folder).closing() as database:
        return audit(database, below or (folder.parent,), ())


def change_witness(folder: Path, change: Callable[[Answer], Answer]) -> str:
    """One witness becomes another; gives the id of its obligation."""
    with Database(folder).closing() as database:
        found = [each for each in database.rows() if isinstance(each, Row)]
        chosen = next(r for r in found if isinstance(decode(r.answer).verdict, Falsified))
        database.put(replace(chosen, answer=encode(change(decode(chosen.answer)))))
        return Origin.read(chosen.origin).id


def test_questions_are_built_again_and_witnesses_replayed(folder: Path) -> None:
    found = looked(folder)
    # Both settings ask the same in two of three properties: four questions, each kept once.
    assert dict(found.words) == {"falsified": 2, "verified": 2}
    assert (found.replayed, found.proofs, found.elsewhere, found.wrong) == (2, 2, 0, ())


def test_a_witness_that_is_none_is_found(folder: Path) -> None:
    def moved(answer: Answer) -> Answer:
        assert isinstance(answer.verdict, Falsified)
        witness = answer.verdict.witness
        return replace(answer, verdict=Falsified(replace(witness, point=witness.point * 0 + 1)))

    id = change_witness(folder, moved)
    (finding,) = looked(folder).wrong
    assert (finding.where, finding.problem) == (id, "its witness does not hold")


def test_damage_is_found(folder: Path) -> None:
    with closing(sqlite3.connect(folder / FILE)) as other, other:
        other.execute("UPDATE answers SET seconds = 99 WHERE rowid = 1")
    found = looked(folder)
    assert found.words["damaged"] == 1
    assert "not what was written" in found.wrong[0].problem
    assert found.rows == 4


def test_nothing_is_read_outside_the_folders_that_were_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    found = looked(folder, tmp_path / "other")
    assert (found.replayed, found.proofs, found.elsewhere) == (0, 0, 4)


def test_certificates_are_checked_again(folder: Path) -> None:
    with Database(folder).closing() as database:
        rows = [each for each in database.rows() if isinstance(each, Row)]
        proven = [r for r in rows if isinstance(decode(r.answer).verdict, Verified)]
        assert len(proven) == 2
        assert all(r.certificate for r in proven)
        # Whole, and of another question: only the checker sees it.
        database.put(replace(proven[0], certificate=proven[1].certificate))
    (finding,) = looked(folder).wrong
    assert finding.where == Origin.read(proven[0].origin).id
    assert finding.problem == "its certificate is refused: it answers another question"


@pytest.mark.parametrize("change", [lambda _: None, lambda content: content[:-1]])
def test_a_certificate_that_is_lost_or_cut_off_is_found(
    folder: Path, change: Callable[[bytes], bytes | None]
) -> None:
    with Database(folder).closing() as database:
        rows = [each for each in database.rows() if isinstance(each, Row)]
        chosen = next(r for r in rows if isinstance(decode(r.answer).verdict, Verified))
        assert chosen.certificate is not None
        database.put(replace(chosen, certificate=change(chosen.certificate)))
    (finding,) = looked(folder).wrong
    assert finding.where == Origin.read(chosen.origin).id


@pytest.mark.parametrize("text", [SPEC.replace("[[2]]", "[[3]]"), "nonsense", None])
def test_a_question_that_nobody_asks_any_more_is_no_mistake(folder: Path, text: str | None) -> None:
    spec = folder.parent / "f.spec"
    if text is None:
        spec.unlink()
    else:
        spec.write_text(text)
    found = looked(folder)
    assert (found.replayed + found.proofs, found.elsewhere, found.wrong) == (0, 4, ())


def test_an_answer_from_nowhere_is_looked_at_alone(folder: Path) -> None:
    with Database(folder).closing() as database:
        database.put(row(1))
    assert looked(folder).elsewhere == 1


NOW = 1_000 * DAY


@pytest.mark.parametrize(
    ("pruning", "left"),
    [
        (Pruning(), {"new", "old", "open", "future"}),
        (Pruning(days=10), {"new", "open", "future"}),
        (Pruning(undecided=True), {"new", "old", "future"}),
        (Pruning(days=10, undecided=True), {"new", "future"}),
        (Pruning(everything=True), set()),
    ],
)
def test_what_is_asked_to_go_goes_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pruning: Pruning, left: set[str]
) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)
    current = versions()

    def kept(name: str, made: float, answer: Answer, by: str = current) -> Row:
        base = row(0, made)
        return replace(base, key=replace(base.key, query=name, versions=by), answer=encode(answer))

    proven, undecided = Answer(PROVEN, "m", 1.0), Answer(UNDECIDED, "m", 1.0)
    with Database(tmp_path).closing() as database:
        for each in (
            kept("new", NOW - DAY, proven),
            kept("old", NOW - 11 * DAY, proven),
            kept("open", NOW - DAY, undecided),
            # Of a clock that has been set back since.
            kept("future", NOW + 99 * DAY, proven),
            kept("another version", NOW, proven, by="older"),
            kept("damaged", NOW, proven),
        ):
            database.put(each)
        with closing(sqlite3.connect(tmp_path / FILE)) as other, other:
            other.execute("UPDATE answers SET seconds = 99 WHERE query = 'damaged'")
        gone, stay = prune(database, pruning)
        names = {r.key.query for r in database.rows() if isinstance(r, Row)}
    assert (names, gone, stay) == (left, 6 - len(left), len(left))
