"""Witnesses hold both exactly and in the runtime; where the two disagree there is a suspicion."""

from __future__ import annotations

import gzip
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from specdsl.evidence import Replayer, Suspected, confirm, settle
from specdsl.graph import ops
from specdsl.graph.exact import evaluate_exact
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.graph.onnx_import.load import load_onnx
from specdsl.graph.to_onnx import export
from specdsl.query.query import Atom, Case, NetworkCall, Query
from specdsl.query.sets import Box, exact, norm_ball
from specdsl.verdict import Answer, Certificate, Falsified, Unknown, Verified, Witness
from tests.strategies import margin_query, queries, sample


def exact_margins(query: Query, point: np.ndarray) -> list[Fraction]:
    graph = query.graph
    value = point.reshape(graph.shapes[graph.input])
    found = evaluate_exact(graph, {graph.input: value}, nodes=[graph.output])[graph.output]
    return list(found.reshape(-1))


def holds(query: Query, point: np.ndarray, case: int) -> bool:
    margins = exact_margins(query, point)
    atoms = query.cases[case].atoms
    return all(margins[a.index] < 0 if a.strict else margins[a.index] <= 0 for a in atoms)


@settings(max_examples=100, deadline=None)
@given(queries(), st.integers(0, 99))
def test_a_witness_is_inside_and_violates_exactly_and_in_the_runtime(
    query: Query, seed: int
) -> None:
    box = query.cases[0].inputs
    assert isinstance(box, Box)
    replayer = Replayer(query)
    for point in sample(box, 8, seed):
        found = replayer.confirm(point)
        violated = [i for i in range(len(query.cases)) if holds(query, exact(point), i)]
        if not isinstance(found, Witness):
            assert not violated or isinstance(found, Suspected)
            continue
        assert found.point in query.cases[found.case].inputs
        assert holds(query, found.point, found.case)
        assert found.exact_margin <= 0
        assert found.replayed_margin <= 0
        assert len(found.calls) == len(query.calls)
        answer = Answer(Falsified(found), "test", 0.0)
        assert settle(query, answer) is answer


def one_dimensional(*steps: ops.Op) -> Graph:
    builder = GraphBuilder()
    node = builder.add(ops.Input((1, 1)), name="x")
    for step in steps:
        node = builder.add(step, node)
    return builder.build(node)


def above(network: Graph, threshold: float, strict: bool = False) -> Query:
    """Is there an x in [0, 1] with network(x) >= threshold (> where strict)?"""
    box = Box(exact([0]), exact([1]))
    weight, bias = np.array([[-1.0]]), np.array([threshold])
    return margin_query(network, box, weight, bias, ((Atom(0, strict),),))


def cancellation() -> Graph:
    """x + 2**30 - 2**30: the identity for exact numbers, 0 or 64 for float32."""
    big = 2.0**30
    return one_dimensional(
        ops.Dense(np.array([[1.0]], np.float32), np.array([big], np.float32)),
        ops.Relu(),
        ops.Dense(np.array([[1.0]], np.float32), np.array([-big], np.float32)),
    )


def test_a_point_that_float32_cancels_is_suspected() -> None:
    found = confirm(above(cancellation(), 0.5), np.array([0.75]))
    assert isinstance(found, Suspected)
    assert found.exact_margin == Fraction(-1, 4)
    assert found.replayed_margin == Fraction(1, 2)
    assert "suspected" in found.reason


def test_a_point_that_only_float32_finds_is_suspected() -> None:
    # 1.5 * 2**-1 exactly below the threshold, but float32 rounds x + 2**30 up from 64 * 0.75.
    network = one_dimensional(
        ops.Dense(np.array([[48.0]], np.float32), np.array([2.0**30], np.float32)),
        ops.Dense(np.array([[1.0]], np.float32), np.array([-(2.0**30)], np.float32)),
    )
    found = confirm(above(network, 60.0), np.array([1.0]))
    assert found is None or isinstance(found, Suspected)
    found = Replayer(above(network, 60.0)).confirm(np.array([1.0]))
    assert not isinstance(found, Witness)


def test_strict_atoms_need_a_strict_violation() -> None:
    identity = one_dimensional(ops.Relu())
    point = np.array([0.5])
    assert isinstance(confirm(above(identity, 0.5), point), Witness)
    assert confirm(above(identity, 0.5, strict=True), point) is None
    better = confirm(above(identity, 0.5, strict=True), np.array([0.625]))
    assert isinstance(better, Witness)
    assert better.exact_margin == Fraction(-1, 8)


def test_a_case_without_atoms_is_its_inputs() -> None:
    identity = one_dimensional(ops.Relu())
    query = margin_query(identity, Box(exact([0]), exact([1])), np.eye(1), np.zeros(1), ((),))
    found = confirm(query, np.array([7.0]))
    assert isinstance(found, Witness)
    assert found.exact_margin == 0
    assert found.point.tolist() == [1]


def test_a_coordinate_without_float32_is_replayed_at_the_nearest_and_noted() -> None:
    third = Fraction(1, 3)
    identity = one_dimensional(ops.Relu())
    point = Box(exact([third]), exact([third]))
    query = margin_query(identity, point, -np.eye(1), np.zeros(1), ((Atom(0),),))
    found = confirm(query, np.array([0.9]))
    assert isinstance(found, Witness)
    assert found.exact_margin == -third
    assert found.replayed_margin == -Fraction(float(np.float32(1 / 3)))
    assert any("no float32" in note for note in found.notes)
    assert any("`f`" in note for note in found.notes)


def test_a_violation_thinner_than_float32_is_kept_unrounded() -> None:
    """Only x = 1/3 violates |3 x - 1| <= 0; float32 inputs never do, its replay is rounded."""
    builder = GraphBuilder()
    x = builder.add(ops.Input((1, 1)), name="x")
    fold = ops.Dense(np.array([[3.0], [-3.0]]), np.array([-1.0, 1.0]))
    sides = builder.add(ops.Reshape((2,)), builder.add(fold, x))
    margin = builder.add(ops.Dense(np.eye(2), np.zeros(2)), sides)
    case = Case(Box(exact([0]), exact([1])), (Atom(0), Atom(1)))
    query = Query("thin", builder.build(margin), (case,), (), ())
    found = confirm(query, exact([Fraction(1, 3)]))
    assert isinstance(found, Witness)
    assert found.point.tolist() == [Fraction(1, 3)]
    assert found.notes


def test_ball_witnesses_are_inside_the_ball() -> None:
    builder = GraphBuilder()
    node = builder.add(ops.Input((1, 2)), name="x")
    total = ops.Dense(np.ones((1, 2), np.float32), np.zeros(1, np.float32))
    network = builder.build(builder.add(total, node))
    ball = norm_ball(exact([0, 0]), Fraction(1), "l2")
    query = margin_query(network, ball, -np.eye(1), np.array([1.4]), ((Atom(0),),))
    found = confirm(query, np.array([1.0, 1.0]))
    assert isinstance(found, Witness)
    assert found.point in ball
    beyond = margin_query(network, ball, -np.eye(1), np.array([1.42]), ((Atom(0),),))
    assert confirm(beyond, np.array([1.0, 1.0])) is None


def chained() -> Query:
    """g(f(x)) >= 1 with f(x) = 3 x and g(y) = y / 3 + 2 (rounded in g's own file)."""
    builder = GraphBuilder()
    x = builder.add(ops.Input((1, 1)), name="x")
    f = one_dimensional(ops.Dense(np.array([[3.0]]), np.zeros(1)))
    third = np.array([[Fraction(1, 3)]], dtype=object)
    g = one_dimensional(ops.Dense(third, np.array([2.0])))
    first = builder.splice(f, {f.input: x}, "f.")[f.output]
    # In the query, f's output is denormalised before g sees it.
    between = builder.add(ops.Scale(np.array(1.0), np.array(0.5)), first)
    second = builder.splice(g, {g.input: between}, "g.")[g.output]
    flat = builder.add(ops.Reshape((1,)), second)
    margin = builder.add(ops.Scale(np.array(-1.0), np.array(1.0)), flat)
    calls = (
        NetworkCall("g", export(g), (between,), (second,)),
        NetworkCall("f", export(f), (x,), (first,)),
    )
    case = Case(Box(exact([0]), exact([1])), (Atom(0),))
    return Query("chain", builder.build(margin), (case,), (), calls)


def test_networks_are_replayed_in_order_and_feed_one_another() -> None:
    found = confirm(chained(), np.array([0.5]))
    assert isinstance(found, Witness)
    assert [c.network for c in found.calls] == ["f", "g"]
    f, g = found.calls
    assert f.outputs.tolist() == [1.5]
    assert g.inputs.tolist() == [2.0]
    assert found.replayed_margin == 1 - Fraction(float(g.outputs[0]))
    assert found.exact_margin == 1 - Fraction(8, 3)
    assert found.replayed_with.startswith("onnxruntime")


def two_ended(lie: float = 0.0) -> tuple[bytes, Graph]:
    """A network (p, q) -> (p + q, relu(p) - q + lie), its inner relu called `inner`, as an ONNX
    file and as a graph over both inputs side by side: outputs, then the inner value.
    """
    p, q, total, rest = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2])
        for name in ("p", "q", "total", "rest")
    )
    nodes = [
        helper.make_node("Add", ["p", "q"], ["total"]),
        helper.make_node("Relu", ["p"], ["inner"]),
        helper.make_node("Sub", ["inner", "q"], ["difference"]),
        helper.make_node("Add", ["difference", "lie"], ["rest"]),
    ]
    offset = numpy_helper.from_array(np.float32(lie), "lie")
    made = helper.make_graph(nodes, "two", [p, q], [total, rest], [offset])
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(made, opset_imports=[opset], ir_version=8)
    builder = GraphBuilder()
    x = builder.add(ops.Input((4,)), name="x")
    for name, start in (("p", 0), ("q", 2)):
        builder.add(ops.Select(np.array([[start, start + 1]])), x, name=name)
    builder.add(ops.Sum((1.0, 1.0)), "p", "q", name="total")
    builder.add(ops.Relu(), "p", name="inner")
    builder.add(ops.Sum((1.0, -1.0)), "inner", "q", name="rest")
    flat = builder.concat_flat("total", "rest", "inner")
    return model.SerializeToString(), builder.build(flat)


def two_ended_query(model: bytes, graph: Graph, hidden: bool) -> Query:
    """Is total[0] + rest[0] + inner[0] >= 2 somewhere in [0, 1]^4?"""
    builder = GraphBuilder()
    x = builder.add(graph.op("x"), name="x")
    end = builder.splice(graph, {"x": x})[graph.output]
    weight = -np.array([[1.0, 0, 1, 0, 1, 0]])
    margin = builder.add(ops.Dense(weight, np.array([2.0])), end)
    read = (("inner", "inner"),) if hidden else ()
    call = NetworkCall("g", model, ("p", "q"), ("total", "rest"), hidden=read)
    case = Case(Box(exact([0] * 4), exact([1] * 4)), (Atom(0),))
    return Query("two", builder.build(margin), (case,), (), (call,))


@pytest.mark.parametrize("hidden", [False, True])
def test_several_inputs_and_outputs_and_hidden_values_are_replayed(hidden: bool) -> None:
    model, graph = two_ended()
    found = confirm(two_ended_query(model, graph, hidden), np.array([1.0, 0.5, 0.25, 0.0]))
    assert isinstance(found, Witness)
    assert found.exact_margin == found.replayed_margin == -1
    (call,) = found.calls
    assert call.inputs.tolist() == [1.0, 0.5, 0.25, 0.0]
    assert call.outputs.tolist() == [1.25, 0.5, 0.75, 0.5]


def test_another_second_output_is_caught_by_the_replay() -> None:
    model, _ = two_ended(lie=-5.0)
    _, graph = two_ended()
    found = confirm(two_ended_query(model, graph, hidden=True), np.array([1.0, 0.5, 0.25, 0.0]))
    assert isinstance(found, Suspected)
    assert found.exact_holds


def test_a_call_that_reads_a_hidden_value_comes_after_the_network_it_is_in() -> None:
    """g takes the inner value of f, and stands first in the list of calls and in the graph."""
    builder = GraphBuilder()
    x = builder.add(ops.Input((1, 1)), name="x")
    inner = builder.add(ops.Relu(), x, name="inner")
    g = one_dimensional(ops.Dense(np.array([[2.0]]), np.zeros(1)))
    doubled = builder.splice(g, {g.input: inner}, "g.")[g.output]
    f = one_dimensional(ops.Relu(), ops.Dense(np.array([[3.0]]), np.zeros(1)))
    end = builder.add(ops.Dense(np.array([[3.0]]), np.zeros(1)), inner)
    flat = builder.concat_flat(doubled, end)
    margin = builder.add(ops.Dense(np.array([[-1.0, -1.0]]), np.array([4.0])), flat)
    content = export(f)
    (hidden,) = [
        n.output[0] for n in onnx.load_from_string(content).graph.node if n.op_type == "Relu"
    ]
    calls = (
        NetworkCall("g", export(g), (inner,), (doubled,)),
        NetworkCall("f", content, (x,), (end,), hidden=((hidden, inner),)),
    )
    case = Case(Box(exact([0]), exact([1])), (Atom(0),))
    found = confirm(Query("chain", builder.build(margin), (case,), (), calls), np.array([1.0]))
    assert isinstance(found, Witness)
    assert [c.network for c in found.calls] == ["f", "g"]
    assert found.replayed_margin == -1


def test_witnesses_have_whole_numbers_where_they_must() -> None:
    identity = one_dimensional(ops.Relu())
    box = Box(exact([0]), exact([2]))
    base = margin_query(identity, box, -np.eye(1), np.array([1.25]), ((Atom(0),),))
    query = replace(base, integers=np.array([0]))
    found = confirm(query, np.array([1.75]))
    assert isinstance(found, Witness)
    assert found.point.tolist() == [2]
    assert confirm(query, np.array([1.3])) is None
    fraction = confirm(base, np.array([1.75]))
    assert isinstance(fraction, Witness)
    settled = settle(query, Answer(Falsified(fraction), "liar", 0.0)).verdict
    assert isinstance(settled, Unknown)
    text = "liar: its witness has a fraction where a whole number must be"
    assert settled.reason == text


def test_a_query_without_networks_needs_no_runtime() -> None:
    builder = GraphBuilder()
    x = builder.add(ops.Input((2,)), name="x")
    margin = builder.add(ops.Dense(np.ones((1, 2)), np.array([-1.0])), x)
    case = Case(Box(exact([0, 0]), exact([1, 1])), (Atom(0),))
    found = confirm(Query("sum", builder.build(margin), (case,), (), ()), np.zeros(2))
    assert isinstance(found, Witness)
    assert found.replayed_with == "no network"


def test_the_wrong_model_is_caught_by_the_replay() -> None:
    honest = above(one_dimensional(ops.Relu()), 0.5)
    (call,) = honest.calls
    other = export(one_dimensional(ops.Scale(np.array(-1.0), np.array(0.0))))
    swapped = NetworkCall(call.name, other, call.inputs, call.outputs)
    query = Query("lie", honest.graph, honest.cases, (), (swapped,))
    assert isinstance(confirm(query, np.array([0.9])), Suspected)


def test_a_runtime_overflow_is_suspected() -> None:
    huge = np.array([[3e38]], np.float32)
    network = one_dimensional(ops.Dense(huge, np.zeros(1)), ops.Dense(huge, np.zeros(1)))
    found = confirm(above(network, 0.5), np.array([1.0]))
    assert isinstance(found, Suspected)
    assert found.replayed_margin is None
    assert "not finite" in found.reason
    assert found.exact_holds


def test_only_the_named_cases_are_tried() -> None:
    identity = one_dimensional(ops.Relu())
    low, high = (Box(exact([a]), exact([a + 1])) for a in (0, 2))
    base = margin_query(identity, low, -np.eye(1), np.array([1.5]), ((Atom(0),),))
    cases = (Case(low, (Atom(0),)), Case(high, (Atom(0),)))
    query = Query("two", base.graph, cases, (), base.calls)
    found = confirm(query, np.array([2.5]))
    assert isinstance(found, Witness)
    assert found.case == 1
    assert confirm(query, np.array([2.5]), cases=[0]) is None


def test_points_in_float32_are_clipped_to_the_ends_of_float64() -> None:
    """Between two float32 there is room that only float64 sees."""
    end = 1 + 2.0**-40
    query = margin_query(
        one_dimensional(ops.Relu()),
        Box(exact([end]), exact([2])),
        np.eye(1),
        np.array([-2.0]),
        ((Atom(0),),),
    )
    low: Any = np.array([1.0], dtype=np.float32)
    clipped = Replayer(query).clip(low, query.cases[0].inputs.box)
    assert clipped.dtype == np.float64
    assert clipped.tolist() == [end]


def test_points_of_the_wrong_length_are_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="flat input"):
        confirm(above(one_dimensional(ops.Relu()), 0.5), np.zeros((1, 1)))


# --- settling ------------------------------------------------------------------------------------


def falsified() -> tuple[Query, Witness]:
    query = above(one_dimensional(ops.Relu()), 0.5)
    witness = confirm(query, np.array([0.75]))
    assert isinstance(witness, Witness)
    return query, witness


def altered(witness: Witness, **changes: object) -> Answer:
    fields = {
        "point": witness.point,
        "case": witness.case,
        "exact_margin": witness.exact_margin,
        "replayed_margin": witness.replayed_margin,
        "calls": witness.calls,
        "replayed_with": witness.replayed_with,
    }
    return Answer(Falsified(Witness(**{**fields, **changes})), "liar", 0.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"point": exact([2])}, "outside"),
        ({"point": exact([Fraction(1, 4)])}, "does not violate"),
        ({"point": exact([0.75, 0.75])}, "number of entries"),
        ({"case": 3}, "case 3"),
        ({"exact_margin": Fraction(-1)}, "another exact margin"),
    ],
)
def test_a_false_witness_becomes_unknown(changes: dict[str, object], reason: str) -> None:
    query, witness = falsified()
    settled = settle(query, altered(witness, **changes))
    assert isinstance(settled.verdict, Unknown)
    assert reason in settled.verdict.reason
    assert "liar" in settled.verdict.reason


@pytest.mark.parametrize("margin", [float("nan"), -0.5, 0.0])
def test_a_certificate_that_proves_nothing_becomes_unknown(margin: float) -> None:
    query, _ = falsified()
    answer = Answer(Verified(Certificate("liar", margin, ())), "liar", 0.0)
    assert isinstance(settle(query, answer).verdict, Unknown)


@pytest.mark.parametrize("margin", [None, 1e-9])
def test_other_answers_pass_unchanged(margin: float | None) -> None:
    query, _ = falsified()
    for verdict in (Verified(Certificate("honest", margin, ())), Unknown("timeout")):
        answer = Answer(verdict, "honest", 0.0)
        assert settle(query, answer) is answer


def test_a_bound_that_is_no_number_is_none() -> None:
    query, _ = falsified()
    answer = Answer(Unknown("timeout", bound=float("nan"), timeout=True), "honest", 0.0)
    verdict = settle(query, answer).verdict
    assert isinstance(verdict, Unknown)
    assert (verdict.reason, verdict.bound, verdict.timeout) == ("timeout", None, True)


# --- real networks -------------------------------------------------------------------------------


def test_hopeless_points_of_a_real_network_cost_little(shared: Path) -> None:
    path = shared / "data/vnncomp/mnist_fc/onnx/mnist-net_256x6.onnx.gz"
    content = gzip.decompress(path.read_bytes())
    network = load_onnx(content, "mnist").graph
    box = Box(exact(np.zeros(784)), exact(np.ones(784)))
    weight = np.zeros((1, 10))
    weight[0, 0] = 1.0
    query = margin_query(network, box, weight, np.array([1000.0]), ((Atom(0),),))
    replayer = Replayer(query)
    replayer.confirm(np.full(784, 0.5))
    start = time.perf_counter()
    assert replayer.confirm(np.full(784, 0.3)) is None
    assert time.perf_counter() - start < 0.2
