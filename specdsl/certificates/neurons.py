"""From what a search over inner values did to a proof by parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from specdsl.certificates.nodes import NotCertified
from specdsl.certificates.part_records import (
    SHARES,
    Cut,
    Emptied,
    IntArray,
    NeuronProof,
    Otherwise,
    PartRecord,
    Refuted,
    RowRecord,
    StepRecord,
)
from specdsl.certificates.parts import (
    Choice,
    Empty,
    Fork,
    Leaf,
    PartNode,
    PartsProof,
    Rows,
    Split,
    Step,
)
from specdsl.graph import ops
from specdsl.graph.graph import Graph, NodeId


def parts_proof(proof: NeuronProof, graph: Graph, numbers: Mapping[NodeId, int]) -> PartsProof:
    """Of the same cases. `graph`: the question's, with the `numbers` of its nodes in the
    certificate; the search may have gone over a simpler one.

    Raises NotCertified where a step of it has no words in a certificate.
    """
    return _Translation(proof, _Places(proof, graph, numbers)).proof


class _Places:
    """Where the nodes of a search are in a certificate. `curved`: nonlinear ones, `read`: what they
    read, both by the search's names.
    """

    def __init__(self, proof: NeuronProof, graph: Graph, numbers: Mapping[NodeId, int]) -> None:
        own, asked = _nonlinear(proof.graph), _nonlinear(graph)
        alike = len(own) == len(asked) and all(
            proof.graph.op(a) == graph.op(b) and proof.graph.size(a) == graph.size(b)
            for a, b in zip(own, asked, strict=True)
        )
        if not alike:
            raise NotCertified("the search went over a graph with other nonlinear functions")
        self.graph = proof.graph
        self.curved = {a: numbers[b] for a, b in zip(own, asked, strict=True)}
        self.read: dict[NodeId, int] = {}
        for a, b in zip(own, asked, strict=True):
            for x, y in zip(proof.graph.operands(a), graph.operands(b), strict=True):
                self.read.setdefault(_unshaped(proof.graph, x), numbers[y])
        self.slopes = {a: _slopes(proof.graph.op(a)) for a in own}

    def of(self, node: NodeId) -> int:
        """A node that some nonlinear one reads."""
        node = _unshaped(self.graph, node)
        if node not in self.read:
            raise NotCertified(f"the search split `{node}`, which no nonlinear function reads")
        return self.read[node]


def _nonlinear(graph: Graph) -> list[NodeId]:
    kinds = ops.PiecewiseLinear | ops.Smooth | ops.GroupMax | ops.Multiply | ops.Square
    return [node for node, op, _ in graph if isinstance(op, kinds)]


def _unshaped(graph: Graph, node: NodeId) -> NodeId:
    """Where a value comes from that is only another shape of it."""
    while isinstance(graph.op(node), ops.Reshape):
        (node,) = graph.operands(node)
    return node


def _slopes(op: ops.Op) -> tuple[float, float] | None:
    """Between which places choose; None where they choose otherwise."""
    if isinstance(op, ops.LeakyRelu | ops.Abs):
        return op.slopes[0], op.slopes[-1]
    return None


class _Translation:
    def __init__(self, proof: NeuronProof, places: _Places) -> None:
        self.search, self.places = proof, places
        self.offsets: dict[NodeId, int] = {}
        count = 0
        for node, columns in proof.entries.items():
            self.offsets[node] = count
            count += len(columns)
        self.columns = self._chosen_columns()

    @property
    def proof(self) -> PartsProof:
        parts = tuple(
            self._part(record, margins)
            for record, margins in zip(self.search.parts, self.search.margins, strict=True)
        )
        choices: dict[int, Choice] = {}
        for node, columns in self.columns.items():
            slopes = self.places.slopes[node]
            step = 0.0 if slopes is None else (slopes[1] - slopes[0]) / SHARES
            own = (
                Choice(columns, 2, 0.0, 0.0)
                if slopes is None
                else Choice(columns, 1, slopes[0], step)
            )
            choices[self.places.curved[node]] = own
        entries = {self.places.of(n): own for n, own in self.search.entries.items()}
        root = parts[0] if len(parts) == 1 else Fork(parts)
        read = len({m for own in self.search.margins for m in own})
        for step in reversed(self.search.steps):
            weights = np.zeros((2 * len(step.entries), read))
            rows = self._rows(step.rows)
            root = Step(self.places.of(step.node), step.entries, weights, rows, root)
        return PartsProof(self.search.cases, choices, entries, root)

    def _chosen_columns(self) -> dict[NodeId, IntArray]:
        """By nonlinear node: the entries that some row had places at."""
        found: dict[NodeId, set[int]] = {}
        for rows in self._all_rows():
            for node, own in rows.slopes.items():
                if own.values is None or (own.values.ndim == 2) == (not self.places.slopes[node]):
                    raise NotCertified(f"rows chose at `{node}` what certificates do not hold")
                found.setdefault(node, set()).update(own.columns.tolist())
        # In the order of the certificate's nodes.
        known = {node: np.array(sorted(own), np.int64) for node, own in found.items()}
        return {node: known[node] for node in self.places.curved if node in known}

    def _all_rows(self) -> Iterator[RowRecord]:
        yield from (step.rows for step in self.search.steps)
        for record in self.search.parts:
            for part in _below(record):
                yield from (step.rows for step in part.steps)
                if isinstance(part.below, Refuted):
                    yield part.below.row

    def _part(self, root: PartRecord, margins: tuple[int, ...]) -> PartNode:
        """Children before parents, without recursion: trees are deep."""
        made: dict[int, PartNode] = {}
        for record in reversed(list(_below(root))):
            made[id(record)] = self._node(record, margins, made)
        return made[id(root)]

    def _node(
        self, record: PartRecord, margins: tuple[int, ...], made: Mapping[int, PartNode]
    ) -> PartNode:
        read = sorted(set(margins))
        node: PartNode
        match record.below:
            case Refuted(atom, row):
                # Rows beyond a case's atoms are of its last; one atom alone needs no weight.
                count = len(margins) if len(margins) > 1 else 0
                weights = np.arange(count) == min(atom, count - 1)
                node = Leaf(weights[None].astype(np.float32), self._rows(row))
            case Cut(number, point, lower, upper):
                place = next(n for n in reversed(self.offsets) if self.offsets[n] <= number)
                position = number - self.offsets[place]
                halves = made[id(lower)], made[id(upper)]
                node = Split(self.places.of(place), position, point, *halves)
            case Emptied():
                node = Empty()
            case Otherwise(how):
                raise NotCertified(f"a part was refuted by {how}")
            case None:
                raise NotCertified("a part was left out of the proof")
        for step in reversed(record.steps):
            node = self._step(step, margins, read, node)
        return node

    def _step(
        self, step: StepRecord, margins: tuple[int, ...], read: list[int], then: PartNode
    ) -> Step:
        # Rows beyond a case's atoms are of its last.
        padded = (*margins, *margins[-1:] * (step.weights.shape[1] - len(margins)))
        columns = [[i for i, m in enumerate(padded) if m == each] for each in read]
        weights = np.stack([step.weights[:, own].sum(1) for own in columns], 1)
        rows = self._rows(step.rows)
        return Step(self.places.of(step.node), step.entries, weights, rows, then)

    def _rows(self, rows: RowRecord) -> Rows:
        slopes: dict[int, np.ndarray] = {}
        for node, own in rows.slopes.items():
            assert own.values is not None
            given = own.values if own.values.ndim == 3 else own.values[None]
            count = given.shape[1]
            values = np.zeros((len(given), 1, count, len(self.columns[node])), given.dtype)
            at = np.searchsorted(self.columns[node], own.columns)
            values[:, 0, :, at] = given.transpose(2, 0, 1)
            slopes[self.places.curved[node]] = values
        multipliers: dict[int, tuple[IntArray, np.ndarray]] = {}
        for node, columns in self.search.entries.items():
            start = self.offsets[node]
            here = (start <= rows.numbers) & (rows.numbers < start + len(columns))
            if here.any():
                positions = rows.numbers[here] - start
                multipliers[self.places.of(node)] = positions, rows.multipliers[:, here]
        return Rows(slopes, multipliers)


def _below(record: PartRecord) -> Iterator[PartRecord]:
    """A part and all that it was cut into, parents first."""
    waiting = [record]
    while waiting:
        part = waiting.pop()
        yield part
        if isinstance(part.below, Cut):
            waiting += [part.below.upper, part.below.lower]
