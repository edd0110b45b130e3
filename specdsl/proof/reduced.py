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
from specdsl.proof.operators import Affine
from specdsl.proof.passes import MAX_NUMBERS, Bounds, Linear, Rules
from specdsl.proof.regions import Region
from specdsl.proof.relaxations import Elementwise, Interval


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
    """The open entries of one nonlinear node on each box: (boxes, 1, open) or (boxes, open, 1).

    `read`: forms of what they read; `image`: their ranges (boxes, open); `low` and `rise`: slopes
    below, and how much larger those above are; `below`, `above`: constants; `off`: what a value may
    be off by besides.
    """

    read: Forms
    image: Interval
    low: Array
    rise: Array
    below: Array
    above: Array
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
        if any(not isinstance(op, Affine | Elementwise) for op in rules.rules.values()):
            return None
        low, high = region.box
        hull = Interval(low.min(0, keepdims=True), high.max(0, keepdims=True))
        reduced = cls(region, Bounds(rules, region.within(hull)))
        reduced.around.propagate(before=reduced._enter)
        return reduced

    def margins(self, rows: Array) -> Linear:
        """Linear lower bounds of rows (rows, outputs) on each box."""
        return self._back(self._forms(self.around.rules.network.output, rows), 1)

    def _enter(self, node: int, op: Elementwise) -> None:
        """Before a nonlinear node: tighter bounds of what it reads, and then it on each box."""
        rules, around = self.around.rules, self.around
        (operand,) = rules.network.nodes[node].operands
        merged = around.found[operand]
        entries = np.flatnonzero(op.is_open([merged]))
        self.entries[node] = entries
        if not len(entries):
            return
        rows = rules.how.zeros(len(entries), rules.network.size(operand))
        rows[np.arange(len(entries)), entries] = rules.how.zeros(1)[0] + 1
        forms = self._forms(operand, rows)
        x = self._interval(forms, merged, entries)
        if operand not in rules.exact:
            needed = np.flatnonzero(op.is_open([x]).any(0))
            for some in self._parts(needed):
                own = forms.take(some)
                x.lower[:, some] = np.fmax(x.lower[:, some], self._least(own, 1))
                x.upper[:, some] = np.fmin(x.upper[:, some], -self._least(own, -1))
        low, high = (np.array(end).reshape(-1) for end in merged)
        low[entries], high[entries] = x.lower.min(0), x.upper.max(0)
        merged = Interval(low.reshape(merged.lower.shape), high.reshape(merged.upper.shape))
        around.found[operand] = merged
        still = np.flatnonzero(op.is_open([Interval(low[entries], high[entries])]))
        self.entries[node] = entries[still]
        if len(still):
            x = Interval(x.lower[:, still], x.upper[:, still])
            self.open[node] = self._opened(node, op, forms.take(still), x)

    def _opened(self, node: int, op: Elementwise, read: Forms, x: Interval) -> _Open:
        rules = self.around.rules
        lines, image = op.lines(rules.how, [x], None), op.image(rules.how, [x])
        noise = self.around.noise_of(node, op, image.size)
        image = Interval(image.lower - 2 * noise, image.upper + 2 * noise)
        (low,), (high,) = lines.below.slopes, lines.above.slopes
        below, above = lines.below.constant, lines.above.constant
        steepest = np.maximum(np.abs(low), np.abs(high))
        size = steepest * x.size + np.maximum(np.abs(below), np.abs(above))
        off = rules.part * size + noise
        return _Open(
            read,
            image,
            low[:, None],
            (high - low)[:, None],
            below[..., None],
            above[..., None],
            off[..., None],
        )

    def _forms(self, node: int, rows: Array) -> Forms:
        """Of rows (rows, entries), with what adding them up anew on a box may be off by."""
        around, found = self.around, dict[int, Array]()
        linear = around.back(node, rows[None], kept=self.entries, found=found)
        by_input, constant = linear.coefficients[0], linear.constant[0]
        size = np.abs(by_input) @ around.region.box.size[0] + np.abs(constant)
        by_open = {z: own[0] for z, own in found.items() if z in self.open}
        for z, own in by_open.items():
            values = np.maximum(*(np.abs(e).max(0) for e in self.open[z].image))
            size = size + np.abs(own) @ values
        slack = linear.slack[0] + around.rules.part * (linear.slack[0] + size)
        by_input = by_input + around.rules.how.zeros(len(rows), 1)
        return Forms(by_input, by_open, constant, slack)

    def _interval(self, forms: Forms, known: Interval, entries: Array) -> Interval:
        """By the forms themselves, and by what is known: (boxes, rows)."""
        box = self.region.box
        center = (box.lower + box.upper) / 2 @ forms.by_input.T + forms.constant
        radius = (box.upper - box.lower) / 2 @ np.abs(forms.by_input.T)
        for z, own in forms.by_open.items():
            image = self.open[z].image
            center = center + (image.lower + image.upper) / 2 @ own.T
            radius = radius + (image.upper - image.lower) / 2 @ np.abs(own.T)
        # Centre and radius are rounded too: by no more than the slack holds once already.
        radius = radius + 2 * forms.slack
        return Interval(
            np.fmax(center - radius, known.lower.reshape(-1)[entries]),
            np.fmin(center + radius, known.upper.reshape(-1)[entries]),
        )

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
            negative = np.minimum(rows, zeros[:, :1, None])
            slack = slack + (np.abs(rows) @ own.off)[..., 0]
            constant = constant + (negative @ (own.above - own.below))[..., 0]
            if own.below.any():
                constant = constant + (rows @ own.below)[..., 0]
            passed = rows * own.low + negative * own.rise
            by_input = by_input + passed @ own.read.by_input
            constant = constant + passed @ own.read.constant
            slack = slack + np.abs(passed) @ own.read.slack
            for each, by_open in own.read.by_open.items():
                more: Any = passed @ by_open
                waiting[each] = waiting[each] + more if each in waiting else more
        return Linear(by_input, constant, slack)
