"""Elementary functions and quotients in claims: nodes of the graph, with the values they should
have; exact where these are rational; refused before solving where they have none.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.graph import ops
from specdsl.graph.evaluate import evaluate
from specdsl.query.query import Query
from tests.query.specs import HEAD, obligations, only_query, refusal

# Values in float64 by two formulas.
CLOSE = 1e-12


def margin_at(query: Query, a: float, b: float) -> float:
    """The only margin at a point of the space of the test specs."""
    graph = query.graph
    point = np.array([[a, b]]).reshape(1, *graph.shapes[graph.input])
    return float(evaluate(graph, {graph.input: point})[graph.output].reshape(-1)[0])


def value_at(term: str, a: float, b: float, where: str = "") -> float:
    """What `term` is: the claim `term < 0` is unsafe where its negation `-term <= 0` holds."""
    query = only_query(f"property p = forall x in Point {where}: {term} < 0\ncheck p\n")
    return -margin_at(query, a, b)


def softmax(*scores: float) -> list[float]:
    powers = [math.exp(s) for s in scores]
    return [p / sum(powers) for p in powers]


def test_every_function_has_its_value() -> None:
    b = -0.75
    expected = {
        "exp(x.b)": math.exp(b),
        "log(x.b + 3)": math.log(b + 3),
        "sqrt(x.b + 3)": math.sqrt(b + 3),
        "sin(x.b)": math.sin(b),
        "cos(2 * x.b)": math.cos(2 * b),
        "tan(x.b / 2)": math.tan(b / 2),
        "tanh(x.b)": math.tanh(b),
        "sigmoid(x.b)": 1 / (1 + math.exp(-b)),
        "softplus(x.b)": math.log1p(math.exp(b)),
        "softmax([x.b, 1])[1]": softmax(b, 1)[1],
        "softmax([x.b, 0, 2 * x.b])[2]": softmax(b, 0, 2 * b)[2],
        "sum(exp(g(x)))": math.exp(1 / 9) + math.exp(b),
        "1 / (x.b + 3)": 1 / (b + 3),
        "x.b / (x.b + 3)": b / (b + 3),
        "(x.b + 3) ^ -2": (b + 3) ** -2,
        "sum([1, x.b] / (x.b + 3))": (1 + b) / (b + 3),
        "max(exp(x.b), 0) ^ 2": math.exp(2 * b),
        "norm(g(x), l2) + x.b": math.hypot(1 / 9, b) + b,
        "1 / norm([x.b, 1], l1)": 1 / (abs(b) + 1),
        "exp(log(2) + x.b)": 2 * math.exp(b),
    }
    # Where the first field is 2/3, the first entry of `g` is 1/9.
    found = {term: value_at(term, 2 / 3, b, "where x.b >= -1") for term in expected}
    assert found == pytest.approx(expected, abs=CLOSE)


@settings(max_examples=30, deadline=None)
@given(a=st.floats(-1, 2), b=st.floats(-2, 1), count=st.integers(2, 6))
def test_softmax_is_a_distribution(a: float, b: float, count: int) -> None:
    scores = ", ".join(["x.b", "g(x)[0]", "1/2", "-x.b", "x.b", "2"][:count])
    assert value_at(f"sum(softmax([{scores}]))", a, b) == pytest.approx(1, abs=CLOSE)


def test_functions_of_constants_are_exact_where_they_are_rational() -> None:
    query = only_query(
        "property p = forall x in Point: x.b < sqrt(1/4) + exp(0) * sigmoid(0) - log(1) "
        "- softmax([3, 3, 3])[1]\ncheck p\n"
    )
    assert not any(isinstance(op, ops.Smooth) for _, op, _ in query.graph)
    assert query.cases[0].inputs.box.lower[-1] == Fraction(2, 3)


def test_other_constants_are_nodes_that_bounds_enclose() -> None:
    query = only_query("property p = forall x in Point: x.b * exp(1/3) < 0\ncheck p\n")
    (node,) = (n for n, op, _ in query.graph if isinstance(op, ops.Exp))
    assert isinstance(query.graph.op(query.graph.operands(node)[0]), ops.Constant)
    assert margin_at(query, 0, -1) == pytest.approx(math.exp(1 / 3), abs=CLOSE)


# --- what has no value ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "text", "label"),
    [
        ("1 / x.b <= 2", "division by `x.b`, which may be 0", "[-2, 1]"),
        ("1 / (x.b - 1) <= 2", "division by `x.b - 1`, which may be 0", "[-3, 0]"),
        ("(x.b + 2) ^ -1 <= 2", "division by `(x.b + 2) ^ -1`, which may be 0", "[0, 3]"),
        ("log(x.b + 2) <= 2", "`log(x.b + 2)` has no value on all of the set", "[0, 3]"),
        ("sqrt(x.b) <= 2", "`sqrt(x.b)` has no value on all of the set", "[-2, 1]"),
        ("tan(x.b) <= 2", "`tan(x.b)` has no value on all of the set", "[-2, 1]"),
    ],
)
def test_a_claim_that_means_nothing_somewhere_is_refused(claim: str, text: str, label: str) -> None:
    error = refusal(f"property p = forall x in Point: {claim}\ncheck p\n")
    (found,) = error.diagnostics
    assert (found.code, found.message) == ("E0405", text)
    assert label in found.primary.text if found.primary else False
    assert found.help is not None


@pytest.mark.parametrize(
    "claim",
    [
        "where x.b >= 1/2: 1 / x.b <= 2",
        ": x.b < 1/2 or 1 / x.b <= 2",
        ": x.b >= 1/2 => log(x.b) <= 2",
        "where x.b >= 0: sqrt(x.b) <= 2",
        ": sqrt(x.b + 2) <= 2",
        ": tan(x.b / 2) <= 2",
        # What a network gives has no range yet.
        ": 1 / g(x)[1] <= 2",
    ],
)
def test_where_it_means_something_on_all_of_the_set_it_is_asked(claim: str) -> None:
    assert only_query(f"property p = forall x in Point {claim}\ncheck p\n").cases


def test_constants_without_a_value_are_refused() -> None:
    error = refusal(
        "network h: real -> real { layer relu }\n"
        "property p = forall x in Point: log(h(0 - 1)) < x.b\ncheck p\n"
    )
    assert error.diagnostics[0].code == "E0405"


def test_a_softmax_of_very_many_scores_is_refused() -> None:
    ones = ", ".join(["x.b"] * 200)
    (found,) = refusal(
        f"property p = forall x in Point: softmax([{ones}])[0] < 1\ncheck p\n"
    ).diagnostics
    assert found.code == "E0901"


# --- networks with curves at constants ------------------------------------------------------------

CURVED = """network t: real[2] -> real[2] {
  layer dense(weight = [[1, -1], [1, 1]], bias = [0, 1/2])
  layer sigmoid
}
"""


def test_a_curved_network_at_a_constant_stays_in_the_graph() -> None:
    text = (
        CURVED
        + "property p = forall x in Point: t(normalized(x))[0] <= t([0, 0])[0] + 1\ncheck p\n"
    )
    query = only_query(text)
    assert [call.name for call in query.calls] == ["t", "t"]
    # The second call is a sigmoid of 0.
    assert margin_at(query, 1 / 3, 0) == pytest.approx(1, abs=CLOSE)


def test_its_label_there_is_known_where_scores_differ_by_more_than_their_errors() -> None:
    text = (
        CURVED
        + "property p = forall x in Point: argmax(t(normalized(x))) == argmax(t([0, 0]))\ncheck p\n"
    )
    query = only_query(text)
    # The other label wins by one atom in one case; comparing two labels would take more.
    assert [len(case.atoms) for case in query.cases] == [1]
    assert len(query.calls) == 1


def test_conditions_on_such_constants_are_decided() -> None:
    text = (
        HEAD
        + CURVED
        + (
            "property p = forall i in 0..3, x in Point where exp(i) <= 9 and t([i, 0])[0] > 0.6: "
            "x.b <= exp(i)\ncheck p\n"
        )
    )
    found, resources = obligations(text)
    # exp(3) is above 9, and at i = 0 the first score is below 1/2.
    kept = [o for o in found if o.query(resources).cases]
    assert len(kept) == 2


def test_an_exact_label_at_a_tie_is_still_found_to_tie() -> None:
    text = (
        CURVED
        + "property p = forall x in Point: argmax(t(normalized(x))) == "
        + "argmax(t([0, -1/4]))\ncheck p\n"
    )
    # Both scores are sigmoids of 1/4: nothing can tell which is larger, so that the comparison of
    # two labels stays one.
    assert len(only_query(text).cases) > 1


def test_fractions_of_constants_stay_exact() -> None:
    query = only_query("property p = forall x in Point: x.b <= 1 / 3\ncheck p\n")
    assert not query.graph.shapes.get("reciprocal")
    assert query.cases[0].inputs.box.lower[-1] == Fraction(1, 3)
