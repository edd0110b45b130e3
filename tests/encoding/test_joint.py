"""One program for all cases over an input set: its optimum is the least of theirs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from specdsl.backend import FOREVER
from specdsl.backends.registry import create
from specdsl.diagnostics import SpecError
from specdsl.encoding.cases import encoded_groups
from specdsl.encoding.deciding.joint import encode_joint
from specdsl.encoding.encode import encode_case
from specdsl.encoding.solvers.highs import solve
from specdsl.query.query import Query
from tests.strategies import queries

quick = settings(max_examples=40, deadline=None)


@given(queries())
@quick
def test_the_optimum_is_the_least_of_all_cases(asked: Query) -> None:
    for group in encoded_groups(asked):
        if group.encoded is None:
            continue
        cases = [c.atoms for c in (asked.cases[m] for m in group.members) if c.atoms]
        if not cases:
            continue
        found = [solve(encode_case(group.encoded, atoms, "case"), FOREVER) for atoms in cases]
        together = solve(encode_joint(group.encoded, cases, "joint"), FOREVER)
        optima = [f.objective for f in found if f.objective is not None]
        if together.objective is None:
            assert not optima
            continue
        assert together.objective == pytest.approx(min(optima), rel=1e-6, abs=1e-6)
        assert together.bound <= min(optima) + 1e-6 * (1 + abs(min(optima)))


@given(queries())
@quick
def test_the_verdict_is_the_same(asked: Query) -> None:
    words = {
        type(create("milp", {"cases": way}).answer(asked, FOREVER).verdict).__name__
        for way in ("each", "together")
    }
    assert words != {"Verified", "Falsified"}


def test_other_ways_are_refused() -> None:
    with pytest.raises(SpecError, match="the cases are each or together, not both"):
        create("milp", {"cases": "both"})
