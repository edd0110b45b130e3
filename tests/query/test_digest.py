"""Laws of `query.digest`: what is asked decides it, and nothing else."""

from __future__ import annotations

import inspect
import struct
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.query.digest import Digests, _Encoder, _parameters, digest
from specdsl.query.query import Atom, Case, Query, Variable
from specdsl.query.sets import Ball, Box, CutBox, cut, exact
from tests.run.fakes import query as tiny_query
from tests.strategies import queries

# --- what does not count -------------------------------------------------------------------------


def with_op(graph: Graph, place: str, op: ops.Op, prefix: str = "other_") -> Graph:
    """The same graph with another op in one place, and other names."""
    builder = GraphBuilder()
    names: dict[str, str] = {}
    for node, before, operands in graph:
        chosen = op if node == place else before
        names[node] = builder.add(chosen, *(names[o] for o in operands), name=prefix + node)
    return builder.build(*(names[o] for o in graph.outputs))


@given(queries())
def test_names_and_places_do_not_count(query: Query) -> None:
    graph = query.graph
    renamed = with_op(graph, graph.input, graph.op(graph.input))
    variables = (Variable.at("y", 0, (graph.size(graph.input),), "m"),)
    other = replace(query, name="other", graph=renamed, variables=variables, calls=())
    assert digest(other) == digest(query)


def test_the_order_of_independent_nodes_does_not_count() -> None:
    def both(first: str) -> Query:
        builder = GraphBuilder()
        x = builder.add(ops.Input((2,)))
        made = {"relu": ops.Relu(), "abs": ops.Abs()}
        nodes = {n: builder.add(made[n], x) for n in (first, *(m for m in made if m != first))}
        total = builder.add(ops.Sum((1.0, 2.0)), nodes["relu"], nodes["abs"])
        return replace(tiny_query(), graph=builder.build(total))

    assert digest(both("relu")) == digest(both("abs"))


def test_whether_cases_share_their_set_does_not_count() -> None:
    query = tiny_query()
    (case,) = query.cases
    equal = Box(case.inputs.box.lower.copy(), case.inputs.box.upper.copy())
    assert digest(replace(query, cases=(case, case))) == digest(
        replace(query, cases=(case, replace(case, inputs=equal)))
    )


# Written down once: another process, machine or release must come to the same.
KNOWN = "c6c1d609def94abb16d4f823f11c181883da16a3d897c64670c517869703e828"


def known() -> Query:
    """One of everything that has an encoding of its own."""
    builder = GraphBuilder()
    x = builder.add(ops.Input((1, 3)), name="x")
    y = builder.add(ops.Dense(np.float32([[1, 0.5, -2]]), exact(["1/3"])), x)
    margins = builder.add(ops.LeakyRelu(0.1), y)
    ball = Ball(np.array([0, 2]), exact([0, 0]), exact([1, 2]), Fraction(5, 4), "l1")
    inputs = cut(Box(exact([0, 0, 0]), exact(["1/3", 1, 2])), [ball])
    return Query(
        name="known",
        graph=builder.build(margins),
        cases=(Case(inputs, (Atom(0, strict=True),)), Case(inputs.box, ())),
        variables=(),
        calls=(),
        kind="exists",
        integers=np.array([1], dtype=np.int64),
    )


def test_it_is_the_same_everywhere() -> None:
    assert digest(known()) == KNOWN


# --- what counts ---------------------------------------------------------------------------------


def altered(value: Any) -> Iterator[Any]:
    """Values that differ from one parameter of an op in one place."""
    match value:
        case bool():
            yield not value
        case int():
            yield value + 1
        case float():
            yield np.nextafter(value, np.inf).item()
        case tuple():
            for place, entry in enumerate(value):
                for other in altered(entry):
                    yield (*value[:place], other, *value[place + 1 :])
            yield (*value, *value[-1:])
        case np.ndarray():
            for place in np.ndindex(value.shape):
                other = value.copy()
                entry = value[place]
                if value.dtype.kind == "f":
                    entry = np.nextafter(entry, value.dtype.type(np.inf))
                other[place] = entry if value.dtype.kind == "f" else entry + 1
                yield other
            yield value.reshape(1, *value.shape)
        case _:
            raise AssertionError(f"no way to alter a {type(value).__name__}")


SOME = np.arange(4, dtype=np.float32)
INSTANCES: tuple[ops.Op, ...] = (
    ops.Input((1, 2)),
    ops.Constant(exact([1, "1/3"])),
    ops.Dense(SOME.reshape(2, 2), SOME[:2]),
    ops.Conv(SOME.reshape(1, 1, 2, 2), SOME[:1], (1, 2), ((0, 1), (1, 0)), (1, 1), 1),
    ops.ConvTranspose(
        SOME.reshape(1, 1, 2, 2), SOME[:1], (1, 2), ((0, 1), (1, 0)), (1, 1), (0, 0), 1
    ),
    ops.Scale(SOME, exact([0, 1, 2, 3])),
    ops.Sum((1.0, -0.5)),
    ops.Reshape((2, 2)),
    ops.Transpose((1, 0)),
    ops.Select(np.array([[0, 1]])),
    ops.Concat(0),
    ops.BatchNorm(SOME, SOME, SOME, SOME, 1e-5),
    ops.GroupMax(np.array([[0, 1], [2, 3]])),
    ops.LeakyRelu(0.5),
    ops.Clip(0.0, 1.0),
    ops.Elu(1.0),
    ops.Power(3),
)


def concrete() -> set[type[ops.Op]]:
    """Every op that a graph can hold."""
    named = (getattr(ops, name) for name in ops.__all__)
    kinds = (k for k in named if isinstance(k, type) and issubclass(k, ops.Op))
    # Kinds of ops are no dataclasses: only what a node can hold has parameters of its own.
    return {k for k in kinds if "__dataclass_fields__" in vars(k) and not inspect.isabstract(k)}


def instances() -> dict[type[ops.Op], ops.Op]:
    """One of each; those whose parameters all have a default are made here."""
    found: dict[type[ops.Op], ops.Op] = {type(op): op for op in INSTANCES}
    return {kind: found.get(kind) or kind() for kind in concrete()}


def code_name(op: ops.Op) -> str:
    return type(op).__name__


def code(op: ops.Op) -> bytes:
    return _Encoder({}).encoded((type(op).__name__, tuple(_parameters(op))))


@pytest.mark.parametrize(
    "op", sorted(instances().values(), key=code_name), ids=lambda op: type(op).__name__
)
def test_every_parameter_of_every_op_counts(op: ops.Op) -> None:
    codes = {code(op)}
    count = 1
    for field in fields(op):  # type: ignore[arg-type]
        for value in altered(getattr(op, field.name)):
            other = object.__new__(type(op))
            for each in fields(op):  # type: ignore[arg-type]
                given = value if each is field else getattr(op, each.name)
                object.__setattr__(other, each.name, given)
            codes.add(code(other))
            count += 1
    assert len(codes) == count


def test_no_two_ops_are_taken_for_one_another() -> None:
    assert len({code(op) for op in instances().values()}) == len(concrete())


Change = Callable[[Query, Callable[[int], int]], Query]


def a_weight(query: Query, draw: Callable[[int], int]) -> Query:
    graph = query.graph
    found = [
        (node, field.name)
        for node, op, _ in graph
        for field in fields(op)  # type: ignore[arg-type]
        if isinstance(getattr(op, field.name), np.ndarray) and getattr(op, field.name).size
    ]
    node, name = found[draw(len(found))]
    op = graph.op(node)
    array = getattr(op, name).copy()
    place = draw(array.size)
    step = 1 if array.dtype.kind == "i" else np.spacing(array.flat[place])
    if array.dtype.kind == "i":
        # Another position that is there too.
        array.flat[place] = (array.flat[place] + step) % graph.size(graph.operands(node)[0])
    else:
        array.flat[place] += step
    return replace(query, graph=with_op(graph, node, replace(op, **{name: array})))  # type: ignore[type-var]


def a_bound(query: Query, draw: Callable[[int], int]) -> Query:
    number = draw(len(query.cases))
    case = query.cases[number]
    box = case.inputs.box
    lower, upper = box.lower.copy(), box.upper.copy()
    place = draw(box.size)
    if draw(2):
        lower[place] -= Fraction(1, 10**30)
    else:
        upper[place] += Fraction(1, 10**30)
    wider = Box(lower, upper)
    inputs = CutBox(wider, case.inputs.balls) if case.inputs.balls else wider
    return with_case(query, number, replace(case, inputs=inputs))


def an_atom(query: Query, draw: Callable[[int], int]) -> Query:
    number = draw(len(query.cases))
    case = query.cases[number]
    place = draw(len(case.atoms))
    atom = case.atoms[place]
    changed = replace(atom, strict=not atom.strict) if draw(2) else Atom(atom.index + 1)
    atoms = (*case.atoms[:place], changed, *case.atoms[place + 1 :])
    return with_case(query, number, replace(case, atoms=atoms))


def an_atom_less(query: Query, draw: Callable[[int], int]) -> Query:
    number = draw(len(query.cases))
    case = query.cases[number]
    return with_case(query, number, replace(case, atoms=case.atoms[1:]))


def a_case_less(query: Query, draw: Callable[[int], int]) -> Query:
    number = draw(len(query.cases))
    return replace(query, cases=(*query.cases[:number], *query.cases[number + 1 :]))


def the_kind(query: Query, draw: Callable[[int], int]) -> Query:
    return replace(query, kind="exists" if query.kind == "forall" else "forall")


def whole_numbers(query: Query, draw: Callable[[int], int]) -> Query:
    return replace(query, integers=np.array([draw(query.graph.size(query.graph.input))]))


def an_op_more(query: Query, draw: Callable[[int], int]) -> Query:
    builder = GraphBuilder()
    node = builder.add(ops.Input(query.graph.shapes[query.graph.input]))
    spliced = builder.splice(query.graph, {query.graph.input: node})
    margins = builder.add(ops.Relu(), spliced[query.graph.output])
    return replace(query, graph=builder.build(margins))


def a_ball(query: Query, draw: Callable[[int], int]) -> Query:
    case = query.cases[0]
    size = case.inputs.size
    ball = Ball(np.array([draw(size)]), exact([0]), exact([1]), Fraction(100), "l1")
    inputs = CutBox(case.inputs.box, (*case.inputs.balls, ball))
    return with_case(query, 0, replace(case, inputs=inputs))


def with_case(query: Query, number: int, case: Case) -> Query:
    return replace(query, cases=(*query.cases[:number], case, *query.cases[number + 1 :]))


CHANGES: tuple[Change, ...] = (
    *(a_weight, a_bound, an_atom, an_atom_less, a_case_less, the_kind, whole_numbers, an_op_more),
    a_ball,
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@settings(max_examples=30)
@given(query=queries(), data=st.data())
def test_any_change_of_meaning_counts(change: Change, query: Query, data: st.DataObject) -> None:
    other = change(query, lambda count: data.draw(st.integers(0, count - 1)))
    assert digest(other) != digest(query)


def test_every_part_of_a_ball_counts() -> None:
    def asked(**changes: Any) -> str:
        given = {
            "positions": np.array([0, 1]),
            "center": exact([0, 0]),
            "scale": exact([1, 1]),
            "radius": Fraction(1),
            "norm": "l1",
        }
        ball = Ball(**{**given, **changes})
        query = known()
        box = Box(exact([-9] * 3), exact([9] * 3))
        return digest(replace(query, cases=(Case(CutBox(box, (ball,)), ()),)))

    changes: tuple[dict[str, Any], ...] = (
        {},
        {"positions": np.array([1, 0])},
        {"positions": np.array([0, 2])},
        {"center": exact([0, "1/7"])},
        {"scale": exact([1, "1/7"])},
        {"radius": Fraction(8, 7)},
        {"norm": "l2"},
    )
    assert len({asked(**change) for change in changes}) == len(changes)


def test_the_order_of_operands_counts() -> None:
    def joined(swapped: bool) -> Query:
        builder = GraphBuilder()
        x = builder.add(ops.Input((2,)))
        parts = (builder.add(ops.Relu(), x), builder.add(ops.Abs(), x))
        margins = builder.add(ops.Concat(0), *(parts[::-1] if swapped else parts))
        return replace(tiny_query(), graph=builder.build(margins))

    assert digest(joined(False)) != digest(joined(True))


# --- the encoding --------------------------------------------------------------------------------

VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.fractions(),
        st.floats(allow_nan=False),
        st.text(max_size=4),
        st.binary(max_size=4),
    ),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=6,
)


def told_apart(value: Any) -> Any:
    """Equal for what must have one code: 1, True and 1.0 are equal in Python, and not here."""
    if isinstance(value, tuple):
        return tuple(map(told_apart, value))
    bits = struct.pack("<d", value) if isinstance(value, float) else value
    return type(value).__name__, bits


@given(VALUES, VALUES)
def test_different_values_have_different_codes(first: object, second: object) -> None:
    encoder = _Encoder({})
    same = told_apart(first) == told_apart(second)
    assert (encoder.encoded(first) == encoder.encoded(second)) == same


def test_a_parameter_of_unknown_type_is_refused() -> None:
    with pytest.raises(TypeError, match="a set is no part of a query"):
        _Encoder({}).encoded((1, {2}))


# --- many queries --------------------------------------------------------------------------------


def large(value: float) -> Query:
    """A query with a new array of more bytes than are read again."""
    builder = GraphBuilder()
    x = builder.add(ops.Input((1024,)))
    scale = np.full(1024, value)
    margins = builder.add(ops.Scale(scale, np.zeros(1)), x)
    return replace(tiny_query(), graph=builder.build(margins))


def test_what_is_kept_between_queries_changes_no_digest() -> None:
    digests = Digests()
    # Each query is gone when the next is made, which then often lies at the same address.
    for value in (1.0, 2.0, 1.0, 3.0, 2.0):
        assert digests.of(large(value)) == digest(large(value))


def test_a_large_array_that_two_queries_share_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    hashed = _Encoder._hashed
    monkeypatch.setattr(
        _Encoder, "_hashed", lambda self, array: read.append(array.nbytes) or hashed(self, array)
    )
    digests, query = Digests(), large(1.0)
    digests.of(query)
    digests.of(replace(query, kind="exists"))
    assert sum(size >= 4096 for size in read) == 1
