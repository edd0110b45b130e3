"""A changed certificate is refused, or it proves what it now says in rationals as well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache

import pytest

from specdsl.backend import FOREVER
from specdsl.backends.search import Search
from specdsl.certificates.certify import certify
from specdsl.proof import EXACT, Refused, check, read_certificate
from specdsl.query.query import Query
from specdsl.verdict import Semantics, Verified
from tests.certificates.small_networks import small_network
from tests.proof.mutating import mutated
from tests.proof.test_container import narrow_query

FILES: dict[str, tuple[Callable[[], Query], Search, Semantics]] = {
    "boxes": (narrow_query, Search(split="input"), "real"),
    "boxes in float32": (narrow_query, Search(split="input"), "float32_any_order"),
    "parts": (small_network, Search(split="neuron"), "real"),
    "parts in float32": (small_network, Search(split="neuron"), "float32_any_order"),
}


@cache
def certificate(name: str) -> bytes:
    """Of what a search verifies."""
    query_of_it, search, semantics = FILES[name]
    query = query_of_it()
    verdict = search.answer(query, FOREVER).verdict
    assert isinstance(verdict, Verified)
    return certify(query, verdict.certificate.proofs, semantics, FOREVER).content


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
