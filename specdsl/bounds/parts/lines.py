"""Relaxations on a batch of parts of a region: what rows pass on their way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from specdsl.bounds.interval import Interval
from specdsl.bounds.kinds.choice import Choice
from specdsl.bounds.outward import magnitude
from specdsl.bounds.parts.known import Known, Parts
from specdsl.bounds.parts.narrowed import narrowed, split_entries
from specdsl.bounds.passes.crown import Relaxations
from specdsl.graph import ops
from specdsl.graph.graph import NodeId

_T = TypeVar("_T")


class PartLines:
    """Relaxations, and where they leave a choice, on one batch of parts.

    `bounds`: of the nodes that are narrower there than on the whole region, those whose entries are
    split and what follows from these.

    Relaxations of curves are dear. `before`: of the same graph on as many parts, whose relaxations
    stand wherever operands have not changed since. `exact`: of the same parts in float64, whose
    tangents are taken over, for lines in another dtype that are climbed by and prove nothing.
    """

    def __init__(
        self,
        known: Known,
        parts: Parts,
        before: PartLines | None = None,
        exact: PartLines | None = None,
    ) -> None:
        self.known = known
        self.parts = parts
        batch = len(parts.lower)
        self.region = known.region.take(parts.numbers.new_zeros(batch))
        self.split = split_entries(known, parts)
        self.bounds = narrowed(known, parts, self.split)
        self.choices: dict[NodeId, Choice] = {}
        self.relaxations = Relaxations(sizes=dict(known.sizes))
        self.operands: dict[NodeId, list[Interval]] = {}
        for node in known.compiled.rules:
            names = known.compiled.graph.operands(node)
            self.operands[node] = [self.bounds.get(o, known.bounds[o]) for o in names]
            if exact is not None and isinstance(known.compiled.graph.op(node), ops.Smooth):
                self._take_over(node, exact)
            elif before is None or known.rounding is not None or not self._stands(node, before):
                self._relax(node)
        self.relaxations.unbounded.update(
            n for n, size in self.relaxations.sizes.items() if not bool(size.isfinite().all())
        )

    def _take_over(self, node: NodeId, exact: PartLines) -> None:
        """What another dtype says at a node, to the nearest."""
        like = self.known.compiled.like
        self.relaxations.lines[node] = _nearest(exact.relaxations.lines[node], like)
        if node in exact.choices:
            self.choices[node] = _nearest(exact.choices[node], like)

    def _stands(self, node: NodeId, before: PartLines) -> bool:
        """Take what is at a node from before, if its operands are the same; whether they are."""
        for own, other in zip(self.operands[node], before.operands[node], strict=True):
            if own is not other and not (
                torch.equal(own.lower, other.lower) and torch.equal(own.upper, other.upper)
            ):
                return False
        self.relaxations.lines[node] = before.relaxations.lines[node]
        if node in before.choices:
            self.choices[node] = before.choices[node]
        return True

    def _relax(self, node: NodeId) -> None:
        """Lines and choices at a nonlinear op, on every part where its operands are narrower."""
        known = self.known
        rule, names = known.compiled.rules[node], known.compiled.graph.operands(node)
        operands = self.operands[node]
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


def _nearest(value: _T, like: Tensor) -> _T:
    """A tree of dataclasses, sequences and tensors with its floating-point numbers in the dtype of
    another tensor.
    """
    found: Any = value
    if isinstance(value, Tensor):
        found = value.to(like) if value.is_floating_point() else value
    elif isinstance(value, tuple | list):
        items = cast("Sequence[Any]", value)
        found = tuple(_nearest(item, like) for item in items)
    elif is_dataclass(value) and not isinstance(value, type):
        own = {f.name: _nearest(getattr(value, f.name), like) for f in fields(value)}
        found = replace(value, **own)
    return found
