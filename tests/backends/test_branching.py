"""What search by boxes learns about inputs, and that boxes without unstable neurons are decided."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.backend import Deadline
from specdsl.backends.search import Search
from specdsl.backends.search.inputs import domains as domains_module
from specdsl.backends.search.inputs import probing
from specdsl.backends.search.inputs.domains import Domains, Lattice, Pool
from specdsl.backends.search.inputs.probing import LEAST_WORTH, MAX_INPUTS, MAX_TRIED, Trials
from specdsl.graph import ops
from specdsl.graph.evaluate import evaluate
from specdsl.graph.graph import GraphBuilder
from specdsl.query.query import Atom, Case, Query, Variable
from specdsl.query.sets import Box, exact
from specdsl.verdict import Falsified, Verified

seeds = st.integers(0, 10**6)
INPUTS = 3
# The best corner by linear bounds is known up to rounding only.
NEAR = 1e-6


def some_domains(count: int, inputs: int = INPUTS) -> Domains:
    """Boxes of edges 1, 2, .. at different places, all open at -1."""
    lower = torch.arange(count * inputs, dtype=torch.float64).reshape(count, inputs)
    edges = torch.arange(1, inputs + 1, dtype=torch.float64)
    codes = torch.zeros(count, 0, dtype=torch.int8)
    is_open = torch.ones(count, 1, dtype=torch.bool)
    bound = -torch.ones(count, dtype=torch.float64)
    return Domains(lower, lower + edges, bound, is_open, codes, torch.arange(count))


def lattice(inputs: int, *whole: int) -> Lattice:
    return Lattice.of(torch.tensor(whole, dtype=torch.int64), inputs)


@pytest.mark.parametrize("count", [1, 7, 300])
def test_the_input_that_gains_is_worth_most(count: int) -> None:
    domains, edges = some_domains(count), torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)

    def bound(halves: Domains) -> torch.Tensor:
        narrow = halves.upper - halves.lower < edges
        return torch.full((len(halves),), -1.0).double() + narrow.double() @ torch.tensor(
            [0.0, 0.5, 0.1], dtype=torch.float64
        )

    trials = Trials()
    # Slopes promise the same for all edges.
    tried = trials.run(domains, (1 / edges).expand(count, -1), lattice(INPUTS), bound)
    assert 0 < tried <= MAX_TRIED
    assert trials.worth is not None
    assert trials.worth.tolist() == pytest.approx([LEAST_WORTH, 1.0, 0.2])


def test_halves_of_a_trial_cover_their_boxes() -> None:
    domains = some_domains(5)
    seen: list[Domains] = []

    def bound(halves: Domains) -> torch.Tensor:
        seen.append(halves)
        return -torch.ones(len(halves), dtype=torch.float64)

    Trials().run(domains, torch.ones(5, INPUTS).double(), lattice(INPUTS, 1), bound)
    (halves,) = seen
    parts = (halves.upper - halves.lower).reshape(INPUTS, 2, 5, INPUTS)
    whole = (domains.upper - domains.lower).expand(INPUTS, -1, -1).clone()
    whole[1, :, 1] -= 1  # between two whole numbers there is nothing
    at = torch.arange(INPUTS)
    assert parts.sum(1)[at, :, at].tolist() == whole[at, :, at].tolist()


def test_a_trial_without_any_gain_teaches_nothing() -> None:
    domains, trials = some_domains(4), Trials()
    slopes = torch.ones(4, INPUTS, dtype=torch.float64)
    trials.run(domains, slopes, lattice(INPUTS), lambda halves: halves.bound)
    assert trials.worth is None
    assert not trials.are_due(probing.FIRST)


def test_many_inputs_are_not_tried() -> None:
    count = MAX_INPUTS + 1
    domains = some_domains(2, count)
    slopes = torch.ones(2, count, dtype=torch.float64)
    assert not Trials().run(domains, slopes, lattice(count), lambda halves: halves.bound)


def product_query(offset: float) -> Query:
    """`x y + sin(4 x) z + 2 u + offset <= 0` somewhere on a box: slopes are largest along u, which
    halving gains nothing for.
    """
    builder = GraphBuilder()
    given_input = builder.add(ops.Input((4,)))

    def only(*at: int) -> str:
        return builder.add(ops.Select(np.array(at)), given_input)

    one = builder.add(ops.Multiply(), only(0), only(1))
    fast = builder.add(ops.Scale(np.array(4.0), np.array(0.0)), only(0))
    other = builder.add(ops.Multiply(), builder.add(ops.Sin(), fast), only(2))
    total = builder.add(ops.Sum((1.0, 1.0, 2.0)), one, other, only(3))
    node = builder.add(ops.Scale(np.array(1.0), np.array(offset)), total)
    box = Box(exact([Fraction(-1)] * 4), exact([Fraction(1)] * 4))
    case = Case(box, (Atom(0),))
    return Query("product", builder.build(node), (case,), (Variable.at("x", 0, (4,)),), ())


@pytest.mark.parametrize("first", [16, probing.FIRST])
def test_trials_change_no_verdict(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("specdsl.backends.search.inputs.search.Trials", lambda: Trials(due=first))
    # The least value is sin 4 - 3 = -3.7568: at x = 1, y = u = -1, z = 1.
    held = Search().answer(product_query(3.77), Deadline.after(20))
    broken = Search().answer(product_query(3.75), Deadline.after(20))
    assert isinstance(held.verdict, Verified)
    assert isinstance(broken.verdict, Falsified)
    assert held.statistics["domains"] > 16


@given(seeds, st.integers(1, 2))
@settings(max_examples=60, deadline=None)
def test_a_box_without_unstable_neurons_is_decided_at_once(seed: int, cases: int) -> None:
    """Its linear bound is the margin: the worst corner is a witness, or there is none."""
    random = np.random.default_rng(seed)
    builder = GraphBuilder()
    node = builder.add(ops.Input((INPUTS,)))
    for width in (5, 4):
        # Far from 0 on one side or the other: weights are small.
        bias = random.choice((-9.0, 9.0), size=width)
        weight = random.uniform(-0.5, 0.5, size=(width, builder.shape(node)[0]))
        node = builder.add(ops.Relu(), builder.add(ops.Dense(weight, bias), node))
    weight = random.normal(size=(cases, 4))
    node = builder.add(ops.Dense(weight, np.zeros(cases)), node)
    box = Box(exact([Fraction(-1)] * INPUTS), exact([Fraction(1)] * INPUTS))
    graph = builder.build(node)
    corners = np.stack(np.meshgrid(*[[-1.0, 1.0]] * INPUTS), -1).reshape(-1, INPUTS)
    values = evaluate(graph, {graph.input: corners})[graph.output]
    least = values.min(0)
    # Claims that fail by a little or hold by a little: where the linear bound has to be exact.
    shift = least - random.choice((-1.0, 1.0)) * (NEAR + random.exponential(0.1, size=cases))
    node = builder.add(ops.Scale(np.ones(()), -shift), node)
    members = tuple(Case(box, (Atom(k),)) for k in range(cases))
    query = Query("stable", builder.build(node), members, (Variable.at("x", 0, (INPUTS,)),), ())
    answer = Search(split="input").answer(query, Deadline.after(20))
    assert answer.statistics["domains"] == 1
    assert isinstance(answer.verdict, Verified if bool((least > shift).all()) else Falsified)


def named_domains(names: range, random: np.random.Generator) -> Domains:
    """Domains whose fields, bounds apart, say which one they are."""
    name = torch.tensor(list(names), dtype=torch.float64)[:, None]
    bound = torch.as_tensor(-random.random(len(names)))
    codes = name.to(torch.int8).expand(-1, 2)
    is_open, numbers = name.expand(-1, 2) % 2 == 0, torch.as_tensor(names)
    return Domains(name.expand(-1, INPUTS), name + 1, bound, is_open, codes, numbers)


@given(seeds, st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_pool_gives_back_what_was_put_each_once(seed: int, full: bool) -> None:
    random = np.random.default_rng(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(domains_module, "MAX_WAITING", 0 if full else 2**30)
        pool = Pool(named_domains(range(3), random))
    put, taken = 3, list[int]()
    for _ in range(8):
        more = int(random.integers(0, 6))
        pool.put(named_domains(range(put, put + more), random))
        put += more
        chosen = pool.take_some(int(random.integers(1, 5)))
        left = pool.domains
        if len(left):
            first, last = (left, chosen) if full else (chosen, left)
            assert float(first.bound.max()) <= float(last.bound.min())
        name = chosen.lower[:, 0]
        assert bool((chosen.upper[:, 0] == name + 1).all())
        assert bool((chosen.codes.double() == name[:, None]).all())
        assert bool((chosen.open_cases == (name % 2 == 0)[:, None]).all())
        taken += name.int().tolist()
    taken += pool.domains.lower[:, 0].int().tolist()
    assert sorted(taken) == list(range(put))
