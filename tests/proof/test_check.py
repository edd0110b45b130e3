"""The checker accepts what is proven, and nothing that has a witness."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.backend import FOREVER
from specdsl.backends.search.backend import Search
from specdsl.certificates.certify import certify
from specdsl.certificates.question import state
from specdsl.graph.exact import evaluate_exact
from specdsl.proof import EXACT, FLOAT, Refused, check, read_certificate
from specdsl.proof.boxes import LEAF, SPLIT, TRIED, Tree, boxes_of, read_tree
from specdsl.proof.relaxations import Interval
from specdsl.query.query import Query
from specdsl.query.sets import exact
from specdsl.verdict import Falsified, Verified
from tests.proof.certificates import bounds_of, certified, file_of
from tests.proof.test_container import narrow_query
from tests.strategies import queries, sample

SEMANTICS = ("real", "float32_any_order")


@settings(deadline=None)
@given(queries(), st.sampled_from(SEMANTICS))
def test_what_has_a_witness_has_no_certificate(query: Query, semantics: str) -> None:
    answer = Search().answer(query, FOREVER)
    found = certified(query, semantics)  # pyright: ignore[reportArgumentType]
    if isinstance(answer.verdict, Falsified):
        assert found is None
    if found is not None:
        assert isinstance(answer.verdict, Verified)


@settings(deadline=None)
@given(queries())
def test_what_search_proves_clearly_gets_a_certificate(query: Query) -> None:
    answer = Search(split="input").answer(query, FOREVER)
    if not isinstance(answer.verdict, Verified):
        return
    proof = answer.verdict.certificate
    if proof.margin is None or proof.margin < 1e-3:
        return
    found = certify(query, proof.proofs, "real", FOREVER)
    accepted = check(read_certificate(found.content))
    assert accepted.leaves == found.leaves
    assert accepted.trusted == ()


@settings(deadline=None, max_examples=25)
@given(queries())
def test_rationals_accept_what_floats_do(query: Query) -> None:
    found = certified(query)
    if found is not None and found.leaves <= 8:
        assert check(read_certificate(found.content), EXACT).leaves == found.leaves


@settings(deadline=None)
@given(queries(), st.sampled_from(SEMANTICS))
def test_bounds_contain_exact_values(query: Query, semantics: str) -> None:
    question, bounds = bounds_of(query, semantics)  # pyright: ignore[reportArgumentType]
    points = sample(query.cases[0].inputs.box, 8)
    graph = query.graph
    x = bounds.found[question.network.output]
    lower, upper = (end.reshape(-1).tolist() for end in x)
    for point in points:
        inputs = {graph.input: exact(point).reshape(graph.shapes[graph.input])}
        values = evaluate_exact(graph, inputs, nodes=[graph.output])[graph.output].reshape(-1)
        for low, value, high in zip(lower, values.tolist(), upper, strict=True):
            assert Fraction(low) <= value <= Fraction(high)


@settings(deadline=None)
@given(queries())
def test_rational_bounds_lie_within_those_of_floats(query: Query) -> None:
    question, floats = bounds_of(query)
    _, rationals = bounds_of(query, how=EXACT)
    for node in range(question.network.output + 1):
        outer, inner = floats.found[node], rationals.found[node]
        if node in floats.lines:
            continue
        width = (outer.upper - outer.lower).reshape(-1)
        for i, (low, high) in enumerate(
            zip(inner.lower.reshape(-1).tolist(), inner.upper.reshape(-1).tolist(), strict=True)
        ):
            # Both are sound; heuristics may choose differently where floats tie.
            assert float(low) <= outer.upper.reshape(-1)[i]
            assert float(high) >= outer.lower.reshape(-1)[i]
            assert width[i] >= 0


def tree_of(kinds: list[int], inputs: list[int], points: list[float]) -> Tree:
    own = np.array(kinds, np.uint8), np.array(inputs, np.uint32), np.array(points)
    return Tree(*own, np.zeros((len(inputs) + 1, 0), np.float32))


def test_a_tree_covers_its_box() -> None:
    tree = tree_of([SPLIT, LEAF, SPLIT, LEAF, LEAF], [0, 1], [0.25, 2.0])
    root = Interval(np.array([0.0, 1.0]), np.array([1.0, 3.0]))
    boxes = boxes_of(tree, root, frozenset(), FLOAT).ends
    assert boxes.lower.tolist() == [[0, 1], [0.25, 1], [0.25, 2]]
    assert boxes.upper.tolist() == [[0.25, 3], [1, 2], [1, 3]]


def test_what_was_tried_is_bounded_before_its_parts() -> None:
    tree = tree_of([SPLIT, TRIED, LEAF, TRIED, LEAF, LEAF, LEAF], [0] * 3, [0.5, 0.25, 0.375])
    root = Interval(np.array([0.0]), np.array([1.0]))
    boxes = boxes_of(tree, root, frozenset(), FLOAT)
    assert boxes.closes.tolist() == [False, True, False, True, True, True]
    found = [(own.tolist(), part.upper.tolist()) for own, part in boxes.together()]
    assert found == [
        ([0, 5], [[0.5], [1]]),
        ([1, 2], [[0.25], [0.5]]),
        ([3, 4], [[0.375], [0.5]]),
    ]


def test_leaves_that_are_halved_are_accepted_with_the_rest() -> None:
    """What two rounds of halving make of a set is judged as it was on the way."""
    found = certify(narrow_query(), (), "real", FOREVER)
    certificate = read_certificate(found.content)
    (own,) = certificate.proofs
    kinds = read_tree(own.data, certificate.question.network.size(0), 0).kinds
    assert kinds[0] == TRIED
    assert SPLIT not in kinds
    assert check(certificate).leaves == found.leaves == (kinds == LEAF).sum()


def test_between_whole_numbers_nothing_is_covered() -> None:
    tree = tree_of([SPLIT, LEAF, LEAF], [0], [2.5])
    root = Interval(np.array([0.0]), np.array([5.0]))
    boxes = boxes_of(tree, root, frozenset({0}), FLOAT).ends
    assert boxes.upper.tolist() == [[2], [5]]
    assert boxes.lower.tolist() == [[0], [3]]


@pytest.mark.parametrize("kinds", [[SPLIT, LEAF], [LEAF, LEAF], [SPLIT, LEAF, LEAF, LEAF]])
def test_a_tree_that_does_not_end_is_refused(kinds: list[int]) -> None:
    splits = kinds.count(SPLIT)
    tree = tree_of(kinds, [0] * splits, [0.0] * splits)
    root = Interval(np.array([-1.0]), np.array([1.0]))
    with pytest.raises(Refused):
        boxes_of(tree, root, frozenset(), FLOAT)


@settings(deadline=None)
@given(queries())
def test_one_leaf_proves_no_more_than_its_bounds(query: Query) -> None:
    certificate = read_certificate(file_of(state(query, "real")))
    try:
        check(certificate)
    except Refused:
        return
    assert isinstance(Search().answer(query, FOREVER).verdict, Verified)
