"""Proofs that linear programs find: the checker accepts them, and they are where a MILP is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from specdsl.backend import FOREVER, Deadline, OutOfTime, Unsupported
from specdsl.backends.milp import Milp
from specdsl.backends.search import Search
from specdsl.certificates import programs
from specdsl.certificates.certify import Certified, certify, rounding_of
from specdsl.certificates.nodes import NoMargin, NotCertified
from specdsl.certificates.programs import ProgramProof
from specdsl.graph import ops
from specdsl.graph.graph import GraphBuilder
from specdsl.proof import EXACT, check, read_certificate
from specdsl.query.groups import group_cases
from specdsl.query.query import Atom, Case, Query, Variable
from specdsl.query.sets import Box, exact
from specdsl.verdict import Falsified, Semantics, Verified
from tests.certificates.small_networks import query_of
from tests.query.specs import obligations
from tests.strategies import queries


def by_programs(
    query: Query, semantics: Semantics = "real", deadline: Deadline = FOREVER
) -> Certified:
    proofs = [ProgramProof(group.members) for group in group_cases(query)]
    found = certify(query, proofs, semantics, deadline)
    again = read_certificate(found.content)
    assert check(again).leaves == found.leaves
    return found


@settings(deadline=None, max_examples=60)
@given(queries())
def test_they_find_a_proof_where_a_milp_does(query: Query) -> None:
    try:
        verdict = Milp().answer(query, Deadline.after(10)).verdict
    except Unsupported:
        return
    try:
        by_programs(query, deadline=Deadline.after(30))
    except (NotCertified, OutOfTime):
        clear = isinstance(verdict, Verified) and (verdict.certificate.margin or 0.0) > 1e-3
        assert not clear
    else:
        assert not isinstance(verdict, Falsified)


@pytest.mark.parametrize(
    "activation", [ops.Relu(), ops.LeakyRelu(0.25), ops.Abs(), ops.Tanh(), ops.Sigmoid()], ids=repr
)
def test_they_find_proofs_where_the_search_does(activation: ops.Op) -> None:
    accepted = 0
    for seed in range(4):
        query = query_of(seed, activation, inputs=2)
        verdict = Search().answer(query, Deadline.after(5)).verdict
        if isinstance(verdict, Verified):
            accepted += by_programs(query, "float32_any_order").leaves
        elif isinstance(verdict, Falsified):
            with pytest.raises(NotCertified):
                by_programs(query)
    assert accepted >= 4


def on_numbers(relu: ops.Op, weight: float, shift: float, *, whole: bool) -> Query:
    """Whether `weight relu(x - 1/2) + shift` is 0 or less somewhere between 0 and 1."""
    builder = GraphBuilder()
    node = builder.add(ops.Input((1,)), name="x")
    node = builder.add(ops.Dense(np.ones((1, 1)), np.array([-0.5])), node)
    node = builder.add(relu, node)
    node = builder.add(ops.Dense(np.array([[weight]]), np.array([shift])), node)
    graph = builder.build(node)
    case = Case(Box(exact(np.zeros(1)), exact(np.ones(1))), (Atom(0, strict=True),))
    integers = np.arange(int(whole))
    return Query("q", graph, (case,), (Variable.at("x", 0, (1,)),), (), integers=integers)


def test_between_whole_numbers_there_is_nothing_to_refute() -> None:
    # |x - 1/2| - 1/4 is 1/4 at 0 and at 1, and -1/4 between.
    assert by_programs(on_numbers(ops.Abs(), 1.0, -0.25, whole=True)).leaves == 2
    with pytest.raises(NotCertified):
        by_programs(on_numbers(ops.Abs(), 1.0, -0.25, whole=False))


def test_a_margin_of_0_takes_rationals() -> None:
    query = on_numbers(ops.Relu(), 1.0, 0.0, whole=False)
    found = by_programs(query)
    (proof,) = read_certificate(found.content).proofs
    assert proof.exact
    with pytest.raises(NoMargin, match="margin is 0"):
        by_programs(query, "float32_any_order")


def test_what_is_believed_of_rationals_is_named() -> None:
    query = query_of(1, ops.Tanh(), inputs=2)
    found = by_programs(query, "float32_any_order")
    assert check(read_certificate(found.content), EXACT).trusted == found.trusted != ()


def above(margin: float) -> Query:
    """Whether `1000 x + margin`, of a network, is above 0 everywhere between 0 and 1."""
    text = f"""spec 1.0
    network f: real[1] -> real[1] {{ layer dense(weight = [[1000]], bias = [{margin!r}]) }}
    property p = forall x in box([0], [1]): f(x)[0] > 0
    check p
    """
    (obligation,), resources = obligations(text)
    return obligation.query(resources)


@pytest.mark.parametrize("roundings", [2.0, 4.0, 16.0])
def test_a_margin_that_rounding_leaves_is_enough(roundings: float) -> None:
    rounding = rounding_of(above(1.0), "float32_any_order")
    assert rounding > 2e-5
    by_programs(above(roundings * rounding), "float32_any_order")


def test_a_margin_that_rounding_takes_is_none() -> None:
    rounding = rounding_of(above(1.0), "float32_any_order")
    with pytest.raises(NotCertified, match="within rounding"):
        by_programs(above(rounding), "float32_any_order")


def test_a_case_of_several_atoms_takes_all_of_them() -> None:
    """relu(x) + 1/4 <= y, y <= x and y <= -x exclude each other, and no two of them do."""
    builder = GraphBuilder()
    node = builder.add(ops.Input((2,)), name="x")
    signs = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    node = builder.add(ops.Relu(), builder.add(ops.Dense(signs, np.zeros(4)), node))
    weight = np.array([[1.0, 0, -1, 1], [-1, 1, 1, -1], [1, -1, 1, -1]])
    graph = builder.build(builder.add(ops.Dense(weight, np.array([0.25, 0, 0])), node))
    box = Box(exact(np.full(2, -1.0)), exact(np.full(2, 1.0)))
    case = Case(box, (Atom(0), Atom(1), Atom(2)))
    query = Query("q", graph, (case,), (Variable.at("x", 0, (2,)),), ())
    assert by_programs(query, "float32_any_order").leaves <= 4


def test_too_many_parts_are_left_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    query = next(
        q for q in (query_of(s, ops.Relu()) for s in range(20)) if by_programs(q).leaves > 4
    )
    monkeypatch.setattr(programs, "MAX_PARTS", 2)
    with pytest.raises(NotCertified, match="leave a case open in 2 parts"):
        by_programs(query)


def test_programs_end_with_their_time() -> None:
    with pytest.raises((NotCertified, OutOfTime)):
        by_programs(query_of(2, ops.Relu()), deadline=Deadline.after(0.0))
