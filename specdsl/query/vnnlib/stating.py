"""`state`: from the graph of a query to a `Statement` of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import singledispatchmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from specdsl.graph import ops
from specdsl.graph.graph import GraphBuilder, NodeId
from specdsl.graph.onnx_import.load import load_onnx
from specdsl.graph.to_onnx import export
from specdsl.query.elaboration.values.symbolic import (
    INPUT,
    EntryArray,
    Linear,
    entries,
    variable,
    weighted,
)
from specdsl.query.query import NetworkCall, Query
from specdsl.query.sets import Ball
from specdsl.query.vnnlib.statement import (
    Number,
    Product,
    Said,
    SaidNetwork,
    Statement,
    inexpressible,
)


def state(query: Query) -> Statement:
    """Take a query apart. Raises SpecError E1013 for ops that VNN-LIB has no words for."""
    return _Stating(query).state()


@dataclass(slots=True)
class _Stating:
    query: Query
    values: dict[NodeId, EntryArray] = field(default_factory=dict)
    networks: list[SaidNetwork] = field(default_factory=list)
    products: dict[int, Product] = field(default_factory=dict)
    sources: int = 0
    models: dict[bytes, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)

    def state(self) -> Statement:
        graph = self.query.graph
        self.values[graph.input] = variable(INPUT, graph.shapes[graph.input], None).values
        calls = {
            node: call
            for call in self.query.calls
            for node in (*call.outputs, *(inner for _, inner in call.hidden))
            if node not in call.inputs
        }
        needed = self._needed(calls)
        for node, op, operands in graph:
            if node not in needed or node in self.values:
                continue
            if node in calls:
                self._call(calls[node])
            else:
                taken = [self.values[operand] for operand in operands]
                self.values[node] = self._apply(op, taken, node)
        margins = tuple(self.values[graph.output].reshape(-1))
        norms = self._norms()
        return self._in_variables(margins, norms)

    def _needed(self, calls: Mapping[NodeId, NetworkCall]) -> set[NodeId]:
        """The nodes outside of networks that the margins depend on."""
        graph, found = self.query.graph, set[NodeId]()
        pending = [graph.output]
        while pending:
            node = pending.pop()
            if node in found:
                continue
            found.add(node)
            pending += calls[node].inputs if node in calls else graph.operands(node)
        return found

    # --- networks -------------------------------------------------------------------------------

    def _call(self, call: NetworkCall) -> None:
        graph = self.query.graph
        inputs = [self._said("X", graph.shapes[n], self.values[n]) for n in call.inputs]
        hidden = [
            self._said("H", graph.shapes[node], value_name=name) for name, node in call.hidden
        ]
        outputs = [self._said("Y", shape) for shape in self._output_shapes(call)]
        nodes = (*(node for _, node in call.hidden), *call.outputs)
        for node, said in zip(nodes, (*hidden, *outputs), strict=True):
            self.values[node] = variable(said.source, said.shape, None).values
        self._network(call.name, call.model, inputs, hidden, outputs)

    def _output_shapes(self, call: NetworkCall) -> list[ops.Shape]:
        """Of all outputs; a graph lacks those that it does not read."""
        shapes = self.query.graph.shapes
        if all(node in shapes for node in call.outputs):
            return [shapes[node] for node in call.outputs]
        graph = load_onnx(call.model, call.name, check=False).graph
        return [graph.shapes[node] for node in graph.outputs]

    def _said(
        self,
        letter: str,
        shape: tuple[int, ...],
        values: EntryArray | None = None,
        value_name: str | None = None,
    ) -> Said:
        flat = None if values is None else values.reshape(-1)
        return Said(self._fresh(letter), shape, self._source(), flat, value_name)

    def _network(
        self,
        name: str,
        model: bytes,
        inputs: Sequence[Said],
        hidden: Sequence[Said],
        outputs: Sequence[Said],
    ) -> None:
        word = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")
        fresh = self._fresh(word if word[:1].isalpha() else f"network_{word}".rstrip("_"))
        same = self.models.get(model)
        self.models.setdefault(model, fresh)
        self.networks.append(
            SaidNetwork(fresh, model, tuple(inputs), tuple(hidden), tuple(outputs), same)
        )

    def _fresh(self, name: str) -> str:
        number = 2
        fresh = name
        while fresh in self.names:
            fresh, number = f"{name}_{number}", number + 1
        self.names.add(fresh)
        return fresh

    def _source(self) -> int:
        self.sources += 1
        return self.sources

    # --- what the property computes -------------------------------------------------------------

    @singledispatchmethod
    def _apply(self, op: ops.Op, taken: Sequence[EntryArray], node: NodeId) -> EntryArray:
        raise inexpressible(self.query, f"the op {type(op).__name__} outside of a network")

    @_apply.register
    def _(self, op: ops.Constant, taken: Sequence[EntryArray], node: NodeId) -> EntryArray:
        return _exact(op.value)

    @_apply.register
    def _(self, op: ops.Dense, taken: Sequence[EntryArray], node: NodeId) -> EntryArray:
        (x,) = taken
        weight, bias = _exact(op.weight), _exact(op.bias)
        rows = x.reshape(-1, x.shape[-1])
        said = [weighted(w, row, b) for row in rows for w, b in zip(weight, bias, strict=True)]
        return entries(said, (*x.shape[:-1], bias.size))

    @_apply.register
    def _(self, op: ops.Scale, taken: Sequence[EntryArray], node: NodeId) -> EntryArray:
        (x,) = taken
        return x * _exact(op.scale) + _exact(op.shift)

    @_apply.register
    def _(self, op: ops.Sum, taken: Sequence[EntryArray], node: NodeId) -> EntryArray:
        coefficients = [Fraction(c) for c in op.coefficients]
        columns = zip(*(x.reshape(-1) for x in taken), strict=True)
        said = [weighted(coefficients, column, Fraction(0)) for column in columns]
        return entries(said, taken[0].shape)

    @_apply.register
    def _(self, op: ops.Reshape, taken: Sequence[EntryArray], node: NodeId) -> EntryArray:
        return taken[0].reshape(op.target)

    @_apply.register
    def _(self, op: ops.Transpose, taken: Sequence[EntryArray], node: NodeId) -> EntryArray:
        return taken[0].transpose(op.axes)

    @_apply.register
    def _(self, op: ops.Select, taken: Sequence[EntryArray], node: NodeId) -> EntryArray:
        return taken[0].reshape(-1)[op.indices]

    @_apply.register
    def _(self, op: ops.Concat, taken: Sequence[EntryArray], node: NodeId) -> EntryArray:
        return np.concatenate(taken, axis=op.axis)

    @_apply.register
    def _(self, op: ops.Multiply, taken: Sequence[EntryArray], node: NodeId) -> EntryArray:
        left, right = taken
        said = [self._times(a, b) for a, b in zip(left.flat, right.flat, strict=True)]
        return entries(said, left.shape)

    @_apply.register
    def _(self, op: ops.Square, taken: Sequence[EntryArray], node: NodeId) -> EntryArray:
        return entries([self._times(a, a) for a in taken[0].flat], taken[0].shape)

    @_apply.register
    def _(self, op: ops.PiecewiseLinear, taken: Sequence[EntryArray], node: NodeId) -> EntryArray:
        (x,) = taken
        return self._elementwise(op, x)

    def _times(self, left: Any, right: Any) -> Number:
        # Entries of object arrays have no type: they are Numbers.
        if isinstance(left, Fraction) or isinstance(right, Fraction):
            return left * right
        source = self._source()
        self.products[source] = Product(left, right)
        return Linear.entry(source, 0)

    def _elementwise(self, op: ops.PiecewiseLinear, x: EntryArray) -> EntryArray:
        """The op as a network of its own. Raises SpecError E1013 where float32 would round it."""
        numbers = (*op.breakpoints, *op.slopes, op.anchor)
        if any(float(np.float32(number)) != number for number in numbers):
            raise inexpressible(
                self.query, f"a {type(op).__name__} with constants that no float32 holds"
            )
        builder = GraphBuilder()
        node = builder.add(op, builder.add(ops.Input(x.shape or (1,)), name="input"), name="output")
        name = type(op).__name__.lower()
        model = export(builder.build(node), name)
        said = self._said("X", x.shape or (1,), x)
        output = self._said("Y", x.shape or (1,))
        self._network(name, model, [said], [], [output])
        return variable(output.source, x.shape, None).values

    def _norms(self) -> dict[Ball, Linear]:
        """What the balls compare with their radius (l1) or its square (l2)."""
        found: dict[Ball, Linear] = {}
        for ball in {id(b): b for c in self.query.cases for b in c.inputs.balls}.values():
            inputs = (Linear.entry(INPUT, int(p)) for p in ball.positions)
            offset = ball.scale * (entries(inputs, ball.positions.shape) - ball.center)
            if ball.norm == "l1":
                parts = self._elementwise(ops.Abs(), offset)
            else:
                parts = entries([self._times(e, e) for e in offset], offset.shape)
            total = weighted([Fraction(1)] * parts.size, parts, Fraction(0))
            assert isinstance(total, Linear), "a ball has entries"
            found[ball] = total
        return found

    # --- in terms of declared variables ---------------------------------------------------------

    def _in_variables(self, margins: Sequence[Number], norms: Mapping[Ball, Linear]) -> Statement:
        """Replace the entries of the query's input by those declared entries that hold them."""
        represented = self._represented()
        ties: list[tuple[Linear, Number]] = []
        sources = {s: f for s, f in represented.holders.items()}
        for network in self.networks:
            for said in network.inputs:
                for position, value in enumerate(() if said.values is None else said.values):
                    if (said.source, position) not in sources:
                        entry = Linear.entry(said.source, position)
                        ties.append((entry, _replaced(value, represented.values)))
        products = {
            source: Product(
                _linear(_replaced(p.left, represented.values)),
                _linear(_replaced(p.right, represented.values)),
            )
            for source, p in self.products.items()
        }
        return Statement(
            query=self.query,
            networks=tuple(self.networks),
            represented=tuple(represented.values),
            ties=tuple(ties),
            margins=tuple(_replaced(margin, represented.values) for margin in margins),
            products=products,
            norms={b: _linear(_replaced(n, represented.values)) for b, n in norms.items()},
        )

    def _represented(self) -> _Represented:
        size = self.query.graph.size(self.query.graph.input)
        found: dict[int, Linear] = {}
        holders: dict[tuple[int, int], int] = {}
        # First inputs that are entries of the query as they stand, then scaled and shifted ones.
        for plain in (True, False):
            for network in self.networks:
                for said in network.inputs:
                    for position, value in enumerate(() if said.values is None else said.values):
                        entry = _entry_of(value, plain)
                        if entry is not None and entry not in found:
                            found[entry] = _solved(value, (said.source, position))
                            holders[said.source, position] = entry
        rest = [entry for entry in range(size) if entry not in found]
        if rest:
            said = self._identity(rest)
            for position, entry in enumerate(rest):
                found[entry] = Linear.entry(said.source, position)
                holders[said.source, position] = entry
        return _Represented([found[entry] for entry in range(size)], holders)

    def _identity(self, rest: Sequence[int]) -> Said:
        """A network that returns its input, for the entries `rest` of the query's."""
        builder = GraphBuilder()
        model = export(builder.build(builder.add(ops.Input((len(rest),)), name="input")), "inputs")
        values = entries((Linear.entry(INPUT, entry) for entry in rest), (len(rest),))
        said = self._said("V", (len(rest),), values)
        self._network("inputs", model, [said], [], [self._said("W", (len(rest),))])
        return said


@dataclass(frozen=True, slots=True, eq=False)
class _Represented:
    """`values[v]`: flat entry v in declared entries; `holders`: declared entry to v."""

    values: list[Linear]
    holders: dict[tuple[int, int], int]


def _exact(values: npt.NDArray[np.generic]) -> EntryArray:
    return entries([Fraction(v) for v in values.reshape(-1).tolist()], values.shape)


def _entry_of(value: Number, plain: bool) -> int | None:
    """The flat entry that a value is, as it stands or, unless `plain`, scaled and shifted."""
    if not isinstance(value, Linear) or len(value.terms) != 1:
        return None
    ((source, position), _) = value.terms[0]
    return None if source != INPUT or (plain and value.only is None) else position


def _solved(value: Number, entry: tuple[int, int]) -> Linear:
    """The flat entry in terms of the declared one that holds `value`."""
    assert isinstance(value, Linear), "it holds one entry"
    ((_, slope),) = value.terms
    return Linear(((entry, 1 / slope),), -value.constant / slope)


def _replaced(value: Number, represented: Sequence[Linear]) -> Number:
    """The value with the entries of the query's input replaced."""
    if isinstance(value, Fraction):
        return value
    weights = [coefficient for _, coefficient in value.terms]
    terms = [
        represented[position] if source == INPUT else Linear.entry(source, position)
        for (source, position), _ in value.terms
    ]
    return weighted(weights, terms, value.constant)


def _linear(value: Number) -> Linear:
    return value if isinstance(value, Linear) else replace(Linear(()), constant=value)
