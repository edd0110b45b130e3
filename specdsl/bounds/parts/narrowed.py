"""Intervals on parts: those of the entries that are split, and what follows from them further on.

Bounds of the whole region stand as they are (alpha-CROWN gave them); what a part adds is carried
on by intervals, and each node keeps the better of both. That is cheap, and worth it where a few ops
lie between an entry and the next nonlinear one: the terms of a softmax, a product of products.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping

import torch
from torch import Tensor

from specdsl.bounds.interval import Interval
from specdsl.bounds.parts.known import Known, Parts
from specdsl.bounds.passes.forward import interval_step
from specdsl.graph import ops
from specdsl.graph.graph import NodeId

# Weights of a dense layer up to which intervals go through it. Of larger ones intervals are wider
# than what rows that walked back say, and only cost time.
MAX_WEIGHTS = 2**12

Split = Mapping[NodeId, tuple[Tensor, Tensor]]
"""Of each node that is split, which of the parts' entries are its own (a mask), and where they lie
in its value (row-major).
"""


def split_entries(known: Known, parts: Parts) -> Split:
    """Where the entries that parts split lie."""
    found: dict[NodeId, tuple[Tensor, Tensor]] = {}
    for i, node in enumerate(known.entries.nodes):
        here = known.entries.here(parts.numbers, i)
        if bool(here.any()):
            found[node] = here, known.entries.positions(parts.numbers[here], i)
    return found


def narrowed(known: Known, parts: Parts, split: Split) -> dict[NodeId, Interval]:
    """Bounds on every part of the nodes that are narrower there: (batch, *node) each."""
    graph, batch = known.compiled.graph, len(parts.lower)
    found: dict[NodeId, Interval] = {}
    bounds = ChainMap(found, dict(known.bounds))
    for node in graph.order:
        if any(o in found for o in graph.operands(node)) and _carries(graph.op(node)):
            step = interval_step(known.compiled, node, bounds, batch)
            narrower = _both(known.bounds[node], step)
            if narrower is not None:
                found[node] = narrower
        if node in split:
            whole = found.get(node, known.bounds[node])
            found[node] = _cut(whole, parts, *split[node])
    return found


def _carries(op: ops.Op) -> bool:
    """Whether intervals go through an op."""
    if isinstance(op, ops.Dense):
        return op.weight.size <= MAX_WEIGHTS
    return not isinstance(op, ops.Conv | ops.ConvTranspose)


def _both(known: Interval, found: Interval) -> Interval | None:
    """What both say, where that is more than is known anyway."""
    better = (found.lower > known.lower) | (found.upper < known.upper)
    if not bool(better.any()):
        return None
    lower = torch.maximum(known.lower, found.lower)
    upper = torch.minimum(known.upper, found.upper)
    # Ends cross by rounding, or where a part is empty: any interval does then.
    return Interval(torch.minimum(lower, upper), torch.maximum(lower, upper))


def _cut(whole: Interval, parts: Parts, here: Tensor, columns: Tensor) -> Interval:
    """A node's bounds with what parts say of its entries at `columns`."""
    batch, shape = len(parts.lower), whole.lower.shape[1:]
    ends = whole.lower.flatten(1), whole.upper.flatten(1)
    lower, upper = (e.expand(batch, -1).clone() for e in ends)
    low = torch.maximum(lower[:, columns], parts.lower[:, here].to(lower))
    high = torch.minimum(upper[:, columns], parts.upper[:, here].to(upper))
    lower[:, columns], upper[:, columns] = torch.minimum(low, high), torch.maximum(low, high)
    return Interval(lower.reshape(batch, *shape), upper.reshape(batch, *shape))
