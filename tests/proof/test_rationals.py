"""python-flint's rationals and those of the standard library: the same bounds and verdicts."""

from __future__ import annotations

from fractions import Fraction
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.proof import EXACT, arithmetic, check, read_certificate
from specdsl.query.query import Query
from tests.proof.certificates import bounds_of, certified
from tests.strategies import queries

pytest.importorskip("flint", reason="compares with python-flint")


def standard() -> Any:
    """Within, python-flint is not used."""
    return patch.object(arithmetic, "_fmpq", None)


def fractions_of(values: np.ndarray) -> list[Fraction]:
    return [Fraction(int(v.numerator), int(v.denominator)) for v in values.reshape(-1).tolist()]


@settings(deadline=None, max_examples=25)
@given(queries(), st.sampled_from(("real", "float32_any_order")))
def test_bounds_are_the_same(query: Query, semantics: Any) -> None:
    _, fast = bounds_of(query, semantics, EXACT)
    with standard():
        _, slow = bounds_of(query, semantics, EXACT)
    assert {type(v) for x in slow.found.values() for e in x for v in e.flat} <= {Fraction, int}
    for node, x in slow.found.items():
        for own, other in zip(x, fast.found[node], strict=True):
            assert fractions_of(own) == fractions_of(other)


@settings(deadline=None, max_examples=10)
@given(queries())
def test_verdicts_are_the_same(query: Query) -> None:
    found = certified(query)
    if found is not None and found.leaves <= 8:
        certificate = read_certificate(found.content)
        with standard():
            slow = check(certificate, EXACT)
        assert slow == check(certificate, EXACT)
