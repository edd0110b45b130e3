"""Bounds on many small boxes, over the few entries that are not linear in the same way on them all.

Every other entry is a linear function of its operand, so what nonlinear nodes read, and the output,
are linear in the input and in the values of open entries. So on these boxes there is a smaller
network, which is made layer by layer: bounds of one layer on the boxes tell which entries are open
in the next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from specdsl.proof.arithmetic import Array
from specdsl.proof.fields import Fields
from specdsl.proof.network import Network, Node
from specdsl.proof.operators import Affine, dense_map
from specdsl.proof.passes import Bounds, Linear, Rules, unit_rows
from specdsl.proof.regions import Region
from specdsl.proof.relaxations import Interval, Nonlinear


class Form(NamedTuple):
    """Rows as sums over nodes of the smaller network: (rows, entries) each, and (rows,) twice."""

    weights: dict[int, Array]
    constant: Array
    slack: Array

    def take(self, rows: Array) -> Form:
        """Some of the rows."""
        weights = {node: weight[rows] for node, weight in self.weights.items()}
        return Form(weights, self.constant[rows], self.slack[rows])


@dataclass(slots=True, eq=False)
class Reduced:
    """`around`: bounds that hold on every box; `inner`: of the smaller network on each. `entries`:
    which are open, by nonlinear node, and `places`: the smaller network's node with their values.
    """

    around: Bounds
    inner: Bounds
    entries: dict[int, Array] = field(default_factory=dict[int, Array])
    places: dict[int, int] = field(default_factory=dict[int, int])

    @classmethod
    def over(cls, rules: Rules, region: Region) -> Reduced | None:
        """All nodes; None where a nonlinear node has several operands."""
        nodes = rules.network.nodes
        bent = (nodes[n] for n, op in rules.ops.items() if isinstance(op, Nonlinear))
        if any(len(node.operands) > 1 for node in bent):
            return None
        low, high = region.box
        hull = Interval(low.min(0, keepdims=True), high.max(0, keepdims=True))
        # Forms are of the input as it is given; what float32 makes of it is in their slack.
        own = rules.network.input
        first = replace(nodes[own], shape=(rules.network.size(own),), evaluated="exact")
        network = Network((first,), 0, 0)
        inner = Bounds(replace(rules, network=network, ops={}, pairs={}), region)
        inner.enter(0)
        reduced = cls(Bounds(rules, region.within(hull)), inner)
        reduced.around.propagate(reduced._enter)
        return reduced

    def margins(self, rows: Array) -> Callable[[Array], Linear]:
        """Linear lower bounds on each box of sums of rows (rows, outputs), by weights (batch or 1,
        sums, rows).
        """
        node = self._read(self._form(self.around.rules.network.output, rows))
        return lambda weights: self.inner.back({node: weights})

    def _enter(self, node: int, op: Nonlinear) -> None:
        """Before a nonlinear node: tighter bounds of what it reads, and then it on each box."""
        rules, around, inner = self.around.rules, self.around, self.inner
        (operand,) = rules.network.nodes[node].operands
        merged, pairs = around.found[operand], around.open_pairs(node, op)
        entries = self._open(node, op)
        self.entries[node] = entries
        if not len(entries):
            return
        rows = unit_rows(rules.how, entries, rules.network.size(operand))
        form = self._form(operand, rows)
        read = self._read(form)
        flat = Interval(*(np.array(end).reshape(-1) for end in merged))
        inner.found[read] = inner.found[read].met(Interval(*(end[entries] for end in flat)))
        if operand not in rules.exact:
            inner.tighten_entries(read, np.flatnonzero(op.is_open([inner.found[read]]).any(0)))
        flat.lower[entries] = inner.found[read].lower.min(0)
        flat.upper[entries] = inner.found[read].upper.max(0)
        around.found[operand] = Interval(*(end.reshape(merged.lower.shape) for end in flat))
        if pairs is not None:
            around.mirror(operand, pairs)
        # What a pair hid is open by itself where the other one no longer is.
        still = self._open(node, op)
        self.entries[node] = still
        if not len(still):
            return
        at = np.searchsorted(entries, still)
        if not np.isin(still, entries).all():
            form = self._form(operand, unit_rows(rules.how, still, rules.network.size(operand)))
            read = self._read(form)
            met = around.found[operand]
            flat = Interval(*(np.array(end).reshape(-1) for end in met))
            inner.found[read] = inner.found[read].met(Interval(*(end[still] for end in flat)))
        elif len(still) < len(entries):
            known = Interval(*(end[:, at] for end in inner.found[read]))
            read = self._read(form.take(at))
            inner.found[read] = known
        self.places[node] = self._add((read,), len(still), rules.network.nodes[node].evaluated, op)

    def _open(self, node: int, op: Nonlinear) -> Array:
        """Entries that are open on some box, and that rows may come to."""
        (operand,) = self.around.rules.network.nodes[node].operands
        pairs = self.around.open_pairs(node, op)
        entries = np.flatnonzero(op.is_open([self.around.found[operand]]))
        return entries if pairs is None else np.setdiff1d(entries, pairs.without_rows)

    def _form(self, node: int, rows: Array) -> Form:
        """Of rows (rows, entries) of a node of the large network."""
        met = dict[int, Array]()
        linear = self.around.back({node: rows[None]}, self.entries, met)
        # Where no row reaches the input there are zeros once.
        weights = {0: linear.coefficients[0] + self.around.rules.how.zeros(len(rows), 1)}
        weights |= {self.places[z]: w[0] for z, w in met.items() if z in self.places}
        # The slack was added up with rounding, too.
        slack = linear.slack[0] + self.around.rules.part * linear.slack[0]
        return Form(weights, linear.constant[0], slack)

    def _read(self, form: Form) -> int:
        """A node of the smaller network with these values."""
        maps = tuple(dense_map(weight) for weight in form.weights.values())
        op = Affine(maps, form.constant, None, moves=False, slack=form.slack)
        return self._add(tuple(form.weights), len(form.constant), "exact", op)

    def _add(
        self, operands: tuple[int, ...], size: int, evaluated: str, op: Affine | Nonlinear
    ) -> int:
        rules = self.inner.rules
        nodes, node = rules.network.nodes, len(rules.network.nodes)
        network = Network((*nodes, Node(operands, (size,), evaluated, Fields({}))), 0, node)
        self.inner.rules = replace(rules, network=network, ops={**rules.ops, node: op})
        self.inner.enter(node)
        return node
