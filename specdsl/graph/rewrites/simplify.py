"""All rewrites, in a fixed order, until none applies."""

from __future__ import annotations

from specdsl.graph.graph import Graph
from specdsl.graph.rewrites.drop_identities import drop_identities
from specdsl.graph.rewrites.fold_batch_norm import fold_batch_norm
from specdsl.graph.rewrites.fold_constants import fold_constants
from specdsl.graph.rewrites.merge_affine import merge_affine
from specdsl.graph.rewrites.merge_rearrangements import merge_rearrangements
from specdsl.graph.rewrites.rewriting import rewrite

# Constants first, for they make affine ops of sums; batch norms before merging, for they become
# scales there; identities last, for merging leaves some.
_RULES = (fold_constants, fold_batch_norm, merge_rearrangements, merge_affine, drop_identities)

# Every rule shortens a chain or moves an op past another in one direction only, so the loop ends by
# itself; the cap turns a mistake in that reasoning into an early stop with a correct graph.
MAX_ROUNDS = 100


def simplify(graph: Graph) -> Graph:
    """Fewer nodes, equal values up to float64 rounding (1e-9 of their size is tested).

    Input nodes keep their ids, outputs their order and shapes. Exact parameters (`Fraction`) that
    take part in a merge are rounded to float64.
    """
    for _ in range(MAX_ROUNDS):
        any_change = False
        for rule in _RULES:
            graph, changed = rewrite(graph, rule)
            any_change |= changed
        if not any_change:
            break
    return graph
