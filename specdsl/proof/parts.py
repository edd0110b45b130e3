"""Proofs by parts: inner values are split as well, and the proof says how each row goes back.

A proof is a tree in preorder, read as it is checked. At a step, bounds of some entries are
tightened for all that hangs below it: by rows whose slopes it names, by multiples of what is known
of split entries, and of the margins, which are 0 or less wherever a point is looked for. At a leaf,
a weighted sum of margins refutes each case. Sources: Xu et al. 2021, arXiv:2011.13824 (slopes),
Wang et al. 2021, arXiv:2103.06624 (multipliers), Kotha et al. 2023, arXiv:2302.01404 (margins).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil, floor
from typing import NamedTuple

import numpy as np

from specdsl.proof.arithmetic import Array
from specdsl.proof.cases import Cases, weights_of
from specdsl.proof.fields import Fields
from specdsl.proof.passes import Bounds, Chosen, Rules, Way, unit_rows
from specdsl.proof.question import Question
from specdsl.proof.refusal import Refused, require
from specdsl.proof.relaxations import Interval, Nonlinear

LEAF, SPLIT, STEP, CASES, EMPTY = 0, 1, 2, 3, 4
Known = dict[int, Interval]


@dataclass(slots=True)
class Stream:
    """Numbers one after another. Raises Refused where they end too early."""

    data: bytes
    at: int = 0

    def take(self, dtype: str, *shape: int) -> Array:
        """So many of this type."""
        own = np.dtype(dtype)
        size = int(np.prod(shape, dtype=object)) * own.itemsize
        require(self.at + size <= len(self.data), "a proof is cut off")
        self.at += size
        return np.frombuffer(self.data[self.at - size : self.at], own).reshape(shape)

    def number(self, dtype: str) -> int:
        """One whole number."""
        return int(self.take(dtype, 1)[0])


class Choice(NamedTuple):
    """Slopes of entries `columns` of a nonlinear node that rows choose, on so many `sides` (below;
    or below and above), each `least + step * byte`, or float32 itself where `step` is 0.
    """

    columns: Array
    sides: int
    least: float
    step: float


@dataclass(slots=True, eq=False)
class Parts:
    """Of some cases. `entries`: those that are split, or have multipliers, by node."""

    question: Question
    rules: Rules
    numbers: tuple[int, ...]
    stream: Stream
    choices: Mapping[int, Choice]
    entries: Mapping[int, Array]
    leaves: int = 0

    @classmethod
    def of(
        cls, question: Question, rules: Rules, numbers: tuple[int, ...], record: Fields, data: bytes
    ) -> Parts:
        """Raises Refused where what a header says of a proof fits no network."""
        stream = Stream(data)
        choices, entries = dict[int, Choice](), dict[int, Array]()
        for each in record.objects("choices"):
            node, sides = each.whole("node"), each.whole("sides")
            fits = isinstance(rules.ops.get(node), Nonlinear) and sides in {1, 2}
            require(fits, "a choice is of no nonlinear node")
            columns = _columns(stream, question, node, each.whole("count"))
            choices[node] = Choice(columns, sides, each.real("least"), each.real("step"))
        for each in record.objects("entries"):
            node = each.whole("node")
            require(0 <= node <= question.network.output, "entries are of no node")
            entries[node] = _columns(stream, question, node, each.whole("count"))
        return cls(question, rules, numbers, stream, choices, entries)

    def check(self, before_each: Callable[[], None] = lambda: None) -> int:
        """The number of leaves. `before_each` node something may be looked at, a clock for example.

        Raises Refused with the first leaf that is not refuted, and what `before_each` raises.
        """
        whole = Cases.of(self.question, self.rules, self.numbers)
        if whole.root is not None:
            bounds = Bounds(self.rules, whole.region(whole.root))
            bounds.propagate(bounds.tighten)
            waiting = [(bounds.found, self.numbers)]
            while waiting:
                before_each()
                waiting += self._node(*waiting.pop())
            require(self.stream.at == len(self.stream.data), "a proof goes on behind its end")
        return self.leaves

    def _node(self, known: Known, numbers: tuple[int, ...]) -> list[tuple[Known, tuple[int, ...]]]:
        """What hangs below the next node, the first part last."""
        kind = self.stream.number("u1")
        if kind == CASES:
            return [(known, (number,)) for number in reversed(numbers)]
        if kind == SPLIT:
            return [(each, numbers) for each in self._split(known)]
        cases = Cases.of(self.question, self.rules, numbers)
        box = known[self.question.network.input]
        bounds = Bounds(self.rules, cases.region(Interval(*(e.reshape(-1) for e in box))), known)
        bounds.propagate(None)
        if kind == STEP:
            return [({**bounds.found, **self._step(cases, bounds)}, numbers)]
        require(kind in {LEAF, EMPTY}, f"a proof has no nodes of kind {kind}")
        self.leaves += 1
        if kind == EMPTY:
            # Where float32 makes no number, that lies in no part, and no part is empty of it.
            closed = any((x.lower > x.upper).any() for x in bounds.found.values())
            closed = closed and not bounds.failed
        else:
            rows = cases.rows(self.stream.take("<f4", 1, cases.named))
            start = {self.rules.network.output: cases.margins(rows)}
            least = bounds.least(bounds.back(start, way=self._way(bounds, len(numbers))))
            closed = bool(cases.refuted(rows, least).all())
        if not closed:
            raise Refused(f"the bounds of leaf {self.leaves - 1} do not refute it")
        return []

    def _split(self, known: Known) -> list[Known]:
        node, at = self._entry()
        point = self.rules.how.array(self.stream.take("<f8", 1))[0]
        require(bool(np.isfinite(float(point))), "a split is nowhere")
        is_whole = node == self.rules.network.input and at in self.question.integers
        below, above = (floor(point), ceil(point)) if is_whole else (point, point)
        low, high = (end.copy() for end in known[node])
        low.reshape(len(low), -1)[:, at] = np.fmax(low.reshape(len(low), -1)[:, at], above)
        high.reshape(len(high), -1)[:, at] = np.fmin(high.reshape(len(high), -1)[:, at], below)
        upper, lower = Interval(low, known[node].upper), Interval(known[node].lower, high)
        return [{**known, node: upper}, {**known, node: lower}]

    def _entry(self) -> tuple[int, int]:
        group, at = self.stream.take("<u4", 2).tolist()
        require(group < len(self.entries), "a split is of no entry")
        node = list(self.entries)[group]
        require(at < len(self.entries[node]), "a split is of no entry")
        return node, int(self.entries[node][at])

    def _step(self, cases: Cases, bounds: Bounds) -> Known:
        """Of one node, whose entries are bounded again from below and from above."""
        network, how = self.rules.network, self.rules.how
        node, count = self.stream.take("<u4", 2).tolist()
        require(node < network.output, "a step is of no node inside")
        columns = _columns(self.stream, self.question, node, count)
        rows = unit_rows(how, columns, network.size(node))
        rows = np.concatenate([rows, -rows])
        weights = weights_of(how, self.stream.take("<f4", 2 * count, len(cases.read)))
        # A sum is 0 or less only where one case is looked for.
        fits = len(cases.cases) == 1 or not weights.any()
        require(fits, "a step adds multiples of margins that may be positive")
        start = {node: rows[None], network.output: cases.margins(weights)[None]}
        least = bounds.least(bounds.back(start, way=self._way(bounds, len(rows))))
        least = how.shorter(least, -float("inf"))
        low, high = (end.copy() for end in bounds.found[node])
        flat = low.reshape(1, -1), high.reshape(1, -1)
        flat[0][:, columns] = np.fmax(flat[0][:, columns], least[:, :count])
        flat[1][:, columns] = np.fmin(flat[1][:, columns], -least[:, count:])
        return {node: Interval(low, high)}

    def _way(self, bounds: Bounds, count: int) -> Way:
        """How so many rows go back: by slopes where they are named, and multipliers."""
        how, slopes, multipliers = (
            self.rules.how,
            dict[int, Chosen](),
            dict[int, tuple[Array, Array]](),
        )
        for node, choice in self.choices.items():
            if not self.stream.number("u1"):
                continue
            operands, columns = len(self.rules.network.nodes[node].operands), choice.columns
            dtype = "u1" if choice.step else "<f4"
            own = self.stream.take(dtype, choice.sides, operands, count, len(columns)).astype(float)
            own = choice.least + choice.step * own if choice.step else own
            require(bool(np.isfinite(own).all()), "a slope is no number")
            own = how.array(own)
            op = self.rules.ops[node]
            assert isinstance(op, Nonlinear)
            # Where it is linear, there is nothing to choose.
            bent = op.is_open(bounds.operands(node))[0, 0, columns]
            sides = [
                tuple(_with(a, columns, b, bent) for a, b in zip(line.slopes, values, strict=True))
                for line, values in zip(bounds.lines[node], own, strict=False)
            ]
            slopes[node] = sides[0], sides[1] if choice.sides == 2 else None
        for node, entries in self.entries.items():
            chosen = self.stream.take("<u4", self.stream.number("<u4"))
            require(bool((chosen < len(entries)).all()), "a multiplier is of no entry")
            own = self.stream.take("<f4", count, len(chosen)).astype(float)
            require(bool(np.isfinite(own).all()), "a multiplier is no number")
            require(len(np.unique(chosen)) == len(chosen), "an entry has two multipliers")
            if len(chosen):
                multipliers[node] = entries[chosen], how.array(own)
        return Way(slopes, multipliers)


def _with(slopes: Array, columns: Array, own: Array, bent: Array) -> Array:
    """Slopes (1, 1, entries) for every row of some, with those of some entries replaced."""
    found = np.repeat(slopes, len(own), axis=1)
    found[0][:, columns] = np.where(bent, own, found[0][:, columns])
    return found


def _columns(stream: Stream, question: Question, node: int, count: int) -> Array:
    """Entries of a node, each once."""
    columns = stream.take("<u4", count).astype(np.int64)
    fits = bool((columns < question.network.size(node)).all())
    require(fits and len(np.unique(columns)) == count, "entries are not those of a node")
    return columns
