"""The query of a property has exactly the points where the property fails."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.query.query import Query
from specdsl.query.sets import Box, CutBox
from tests.conftest import Golden
from tests.query.specs import (
    HEAD,
    load,
    network_f,
    obligations,
    only_query,
    refusal,
    unsafe,
)

# --- random linear properties --------------------------------------------------------------------

NUMBERS = st.sampled_from(["0", "1", "1/2", "-1", "3/4"])
TERMS = st.sampled_from(["x.b", "f(x).L", "f(x)[1]", "2 * x.b - f(x)[0]", "f(x).R + f(x).L"])
COMPARISONS = st.one_of(
    st.builds("{} {} {}".format, TERMS, st.sampled_from(["<=", "<", ">=", ">", "=="]), NUMBERS),
    st.builds("{} <= {} < {}".format, NUMBERS, TERMS, NUMBERS),
    st.builds("x.a {} {}".format, st.sampled_from(["<=", "<", ">=", ">", "=="]), NUMBERS),
    st.sampled_from(["argmax(f(x)) == L", "argmin(f(x)) != R", "margin(f(x), L) > 1/4"]),
    st.sampled_from(["all(f(x) <= 1)", "any(f(x) >= g(x))", "x.b in [-1, 0]"]),
)
CLAIMS = st.recursive(
    COMPARISONS,
    lambda inner: st.one_of(
        st.builds("({} and {})".format, inner, inner),
        st.builds("({} or {})".format, inner, inner),
        st.builds("({} => {})".format, inner, inner),
        st.builds("(not {})".format, inner),
    ),
    max_leaves=5,
)
POINTS = st.tuples(
    st.integers(-4, 8).map(lambda n: Fraction(n, 4)),
    st.integers(-8, 4).map(lambda n: Fraction(n, 4)),
)


class Vector:
    """Outputs that can be asked by label, by position, and compared entry by entry."""

    def __init__(self, values: list[Fraction]) -> None:
        self.values = values
        self.L, self.R = values

    def __getitem__(self, index: int) -> Fraction:
        return self.values[index]

    def __le__(self, other: object) -> list[bool]:
        return [v <= Fraction(other) for v in self.values]  # type: ignore[arg-type]

    def __ge__(self, other: object) -> list[bool]:
        others = other.values if isinstance(other, Vector) else [other] * 2
        return [v >= o for v, o in zip(self.values, others, strict=True)]


def direct(claim: str, a: Fraction, b: Fraction) -> bool:
    """The claim at a point, by Python itself."""
    text = claim.replace("x.b in [-1, 0]", "(-1 <= x.b and x.b <= 0)")
    text = text.replace("1/2", "half").replace("3/4", "three").replace("1/4", "quarter")
    while "=>" in text:
        # `(p => q)`: a class whose `@` is implication needs no parser here.
        text = text.replace("=>", ") |IMPLIES| (", 1)
    names = {
        "half": Fraction(1, 2),
        "three": Fraction(3, 4),
        "quarter": Fraction(1, 4),
        "x": type("X", (), {"a": a, "b": b}),
        "f": lambda _: Vector(network_f(a, b)),
        "g": lambda _: Vector([(a - Fraction(1, 3)) / 3, b]),
        "L": 0,
        "R": 1,
        "argmax": lambda v: winner(v.values),
        "argmin": lambda v: winner([-n for n in v.values]),
        "margin": lambda v, y: v.values[y] - v.values[1 - y],
        "IMPLIES": Implies(),
    }
    return bool(eval(text, names))


class Implies:
    """`p |IMPLIES| q` for truth values."""

    def __init__(self, left: bool = True) -> None:
        self.left = left

    def __ror__(self, left: bool) -> Implies:
        return Implies(bool(left))

    def __or__(self, right: bool) -> bool:
        return not self.left or bool(right)


def winner(values: list[Fraction]) -> int | None:
    return values.index(max(values)) if values[0] != values[1] else None


@given(CLAIMS, CLAIMS, st.lists(POINTS, min_size=4, max_size=8))
@settings(max_examples=120, deadline=None)
def test_a_query_has_the_points_where_the_property_fails(
    where: str, claim: str, points: list[tuple[Fraction, Fraction]]
) -> None:
    query = only_query(
        f"property p {{ forall x in Point where {where} show {claim} }}\ncheck p using smt"
    )
    for a, b in points:
        fails = direct(where, a, b) and not direct(claim, a, b)
        assert unsafe(query, [a, b]) == fails


@given(CLAIMS, st.lists(POINTS, min_size=4, max_size=8))
@settings(max_examples=40, deadline=None)
def test_an_exists_query_has_the_points_where_the_claim_holds(
    claim: str, points: list[tuple[Fraction, Fraction]]
) -> None:
    for text in (f"exists x in Point: {claim}", f"not (forall x in Point: not {claim})"):
        query = only_query(f"property p = {text}\ncheck p using smt")
        assert query.kind == "exists"
        assert all(unsafe(query, [a, b]) == direct(claim, a, b) for a, b in points)


# --- boxes ---------------------------------------------------------------------------------------


def one(text: str) -> Query:
    return only_query(text + "\ncheck p using smt")


def test_bounds_in_where_tighten_the_box_exactly() -> None:
    query = one(
        "property p { forall x in Point where 3 * x.a <= 1 and 1/7 < x.b show f(x).L <= 0 }"
    )
    (case,) = query.cases
    assert case.inputs.box.lower.tolist() == [-1, Fraction(1, 7)]
    assert case.inputs.box.upper.tolist() == [Fraction(1, 3), 1]
    assert sorted(atom.strict for atom in case.atoms) == [True, True]


def test_cases_without_points_are_dropped() -> None:
    query = one("property p { forall x in Point where x.a <= -1/2 or x.a >= 3 show f(x).L <= 0 }")
    assert [case.inputs.box.upper[0] for case in query.cases] == [Fraction(-1, 2)]


def test_a_strict_bound_that_leaves_nothing_is_a_dropped_case() -> None:
    assert one("property p { forall x in Point where x.a > 2 show f(x).L <= 0 }").cases == ()


def test_conditions_that_nothing_meets_are_a_warning() -> None:
    query = one("property p { forall x in Point where x.a >= 3 show f(x).L <= 0 }")
    assert [w.code for w in query.warnings] == ["W0750"]
    assert not one("property p { forall x in Point show x.a <= 3 }").warnings


def test_conditions_on_several_inputs_stay_margins() -> None:
    query = one("property p { forall x in Point where x.b <= 2 * x.b - 1/2 show f(x).L <= 0 }")
    assert query.cases[0].inputs.box.lower[1] == Fraction(1, 2)
    query = one(
        "property p { forall x in Point, y in Point where x.b <= y.b show f(x).L <= f(y).L }"
    )
    assert len(query.cases[0].atoms) == 2
    assert [v.name for v in query.variables] == ["x.a", "x.b", "y.a", "y.b"]
    assert [call.name for call in query.calls] == ["f", "f"]


def test_equal_margins_are_one_row() -> None:
    query = one("property p { forall x in Point show f(x).L <= 0 and (f(x).L <= 0 or x.b < 0) }")
    assert query.margins == 1


def test_balls() -> None:
    for norm, kind in (("linf", Box), ("l2", CutBox), ("l1", CutBox)):
        query = one(
            "space Image { pixels: real[2, 2] in [0, 1] }\n"
            "network h: Image -> real[2] { layer flatten layer dense("
            "weight = [[1, 0, 0, 0], [0, 1, 0, 0]], bias = [0, 0]) }\n"
            f"property p {{ forall z in norm_ball([[0, 1], [1/2, 1/3]], 1/4, {norm}) & Image "
            "show argmax(h(z)) == 1 }"
        )
        (case,) = query.cases
        assert isinstance(case.inputs, kind)
        assert case.inputs.box.lower.tolist() == [
            0,
            Fraction(3, 4),
            Fraction(1, 4),
            Fraction(1, 12),
        ]
        assert case.inputs.box.upper.tolist() == [
            Fraction(1, 4), 1, Fraction(3, 4), Fraction(7, 12)
        ]  # fmt: skip


# --- obligations ---------------------------------------------------------------------------------


def table(tmp_path: Path) -> str:
    (tmp_path / "data.csv").write_text("0,0,0\n1,-1,1\n0.5,0.25,0\n")
    return HEAD + (
        "space Flat { v: real[2] in [-2, 2] }\n"
        "network h: Flat -> real[2] { layer dense(weight = [[1, 0], [0, 1]], bias = [0, 0]) }\n"
        'dataset data: (Flat, label[2]) = csv("data.csv", label = 2)\n'
        "property robust(x, y, r) { forall z in norm_ball(x, r, linf) & Flat "
        "show argmax(h(z)) == y }\n"
    )


def ids(text: str, base: Path) -> list[str]:
    found, _ = obligations(text, base)
    return [o.id for o in found]


def test_a_slice_unrolls_to_one_obligation_a_sample(tmp_path: Path) -> None:
    text = table(tmp_path) + (
        "property on_data = forall (x, y) in data[1:3]: robust(x, y, 1/8)\n"
        "check on_data using smt\n"
        "check forall (x, y) in data: robust(x, y, 0) using smt\n"
        "check forall (x, y) in data where y == 0: robust(x, y, 1/4) using smt"
    )
    found, resources = obligations(text, tmp_path)
    assert [o.id for o in found] == [
        "t.spec::on_data[1]",
        "t.spec::on_data[2]",
        "t.spec::robust[0]",
        "t.spec::robust[1]",
        "t.spec::robust[2]",
        "t.spec::robust[0]#2",
        "t.spec::robust[2]#2",
    ]
    assert [o.sample for o in found] == [1, 2, 0, 1, 2, 0, 2]
    assert [o.check for o in found] == [0, 0, 1, 1, 1, 2, 2]
    query = found[0].query(resources)
    assert query.cases[0].inputs.box.lower.tolist() == [Fraction(7, 8), Fraction(-9, 8)]
    point = found[1].sample_point(resources)
    assert point is not None
    assert point.tolist() == [Fraction(1, 2), Fraction(1, 4)]


def test_a_sample_outside_the_data_costs_its_own_obligation(tmp_path: Path) -> None:
    text = table(tmp_path) + "check forall (x, y) in data[2:4]: robust(x, y, 1/8) using smt"
    found, resources = obligations(text, tmp_path)
    assert len(found[0].query(resources).cases) == 1
    error = refusal_of(found[1], resources)
    assert error.code == "E0753"
    assert error.primary is not None


def test_a_missing_file_costs_obligations_not_the_run(tmp_path: Path) -> None:
    text = table(tmp_path) + (
        'network broken: Flat -> real[2] = onnx("absent.onnx")\n'
        "property bad { forall z in Flat show broken(z)[0] <= 1 }\n"
        "property good { forall z in Flat show h(z)[0] <= 1 }\n"
        "check bad, good using smt"
    )
    found, resources = obligations(text, tmp_path)
    assert refusal_of(found[0], resources).code == "E0501"
    assert len(found[1].query(resources).cases) == 1


def refusal_of(obligation, resources):
    from specdsl.diagnostics import SpecError

    with pytest.raises(SpecError) as caught:
        obligation.query(resources)
    return caught.value.diagnostics[0]


def test_ids_are_unique(tmp_path: Path) -> None:
    text = table(tmp_path) + (
        "property both = (forall z in Flat: h(z)[0] <= 1) and (forall z in Flat: h(z)[1] <= 1)\n"
        "property many(k) = forall i in 0..1, z in Flat: h(z)[i] <= k\n"
        "check both, both, many(1), many(2), not many(1) using smt\n"
        "check both using smt"
    )
    found = ids(text, tmp_path)
    assert len(set(found)) == len(found)
    assert found[:4] == [
        "t.spec::both.1", "t.spec::both.2", "t.spec::both.1#2", "t.spec::both.2#2"
    ]  # fmt: skip
    assert "t.spec::many(1)[0]" in found


# --- claims without anything to decide -----------------------------------------------------------


def test_constant_claims_are_queries_too() -> None:
    assert one("property p = 1 < 2").cases == ()
    (case,) = one("property p = 2 < 1").cases
    assert case.atoms == ()
    query = one("property p { forall x in Point show false }")
    assert [c.atoms for c in query.cases] == [()]
    assert query.margins == 1


def test_networks_on_constants_are_constants(tmp_path: Path) -> None:
    text = table(tmp_path) + (
        "let x0 = data[1].input\n"
        "property p { forall z in norm_ball(x0, 1/8, linf) show h(z)[0] <= h(x0)[0] + 1/8 }\n"
        "check p using smt"
    )
    (obligation,), resources = obligations(text, tmp_path)
    query = obligation.query(resources)
    assert len(query.calls) == 1
    assert unsafe(query, [Fraction(9, 8), Fraction(-1)]) is False


def test_the_label_of_a_constant_is_a_constant(tmp_path: Path) -> None:
    text = table(tmp_path) + (
        "let x0 = data[1].input\n"
        "property p { forall z in norm_ball(x0, 1/8, linf) show argmax(h(z)) == argmax(h(x0)) }\n"
        "property q { forall z in norm_ball(x0, 1/8, linf) show margin(h(z), argmax(h(x0))) > 0 }\n"
        "check p, q using smt"
    )
    found, resources = obligations(text, tmp_path)
    for obligation in found:
        (case,) = obligation.query(resources).cases
        assert len(case.atoms) == 1


def test_two_networks_read_one_input() -> None:
    query = one("property p { forall x in Point show f(x).L - g(x).L <= 10 }")
    assert [call.name for call in query.calls] == ["f", "g"]
    assert len(query.graph.inputs) == 1


# --- refusals ------------------------------------------------------------------------------------


def test_too_many_cases_are_refused() -> None:
    claims = " or ".join(f"(x.b <= {n} and x.b >= -{n}/9)" for n in range(-9, 5))
    found = refusal(f"property p {{ forall x in Point show {claims} }}\ncheck p using smt")
    assert found.diagnostics[0].code == "E0750"


def test_sizes_of_network_and_declaration_must_agree(tmp_path: Path) -> None:
    (obligation,), resources = obligations(
        HEAD + "property p { forall x in Point show f(x).L <= 0 }\ncheck p using smt"
    )
    imported = resources.network(obligation.spec, "f").imported
    (tmp_path / "f.onnx").write_bytes(imported.model)
    text = (
        'spec 1.0\nnetwork h: real[2] -> real[3] = onnx("f.onnx")\n'
        "property p { forall z in box([0, 0], [1, 1]) show h(z)[0] <= 1 }\ncheck p using smt"
    )
    (obligation,), resources = obligations(text, tmp_path)
    found = refusal_of(obligation, resources)
    assert found.code == "E0650"
    assert found.primary is not None
    assert found.primary.span.line == 2
    assert "3 output entries" in found.message
    assert "has 2" in found.message


def test_parameters_reach_the_query() -> None:
    text = HEAD + (
        "param k: real = 1/3\n"
        "property p { forall x in Point where x.a <= k show f(x).L <= 0 }\ncheck p using smt"
    )
    from specdsl.query.elaboration.elaborate import elaborate
    from specdsl.query.elaboration.values.resources import Resources

    for overrides, value in (({}, Fraction(1, 3)), ({"k": "1/7"}, Fraction(1, 7))):
        resources = Resources()
        (obligation,) = elaborate(load(text, Path(), overrides), resources)
        assert obligation.query(resources).cases[0].inputs.box.upper[0] == value


# --- text ----------------------------------------------------------------------------------------


def test_dump_of_a_query(golden: Golden) -> None:
    from specdsl.query.dump import dump

    query = one(
        "property p { forall x in Point where x.a <= 1/3 and (x.b < 0 or x.b >= 1/2) "
        "show argmax(f(x)) == L }"
    )
    golden.check("query_dump.txt", dump(query))


def test_grid_agrees_on_strictness() -> None:
    query = one("property p { forall x in Point where x.a < 1 show x.b <= 0 }")
    for a, b in product([Fraction(1), Fraction(3, 4)], [Fraction(0), Fraction(1, 4)]):
        assert unsafe(query, [a, b]) == (a < 1 and b > 0)
    assert np.array_equal(query.cases[0].inputs.box.upper, [1, 1])
