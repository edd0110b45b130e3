"""Queries written as VNN-LIB: both readers take the files, and they ask the same question."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import vnnlib
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from specdsl.diagnostics import SpecError
from specdsl.graph.onnx_import.load import load_onnx
from specdsl.query.query import Query
from specdsl.query.sets import Box, cut, exact, norm_ball
from specdsl.query.vnnlib.v1 import bind as bind1
from specdsl.query.vnnlib.v1 import read_problem
from specdsl.query.vnnlib.v2 import read_specification
from specdsl.query.vnnlib.v2_query import BoundQuery, bind
from specdsl.query.vnnlib.write import Written, decimal, write_vnnlib1, write_vnnlib2
from tests import strategies
from tests.conftest import Golden
from tests.query.specs import only_query
from tests.query.test_vnnlib2 import bound, flat_point
from tests.query.vnnlib2_scenes import File, files, quarters, unsafe


def read_back(written: Written) -> BoundQuery:
    """The written query, by our own reader; the other reader sees the same declarations."""
    specification = read_specification(written.text, "w.vnnlib")
    other = vnnlib.parse_query_string(written.text)
    assert [n.name for n in other.networks] == [n.name for n in specification.networks]
    for theirs, ours in zip(other.networks, specification.networks, strict=True):
        declared = (*theirs.inputs, *theirs.hidden, *theirs.outputs)
        assert [(d.name, tuple(d.shape)) for d in declared] == [
            (d.name, d.shape) for d in ours.declarations
        ]
        assert theirs.equal_to == (ours.other or "")
    assert len(other.assertions) == len(specification.assertions)
    return bind(specification, {n: load_onnx(m, n) for n, m in written.models.items()})


def moved(written: Written, found: BoundQuery, point: list[Fraction]) -> list[Fraction]:
    """A flat point of the query as one of the query that was read back."""
    result = [Fraction(0)] * found.query.graph.size(found.query.graph.input)
    for value, (name, position, slope, offset) in zip(point, written.inputs, strict=True):
        place = int(found.places[name][position])
        assert place >= 0, "what holds an entry of the query is defined by nothing else"
        result[place] = (value - offset) / slope
    return result


def sampled(query: Query, draw: np.random.Generator, count: int) -> list[list[Fraction]]:
    """Points on corners, faces and between them, and some just outside of the sets."""
    points: list[list[Fraction]] = []
    boxes = [case.inputs.box for case in query.cases]
    for i in range(count if boxes else 0):
        box = boxes[i % len(boxes)]
        shares = draw.integers(-1, 6, box.size)
        points.append(
            [
                low + (high - low) * Fraction(int(share), 4) if 0 <= share <= 4 else high
                for low, high, share in zip(box.lower, box.upper, shares, strict=True)
            ]
        )
        if i % 5 == 4:
            points[-1][int(draw.integers(box.size))] += Fraction(1, 10**12)
    return points


def agree(query: Query, seed: int = 0, count: int = 12) -> BoundQuery:
    """Write, read back, and compare at points."""
    written = write_vnnlib2(query)
    found = read_back(written)
    for point in sampled(query, np.random.default_rng(seed), count):
        assert unsafe(found.query, moved(written, found, point)) == unsafe(query, point)
    return found


@given(files(), st.lists(st.lists(quarters, min_size=6, max_size=6), min_size=4, max_size=4))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_file_read_written_and_read_again_asks_the_same(
    file: File, drawn: list[list[Fraction]]
) -> None:
    query = bound(file.text).query
    written = write_vnnlib2(query)
    again = read_back(written)
    for numbers in drawn:
        point = flat_point(bound(file.text), file.point(numbers))
        assert unsafe(again.query, moved(written, again, point)) == unsafe(query, point)


@given(strategies.queries(), st.integers(0, 99))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_queries_are_written_and_read_to_the_same(query: Query, seed: int) -> None:
    agree(query, seed)


FLAT = """network k: real[2] -> real[2] { layer dense(weight = [[1, 2], [0, 1/2]], bias = [1, 0]) }
property p = """
CLAIMS = {
    "linear": "property p = forall x in Point: f(x)[L] <= f(x)[R] + x.b / 3\ncheck p",
    "label": "property p = forall x in Point: argmax(f(x)) == R\ncheck p",
    "two networks": "property p = forall x in Point: f(x)[0] <= g(x)[1] + 1/3\ncheck p",
    "two copies": (
        "property p = forall x in Point, y in Point where x.a == y.a and x.b <= y.b:"
        " f(x)[0] <= f(y)[0]\ncheck p"
    ),
    "l2": FLAT + "forall x in norm_ball([1/3, 0], 1/7, l2): k(x)[0] <= 1\ncheck p",
    "l1": FLAT + "forall x in norm_ball([1/3, 0], 1/7, l1): k(x)[0] <= 1\ncheck p",
    "absolute": "property p = forall x in Point: abs(f(x)[0]) * 2 + x.b * x.b <= 2\ncheck p",
    "product": "property p = forall x in Point: f(x)[0] * x.b <= f(x)[1] ^ 2\ncheck p",
    "pieces": "property p = forall x in Point: max(f(x)[0], 1/4) * x.b <= clip(x.b, 0, 1)\ncheck p",
    "exists": "property p = exists x in Point: f(x)[0] <= -1/3\ncheck p",
    "constant network": "property p = forall x in Point: x.a <= 3/2 or x.b <= 0\ncheck p",
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_claims_of_the_language_are_written_and_read_to_the_same(claim: str) -> None:
    query = only_query(CLAIMS[claim])
    agree(query, count=60)


def test_files_read_as_agreed(golden: Golden) -> None:
    names = ("linear", "two copies", "l2", "pieces")
    texts = [write_vnnlib2(only_query(CLAIMS[name])).text for name in names]
    texts.append(write_vnnlib1(only_query(CLAIMS["linear"])).text)
    golden.check("vnnlib/written.txt", "\n".join(texts))


def test_the_original_network_is_what_is_written() -> None:
    query = only_query(CLAIMS["two copies"])
    written = write_vnnlib2(query)
    assert list(written.models.values()) == [query.calls[0].model]
    assert "(equal-to f)" in written.text


@pytest.mark.parametrize("claim", ["linear", "label", "exists"])
def test_version_one_reads_back_to_the_same(claim: str) -> None:
    query = only_query(CLAIMS[claim])
    written = write_vnnlib1(query)
    ((name, model),) = written.models.items()
    again = bind1(read_problem(written.text, "w.vnnlib"), load_onnx(model, name))
    for point in sampled(query, np.random.default_rng(1), 60):
        moved = [Fraction(0)] * len(point)
        for value, (_, position, slope, offset) in zip(point, written.inputs, strict=True):
            moved[position] = (value - offset) / slope
        assert unsafe(again, moved) == unsafe(query, point)


@pytest.mark.parametrize("claim", ["two networks", "two copies", "product", "pieces"])
def test_version_one_refuses_what_it_cannot_say(claim: str) -> None:
    with pytest.raises(SpecError) as caught:
        write_vnnlib1(only_query(CLAIMS[claim]))
    assert caught.value.diagnostics[0].code == "E1013"


def test_a_query_without_cases_is_a_false_file() -> None:
    query = only_query("property p = forall x in Point: x.a <= 9\ncheck p")
    assert not query.cases
    assert not read_back(write_vnnlib2(query)).query.cases


def test_whole_numbers_are_listed() -> None:
    query = only_query(
        "space Q { n: int in [0, 3]  b: real in [0, 1] }\n"
        "network q: Q -> real { layer dense(weight = [[1, 1]], bias = [0]) }\n"
        "property p { forall x in Q show q(x) <= 5/2 }\ncheck p"
    )
    assert query.integers.tolist() == [0]
    written = write_vnnlib2(query)
    found = read_back(written)
    for quarters_, b in product(range(-1, 14), (Fraction(0), Fraction(1, 2), Fraction(1))):
        point = [Fraction(quarters_, 4), b]
        whole = quarters_ % 4 == 0
        wanted = whole and unsafe(query, point)
        assert unsafe(found.query, moved(written, found, point)) == wanted


@given(st.integers(-(10**6), 10**6), st.integers(0, 30), st.integers(0, 30))
def test_decimals_are_exact(number: int, twos: int, fives: int) -> None:
    value = Fraction(number, 2**twos * 5**fives)
    assert Fraction(decimal(value)) == value
    assert "." in decimal(value)


def test_balls_come_back_as_sets() -> None:
    query = only_query(CLAIMS["l2"])
    ball = norm_ball(exact([Fraction(1, 3), 0]), Fraction(1, 7), "l2")
    assert query.cases[0].inputs.balls[0].radius == ball.balls[0].radius
    found = read_back(write_vnnlib2(query)).query
    assert [b.norm for b in found.cases[0].inputs.balls] == ["l2"]
    assert isinstance(cut(Box(exact([0]), exact([1])), []), Box)
