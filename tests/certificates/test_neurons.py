"""What a search over neurons verifies, its record proves to the checker."""

from __future__ import annotations

import numpy as np
import pytest

from specdsl.backend import FOREVER, Deadline
from specdsl.backends.search import Search
from specdsl.certificates.certify import certify
from specdsl.certificates.nodes import NotCertified
from specdsl.certificates.part_records import NeuronProof, Otherwise
from specdsl.graph import ops
from specdsl.graph.graph import GraphBuilder
from specdsl.proof import EXACT, check, read_certificate
from specdsl.query.query import Atom, Case, Query, Variable
from specdsl.query.sets import Box, exact
from specdsl.verdict import Falsified, Verified
from tests.certificates.small_networks import query_of

OPTIONS = {
    "all": Search(split="neuron"),
    "no sharpening": Search(split="neuron", sharpen=False),
    "no root": Search(split="neuron", tighten=False),
    "splits alone": Search(split="neuron", tighten=False, sharpen=False, steps=2),
}


@pytest.mark.parametrize(
    "activation", [ops.Relu(), ops.LeakyRelu(0.25), ops.Abs(), ops.Tanh()], ids=repr
)
@pytest.mark.parametrize("search", OPTIONS.values(), ids=OPTIONS.keys())
def test_records_prove_what_was_verified(search: Search, activation: ops.Op) -> None:
    accepted = 0
    for seed in range(5):
        query = query_of(seed, activation)
        verdict = search.answer(query, Deadline.after(2)).verdict
        if not isinstance(verdict, Verified):
            continue
        proven = certify(query, verdict.certificate.proofs, "real", FOREVER)
        accepted += 1
        if proven.leaves < 4 and accepted == 1:
            assert check(read_certificate(proven.content), EXACT).leaves == proven.leaves
    assert accepted >= 1


def test_a_proof_of_one_query_is_none_of_another() -> None:
    search = Search(split="neuron")
    held, broken = query_of(2, ops.Relu()), query_of(8, ops.Relu())
    verdict = search.answer(held, FOREVER).verdict
    assert isinstance(verdict, Verified)
    assert isinstance(search.answer(broken, FOREVER).verdict, Falsified)
    with pytest.raises(NotCertified):
        certify(broken, verdict.certificate.proofs, "real", FOREVER)


def test_what_a_linear_program_refuted_has_no_words() -> None:
    query = query_of(2, ops.Relu())
    verdict = Search(split="neuron").answer(query, FOREVER).verdict
    assert isinstance(verdict, Verified)
    (proof,) = verdict.certificate.proofs
    assert isinstance(proof, NeuronProof)
    proof.parts[0].below = Otherwise("a linear program")
    with pytest.raises(NotCertified, match="a linear program"):
        certify(query, [proof], "real", FOREVER)


def test_what_rows_choose_at_maxima_is_not_covered() -> None:
    builder = GraphBuilder()
    random = np.random.default_rng(1)
    x = builder.add(ops.Input((4,)), name="x")
    node = builder.add(ops.Dense(random.normal(size=(8, 4)), random.normal(size=8)), x)
    node = builder.add(ops.GroupMax(np.arange(8).reshape(4, 2)), node)
    graph = builder.build(builder.add(ops.Dense(random.normal(size=(1, 4)), np.full(1, 6.0)), node))
    box = Box(exact(np.full(4, -0.5)), exact(np.full(4, 0.5)))
    query = Query("q", graph, (Case(box, (Atom(0),)),), (Variable.at("x", 0, (4,)),), ())
    verdict = Search(split="neuron").answer(query, Deadline.after(20)).verdict
    assert isinstance(verdict, Verified)
    with pytest.raises(NotCertified, match="certificates do not hold"):
        certify(query, verdict.certificate.proofs, "real", FOREVER)
