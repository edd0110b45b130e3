"""From a graph, an input set and bounds to a `LinearModel`: rules by the kind of op.

The decision of a case with atoms a_1 ... a_k is the least value of `worst`, the largest of their
margins: the case has a point exactly where it can be <= 0 (or < 0 where an atom is strict).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Protocol

import numpy as np

from specdsl.backend import Unsupported
from specdsl.encoding.model.enclosed import EnclosedNode
from specdsl.encoding.model.entries import Entries, Range
from specdsl.encoding.model.linear_model import (
    FloatArray,
    IndexArray,
    LinearModel,
    ModelBuilder,
    SparseTerms,
)
from specdsl.encoding.model.quadratics import Forms, Sums
from specdsl.encoding.rules.affine import sparse_affine
from specdsl.encoding.rules.balls import OuterBall, encode_balls
from specdsl.encoding.rules.encoder import Encoder
from specdsl.encoding.rules.magnitudes import magnitudes
from specdsl.encoding.rules.maximum import encode_maximum
from specdsl.encoding.rules.piecewise import encode_piecewise
from specdsl.encoding.rules.products import Factor, encode_product, encode_square
from specdsl.encoding.rules.smooth import encode_smooth
from specdsl.encoding.rules.steps import JUMP_ROOM_PART, Argument, encode_step
from specdsl.graph import ops
from specdsl.graph.graph import Graph, NodeId
from specdsl.graph.ops import Shape, as_float
from specdsl.query.query import Atom, Variable
from specdsl.query.sets import InputSet

# Bounds of a new column are sums of rounded products: they are widened by this part of what was
# added up. float64 rounds at 1.1e-16 a step, so 1e-12 covers sums of several thousand terms.
SUM_ROUNDING_PART = 1e-12
# Given bounds come from long chains of float64 sums; this part of the larger of the two is far more
# than those lose (see `specdsl.bounds.margins`).
BOUND_ROUNDING_PART = 1e-9
# More than the solver's tolerance of 1e-9: bounds that miss what rows imply by less than that are
# where its presolve goes wrong (see `highs.INFEASIBLE`).
WORST_ROOM = 1e-8
NO_ENTRIES: IndexArray = np.zeros(0, dtype=np.int64)


class HasBounds(Protocol):
    """Lower and upper bounds of a node, float64 arrays in its shape."""

    @property
    def lower(self) -> FloatArray:
        """Lower bounds."""
        ...

    @property
    def upper(self) -> FloatArray:
        """Upper bounds."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class EncodedGraph:
    """Rows and columns of a graph over one input set; cases add their atoms to a copy.

    `margins`: entries of the graph's output, with their bounds; `inputs`: columns of the flat
    input; `balls`: what is known of l2 balls so far, which their tangents bound from outside;
    `enclosed`: the nodes that the rows do not state exactly.
    """

    encoder: Encoder
    inputs: IndexArray
    balls: tuple[OuterBall, ...]
    margins: Entries
    margin_range: Range
    enclosed: tuple[EnclosedNode, ...] = ()

    def model(self, name: str) -> LinearModel:
        """Without any case's atoms, and nothing to minimise."""
        model = self.encoder.builder.build(name, 0, self.inputs)
        return replace(model, cost=np.zeros(model.columns))


def encode_graph(
    graph: Graph,
    inputs: InputSet,
    bounds: Mapping[NodeId, HasBounds],
    variables: Sequence[Variable] = (),
    integers: IndexArray = NO_ENTRIES,
) -> EncodedGraph:
    """Encode every node. `bounds` must be sound on `inputs` for every node a nonlinear op reads.

    `variables` name the input's columns and hold each entry once (`Query.groups`); entries
    `integers` of the flat input are whole numbers.
    Raises Unsupported for an op without a rule.
    """
    flat = {n: Range(b.lower.reshape(-1), b.upper.reshape(-1)) for n, b in bounds.items()}
    encoder = Encoder(ModelBuilder(), flat)
    columns = _encode_inputs(inputs, _parts(graph, variables), integers, encoder.builder)
    balls = encode_balls(inputs.balls, columns, encoder.builder)
    encoder.quadratics.squares.extend(ball.forms for ball in balls)
    values: dict[NodeId, Entries] = {}
    enclosed: list[EnclosedNode] = []
    before_steps = _before_steps(graph)
    for node, op, operands in graph:
        if isinstance(op, ops.Input):
            values[node] = Entries.of_columns(columns)
        else:
            site = Site(node, operands, tuple(graph.shapes[o] for o in operands))
            taken = [values[o] for o in operands]
            values[node] = encode_op(op, site, taken, encoder)
            if isinstance(op, ops.Smooth | ops.Polynomial):
                enclosed.append(EnclosedNode(node, op, tuple(taken), values[node]))
        if node in before_steps:
            shapes, sizes = [graph.shapes[o] for o in operands], encoder.sizes
            farthest = encoder.implied(values[node]).farthest
            sizes[node] = magnitudes(op, shapes, [sizes[o] for o in operands], farthest)
    margins = values[graph.output]
    known = encoder.range_of(graph.output, margins)
    return EncodedGraph(encoder, columns, balls, margins, known, tuple(enclosed))


def _before_steps(graph: Graph) -> frozenset[NodeId]:
    """All nodes that some step depends on."""
    found: set[NodeId] = set()
    for node in reversed(graph.order):
        if node in found or isinstance(graph.op(node), ops.Step):
            found.update(graph.operands(node))
    return frozenset(found)


def worst_range(encoded: EncodedGraph, atoms: Sequence[Atom]) -> tuple[float, float]:
    """Bounds of the largest margin of some atoms. The lower one may decide the case, so it makes
    room for rounding.
    """
    indices = [a.index for a in atoms]
    lower, upper = encoded.margin_range.lower[indices], encoded.margin_range.upper[indices]
    lower = lower - _rounding(lower, upper) - WORST_ROOM
    return float(lower.max()), float(upper.max())


def upper_ends(encoded: EncodedGraph, margins: IndexArray) -> FloatArray:
    """What some margins cannot be above, with room for rounding. Shape: (margins,)."""
    lower, upper = encoded.margin_range.lower[margins], encoded.margin_range.upper[margins]
    return upper + _rounding(lower, upper) + WORST_ROOM


def _rounding(lower: FloatArray, upper: FloatArray) -> FloatArray:
    return BOUND_ROUNDING_PART * np.maximum(np.abs(lower), np.abs(upper))


def encode_case(encoded: EncodedGraph, atoms: Sequence[Atom], name: str) -> LinearModel:
    """Minimise `worst` subject to `margin_k <= worst` for every atom.

    The rows of the margins are the last ones, by rising index, `worst` is the last column.
    Raises ValueError without atoms: such a case is its input set, and nothing is to be decided.
    """
    if not atoms:
        raise ValueError("a case without atoms has nothing to minimise")
    builder = encoded.encoder.builder.copy()
    indices = np.unique(np.array([a.index for a in atoms], dtype=np.int64))
    margins = encoded.margins.at(indices)
    single = np.zeros(1, dtype=np.int64)
    lower, upper = (np.array([end]) for end in worst_range(encoded, atoms))
    worst = builder.add_columns("worst", single, lower, upper, whole=False)
    count = indices.size
    linked = np.flatnonzero(margins.columns >= 0)
    terms = SparseTerms.of(
        np.concatenate([np.arange(count), linked]),
        np.concatenate([np.repeat(worst, count), margins.columns[linked]]),
        np.concatenate([np.ones(count), -margins.slopes[linked]]),
    )
    builder.add_rows("margin", indices, terms, margins.offsets, np.inf)
    return builder.build(name, int(worst[0]), encoded.inputs)


# --- input sets -----------------------------------------------------------------------------------


def _parts(graph: Graph, variables: Sequence[Variable]) -> Sequence[Variable]:
    """The variables; one for all entries where none are given."""
    return variables or [Variable.at(graph.input, 0, graph.shapes[graph.input])]


def _encode_inputs(
    inputs: InputSet, variables: Sequence[Variable], integers: IndexArray, builder: ModelBuilder
) -> IndexArray:
    """Columns of the flat input: the float64 box around the exact one."""
    lower, upper = inputs.box.float_bounds()
    whole = np.zeros(inputs.size, dtype=bool)
    whole[integers] = True
    columns = np.full(inputs.size, -1, dtype=np.int64)
    for variable in variables:
        part = variable.positions
        indices = np.arange(part.size, dtype=np.int64)
        columns[part] = builder.add_columns(
            variable.name, indices, lower[part], upper[part], whole[part]
        )
    return columns


# --- ops ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Site:
    """Where an op stands: its node, and its operands with their shapes."""

    node: NodeId
    operands: tuple[NodeId, ...]
    shapes: tuple[Shape, ...]


@singledispatch
def encode_op(op: ops.Op, site: Site, operands: list[Entries], encoder: Encoder) -> Entries:
    """Add what the op needs to the model and return its value.

    Raises Unsupported for an op without a rule.
    """
    raise Unsupported("linear encoding", f"the op {type(op).__name__}")


@encode_op.register
def _constant(op: ops.Constant, site: Site, operands: list[Entries], encoder: Encoder) -> Entries:
    return Entries.of_constants(as_float(op.value).reshape(-1))


@encode_op.register
def _affine(op: ops.Affine, site: Site, operands: list[Entries], encoder: Encoder) -> Entries:
    """An exact equality row for every entry that adds up two or more columns; none for others."""
    matrix = sparse_affine(op, site.shapes)
    x = Entries.joined(operands)
    starts = np.cumsum([0, *(o.size for o in operands[:-1])])
    source = starts[matrix.operands] + matrix.positions
    coefficients, count = as_float(matrix.coefficients), matrix.offset.size
    constant = np.bincount(matrix.rows, coefficients * x.offsets[source], minlength=count)
    offsets = as_float(matrix.offset) + constant
    linked = x.columns[source] >= 0
    terms = SparseTerms.of(
        matrix.rows[linked],
        x.columns[source][linked],
        (coefficients * x.slopes[source])[linked],
    )
    result = Entries.of_constants(offsets)
    terms_in_row = np.bincount(terms.rows, minlength=count)
    alone = terms_in_row[terms.rows] == 1
    result.columns[terms.rows[alone]] = terms.columns[alone]
    result.slopes[terms.rows[alone]] = terms.coefficients[alone]
    summed = np.flatnonzero(terms_in_row > 1)
    if summed.size:
        columns = _add_sums(site.node, summed, terms, offsets, encoder)
        result.put(summed, Entries.of_columns(columns))
    return result


@encode_op.register
def _piecewise(
    op: ops.PiecewiseLinear, site: Site, operands: list[Entries], encoder: Encoder
) -> Entries:
    (x,) = operands
    return encode_piecewise(op, site.node, x, encoder.range_of(site.operands[0], x), encoder)


@encode_op.register
def _maximum(op: ops.GroupMax, site: Site, operands: list[Entries], encoder: Encoder) -> Entries:
    (x,) = operands
    return encode_maximum(op, site.node, x, encoder.range_of(site.operands[0], x), encoder)


@encode_op.register
def _step(op: ops.Step, site: Site, operands: list[Entries], encoder: Encoder) -> Entries:
    """Known bounds are taken as they are; bounds that the model implies are widened."""
    (x,), (operand,) = operands, site.operands
    known, room = encoder.range_of(operand, x), JUMP_ROOM_PART * encoder.sizes[operand]
    if operand not in encoder.bounds:
        known = Range(known.lower - room, known.upper + room)
    return encode_step(op, site.node, Argument(x, known, room), encoder)


@encode_op.register
def _smooth(op: ops.Smooth, site: Site, operands: list[Entries], encoder: Encoder) -> Entries:
    (x,) = operands
    return encode_smooth(op, site.node, x, encoder.range_of(site.operands[0], x), encoder)


@encode_op.register
def _multiply(op: ops.Multiply, site: Site, operands: list[Entries], encoder: Encoder) -> Entries:
    x, y = (
        Factor(value, encoder.range_of(node, value))
        for node, value in zip(site.operands, operands, strict=True)
    )
    return encode_product(site.node, x, y, encoder)


@encode_op.register
def _square(op: ops.Square, site: Site, operands: list[Entries], encoder: Encoder) -> Entries:
    (x,) = operands
    return encode_square(site.node, Factor(x, encoder.range_of(site.operands[0], x)), encoder)


def _add_sums(
    node: NodeId, indices: IndexArray, terms: SparseTerms, offsets: FloatArray, encoder: Encoder
) -> IndexArray:
    """Columns y with rows `terms - y = -offset` for the entries `indices` of a node."""
    position = np.full(offsets.size, -1, dtype=np.int64)
    position[indices] = np.arange(indices.size)
    kept = position[terms.rows] >= 0
    rows, columns = position[terms.rows[kept]], terms.columns[kept]
    coefficients = terms.coefficients[kept]
    sums = SparseTerms(rows, columns, coefficients)
    if node in encoder.bounds:
        known = encoder.bounds[node]
        bounds = Range(known.lower[indices], known.upper[indices])
    else:
        bounds = _sum_range(sums, offsets[indices], encoder)
    y = encoder.builder.add_columns(node, indices, bounds.lower, bounds.upper, whole=False)
    equations = SparseTerms.of(
        np.concatenate([rows, np.arange(indices.size)]),
        np.concatenate([columns, y]),
        np.concatenate([coefficients, -np.ones(indices.size)]),
    )
    encoder.builder.add_rows(node, indices, equations, -offsets[indices], -offsets[indices])
    encoder.quadratics.sums.append(Sums(y, Forms(sums, offsets[indices])))
    return y


def _sum_range(terms: SparseTerms, offsets: FloatArray, encoder: Encoder) -> Range:
    """Interval bounds of sums, widened by their rounding."""
    lower, upper = encoder.builder.bounds()
    count = offsets.size
    center = terms.times((lower + upper) / 2, count) + offsets
    radius = terms.magnitude().times((upper - lower) / 2, count)
    farthest = np.maximum(np.abs(lower), np.abs(upper))
    size = terms.magnitude().times(farthest, count) + np.abs(offsets)
    radius = radius + SUM_ROUNDING_PART * size
    return Range(center - radius, center + radius)
