"""The semidefinite relaxation: products hold, no multipliers prove what is not so, `lp <= sdp`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.backend import FOREVER
from specdsl.encoding.cases import encoded_groups
from specdsl.encoding.encode import encode_case
from specdsl.encoding.model.linear_model import LinearModel
from specdsl.encoding.model.quadratics import Forms, Quadratics
from specdsl.encoding.solvers.highs import solve
from specdsl.encoding.solvers.lifting import Lifting, Multipliers
from specdsl.encoding.solvers.semidefinite import CONIC_SOLVERS, ConicName, SdpSession
from specdsl.encoding.solvers.session import OPTIMAL
from specdsl.graph import ops
from specdsl.query.query import Query
from specdsl.query.sets import Norm
from tests.backends.test_neuron_search import query
from tests.strategies import generators, queries

quick = settings(max_examples=25, deadline=None)
# What solvers leave off, and bounds less rounding.
TOLERANCE = 1e-4
LEFT_OFF: dict[ConicName, float] = {"clarabel": 1e-4, "scs": 5e-3}


@dataclass(frozen=True)
class Program:
    """A case's model, and what is known of its columns' products."""

    model: LinearModel
    known: Quadratics


def programs(asked: Query) -> Iterator[Program]:
    for group in encoded_groups(asked):
        for member in group.members if group.encoded is not None else ():
            assert group.encoded is not None
            atoms = asked.cases[member].atoms
            if atoms:
                model = encode_case(group.encoded, atoms, "case")
                yield Program(model, group.encoded.encoder.quadratics)


def values(forms: Forms, point: np.ndarray) -> np.ndarray:
    return forms.terms.times(point, forms.count) + forms.offsets


@given(queries())
@quick
def test_points_of_the_network_keep_to_all_products(asked: Query) -> None:
    for program in programs(asked):
        point = solve(program.model, FOREVER).point
        if point is None:
            continue
        for each in program.known.products:
            first, second, value = (
                values(forms, point) for forms in (each.first, each.second, each.value)
            )
            assert first * second == pytest.approx(value, abs=1e-5)
        for sums in program.known.sums:
            assert point[sums.columns] == pytest.approx(values(sums.forms, point), abs=1e-6)


@given(queries(), generators(), st.sampled_from([0.0, 0.1, 1.0]))
@quick
def test_no_multipliers_prove_too_much(
    asked: Query, rng: np.random.Generator, scale: float
) -> None:
    """The optimum with whole numbers is a value of the network: every bound is below."""
    for program in programs(asked):
        optimum = solve(program.model, FOREVER)
        if optimum.status != OPTIMAL or optimum.objective is None:
            continue
        lifting = Lifting.of(program.model, program.known)
        sizes = (
            program.model.rows,
            lifting.product_sizes.size,
            lifting.columns.size,
            lifting.square_sizes.size,
        )
        for _ in range(10):
            drawn = Multipliers(*(rng.normal(size=size) * scale for size in sizes))
            assert lifting.bound(program.model, drawn) <= optimum.objective + 1e-7


@pytest.mark.parametrize("solver", CONIC_SOLVERS)
@pytest.mark.parametrize("ball", [None, "l1"])
@pytest.mark.parametrize("op", [ops.Relu(), ops.LeakyRelu(0.2)], ids=repr)
@pytest.mark.parametrize("seed", range(3))
def test_it_lies_between_lp_and_milp(
    seed: int, op: ops.Op, ball: Norm | None, solver: ConicName
) -> None:
    for program in programs(query(seed, op, ball)):
        relaxed = program.model.relaxed()
        low, exact = solve(relaxed, FOREVER), solve(program.model, FOREVER)
        found = SdpSession(relaxed, program.known, solver).solve(FOREVER)
        assert exact.objective is not None
        assert low.bound - LEFT_OFF[solver] <= found.bound <= exact.objective + 1e-7


def test_it_is_tighter_where_neurons_share_inputs() -> None:
    """Seed 2's second case: the sum of products is what rows do not see."""
    _, program = programs(query(2, ops.Relu()))
    relaxed = program.model.relaxed()
    found = SdpSession(relaxed, program.known, "scs").solve(FOREVER)
    assert found.bound > solve(relaxed, FOREVER).bound + 1


@pytest.mark.parametrize("seed", range(3))
def test_an_l2_ball_is_exact(seed: int) -> None:
    """Without any tangents but the first: these are 15 % off."""
    for program in programs(query(seed, ops.Relu(), "l2")):
        relaxed = program.model.relaxed()
        found = SdpSession(relaxed, program.known, "scs").solve(FOREVER)
        assert found.bound >= solve(relaxed, FOREVER).bound - TOLERANCE


def test_multipliers_that_are_no_numbers_prove_nothing() -> None:
    program, _ = programs(query(0, ops.Relu()))
    lifting = Lifting.of(program.model, program.known)
    zeros = Multipliers(
        np.zeros(program.model.rows),
        np.zeros(lifting.product_sizes.size),
        np.zeros(lifting.columns.size),
        np.zeros(lifting.square_sizes.size),
    )
    assert np.isfinite(lifting.bound(program.model, zeros))
    zeros.products[0] = np.nan
    assert lifting.bound(program.model, zeros) == -np.inf
