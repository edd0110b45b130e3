"""Bounds on many small boxes, over the few entries that are not linear in the same way on them all.

Every other entry is a linear function of its operand, so what nonlinear nodes read, and the output,
are linear in the input and in the values of open entries: forms, found once by walking rows back.
On each box they are walked back again, through the open entries only. Layer by layer, bounds on the
boxes tell which entries are open in the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from specdsl.proof.arithmetic import Array
from specdsl.proof.passes import (
    MAX_NUMBERS,
    Bounds,
    Linear,
    Rules,
    dots,
    line_size,
    through,
    unit_rows,
)
from specdsl.proof.regions import Region
from specdsl.proof.relaxations import Interval, Lines, Nonlinear


@dataclass(frozen=True, slots=True, eq=False)
class Forms:
    """Rows of one node: `by_input @ x + sum_z by_open[z] @ z + constant`, but for `slack`.

    Shapes: (rows, inputs), (rows, open entries of z), (rows,) twice.
    """

    by_input: Array
    by_open: Mapping[int, Array]
    constant: Array
    slack: Array

    def take(self, rows: Array) -> Forms:
        """Some of the rows."""
        by_open = {z: own[rows] for z, own in self.by_open.items()}
        return Forms(self.by_input[rows], by_open, self.constant[rows], self.slack[rows])


@dataclass(frozen=True, slots=True, eq=False)
class _Open:
    """The open entries of one nonlinear node on each box. `read`: forms of what they read; `lines`:
    (boxes, 1, open); `image`: their ranges (boxes, open), and `off`: what a value may be off by.
    """

    read: Forms
    lines: Lines
    image: Interval
    off: Array


@dataclass(slots=True, eq=False)
class Reduced:
    """`around`: bounds that hold on every box; `entries`: which are open, by nonlinear node."""

    region: Region
    around: Bounds
    entries: dict[int, Array] = field(default_factory=dict[int, Array])
    open: dict[int, _Open] = field(default_factory=dict[int, _Open])

    @classmethod
    def over(cls, rules: Rules, region: Region) -> Reduced | None:
        """All nodes; None where a nonlinear node has several operands."""
        unary = (
            len(rules.network.nodes[node].operands) == 1
            for node, op in rules.ops.items()
            if isinstance(op, Nonlinear)
        )
        if not all(unary):
            return None
        low, high = region.box
        hull = Interval(low.min(0, keepdims=True), high.max(0, keepdims=True))
        reduced = cls(region, Bounds(rules, region.within(hull)))
        reduced.around.propagate(reduced._enter)
        return reduced

    def margins(self, rows: Array) -> Linear:
        """Linear lower bounds of rows (rows, outputs) on each box."""
        return self._back(self._forms(self.around.rules.network.output, rows), 1)

    def _enter(self, node: int, op: Nonlinear) -> None:
        """Before a nonlinear node: tighter bounds of what it reads, and then it on each box."""
        rules, around = self.around.rules, self.around
        (operand,) = rules.network.nodes[node].operands
        merged = around.found[operand]
        self.entries[node] = entries = np.flatnonzero(op.is_open([merged]))
        if not len(entries):
            return
        forms = self._forms(operand, unit_rows(rules.how, entries, rules.network.size(operand)))
        flat = Interval(*(np.array(end).reshape(-1) for end in merged))
        x = self._interval(forms).met(Interval(*(end[entries] for end in flat)))
        if operand not in rules.exact:
            for some in self._parts(np.flatnonzero(op.is_open([x]).any(0))):
                own = forms.take(some)
                x.lower[:, some] = np.fmax(x.lower[:, some], self._least(own, 1))
                x.upper[:, some] = np.fmin(x.upper[:, some], -self._least(own, -1))
        flat.lower[entries], flat.upper[entries] = x.lower.min(0), x.upper.max(0)
        around.found[operand] = Interval(*(end.reshape(merged.lower.shape) for end in flat))
        still = np.flatnonzero(op.is_open([Interval(*(end[entries] for end in flat))]))
        self.entries[node] = entries[still]
        if len(still):
            x = Interval(*(end[:, None, still] for end in x))
            self.open[node] = self._opened(node, op, forms.take(still), x)

    def _opened(self, node: int, op: Nonlinear, read: Forms, x: Interval) -> _Open:
        rules = self.around.rules
        lines, image = op.lines(rules.how, [x], (None, None)), op.image(rules.how, [x])
        noise = rules.noise(node, op.roundings, image.size)
        size = np.maximum(*(line_size(line, [x]) for line in lines))
        image = Interval((image.lower - 2 * noise)[:, 0], (image.upper + 2 * noise)[:, 0])
        return _Open(read, lines, image, rules.part * size + noise)

    def _forms(self, node: int, rows: Array) -> Forms:
        """Of rows (rows, entries), with what adding them up anew on a box may be off by."""
        around, met = self.around, dict[int, Array]()
        linear = around.back({node: rows[None]}, self.entries, met)
        by_input, constant = linear.coefficients[0], linear.constant[0]
        size = np.abs(by_input) @ around.region.box.size[0] + np.abs(constant)
        by_open = {z: own[0] for z, own in met.items() if z in self.open}
        for z, own in by_open.items():
            size = size + np.abs(own) @ self.open[z].image.size.max(0)
        slack = linear.slack[0] + around.rules.part * (linear.slack[0] + size)
        by_input = by_input + around.rules.how.zeros(len(rows), 1)
        return Forms(by_input, by_open, constant, slack)

    def _interval(self, forms: Forms) -> Interval:
        """By the forms themselves: (boxes, rows)."""
        parts = [(forms.by_input, self.region.box)]
        parts += [(own, self.open[z].image) for z, own in forms.by_open.items()]
        center = sum((x.middle @ own.T for own, x in parts), start=forms.constant)
        # Centre and radius are rounded too: by no more than the slack holds once already.
        radius = sum((x.half @ np.abs(own.T) for own, x in parts), start=2 * forms.slack)
        return Interval(center - radius, center + radius)

    def _parts(self, rows: Array) -> list[Array]:
        """Rows that are walked back at a time."""
        widest = max([1, *(len(own) for own in self.entries.values())])
        count = max(1, MAX_NUMBERS // (widest * self.region.count))
        return [rows[i : i + count] for i in range(0, len(rows), count)]

    def _least(self, forms: Forms, sign: int) -> Array:
        """What `sign` times the forms is at least on each box: (boxes, rows)."""
        return self.region.minimum(self._back(forms, sign), self.around.rules.part)

    def _back(self, forms: Forms, sign: int) -> Linear:
        """Linear lower bounds of `sign` times the forms."""
        zeros = self.region.how.zeros(1, len(forms.constant))
        waiting = {z: sign * own[None] for z, own in forms.by_open.items()}
        by_input = sign * forms.by_input[None]
        constant, slack = zeros + sign * forms.constant, zeros + forms.slack
        while waiting:
            z = max(waiting)
            rows, own = waiting.pop(z), self.open[z]
            (passed,), more = through(own.lines, rows, zeros[:, :1, None])
            slack = slack + dots(np.abs(rows), own.off) + np.abs(passed) @ own.read.slack
            by_input = by_input + passed @ own.read.by_input
            constant = constant + more + passed @ own.read.constant
            for each, by_open in own.read.by_open.items():
                rest: Any = passed @ by_open
                waiting[each] = waiting[each] + rest if each in waiting else rest
        return Linear(by_input, constant, slack)
