"""Relaxations on a batch of parts of a region: what rows pass on their way back."""

from __future__ import annotations

import torch

from specdsl.bounds.interval import Interval
from specdsl.bounds.kinds.choice import Choice
from specdsl.bounds.outward import magnitude
from specdsl.bounds.parts.known import Known, Parts
from specdsl.bounds.parts.narrowed import narrowed, split_entries
from specdsl.bounds.passes.crown import Relaxations
from specdsl.graph.graph import NodeId


class PartLines:
    """Relaxations, and where they leave a choice, on one batch of parts.

    `bounds`: of the nodes that are narrower there than on the whole region, those whose entries are
    split and what follows from these.
    """

    def __init__(self, known: Known, parts: Parts) -> None:
        self.known = known
        self.parts = parts
        batch = len(parts.lower)
        self.region = known.region.take(parts.numbers.new_zeros(batch))
        self.split = split_entries(known, parts)
        self.bounds = narrowed(known, parts, self.split)
        self.choices: dict[NodeId, Choice] = {}
        self.relaxations = Relaxations(sizes=dict(known.sizes))
        for node in known.compiled.rules:
            self._relax(node)
        self.relaxations.unbounded.update(
            n for n, size in self.relaxations.sizes.items() if not bool(size.isfinite().all())
        )

    def _relax(self, node: NodeId) -> None:
        """Lines and choices at a nonlinear op, on every part where its operands are narrower."""
        known = self.known
        rule, names = known.compiled.rules[node], known.compiled.graph.operands(node)
        operands = [self.bounds.get(o, known.bounds[o]) for o in names]
        if any(o in self.bounds for o in names):
            operands = [_expanded(o, len(self.parts.lower)) for o in operands]
        line = rule.relax(operands)
        is_open = any(bool(rule.unstable(x).any()) for x in operands)
        choice = rule.choice(operands, line) if is_open else None
        if known.rounding is not None:
            sizes = [magnitude(x) for x in operands]
            drift = tuple(known.rounding.part * size for size in sizes)
            image = self.bounds.get(node, known.bounds[node])
            line = line.flattened(image, drift)
            choice = None if choice is None else choice.flattened(image, drift)
            if rule.is_delicate:
                size = line.size(*sizes)
                size = size if choice is None else size.maximum(choice.size(*sizes))
                self.relaxations.sizes[node] = size.masked_fill(size.isnan(), torch.inf)
        self.relaxations.lines[node] = line
        if choice is not None:
            self.choices[node] = choice


def _expanded(x: Interval, batch: int) -> Interval:
    """The same for every part of a batch."""
    shape = (batch, *x.lower.shape[1:])
    return Interval(x.lower.expand(shape), x.upper.expand(shape))
