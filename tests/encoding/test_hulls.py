"""Rows of several neurons: they hold everywhere, touch the hull, and see what triangles do not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.backend import FOREVER
from specdsl.backends.registry import create
from specdsl.diagnostics import SpecError
from specdsl.encoding.cases import encoded_groups
from specdsl.encoding.encode import encode_case
from specdsl.encoding.model.entries import Entries, Range
from specdsl.encoding.model.quadratics import Kinks
from specdsl.encoding.solvers.highs import solve
from specdsl.encoding.tightening.hulls import Facets, directions, hull_facets
from specdsl.query.query import Query
from tests.backends.test_sdp import shared
from tests.strategies import generators, queries

quick = settings(max_examples=40, deadline=None)


def neurons(rng: np.random.Generator, k: int, slope: float) -> tuple[Facets, np.ndarray, Kinks]:
    """Facets of neurons that read the same cube, and points (z, y) of them."""
    weights = rng.normal(size=(k, 3))
    points = rng.uniform(-1, 1, (4000, 3))
    points[::2] = np.sign(points[::2])
    z, reach = points @ weights.T, np.abs(weights).sum(1)
    kinks = Kinks(
        Entries.of_columns(np.arange(k)),
        k + np.arange(k),
        Range(-reach, reach),
        0.0,
        (slope, 1.0),
        (0.0, 0.0),
    )
    rows = directions(k)
    rows = rows[np.abs(rows).sum(1) > 1]
    limits = np.abs(rows @ weights).sum(1)
    facets = hull_facets(kinks, -reach, reach, rows, limits)
    return facets, np.concatenate([z, np.where(z > 0, z, slope * z)], 1), kinks


@given(generators(), st.integers(2, 3), st.sampled_from([0.0, 0.125, -1.0]))
@quick
def test_no_point_is_beyond_a_facet(rng: np.random.Generator, k: int, slope: float) -> None:
    facets, points, _ = neurons(rng, k, slope)
    beyond = points @ np.concatenate([facets.arguments, facets.values], 1).T - facets.limits
    assert (beyond <= 0).all()


@given(generators())
@quick
def test_facets_of_pairs_touch_what_they_enclose(rng: np.random.Generator) -> None:
    """Corners of the octagon, at which some row of every facet is met, are nearly reached."""
    facets, _, kinks = neurons(rng, 2, 0.0)
    lower, upper = kinks.bounds.lower, kinks.bounds.upper
    grid = np.stack(
        np.meshgrid(*(np.linspace(a, b, 301) for a, b in zip(lower, upper, strict=True)))
    )
    z = grid.reshape(2, -1).T
    lifted = np.concatenate([z, np.maximum(z, 0)], 1)
    reached = (lifted @ np.concatenate([facets.arguments, facets.values], 1).T).max(0)
    assert (reached >= facets.limits - 0.05 * np.abs(facets.limits) - 0.05).all()


@given(queries(), st.integers(2, 3))
@quick
def test_rows_leave_the_network_alone(asked: Query, k: int) -> None:
    """The optimum with whole numbers is a point of the network: no row is broken by it."""
    for group in encoded_groups(asked, multi_neuron=k):
        if group.encoded is None:
            continue
        for member in group.members:
            atoms = asked.cases[member].atoms
            if not atoms:
                continue
            point = solve(encode_case(group.encoded, atoms, "case"), FOREVER).point
            if point is not None:
                assert group.pool.broken(point) is None


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("method", ["lp", "milp"])
def test_pairs_see_what_neurons_have_in_common(method: str, k: int) -> None:
    found = create(method, {"multi_neuron": k}).answer(shared(2.1), FOREVER)
    assert type(found.verdict).__name__ == "Verified"
    assert method == "milp" or "rows" in found.statistics


@pytest.mark.parametrize("count", [0, 4])
def test_other_numbers_are_refused(count: int) -> None:
    with pytest.raises(SpecError, match=f"1 to 3 neurons share a row, not {count}"):
        create("lp", {"multi_neuron": count})
