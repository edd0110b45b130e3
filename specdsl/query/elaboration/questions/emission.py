"""From a scene to a graph: the steps that the margins need, in order, on one flat input."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder, NodeId
from specdsl.query.elaboration.questions.layout import Layout
from specdsl.query.elaboration.values.networks import compact
from specdsl.query.elaboration.values.scene import (
    CallStep,
    OpStep,
    Scene,
    call_text,
    operands_of,
)
from specdsl.query.elaboration.values.symbolic import INPUT, EntryArray, Linear
from specdsl.query.query import NetworkCall
from specdsl.source import Span

MAX_SLOTS = 8
"""Expressions of at most this many terms are gathered term by term; longer ones are a matrix."""


@dataclass(frozen=True, slots=True, eq=False)
class Emitted:
    """The graph from the flat input to `margins`, and the networks in it.

    `multiplying_networks`: those that multiply computed values, and where they are declared.
    """

    graph: Graph
    calls: tuple[NetworkCall, ...]
    multiplying_networks: tuple[tuple[str, Span], ...] = ()

    @property
    def multiplies(self) -> bool:
        """Whether terms that vary are multiplied."""
        return any(isinstance(op, ops.Polynomial) for _, op, _ in self.graph)


def emit(scene: Scene, layout: Layout, rows: Sequence[Linear]) -> Emitted:
    """The graph that computes `rows`, whose input entries are already those of the layout."""
    emitter = _Emitter(scene, layout)
    emitter.steps(needed_steps(scene, rows))
    # A query without any row still has a graph; no case reads this margin, which is always 0.
    margins = emitter.matrix(tuple(rows) or (Linear((), Fraction(0)),), "margins")
    # A replay compares the outputs of a network of which the claim reads hidden values only.
    said = [output for call in emitter.calls for output in call.outputs]
    graph = emitter.builder.build(margins, keep=said)
    return Emitted(graph, tuple(emitter.calls), tuple(dict.fromkeys(emitter.multiplying)))


def needed_steps(scene: Scene, rows: Iterable[Linear]) -> set[int]:
    """The numbers of the steps that rows depend on."""
    found: set[int] = set()
    pending: list[Iterable[object]] = [rows]
    while pending:
        for entry in pending.pop():
            if not isinstance(entry, Linear):
                continue
            for (source, _), _ in entry.terms:
                step = None if source == INPUT else scene.source(source).step
                if step is not None and step not in found:
                    found.add(step)
                    pending.extend(operands_of(scene.steps[step]))
    return found


class _Emitter:
    """Nodes are known by the source whose entries they hold, 0 being the flat input."""

    def __init__(self, scene: Scene, layout: Layout) -> None:
        self.scene = scene
        self.layout = layout
        self.builder = GraphBuilder()
        self.calls: list[NetworkCall] = []
        self.multiplying: list[tuple[str, Span]] = []
        self._nodes: dict[int, NodeId] = {INPUT: self._input()}
        self._selected: dict[object, NodeId] = {}

    def _input(self) -> NodeId:
        variables = self.scene.variables
        if not variables:
            # A claim without variables: the graph still has an input, which nothing reads.
            return self.builder.add(ops.Input((1,)), name="nothing")
        if len(variables) == 1 and not self.layout.merged:
            (only,) = variables
            return self.builder.add(ops.Input(only.shape or (1,)), name=only.name)
        return self.builder.add(ops.Input((self.layout.size,)), name="inputs")

    def steps(self, needed: set[int]) -> None:
        """Add the steps in their order."""
        for number, step in enumerate(self.scene.steps):
            if number not in needed:
                continue
            if isinstance(step, CallStep):
                self._call(number, step)
            else:
                self._apply(number, step)

    def _call(self, number: int, step: CallStep) -> None:
        network = step.network
        if any(isinstance(op, ops.Polynomial) for _, op, _ in network.imported.graph):
            self.multiplying.append((network.name, network.declaration.span))
        nodes = [self.vector(argument, f"{network.name}.argument") for argument in step.arguments]
        shaped = [
            self._shaped(node, port.shape or (1,))
            for node, port in zip(nodes, network.inputs, strict=True)
        ]
        parts = {s.part: i for i, s in enumerate(self.scene.sources, 1) if s.step == number}
        hidden = [part for part in parts if isinstance(part, str)]
        applied = network.apply(self.builder, shaped, hidden)
        for part, source in parts.items():
            if isinstance(part, int):
                self._nodes[source] = applied.outputs[part]
            else:
                self._nodes[source] = dict(applied.hidden)[part]
        self.calls.append(
            NetworkCall(
                name=network.name,
                model=network.imported.model,
                inputs=applied.inputs,
                outputs=applied.raw_outputs,
                labels=network.labels,
                hidden=applied.hidden,
                text=call_text(self.scene, step),
                original=network.imported.original,
            )
        )

    def _apply(self, number: int, step: OpStep) -> None:
        nodes = [
            self._shaped(self.vector(operand, "term"), (operand.size,)) for operand in step.operands
        ]
        (source,) = (i for i, s in enumerate(self.scene.sources, 1) if s.step == number)
        self._nodes[source] = self.builder.add(step.op, *nodes)

    def _shaped(self, node: NodeId, shape: tuple[int, ...]) -> NodeId:
        if self.builder.shape(node) == shape:
            return node
        return self.builder.add(ops.Reshape(shape), node)

    # --- expressions as nodes --------------------------------------------------------------------

    def vector(self, values: EntryArray, name: str) -> NodeId:
        """A node that holds the expressions, in any shape of as many entries."""
        renamed = [v.renamed(self.layout.places) if isinstance(v, Linear) else v for v in values]
        same = self._existing(renamed)
        if same is not None:
            return same
        slots = [len(v.terms) if isinstance(v, Linear) else 0 for v in renamed]
        if max(slots, default=0) <= MAX_SLOTS:
            return self._gathered(renamed, name)
        rows = [v if isinstance(v, Linear) else Linear((), v) for v in renamed]
        return self.matrix(rows, name)

    def _existing(self, values: Sequence[Fraction | Linear]) -> NodeId | None:
        """The node whose entries these are: a whole source, or a part of it in any order."""
        only = [v.only if isinstance(v, Linear) else None for v in values]
        places = [entry for entry in only if entry is not None]
        sources = {source for source, _ in places}
        if len(places) != len(values) or len(sources) != 1:
            return None
        (source,) = sources
        return self._select(source, np.array([p for _, p in places], dtype=np.int64))

    def _select(self, source: int, positions: npt.NDArray[np.int64]) -> NodeId:
        node = self._nodes[source]
        size = int(np.prod(self.builder.shape(node), dtype=np.int64))
        if positions.size == size and bool((positions == np.arange(size)).all()):
            return node
        key = (source, positions.tobytes())
        if key not in self._selected:
            name = self._variable_at(positions) if source == INPUT else None
            self._selected[key] = self.builder.add(ops.Select(positions), node, name=name)
        return self._selected[key]

    def _variable_at(self, positions: npt.NDArray[np.int64]) -> str | None:
        for variable in self.scene.variables:
            places = self.layout.places[variable.positions]
            if places.shape == positions.shape and bool((places == positions).all()):
                return variable.name
        return None

    def _gathered(self, values: Sequence[Fraction | Linear], name: str) -> NodeId:
        """Sum over slots of `coefficient * picked entry`, plus the constants."""
        constants = _array([v.constant if isinstance(v, Linear) else v for v in values])
        slots: dict[tuple[int, int], list[tuple[int, int, Fraction]]] = {}
        for i, value in enumerate(values):
            used: dict[int, int] = {}
            for (source, position), coefficient in value.terms if isinstance(value, Linear) else ():
                slot = used[source] = used.get(source, -1) + 1
                slots.setdefault((source, slot), []).append((i, position, coefficient))
        nodes = [self._slot(source, found, len(values)) for (source, _), found in slots.items()]
        if not nodes:
            return self.builder.add(ops.Constant(compact(constants)), name=name)
        total = nodes[0]
        if len(nodes) > 1:
            total = self.builder.add(ops.Sum((1.0,) * len(nodes)), *nodes)
        if not bool((constants == 0).all()):
            one = compact(_array([Fraction(1)]).reshape(()))
            total = self.builder.add(ops.Scale(one, compact(constants)), total, name=name)
        return total

    def _slot(self, source: int, found: Sequence[tuple[int, int, Fraction]], size: int) -> NodeId:
        positions = np.zeros(size, dtype=np.int64)
        scale = _array([Fraction(0)] * size)
        for i, position, coefficient in found:
            positions[i], scale[i] = position, coefficient
        node = self._select(source, positions)
        if len(self.builder.shape(node)) != 1:
            node = self.builder.add(ops.Reshape((size,)), node)
        if bool((scale == 1).all()):
            return node
        zero = compact(_array([Fraction(0)]).reshape(()))
        return self.builder.add(ops.Scale(compact(scale), zero), node)

    def matrix(self, rows: Sequence[Linear], name: str) -> NodeId:
        """The expressions as one exact matrix on the sources that they read."""
        read = sorted({source for row in rows for (source, _), _ in row.terms})
        read = read or [max(self._nodes)]
        nodes = [self._nodes[source] for source in read]
        starts: dict[int, int] = {}
        width = 0
        for source, node in zip(read, nodes, strict=True):
            starts[source] = width
            width += int(np.prod(self.builder.shape(node), dtype=np.int64))
        joined = self.builder.concat_flat(*nodes, name="read")
        weight = np.empty((len(rows), width), dtype=object)
        weight.fill(Fraction(0))
        for i, row in enumerate(rows):
            for (source, position), coefficient in row.terms:
                weight[i, starts[source] + position] += coefficient
        offset = _array([row.constant for row in rows])
        return self.builder.add(ops.Dense(compact(weight), compact(offset)), joined, name=name)


def _array(values: Sequence[Fraction]) -> npt.NDArray[np.object_]:
    result = np.empty(len(values), dtype=object)
    result[:] = values
    return result
