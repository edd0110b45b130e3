"""Proofs by parts: what they accept has no witness, and every step's bounds hold."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.backend import FOREVER
from specdsl.backends.search.backend import Search
from specdsl.certificates.parts import (
    Choice,
    Fork,
    Leaf,
    PartNode,
    PartsProof,
    Rows,
    Split,
    Step,
)
from specdsl.certificates.question import Statement, state
from specdsl.proof import EXACT, FLOAT, Refused, check, read_certificate
from specdsl.proof.arithmetic import Arithmetic
from specdsl.proof.cases import Cases
from specdsl.proof.parts import Known, Parts
from specdsl.proof.passes import Bounds, Rules
from specdsl.proof.question import Question
from specdsl.proof.regions import Region
from specdsl.proof.relaxations import Interval, Nonlinear, Piecewise, Product
from specdsl.query.query import Query
from specdsl.query.sets import exact
from specdsl.verdict import Falsified
from tests.proof.certificates import bounds_of, question_of
from tests.proof.test_container import narrow_query
from tests.strategies import queries, sample


def file_of(statement: Statement, *proofs: PartsProof) -> bytes:
    """A certificate of these proofs."""
    records = [proof.record(f"p{i}") for i, proof in enumerate(proofs)]
    return statement.certificate(records, {f"p{i}": p.content for i, p in enumerate(proofs)})


class Maker:
    """Random proofs of a question, which need not prove anything."""

    def __init__(self, query: Query, rng: np.random.Generator) -> None:
        self.rng = rng
        self.question, self.bounds = bounds_of(query)
        self.ops = {
            node: op
            for node, op in self.bounds.rules.ops.items()
            if isinstance(op, Piecewise | Product) and node <= self.question.network.output
        }
        network = self.question.network
        self.sizes = {node: network.size(node) for node in range(network.output + 1)}
        read = {network.nodes[node].operands[0] for node in self.ops}
        self.entries = {n: np.arange(self.sizes[n]) for n in sorted({*read, network.input})}
        self.choices = {
            node: Choice(np.arange(self.sizes[node]), int(rng.integers(1, 3)), -0.5, 2 / 255)
            for node in self.ops
        }

    def rows(self, count: int) -> Rows:
        slopes = {
            node: self.rng.integers(
                0,
                256,
                (c.sides, len(self.question.network.nodes[node].operands), count, len(c.columns)),
            ).astype(np.uint8)
            for node, c in self.choices.items()
            if self.rng.random() < 0.7
        }
        multipliers = {
            node: (np.arange(len(own)), self.rng.normal(size=(count, len(own))) / 8)
            for node, own in self.entries.items()
            if self.rng.random() < 0.5
        }
        return Rows(slopes, multipliers)

    def node(self, depth: int, cases: tuple[int, ...]) -> PartNode:
        margins = len({i for case in cases for i, _ in self.question.cases[case].atoms})
        kind = self.rng.random()
        if len(cases) > 1 and kind < 0.5:
            return Fork(tuple(self.node(depth, (case,)) for case in cases))
        if depth == 0 or kind < 0.1:
            atoms = [len(self.question.cases[case].atoms) for case in cases]
            weights = np.abs(self.rng.normal(size=(1, sum(n for n in atoms if n > 1))))
            return Leaf(weights.astype(np.float32), self.rows(len(cases)))
        node = list(self.entries)[self.rng.integers(len(self.entries))]
        if kind < 0.7:
            at = int(self.rng.integers(self.sizes[node]))
            low, high = (float(e.reshape(-1)[at]) for e in self.bounds.found[node])
            point = low + (high - low) * self.rng.random()
            lower, upper = (self.node(depth - 1, cases) for _ in range(2))
            return Split(node, at, point, lower, upper)
        columns = np.arange(self.sizes[node])
        weights = np.abs(self.rng.normal(size=(2 * len(columns), margins))) * (len(cases) == 1)
        rows = self.rows(2 * len(columns))
        return Step(node, columns, weights, rows, self.node(depth - 1, cases))

    def proof(self) -> PartsProof:
        numbers = tuple(range(len(self.question.cases)))
        return PartsProof(numbers, self.choices, self.entries, self.node(3, numbers))


@settings(deadline=None, max_examples=60)
@given(queries(), st.integers(0, 2**32 - 1), st.sampled_from((FLOAT, EXACT)))
def test_no_proof_by_parts_refutes_what_has_a_witness(
    query: Query, seed: int, how: Arithmetic
) -> None:
    certificate = read_certificate(
        file_of(state(query, "real"), Maker(query, np.random.default_rng(seed)).proof())
    )
    try:
        check(certificate, how)
    except Refused as refusal:
        assert "do not refute" in str(refusal), refusal  # noqa: PT017
        return
    assert not isinstance(Search().answer(query, FOREVER).verdict, Falsified)


def values_at(question: Question, point: np.ndarray) -> dict[int, np.ndarray]:
    """Of every node, exactly."""
    rules = Rules.of(question.network, EXACT, single=False)
    own = EXACT.array(exact(point))
    bounds = Bounds(rules, Region(EXACT, Interval(own[None], own[None])))
    bounds.propagate(None)
    return {node: x.lower.reshape(-1) for node, x in bounds.found.items()}


def rational(value: Any) -> Fraction:
    """A float, or a rational of either kind."""
    ratio = (
        value.as_integer_ratio()
        if isinstance(value, float)
        else (value.numerator, value.denominator)
    )
    return Fraction(*(int(part) for part in ratio))


class Walk:
    """The checker's way through a proof, with the points that each of its parts has."""

    def __init__(self, query: Query, proof: PartsProof, how: Arithmetic) -> None:
        data = read_certificate(file_of(state(query, "real"), proof))
        (own,) = data.proofs
        self.question = data.question
        rules = Rules.of(self.question.network, how, single=False)
        self.parts = Parts.of(self.question, rules, own.cases, own.record, own.data)
        self.steps = 0

    def run(self, node: PartNode, points: list[dict[int, np.ndarray]]) -> None:
        whole = Cases.of(self.question, self.parts.rules, self.parts.numbers)
        assert whole.root is not None
        bounds = Bounds(self.parts.rules, whole.region(whole.root))
        bounds.propagate(bounds.tighten)
        self._below(node, points, bounds.found, self.parts.numbers)

    def _below(
        self,
        node: PartNode,
        points: list[dict[int, np.ndarray]],
        known: Known,
        numbers: tuple[int, ...],
    ) -> None:
        for point in points:
            for number, values in point.items():
                low, high = (e.reshape(-1).tolist() for e in known[number])
                for a, value, b in zip(low, values.tolist(), high, strict=True):
                    assert rational(a) <= rational(value) <= rational(b)
        try:
            below = self.parts._node(known, numbers)[::-1]
        except Refused:
            return
        match node:
            case Split(number, at, cut, lower, upper):
                least = [p for p in points if rational(p[number][at]) <= rational(cut)]
                most = [p for p in points if rational(p[number][at]) >= rational(cut)]
                self._below(lower, least, *below[0])
                self._below(upper, most, *below[1])
            case Step(then=then):
                self.steps += 1
                own = [p for p in points if self._asked(p, numbers)]
                self._below(then, own, *below.pop())
            case Fork(parts):
                for part, own in zip(parts, below, strict=True):
                    self._below(part, points, *own)
            case _:
                asked = [p for p in points if any(self._asked(p, (n,)) for n in numbers)]
                assert not asked

    def _asked(self, point: dict[int, np.ndarray], numbers: tuple[int, ...]) -> bool:
        """Whether steps have to hold there: of one case, where its margins are 0 or less."""
        if len(numbers) > 1:
            return True
        values = point[self.question.network.output]
        return all(values[i] <= 0 for n in numbers for i, _ in self.question.cases[n].atoms)


@settings(deadline=None, max_examples=60)
@given(queries(), st.integers(0, 2**32 - 1), st.sampled_from((FLOAT, EXACT)))
def test_bounds_hold_at_every_point_of_a_part(query: Query, seed: int, how: Arithmetic) -> None:
    proof = Maker(query, np.random.default_rng(seed)).proof()
    walk = Walk(query, proof, how)
    points = sample(query.cases[0].inputs.box, 8)
    walk.run(proof.root, [values_at(walk.question, point) for point in points])


def narrow_proof(slope: int) -> PartsProof:
    """Of the query of docs/certificates.md: the second neuron split at 0."""
    question = question_of(narrow_query())
    rules = Rules.of(question.network, FLOAT, single=False)
    (relu,) = [node for node, op in rules.ops.items() if isinstance(op, Nonlinear)]
    read = question.network.nodes[relu].operands[0]
    choice = Choice(np.array([0]), 1, 0.0, 1 / 255)
    below, above = (
        Leaf(np.zeros((1, 0), np.float32), Rows({relu: np.full((1, 1, 1, 1), byte, np.uint8)}, {}))
        for byte in (slope, 255)
    )
    root = Split(read, 0, 0.0, below, above)
    return PartsProof((0,), {relu: choice}, {read: np.array([1])}, root)


@pytest.mark.parametrize("how", [FLOAT, EXACT], ids=["floats", "rationals"])
def test_a_proof_by_hand(how: Arithmetic) -> None:
    statement = state(narrow_query(), "real")
    # Below the split, relu(x) >= 0 proves it; above, relu(x) >= x does.
    assert check(read_certificate(file_of(statement, narrow_proof(0))), how).leaves == 2
    with pytest.raises(Refused, match="leaf 0"):
        check(read_certificate(file_of(statement, narrow_proof(255))), how)


@pytest.mark.parametrize("how", [FLOAT, EXACT], ids=["floats", "rationals"])
@pytest.mark.parametrize("weight", [-1.0, np.inf, np.nan])
def test_weights_of_steps_that_say_nothing_are_refused(weight: float, how: Arithmetic) -> None:
    statement, proof = state(narrow_query(), "real"), narrow_proof(0)
    assert check(read_certificate(file_of(statement, stepped(proof, 1.0))), how).leaves == 2
    with pytest.raises(Refused, match="weight"):
        check(read_certificate(file_of(statement, stepped(proof, weight))), how)


def stepped(proof: PartsProof, weight: float) -> PartsProof:
    """Bounds of the first neuron first, with that weight for the margin."""
    ((read, _),) = proof.entries.items()
    (relu,) = proof.choices
    rows = Rows({relu: np.full((1, 1, 2, 1), 255, np.uint8)}, {})
    root = Step(read, np.array([0]), np.full((2, 1), weight), rows, proof.root)
    return replace(proof, root=root)


@pytest.mark.parametrize("how", [FLOAT, EXACT], ids=["floats", "rationals"])
def test_slopes_beyond_floats_are_refused(how: Arithmetic) -> None:
    proof = narrow_proof(255)
    choices = {n: replace(c, least=1e308, step=1e308) for n, c in proof.choices.items()}
    certificate = file_of(state(narrow_query(), "real"), replace(proof, choices=choices))
    with pytest.raises(Refused, match="slope"):
        check(read_certificate(certificate), how)


def test_damaged_proofs_are_refused() -> None:
    statement = state(narrow_query(), "real")
    proof = narrow_proof(0)
    for length in range(len(proof.content)):
        cut = proof.record("p"), {"p": proof.content[:length]}
        with pytest.raises(Refused):
            check(read_certificate(statement.certificate([cut[0]], cut[1])))
