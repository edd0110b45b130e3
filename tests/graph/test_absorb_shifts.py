"""A bias written as a separate op goes into its layer, and no real value changes."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.graph import ops
from specdsl.graph.exact import evaluate_exact
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.graph.rewrites.absorb_shifts import absorb_shifts
from specdsl.graph.rewrites.rewriting import rewrite

ONE = np.ones(())
WEIGHT = np.array([[1.0, 2.0], [0.5, -3.0], [0.0, 1.0]])
CONV = ops.Conv(WEIGHT.reshape(3, 2, 1, 1), np.zeros(3), (1, 1), ((1, 0), (0, 0)), (1, 1))
TURNED = ops.ConvTranspose(
    WEIGHT.reshape(2, 3, 1, 1), np.zeros(3), (1, 1), ((0, 0), (0, 0)), (1, 1), (0, 0)
)
LAYERS = {
    "dense": ((2, 2), ops.Dense(WEIGHT, np.zeros(3)), (3,)),
    "conv": ((1, 2, 2, 2), CONV, (3, 1, 1)),
    "transposed": ((1, 2, 2, 2), TURNED, (3, 1, 1)),
    "scale": ((2, 2), ops.Scale(np.array([2.0, 3.0]), np.zeros(())), (2, 1)),
    "one number": ((2, 2), ops.Dense(WEIGHT, np.zeros(3)), ()),
}


def chain(shape: ops.Shape, inner: ops.Op, shift: ops.Array, scale: ops.Array = ONE) -> Graph:
    builder = GraphBuilder()
    node = builder.add(inner, builder.add(ops.Input(shape), name="x"))
    return builder.build(builder.add(ops.Scale(scale, shift), node))


@pytest.mark.parametrize("name", LAYERS)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), thirds=st.booleans())
def test_every_real_value_stays(name: str, seed: int, thirds: bool) -> None:
    shape, inner, extent = LAYERS[name]
    generator = np.random.default_rng(seed)
    shift = np.empty(extent, dtype=object)
    numbers = generator.integers(-9, 9, max(shift.size, 1))
    shift.reshape(-1)[:] = [Fraction(int(n), 3 if thirds else 4) for n in numbers]
    before = chain(shape, inner, shift)
    after, changed = rewrite(before, absorb_shifts)
    assert changed
    assert len(after) == len(before) - 1
    x = np.empty(shape, dtype=object)
    x.reshape(-1)[:] = [Fraction(int(n), 7) for n in generator.integers(-9, 9, x.size)]
    results = [evaluate_exact(g, {"x": x}, None, [g.output])[g.output] for g in (before, after)]
    assert (results[0] == results[1]).all()


@pytest.mark.parametrize(
    ("inner", "shift", "scale"),
    [
        (ops.Dense(WEIGHT, np.ones(3)), np.ones(3), ONE),
        (ops.Dense(WEIGHT, np.zeros(3)), np.ones((2, 1)), ONE),
        (ops.Dense(WEIGHT, np.zeros(3)), np.ones(3), 2 * ONE),
        (ops.Relu(), np.ones(2), ONE),
    ],
    ids=["a bias is there", "along another axis", "a factor", "no layer"],
)
def test_what_would_round_or_not_fit_stays(
    inner: ops.Op, shift: ops.Array, scale: ops.Array
) -> None:
    assert not rewrite(chain((2, 2), inner, shift, scale), absorb_shifts)[1]
