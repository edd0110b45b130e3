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
from specdsl.run.answering import answer_query
from specdsl.run.certifying import certified
from specdsl.verdict import Falsified, Semantics, Unknown, Verified
from tests.certificates.small_networks import query_of
from tests.proof.test_container import narrow_query

HOLDS, FAILS = 4, 8
METHODS = (Lp(), Milp(), Smt(), Search(split="neuron"), Search(split="input"), Portfolio())


@pytest.mark.parametrize("semantics", ["real", "float32_any_order"])
@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_every_method_has_certificates(method: Backend, semantics: Semantics) -> None:
    query = narrow_query() if isinstance(method, Smt) else query_of(HOLDS, ops.Relu())
    answer = answer_query(query, method, 60)
    assert isinstance(answer.verdict, Verified)
    found = certified(query, answer, semantics, Deadline.after(60)).verdict
    assert isinstance(found, Verified)
    certificate = found.certificate
    assert certificate.accepted
    assert certificate.content is not None
    accepted = check(read_certificate(certificate.content))
    assert accepted.semantics == certificate.semantics == semantics
    assert certificate.leaves == accepted.leaves


def test_what_fails_stays_falsified() -> None:
    query = query_of(FAILS, ops.Relu())
    answer = answer_query(query, Portfolio(), 60)
    assert isinstance(answer.verdict, Falsified)
    assert certified(query, answer, "real", Deadline.after(60)) is answer


def test_what_nothing_certifies_is_unknown_with_the_reason() -> None:
    query = query_of(3, ops.Gelu())
    answer = answer_query(query, Search(split="neuron"), 60)
    assert isinstance(answer.verdict, Verified)
    found = certified(query, answer, "real", Deadline.after(60)).verdict
    assert isinstance(found, Unknown)
    assert "do not cover `Gelu`" in found.reason
    assert found.advice is not None
    assert "--trust" in found.advice
