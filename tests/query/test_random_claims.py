"""A query has the points that its property means, worked out by somebody else from its text."""

from __future__ import annotations

from fractions import Fraction
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.diagnostics import SpecError
from specdsl.query.query import Query
from tests.query.claims.pieces import HEAD, Point
from tests.query.claims.properties import Written, a_property
from tests.query.specs import obligations, unsafe

POINTS = 40
# What may be too much or not possible yet for a random claim; anything else is a mistake.
REFUSED = {"E0750", "E0901", "E0404"}


@given(st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_a_query_has_the_points_of_its_property(seed: int) -> None:
    random = Random(seed)
    written = a_property(random)
    try:
        found, resources = obligations(f"{HEAD}{written.text}\ncheck p\n")
        queries = [each.query(resources) for each in found]
    except SpecError as error:
        refused = {d.code for d in error.diagnostics}
        if refused <= REFUSED:
            return
        raise AssertionError(written.text) from error
    assert {query.kind for query in queries} <= {written.kind}
    for _ in range(POINTS):
        point = a_point(random, written)
        expected = written.is_found(point)
        assert any(has(query, point) for query in queries) == expected, (written.text, point)


def a_point(random: Random, written: Written) -> Point:
    """In the sets, if it does not take long to find one there."""
    point: dict[str, object] = {}
    for variable in written.variables:
        if variable.holds is None:
            continue
        for _ in range(12):
            value = _value(random, variable.name, point)
            if variable.holds(point | {variable.name: value, "i": Fraction(0)}, value):
                break
        point[variable.name] = value
    return point


def _value(random: Random, name: str, point: Point) -> object:
    share = random.choice([1, 2, 4, 4, 4, 8])
    if name == "r":
        return Fraction(random.randint(-share, share), share)
    if name == "y" and random.random() < 0.3:
        return list(point["x"])
    return [Fraction(random.randint(-3 * share // 2, 3 * share // 2), share) for _ in range(2)]


def has(query: Query, point: Point) -> bool:
    """Whether some case has the point; not where entries share a place and differ."""
    flat: dict[int, Fraction] = {}
    for variable in query.variables:
        value = point[variable.name]
        entries = value if isinstance(value, list) else [value]
        for place, entry in zip(variable.positions.tolist(), entries, strict=True):
            if flat.setdefault(place, entry) != entry:
                return False
    size = query.graph.size(query.graph.input)
    return unsafe(query, [flat.get(place, Fraction(0)) for place in range(size)])
