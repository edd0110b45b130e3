"""A changed certificate is refused, or it proves what it now says in rationals as well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache

import pytest

from specdsl.backend import FOREVER
from specdsl.backends.search import Search
from specdsl.certificates.certify import certify
from specdsl.certificates.programs import ProgramProof
from specdsl.certificates.witnesses import witness_certificate
from specdsl.graph import ops
from specdsl.proof import EXACT, Refused, check, read_certificate
from specdsl.query.query import Query
from specdsl.verdict import Falsified, Semantics, Verified
from tests.certificates.small_networks import query_of, small_network
from tests.proof.mutating import mutated
from tests.proof.test_container import narrow_query


def searched(query: Query, search: Search, semantics: Semantics) -> bytes:
    verdict = search.answer(query, FOREVER).verdict
    if isinstance(verdict, Falsified):
        return witness_certificate(query, verdict.witness)
    assert isinstance(verdict, Verified)
    return certify(query, verdict.certificate.proofs, semantics, FOREVER).content


def programmed(query: Query, semantics: Semantics) -> bytes:
    proofs = [ProgramProof(tuple(range(len(query.cases))))]
    return certify(query, proofs, semantics, FOREVER).content


BOXES, PARTS = Search(split="input"), Search(split="neuron")
FILES: dict[str, Callable[[], bytes]] = {
    "boxes": lambda: searched(narrow_query(), BOXES, "real"),
    "boxes in float32": lambda: searched(narrow_query(), BOXES, "float32_any_order"),
    "parts": lambda: searched(small_network(), PARTS, "real"),
    "parts in float32": lambda: searched(small_network(), PARTS, "float32_any_order"),
    "parts by programs": lambda: programmed(small_network(), "float32_any_order"),
    "a witness": lambda: searched(query_of(8, ops.Relu()), BOXES, "real"),
}


@cache
def certificate(name: str) -> bytes:
    """Of what a search decides."""
    return FILES[name]()


def judged(data: bytes) -> str:
    """What becomes of a changed certificate."""
    try:
        certificate = read_certificate(data)
        check(certificate)
    except Refused:
        return "refused"
    check(certificate, EXACT)
    return "proves what it says"


@pytest.mark.parametrize("name", FILES)
def test_changed_certificates_prove_nothing_false(name: str) -> None:
    found = Counter(judged(mutated(certificate(name), seed)) for seed in range(100))
    assert found["refused"] >= 50


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", FILES)
def test_ten_thousand_changed_certificates(name: str) -> None:
    found = Counter(judged(mutated(certificate(name), seed)) for seed in range(100, 2600))
    assert found.total() == 2500
    assert found["refused"] >= 1250
