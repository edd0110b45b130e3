"""Envelopes of curves hold the function, and are as narrow as they are said to be."""

from __future__ import annotations

import numpy as np
import pytest

from specdsl.encoding.rules.envelopes import MOST_TOUCHES, envelopes, has_values
from specdsl.graph import ops
from tests.encoding.nonlinear import NARROW_PART, SMOOTH, intervals


@pytest.mark.parametrize("name", SMOOTH)
def test_an_envelope_holds_the_function_and_is_narrow(name: str) -> None:
    op, ends = SMOOTH[name]
    lower, upper = intervals(ends, 100, seed=1)
    knots = [k for k in op.knots if ends[0] < k < ends[1]]
    for knot in knots:  # from, to and around a knot
        lower = np.concatenate([lower, [knot, ends[0], knot - 1e-9]])
        upper = np.concatenate([upper, [ends[1], knot, knot + 1e-9]])
    kept = (lower < upper) & has_values(op, lower, upper)
    lower, upper = lower[kept], upper[kept]
    found = np.zeros(lower.size, dtype=bool)
    for group in envelopes(op, lower, upper):
        found[group.neurons] = True
        for i, neuron in enumerate(group.neurons.tolist()):
            places = group.places[i]
            assert (places[0], places[-1]) == (lower[neuron], upper[neuron])
            assert (np.diff(places) >= 0).all()
            x = np.clip(np.linspace(places[0], places[-1], 400), places[0], places[-1])
            x = np.unique(np.concatenate([x, places]))
            values = op.value(x)
            below = np.interp(x, places, group.below[i])
            above = np.interp(x, places, group.above[i])
            assert (below <= values).all()
            assert (values <= above).all()
            assert (values >= group.least[i]).all()
            assert (values <= group.most[i]).all()
            spread = group.most[i] - group.least[i]
            if len(places) < 2 * MOST_TOUCHES - 1 and spread > 1e-6:
                assert (above - below).max() <= NARROW_PART * spread
    assert found.all()


def test_a_wave_over_many_periods_is_bounded_by_its_range() -> None:
    (group,) = envelopes(ops.Sin(), np.array([-100.0]), np.array([100.0]))
    assert group.below.max() == pytest.approx(-1)
    assert group.above.min() == pytest.approx(1)
    (far,) = envelopes(ops.Cos(), np.array([1e9]), np.array([1e9 + 1]))
    values = np.cos(np.linspace(1e9, 1e9 + 1, 100))
    assert far.below.max() <= values.min()
    assert far.above.min() >= values.max()
