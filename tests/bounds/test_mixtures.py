"""Mixtures of relaxations, which alpha-CROWN moves: their gradients, and rows that they refuse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from specdsl.bounds.compiled import CompiledGraph, compile_graph
from specdsl.bounds.kinds.choice import ChainChoice, Choice, Layout, Mixture, RowsMoved, SlopeChoice
from specdsl.bounds.kinds.planes import PlaneChoice
from specdsl.bounds.passes.ascent import Limits, ascend, differentiable_least
from specdsl.bounds.passes.crown import Propagated, propagate
from specdsl.bounds.regions.region import input_region
from specdsl.bounds.rows.backward import AtInput
from specdsl.bounds.rows.rows import DenseRows, Rows
from specdsl.bounds.rows.windows import WindowRows, one_hot
from specdsl.graph import ops
from tests.bounds.raising import box_region
from tests.bounds.random_graphs import INPUTS, random_set
from tests.bounds.test_sampled_laws import ENTRIES, name_of, one_op

CHOICES: Sequence[ops.Op] = [
    *(ops.Relu(), ops.LeakyRelu(0.1), ops.Abs(), ops.Clip(-0.5, 1.0), ops.Sigmoid()),
    *(ops.Square(), ops.Multiply(), ops.GroupMax(np.array([[0, 1, 2], [2, 5, 4], [7, 3, 6]]))),
]


def choice_of(compiled: CompiledGraph, propagated: Propagated) -> Choice:
    """Of the last node."""
    node = compiled.graph.output
    operands = [propagated.bounds[o] for o in compiled.graph.operands(node)]
    found = compiled.rules[node].choice(operands, propagated.relaxations[node])
    assert found is not None
    return found


@pytest.mark.parametrize("op", CHOICES, ids=name_of)
def test_gradients_in_places_agree_with_finite_differences(op: ops.Op) -> None:
    random = np.random.default_rng(5)
    compiled = compile_graph(one_op(op))
    region = box_region(5, 2, ENTRIES, 2.0)
    propagated = propagate(compiled, region)
    mixture: Mixture
    rows = torch.as_tensor(
        random.normal(size=(1, 3, *compiled.graph.shapes[compiled.graph.output]))
    )
    choice = choice_of(compiled, propagated)
    mixture = choice.mixture(DenseRows(rows), 2)
    # Away from the members themselves, where places have a kink.
    share = torch.as_tensor(random.random(mixture.places.shape)) * 0.8 + 0.1
    point = torch.as_tensor(random.normal(size=(2, ENTRIES)))

    def bound(places: Tensor, coefficients: Tensor) -> Tensor:
        mixture.places = places
        passed = mixture.through(DenseRows(coefficients))
        values = [r.dense().coefficients.flatten(2) for r in passed.rows]
        return sum((v @ point[:, :, None] for v in values), passed.constant[..., None])

    inputs = (share.requires_grad_(), rows.requires_grad_())
    assert torch.autograd.gradcheck(bound, inputs)
    assert isinstance(choice, ChainChoice | SlopeChoice | PlaneChoice)


def test_a_mixture_refuses_rows_that_read_other_entries() -> None:
    shape = (1, 2, 6, 6)
    like = torch.empty(0, dtype=torch.float64)
    rows = one_hot(torch.tensor([0, 40, 71]), shape, like)
    layout = Layout.of(rows)
    layout.require(rows)
    layout.take(torch.tensor([0, 2])).require(rows.take(torch.tensor([0, 2])))
    turned = replace(rows.windows, axes=(0, 1, 3, 2))
    others = (
        *(rows.dense(), WindowRows(rows.coefficients, turned)),
        *(rows.take(torch.tensor(index)) for index in ([0, 2, 1], [0, 1])),
    )
    for other in others:
        with pytest.raises(RowsMoved):
            layout.require(other)


def test_an_ascent_keeps_what_it_found_when_rows_move() -> None:
    steps = 0

    def lower(rows: Rows) -> Tensor:
        nonlocal steps
        steps += 1
        if steps == 3:
            raise RowsMoved
        mixture.places.requires_grad_()
        return mixture.through(rows).constant + steps

    compiled = compile_graph(one_op(ops.Relu()))
    propagated = propagate(compiled, box_region(5, 1, ENTRIES, 2.0))
    rows = DenseRows(torch.ones(1, 1, *compiled.graph.shapes[compiled.graph.output]).double())
    mixture = choice_of(compiled, propagated).mixture(rows, 1)
    assert float(ascend(lower, rows, {"relu": mixture}, Limits(9)).lower) == 2.0


@pytest.mark.parametrize("seed", range(9))
def test_the_least_value_over_a_ball_has_the_point_where_it_is_met_as_its_gradient(
    seed: int,
) -> None:
    region = input_region(random_set(seed), torch.empty(0, dtype=torch.float64))
    random = np.random.default_rng(seed)
    rows, change = (torch.as_tensor(random.normal(size=(1, 2, INPUTS))) for _ in range(2))
    constant = torch.zeros(1, 2, dtype=torch.float64)

    def least(coefficients: Tensor) -> Tensor:
        return differentiable_least(AtInput(DenseRows(coefficients), constant, INPUTS), region)

    (gradient,) = torch.autograd.grad(least(rows.requires_grad_()).sum(), rows)
    step = 1e-5
    with torch.no_grad():
        quotient = (least(rows + step * change) - least(rows - step * change)) / (2 * step)
    assert torch.allclose((gradient * change).sum(2), quotient, atol=1e-4)
