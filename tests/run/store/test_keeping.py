"""What was answered is not asked again, and nothing is believed that does not hold."""

from __future__ import annotations

import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from specdsl.backend import Unsupported
from specdsl.proof import check, read_certificate
from specdsl.query.sets import exact
from specdsl.run.asking import Answered, AskBackend
from specdsl.run.demand import BELIEVING, Demand
from specdsl.run.store.database import Database
from specdsl.run.store.encoding import decode, encode
from specdsl.run.store.keeping import keeping, serves
from specdsl.run.store.row import Row
from specdsl.verdict import Answer, Falsified, Unknown, Verified
from tests.run.fakes import NO_RULE, PROVEN, FakeBackend, query
from tests.run.store.fakes import ASKED, Counting, Keeps


@pytest.fixture
def keeps(tmp_path: Path) -> Keeps:
    ASKED.clear()
    return Keeps(tmp_path / "kept")


def asked() -> int:
    """How many queries reached the backend since this was called before."""
    count = len(ASKED)
    ASKED.clear()
    return count


def same(first: Answered, second: Answered) -> bool:
    """But for being kept. What the networks said at a witness is compared too."""
    one, other = first.answer, second.answer
    if isinstance(one.verdict, Falsified) and isinstance(other.verdict, Falsified):
        for a, b in zip(one.verdict.witness.calls, other.verdict.witness.calls, strict=True):
            assert (a.network, a.labels, a.outputs.tolist()) == (
                *(b.network, b.labels, b.outputs.tolist()),
            )
    return first.seconds == second.seconds and encode(one) == encode(other)


@pytest.mark.parametrize("shift", [0.5, -0.5])
def test_a_verdict_is_the_same_when_it_is_kept(keeps: Keeps, shift: float) -> None:
    first, _ = keeps.ask(query(shift))
    second, problem = keeps.ask(query(shift))
    assert (first.cached, second.cached, asked(), problem) == (False, True, 1, None)
    assert isinstance(first.answer.verdict, Verified if shift > 0 else Falsified)
    assert same(first, second)


def test_another_question_or_another_option_is_asked(keeps: Keeps) -> None:
    keeps.ask(query(0.5))
    keeps.ask(query(0.25))
    keeps.ask(query(0.5), says="otherwise")
    assert asked() == 3


@pytest.mark.parametrize(
    ("before", "now", "again"),
    [(1.0, 1.0, 0), (1.0, 0.5, 0), (1.0, 2.0, 1), (None, 9.0, 0), (1.0, None, 1), (None, None, 0)],
)
def test_what_was_not_decided_is_asked_again_with_more_time(
    keeps: Keeps, before: float | None, now: float | None, again: int
) -> None:
    keeps.ask(query(), before, says="timeout")
    asked()
    answered, _ = keeps.ask(query(), now, says="timeout")
    assert (asked(), answered.cached) == (again, not again)


def test_more_time_takes_the_place_of_less(keeps: Keeps) -> None:
    for timeout in (1.0, 2.0, 2.0, 1.5):
        keeps.ask(query(), timeout, says="timeout")
    assert asked() == 2


def test_a_verdict_serves_whatever_the_time() -> None:
    proven = Answer(PROVEN, "m", 1.0)
    assert all(serves(proven, limit, now) for limit in (None, 1.0) for now in (None, 0.1, 9.0))


def test_a_crash_is_asked_again(keeps: Keeps) -> None:
    for _ in range(2):
        answered, _ = keeps.ask(query(), says="crashes")
        assert isinstance(answered.answer.verdict, Unknown)
    assert asked() == 2


def test_what_a_backend_refuses_is_not_kept(keeps: Keeps) -> None:
    class Refuses(Counting):
        def answer(self, *_: object) -> Answer:
            raise NO_RULE

    keeps.backend = Refuses()
    with pytest.raises(Unsupported):
        keeps.ask(query())
    with Database(keeps.folder).closing() as database:
        assert not list(database.rows())


def test_a_question_without_cases_needs_no_store(tmp_path: Path) -> None:
    with keeping(tmp_path / "kept", BELIEVING) as keeper:
        answered = keeper.ask(replace(query(), cases=()), Counting(), 1.0, since=0.0)
    assert answered.answer.method == "no cases"
    assert not answered.cached


def altered(folder: Path, change: object) -> None:
    """The only row, changed by somebody who knows how to write one."""
    with Database(folder).closing() as database:
        (row,) = database.rows()
        assert isinstance(row, Row)
        answer = decode(row.answer)
        database.put(replace(row, answer=encode(change(answer))))  # type: ignore[operator]


def moved(answer: Answer) -> Answer:
    witness = answer.verdict.witness  # type: ignore[union-attr]
    point = exact([witness.point[0] + Fraction(1, 1024)])
    return replace(answer, verdict=Falsified(replace(witness, point=point)))


def outside(answer: Answer) -> Answer:
    witness = answer.verdict.witness  # type: ignore[union-attr]
    margin = Fraction(-99)
    changed = replace(witness, point=exact([-100]), exact_margin=margin + Fraction(-1, 2))
    return replace(answer, verdict=Falsified(changed))


def elsewhere(answer: Answer) -> Answer:
    witness = answer.verdict.witness  # type: ignore[union-attr]
    return replace(answer, verdict=Falsified(replace(witness, case=3)))


def negative(answer: Answer) -> Answer:
    certificate = answer.verdict.certificate  # type: ignore[union-attr]
    return replace(answer, verdict=Verified(replace(certificate, margin=-0.5)))


@pytest.mark.parametrize(
    ("shift", "change"), [(-0.5, moved), (-0.5, outside), (-0.5, elsewhere), (0.5, negative)]
)
def test_evidence_that_does_not_hold_is_sought_again_and_replaced(
    keeps: Keeps, shift: float, change: object
) -> None:
    first, _ = keeps.ask(query(shift))
    altered(keeps.folder, change)
    asked()
    second, problem = keeps.ask(query(shift))
    assert (asked(), second.cached, problem) == (1, False, None)
    assert encode(first.answer) == encode(second.answer)
    third, _ = keeps.ask(query(shift))
    assert (asked(), third.cached) == (0, True)


def test_a_witness_is_replayed_on_the_network_as_it_is_now(keeps: Keeps) -> None:
    keeps.ask(query(-0.5))
    asked()
    (call,) = query(-0.5).calls
    (other,) = query(0.5).calls
    # The file computes something else than the graph says that it does.
    broken = replace(query(-0.5), calls=(replace(call, model=other.model),))
    answered, _ = keeps.ask(broken)
    assert asked() == 1
    assert not isinstance(answered.answer.verdict, Falsified)


def test_the_clock_may_jump_back(keeps: Keeps, monkeypatch: pytest.MonkeyPatch) -> None:
    keeps.ask(query(0.5))
    monkeypatch.setattr(time, "time", lambda: 12.0)
    keeps.ask(query(0.25))
    answers = [keeps.ask(query(shift))[0] for shift in (0.5, 0.25)]
    assert all(answered.cached for answered in answers)
    assert asked() == 2


def test_a_certificate_is_kept_with_the_answer(tmp_path: Path) -> None:
    with keeping(tmp_path / "kept", Demand()) as keeper:
        first, second = (keeper.ask(query(0.5), Counting(), 9.0, since=0.0) for _ in range(2))
    assert (first.cached, second.cached) == (False, True)
    for answered in (first, second):
        verdict = answered.answer.verdict
        assert isinstance(verdict, Verified)
        assert verdict.certificate.accepted
        content = verdict.certificate.content
        assert content is not None
        assert check(read_certificate(content)).semantics == "float32_any_order"


def test_what_is_believed_is_not_what_is_proven(keeps: Keeps) -> None:
    keeps.ask(query(0.5))
    with keeping(keeps.folder, Demand()) as keeper:
        assert not keeper.ask(query(0.5), Counting(), 9.0, since=0.0).cached
    with keeping(keeps.folder, Demand("real")) as keeper:
        assert not keeper.ask(query(0.5), Counting(), 9.0, since=0.0).cached
    assert keeps.ask(query(0.5))[0].cached


def test_a_certificate_that_is_too_large_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("specdsl.run.store.keeping.MAX_CERTIFICATE", 10)
    with keeping(tmp_path / "kept", Demand()) as keeper:
        found = [keeper.ask(query(0.5), Counting(), 9.0, since=0.0) for _ in range(2)]
    assert [each.cached for each in found] == [False, False]
    assert all(isinstance(each.answer.verdict, Verified) for each in found)


def test_asking_without_a_store_is_asking(tmp_path: Path) -> None:
    answered = AskBackend(BELIEVING)(query(), FakeBackend(PROVEN), 1.0, since=time.monotonic())
    assert not answered.cached
    assert isinstance(answered.answer.verdict, Verified)
    assert answered.seconds < 60
