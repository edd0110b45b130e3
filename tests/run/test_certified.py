"""A verdict that asks for a certificate gets one, by whatever method it came, or is unknown."""

from __future__ import annotations

import pytest

from specdsl.backend import Backend, Deadline
from specdsl.backends.lp import Lp
from specdsl.backends.milp import Milp
from specdsl.backends.portfolio import Portfolio
from specdsl.backends.search import Search
from specdsl.backends.smt import Smt
from specdsl.graph import ops
from specdsl.proof import check, read_certificate
from specdsl.run.answering import answer_query, certified
from specdsl.verdict import Falsified, Unknown, Verified
from tests.certificates.small_networks import query_of
from tests.proof.test_container import narrow_query

HOLDS, FAILS = 4, 8
METHODS = (Lp(), Milp(), Smt(), Search(split="neuron"), Search(split="input"), Portfolio())


@pytest.mark.parametrize("semantics", ["real", "float32_any_order"])
@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_every_method_has_certificates(method: Backend, semantics: str) -> None:
    query = narrow_query() if isinstance(method, Smt) else query_of(HOLDS, ops.Relu())
    answer = answer_query(query, method, 60)
    assert isinstance(answer.verdict, Verified)
    found, proof = certified(query, answer, semantics, Deadline.after(60))  # pyright: ignore[reportArgumentType]
    assert isinstance(found.verdict, Verified)
    assert proof is not None
    accepted = check(read_certificate(proof.content))
    assert accepted.semantics == semantics
    assert found.verdict.certificate.leaves == accepted.leaves


def test_what_fails_stays_falsified() -> None:
    query = query_of(FAILS, ops.Relu())
    answer = answer_query(query, Portfolio(), 60)
    assert isinstance(answer.verdict, Falsified)
    assert certified(query, answer, "real", Deadline.after(60)) == (answer, None)


def test_what_nothing_certifies_is_unknown_with_the_reason() -> None:
    query = query_of(3, ops.Gelu())
    answer = answer_query(query, Search(split="neuron"), 60)
    assert isinstance(answer.verdict, Verified)
    found, proof = certified(query, answer, "real", Deadline.after(60))
    assert proof is None
    assert isinstance(found.verdict, Unknown)
    assert "do not cover `Gelu`" in found.verdict.reason
