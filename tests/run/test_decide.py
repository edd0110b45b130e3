"""One obligation, every way an answer can come about."""

from __future__ import annotations

import dataclasses
import logging
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from specdsl.diagnostics import SpecError
from specdsl.evidence import confirm
from specdsl.query.sets import exact
from specdsl.run.asking import AskBackend
from specdsl.run.decide import Method, decide
from specdsl.run.demand import BELIEVING
from specdsl.run.result import Result
from specdsl.verdict import Falsified, Verified, Witness
from tests.run.fakes import NO_RULE, PROVEN, SPAN, UNDECIDED, FakeBackend, FakeObligation, query


def run(obligation: Any, answer: Any, **options: Any) -> Result:
    method = Method(FakeBackend(answer), 1.0, ask=AskBackend(BELIEVING), **options)
    return decide(obligation, None, method)  # type: ignore[arg-type]


def counterexample(asked: Any) -> Falsified:
    witness = confirm(asked, np.array([0.25]))
    assert isinstance(witness, Witness)
    return Falsified(witness)


def test_a_proof_is_verified_with_its_bound_and_what_it_trusts() -> None:
    result = run(FakeObligation(), PROVEN)
    assert (result.verdict, result.bound, result.trusted) == (
        "verified",
        0.125,
        ("float64 rounding",),
    )
    assert (result.method, result.statistics) == ("fake/method", {"domains": 3.0})


def test_a_counterexample_is_falsified_in_the_users_variables() -> None:
    asked = query(-0.5)
    result = run(FakeObligation(asked), counterexample(asked))
    assert result.verdict == "falsified"
    assert result.witness is not None
    (variable,) = result.witness.variables
    assert (variable.name, variable.unit, variable.values) == ("x", "m", (Fraction(1, 4),))
    assert result.witness.exact_margin == Fraction(-1, 4)
    assert result.witness.calls[0].outputs.tolist() == [-0.25]


def test_for_exists_the_roles_of_witness_and_certificate_are_exchanged() -> None:
    asked = query(-0.5, "exists")
    found = run(FakeObligation(asked), counterexample(asked))
    assert (found.verdict, found.witness is not None) == ("verified", True)
    none = run(FakeObligation(query(0.5, "exists")), PROVEN)
    assert (none.verdict, none.certificate is not None) == ("falsified", True)


def test_unknown_says_why_and_what_to_try() -> None:
    result = run(FakeObligation(), UNDECIDED)
    assert (result.verdict, result.reason, result.bound, result.advice) == (
        "unknown",
        "timeout after 1 s",
        -0.5,
        "more time",
    )


def test_a_witness_that_does_not_hold_is_never_reported_as_falsified() -> None:
    asked = query(-0.5)
    honest = counterexample(asked).witness
    forged = dataclasses.replace(honest, point=exact([Fraction(3, 4)]))
    assert run(FakeObligation(asked), Falsified(forged)).verdict == "unknown"


def test_a_certificate_that_proves_nothing_is_never_reported_as_verified() -> None:
    hollow = dataclasses.replace(PROVEN.certificate, margin=-0.25)
    assert run(FakeObligation(), Verified(hollow)).verdict == "unknown"


def test_what_the_method_has_no_rule_for_is_a_diagnostic_at_the_obligation() -> None:
    result = run(FakeObligation(), NO_RULE)
    (found,) = result.diagnostics
    assert (result.verdict, found.code) == ("unknown", "E0855")
    assert "l2 balls" in found.message
    assert found.primary is not None
    assert (found.primary.span, found.help) == (SPAN, "use `portfolio`")


def test_an_error_that_elaboration_finds_late_belongs_to_its_obligation() -> None:
    result = run(FakeObligation(SpecError.of("E0501", "cannot read `x.npz`")), PROVEN)
    assert [d.code for d in result.diagnostics] == ["E0501"]
    assert result.diagnostics[0].primary is not None


def test_a_crash_costs_one_verdict_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        result = run(FakeObligation(), RuntimeError("segment lost\nsecond line"))
    assert (result.verdict, result.diagnostics) == ("unknown", ())
    assert result.reason == "solver crashed: RuntimeError: segment lost"
    assert "Traceback" in caplog.text


def test_a_bug_outside_the_solver_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        run(FakeObligation(ZeroDivisionError()), PROVEN)


def test_an_interrupt_is_not_a_crash() -> None:
    with pytest.raises(KeyboardInterrupt):
        run(FakeObligation(), KeyboardInterrupt())


def test_a_query_without_cases_holds_for_lack_of_points() -> None:
    empty = dataclasses.replace(query(), cases=())
    result = run(FakeObligation(empty), RuntimeError("is never asked"))
    assert (result.verdict, result.method) == ("verified", "no cases")


@pytest.mark.parametrize(("point", "holds"), [(0.25, False), (0.5, False), (0.75, True)])
def test_the_sample_itself_is_tried_when_a_figure_needs_it(point: float, holds: bool) -> None:
    asked = dataclasses.replace(query(-0.5), center=exact([Fraction(point)]))
    obligation = FakeObligation(asked)
    assert run(obligation, UNDECIDED, with_samples=True).sample_holds is holds
    assert run(obligation, UNDECIDED).sample_holds is None
