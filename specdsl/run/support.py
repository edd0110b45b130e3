"""Which ops a backend has rules for: asked of the backend itself, by a small query around the op.

Nothing is listed by hand. A backend raises `Unsupported` before it solves anything, so a query of
a few inputs tells; what it answers does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

import numpy as np

from specdsl.backend import Deadline, Unsupported
from specdsl.backends.registry import CLASSES, create
from specdsl.diagnostics import SpecError
from specdsl.graph import ops
from specdsl.graph.exact import is_exact
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.graph.to_onnx import export
from specdsl.query.query import Atom, Case, Query, Variable
from specdsl.query.sets import Box, exact

# Bounds prove the query at once; whoever needs longer has a rule, or it would have said so.
SECONDS = 5.0

# Options with which a backend gives up soon on what it cannot find; others have no such options.
LITTLE_EFFORT: Mapping[str, Mapping[str, object]] = {
    "attack": {"steps": 1, "restarts": 1},
    "sampling": {"samples": 10},
}

# No sample has values anywhere near this.
FAR_ABOVE = 10_000.0

Ends = tuple[Fraction, Fraction]

AROUND_ZERO: Ends = (Fraction(-1, 2), Fraction(1, 4))
POSITIVE: Ends = (Fraction(1, 2), Fraction(1))


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """An op of its class: on how many operands, of which shape, with entries between which ends."""

    op: ops.Op
    shape: ops.Shape = (1, 3)
    operands: int = 1
    ends: Ends = AROUND_ZERO


def _kernel(*shape: int) -> ops.Array:
    """Weights from -1 to 1."""
    return np.linspace(-1.0, 1.0, int(np.prod(shape))).reshape(shape)


def _matrices() -> Iterable[Sample]:
    image, square = (1, 1, 2, 2), ((0, 0), (1, 0))
    yield Sample(ops.Dense(_kernel(2, 3), np.ones(2)))
    yield Sample(ops.Scale(np.array(2.0), np.array(1.0)))
    yield Sample(ops.Sum((1.0, 2.0)), operands=2)
    yield Sample(ops.BatchNorm(*(np.ones(3) for _ in range(4)), epsilon=1e-5))
    yield Sample(ops.Conv(_kernel(2, 1, 2, 2), np.ones(2), (1, 1), square, (1, 1)), image)
    yield Sample(
        ops.ConvTranspose(_kernel(1, 2, 2, 2), np.ones(2), (1, 1), square, (1, 1), (0, 0)), image
    )


def _moves() -> Iterable[Sample]:
    yield Sample(ops.Reshape((3, 1)))
    yield Sample(ops.Transpose((1, 0)), (2, 2))
    yield Sample(ops.Select(np.array([2, 0, 0])))
    yield Sample(ops.Concat(0), operands=2)


def _functions() -> Iterable[Sample]:
    yield from map(Sample, (ops.Relu(), ops.LeakyRelu(0.25), ops.Abs(), ops.Clip(-0.25, 0.125)))
    yield Sample(ops.GroupMax(np.array([[0, 1], [1, 2]])))
    yield Sample(ops.Multiply(), operands=2)
    yield Sample(ops.Square())
    yield from map(
        Sample,
        (ops.Sign(), ops.Positive(), ops.NotNegative(), ops.IsZero()),
    )
    yield from map(Sample, (ops.Floor(), ops.Ceil(), ops.Round(), ops.Truncate()))


def _curves() -> Iterable[Sample]:
    yield from map(Sample, (ops.Exp(), ops.Sigmoid(), ops.Tanh(), ops.Erf(), ops.Softsign()))
    yield from map(Sample, (ops.Softplus(), ops.Elu(1.0), ops.Gelu(), ops.GeluTanh(), ops.Silu()))
    yield from map(Sample, (ops.Mish(), ops.HardSwish(), ops.Sin(), ops.Cos(), ops.Tan()))
    for op in (ops.Log(), ops.Sqrt(), ops.Power(1.5), ops.Reciprocal()):
        yield Sample(op, ends=POSITIVE)


def samples() -> Mapping[type[ops.Op], Sample]:
    """One op of each class but inputs and constants, by class."""
    found = (*_matrices(), *_moves(), *_functions(), *_curves())
    return MappingProxyType({type(sample.op): sample for sample in found})


def kind_of(op: type[ops.Op]) -> str:
    """The kind a class is of: what methods register their rules on."""
    kinds = (ops.Rearrange, ops.Affine, ops.PiecewiseLinear, ops.Polynomial, ops.Smooth)
    kinds += (ops.Threshold, ops.Rounding)
    return next((kind.__name__ for kind in kinds if issubclass(op, kind)), op.__name__)


def with_rule(backend: str, classes: Sequence[type[ops.Op]]) -> frozenset[type[ops.Op]]:
    """Those of the classes that the backend takes queries with.

    All in one query first; where that is refused, in halves. Raises KeyError for a class without
    sample.
    """
    if not classes or _takes(backend, _query([samples()[c] for c in classes])):
        return frozenset(classes)
    if len(classes) == 1:
        return frozenset()
    half = len(classes) // 2
    return with_rule(backend, classes[:half]) | with_rule(backend, classes[half:])


def _takes(backend: str, query: Query) -> bool:
    asked = create(backend, LITTLE_EFFORT.get(backend, {}))
    try:
        asked.answer(query, Deadline.after(SECONDS))
    except Unsupported:
        return False
    return True


def has_onnx_form(op: type[ops.Op]) -> bool:
    """Whether networks with the op can be written as ONNX."""
    try:
        export(_alone(samples()[op]))
    except SpecError:
        return False
    return True


def has_exact_values(op: type[ops.Op]) -> bool:
    """Whether its values at rational numbers are rational, and computed without rounding."""
    graph = _alone(samples()[op])
    return is_exact(graph, graph.outputs)


def without_rule(
    graph: Graph, backends: Iterable[str] = tuple(CLASSES)
) -> Mapping[str, tuple[str, ...]]:
    """The ops of a graph that each backend has no rule for, by backend."""
    kinds = (type(op) for _, op, _ in graph if not isinstance(op, ops.Input | ops.Constant))
    classes = tuple(dict.fromkeys(kinds))
    missing: dict[str, tuple[str, ...]] = {}
    for backend in backends:
        known = with_rule(backend, classes)
        missing[backend] = tuple(c.__name__ for c in classes if c not in known)
    return MappingProxyType(missing)


def _alone(sample: Sample) -> Graph:
    builder = GraphBuilder()
    x = builder.add(ops.Input(sample.shape), name="x")
    return builder.build(builder.add(sample.op, *_operands(builder, sample, x)))


def _operands(builder: GraphBuilder, sample: Sample, x: str) -> list[str]:
    """The input itself, and as further operands multiples of it."""
    others = (
        builder.add(ops.Scale(np.array(float(i)), np.array(0.0)), x)
        for i in range(2, sample.operands + 1)
    )
    return [x, *others]


def _query(chosen: Sequence[Sample]) -> Query:
    """Is the sum of all values of the ops, of all inputs, and a large number ever <= 0?

    Bounds say no at once. The sum keeps rewrites away that look at the sign of one op alone.
    """
    builder = GraphBuilder()
    starts = np.cumsum([0, *(int(np.prod(s.shape)) for s in chosen)])
    x = builder.add(ops.Input((int(starts[-1]),)), name="x")
    values = [x]
    for sample, start, end in zip(chosen, starts, starts[1:], strict=False):
        own = builder.add(ops.Select(np.arange(start, end).reshape(sample.shape)), x)
        values.append(builder.add(sample.op, *_operands(builder, sample, own)))
    every = builder.concat_flat(*values)
    (count,) = builder.shape(every)
    margin = builder.add(ops.Dense(np.ones((1, count)), np.full(1, FAR_ABOVE)), every)
    ends = [end for s in chosen for end in [s.ends] * int(np.prod(s.shape))]
    lower, upper = (exact(np.array([float(e[i]) for e in ends])) for i in (0, 1))
    return Query(
        name=", ".join(type(s.op).__name__ for s in chosen),
        graph=builder.build(margin),
        cases=(Case(Box(lower, upper), (Atom(0),)),),
        variables=(Variable.at("x", 0, (int(starts[-1]),)),),
        calls=(),
    )
