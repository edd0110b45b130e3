"""VNN-LIB 1.0: what the text means, and what is wrong with it."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdsl.diagnostics import SpecError
from specdsl.files import read_bytes
from specdsl.graph.evaluate import evaluate
from specdsl.graph.graph import GraphBuilder
from specdsl.graph.onnx_import.load import ImportedNetwork
from specdsl.graph.ops import Dense, Input
from specdsl.query.query import Query
from specdsl.query.sets import Box
from specdsl.query.vnnlib import forms as vnnlib_forms
from specdsl.query.vnnlib import v1 as vnnlib1
from specdsl.query.vnnlib.v1 import Problem, bind, read_problem

DECLARED = """
(declare-const X_0 Real) (declare-const X_1 Real) ; two inputs
(declare-const Y_0 Real) (declare-const Y_1 Real)
"""
BOUNDED = DECLARED + "(assert (and (<= 0 X_0) (<= X_0 1) (>= X_1 -1) (<= X_1 0.5)))\n"


def problem(text: str) -> Problem:
    return read_problem(text, "q.vnnlib")


def error(text: str) -> tuple[str, str]:
    with pytest.raises(SpecError) as caught:
        problem(text)
    (found,) = caught.value.diagnostics
    assert found.primary is not None, "errors in the file have a place"
    return found.code, found.primary.span.text


def identity_network() -> ImportedNetwork:
    builder = GraphBuilder()
    x = builder.add(Input((1, 2)), name="input")
    y = builder.add(Dense(np.eye(2), np.zeros(2)), x, name="output")
    return ImportedNetwork("identity", builder.build(y), b"", 13)


def unsafe(query: Query, x: tuple[float, float]) -> bool:
    """Whether the query's own semantics calls the point unsafe."""
    point = np.array([Fraction(v) for v in x], dtype=object)
    values = evaluate(query.graph, {query.graph.input: np.array(x).reshape(1, 1, 2)})
    margins = values[query.graph.output].reshape(-1)
    return any(
        point in case.inputs
        and all(margins[a.index] < 0 if a.strict else margins[a.index] <= 0 for a in case.atoms)
        for case in query.cases
    )


def test_decimals_are_exact_and_bounds_of_all_assertions_are_intersected() -> None:
    found = problem(BOUNDED + "(assert (<= X_0 0.1)) (assert (>= X_0 1e-1))")
    (case,) = found.cases
    assert isinstance(case.inputs, Box)
    assert case.inputs.lower[0] == case.inputs.upper[0] == Fraction(1, 10)
    assert case.inputs.upper[1] == Fraction(1, 2)


def test_an_atom_is_the_margin_that_is_not_positive_where_it_holds() -> None:
    found = problem(BOUNDED + "(assert (<= Y_1 Y_0)) (assert (> Y_0 3.5))")
    one, half = Fraction(1), Fraction(7, 2)
    assert found.rows[0].terms == ((("Y", 0), -one), (("Y", 1), one))
    assert (found.rows[1].terms, found.rows[1].constant) == (((("Y", 0), -one),), half)
    assert [(a.index, a.strict) for a in found.cases[0].atoms] == [(0, False), (1, True)]


def test_every_pair_of_disjuncts_of_two_assertions_is_a_case() -> None:
    either = "(assert (or (<= Y_0 0) (<= Y_0 1) (<= Y_0 2)))"
    found = problem(BOUNDED + either + "(assert (or (>= Y_1 0) (>= Y_1 5)))")
    assert len(found.cases) == 6
    assert len(found.rows) == 5
    assert len({id(case.inputs) for case in found.cases}) == 1


def test_disjuncts_carry_their_own_boxes_and_empty_ones_vanish() -> None:
    found = problem(
        BOUNDED
        + """(assert (or (and (<= X_0 0.25) (<= Y_0 0)) (and (>= X_0 2) (<= Y_0 0))
                         (and (<= X_0 0.25) (>= Y_0 9))))"""
    )
    assert len(found.cases) == 2
    assert found.cases[0].inputs is found.cases[1].inputs
    assert found.cases[0].inputs.box.upper[0] == Fraction(1, 4)


def test_a_false_assertion_leaves_no_case() -> None:
    assert problem(BOUNDED + "(assert (<= 2 1))").cases == ()
    assert problem(BOUNDED + "(assert (< 1 1.0))").cases == ()
    assert len(problem(BOUNDED + "(assert (<= 1 1.0))").cases) == 1


def test_a_strict_bound_keeps_the_closed_box_and_a_strict_atom() -> None:
    found = problem(BOUNDED + "(assert (< X_0 0.5))")
    assert found.cases[0].inputs.box.upper[0] == Fraction(1, 2)
    assert [a.strict for a in found.cases[0].atoms] == [True]


def test_equal_rows_are_stored_once() -> None:
    clauses = " ".join("(and (<= Y_0 Y_1) (>= X_0 0.5))" for _ in range(500))
    found = problem(BOUNDED + f"(assert (or {clauses}))")
    assert (len(found.rows), len({id(c.inputs) for c in found.cases})) == (1, 1)


# Text and meaning of formulas over the identity network, so that Y_i stands for X_i.
FORMULAS = {
    "(<= Y_0 Y_1)": lambda a, b: a <= b,
    "(< Y_0 0.5)": lambda a, b: a < 0.5,
    "(= Y_0 0.5)": lambda a, b: a == 0.5,
    "(not (= Y_0 0.5))": lambda a, b: a != 0.5,
    "(not (or (<= Y_0 0.25) (> Y_1 0)))": lambda a, b: a > 0.25 and b <= 0,
    "(=> (>= Y_0 0.5) (<= Y_1 0))": lambda a, b: a < 0.5 or b <= 0,
    "(not (=> (>= Y_0 0.5) (<= Y_1 0)))": lambda a, b: a >= 0.5 and b > 0,
    "(>= (+ (* 2 X_0) (- Y_1) 0.25) (/ 1 2))": lambda a, b: 2 * a - b + 0.25 >= 0.5,
    "(and (or (<= Y_0 0) (>= Y_0 1)) (or (<= Y_1 0) true))": lambda a, b: a <= 0 or a >= 1,
    "(or (and (<= X_0 0.25) (<= Y_1 0)) false)": lambda a, b: a <= 0.25 and b <= 0,
    "(<= (- X_0 X_1) 0)": lambda a, b: a - b <= 0,
}
QUARTERS = st.integers(0, 4).map(lambda i: i / 4)


@given(st.sampled_from(sorted(FORMULAS)), QUARTERS, QUARTERS.map(lambda v: v * 1.5 - 1))
def test_a_formula_holds_exactly_where_the_query_calls_the_point_unsafe(
    text: str, a: float, b: float
) -> None:
    query = bind(problem(BOUNDED + f"(assert {text})"), identity_network())
    assert unsafe(query, (a, b)) == FORMULAS[text](a, b)


@given(st.fractions(max_denominator=1_000).map(lambda f: f"{float(f):.6f}"))
def test_numbers_mean_what_python_reads_as_an_exact_decimal(text: str) -> None:
    assert vnnlib_forms.number(text) == Fraction(text)


@pytest.mark.parametrize(
    ("text", "code", "at"),
    [
        ("(assert (<= X_0 1)", "E1000", "("),
        (")", "E1000", ")"),
        ("(assert (<= X_0 |a))", "E1000", "|a"),
        ("hello", "E1000", "hello"),
        ("(assert " + "(not " * 200, "E1001", "("),
        ("(assume (<= X_0 1))", "E1002", "("),
        ("(assert (xor (<= X_0 1) (<= X_0 2)))", "E1002", "("),
        ("(assert X_0)", "E1002", "X_0"),
        ("(assert (<= (max X_0 X_1) 1))", "E1002", "("),
        ("(assert (<= X_0 1e999999999))", "E1003", "("),
        ("(assert (<= X_0 " + "9" * 5000 + "))", "E1003", "("),
        ("(assert (<= X_7 1))", "E1004", "("),
        ("(assert (<= (* 2 x) 1))", "E1004", "x"),
        ("(declare-const X_3 Int)", "E1005", "("),
        ("(declare-const X_0 Real)", "E1005", "("),
        ("(declare-const Z_0 Real)", "E1005", "("),
        ("(declare-const X_5 Real)", "E1005", "("),
        ("(assert (<= (* X_0 Y_0) 1))", "E1008", "("),
        ("(assert (<= (/ X_0 0) 1))", "E1008", "("),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, code: str, at: str) -> None:
    assert error(BOUNDED + text) == (code, at)


def test_an_input_without_a_bound_is_named_at_its_declaration() -> None:
    with pytest.raises(SpecError, match="`X_1` has no upper bound"):
        problem(DECLARED + "(assert (and (<= 0 X_0) (<= X_0 1) (<= 0 X_1)))")


def test_too_many_cases_are_refused_before_they_are_built() -> None:
    either = "(assert (or (<= Y_0 0) (>= Y_0 1)))"
    assert error(BOUNDED + either * 60)[0] == "E1007"
    nested = "(and " + "(or (<= Y_0 0) (>= Y_0 1))" * 60 + ")"
    assert error(BOUNDED + f"(assert {nested})")[0] == "E1007"


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(SpecError, match="not UTF-8"):
        read_problem(b"\xff\xfe\x00", "q.vnnlib")


def test_a_query_of_another_size_than_the_network_is_refused() -> None:
    text = BOUNDED + "(declare-const X_2 Real) (assert (<= 0 X_2 )) (assert (<= X_2 1))"
    with pytest.raises(SpecError, match="declares 3 inputs and 2 outputs"):
        bind(problem(text), identity_network())


def test_weights_that_no_float64_can_hold_stay_exact() -> None:
    query = bind(problem(BOUNDED + "(assert (<= (* 0.1 Y_0) 0.1))"), identity_network())
    dense = query.graph.op(query.graph.output)
    assert isinstance(dense, Dense)
    assert dense.weight[0, 0] == Fraction(1, 10)
    assert dense.bias[0] == Fraction(-1, 10)


# --- the benchmarks' own files ------------------------------------------------------------------


def files(shared: Path, family: str) -> list[Path]:
    return sorted((shared / "data" / "vnncomp" / family).rglob("*.vnnlib.gz"))


@pytest.mark.parametrize(
    ("family", "inputs", "outputs"),
    [("acasxu", 5, 5), ("mnist_fc", 784, 10), ("oval21", 3072, 10), ("safenlp", 30, 2)],
)
def test_files_of_a_family_have_its_sizes(
    shared: Path, family: str, inputs: int, outputs: int
) -> None:
    found = files(shared, family)
    assert found
    for path in found:
        read = read_problem(read_bytes(path), path.name)
        assert (read.inputs, read.outputs) == (inputs, outputs)
        assert read.cases


def test_disjunctions_over_inputs_and_outputs_multiply_out(shared: Path) -> None:
    path = shared / "data" / "vnncomp" / "acasxu" / "vnnlib" / "prop_6.vnnlib.gz"
    read = read_problem(read_bytes(path), path.name)
    assert len({id(case.inputs) for case in read.cases}) == 2


def test_a_file_of_several_megabytes_is_read_in_linear_time(shared: Path) -> None:
    path = shared / "data" / "vnncomp" / "nn4sys" / "vnnlib" / "cardinality_0_500_128.vnnlib.gz"
    content = read_bytes(path)
    start = time.perf_counter()
    read = read_problem(content, path.name)
    seconds = time.perf_counter() - start
    assert (read.inputs, len(read.cases)) == (154, 1000)
    # 0.9 s on the slowest machine met; ten times that still catches quadratic behaviour (minutes).
    assert seconds < 10 * len(content) / 4.5e6


@pytest.mark.slow
def test_every_file_of_the_shared_benchmarks_is_read(shared: Path) -> None:
    found = files(shared, ".")
    assert len(found) > 200
    for path in found:
        assert vnnlib1.read_problem(read_bytes(path), path.name).cases
