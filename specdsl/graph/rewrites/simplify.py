"""All rewrites, in a fixed order, until none applies."""

from __future__ import annotations

from specdsl.graph.graph import Graph
from specdsl.graph.rewrites.absorb_shifts import absorb_shifts
from specdsl.graph.rewrites.drop_identities import drop_identities
from specdsl.graph.rewrites.drop_repeats import drop_repeats
from specdsl.graph.rewrites.fold_batch_norm import fold_batch_norm
from specdsl.graph.rewrites.fold_constants import fold_constants, magnifies
from specdsl.graph.rewrites.merge_affine import merge_affine
from specdsl.graph.rewrites.merge_gates import merge_gates
from specdsl.graph.rewrites.merge_rearrangements import merge_rearrangements
from specdsl.graph.rewrites.merge_sums import merge_sums
from specdsl.graph.rewrites.rewriting import Rule, rewrite
from specdsl.graph.rewrites.share_repeats import share_repeats
from specdsl.graph.rewrites.undo_relu_splitting import undo_relu_splitting
from specdsl.graph.rewrites.undo_split_layers import undo_split_layers

# Rules that compute nothing, or nothing that rounds (`fold_constants`: where it matters). Constants
# go first, for they make affine ops of sums and products.
_EXACT: tuple[Rule, ...] = (
    fold_constants,
    fold_batch_norm,
    absorb_shifts,
    merge_gates,
    undo_relu_splitting,
    drop_repeats,
    merge_rearrangements,
    drop_identities,
)
# Rules that multiply or add weights in float64. Split layers before merging, which would hide that
# rows are opposite.
_ROUNDING: tuple[Rule, ...] = (undo_split_layers, merge_sums, merge_affine)

# Every rule shortens a chain or moves an op past another in one direction only, so the loop ends by
# itself; the cap turns a mistake in that reasoning into an early stop with a correct graph.
MAX_ROUNDS = 100


def simplify(graph: Graph) -> Graph:
    """Fewer nodes, equal values up to float64 rounding (1e-9 of their size is tested).

    Input nodes keep their ids, outputs their order and shapes. Exact parameters (`Fraction`) that
    take part in a merge are rounded to float64. In a graph that magnifies errors (`magnifies`) no
    weights are merged: real values stay what they are.
    """
    return _repeated(graph, _EXACT if magnifies(graph) else (*_EXACT, *_ROUNDING))


def simplify_exactly(graph: Graph) -> Graph:
    """A graph that magnifies errors, with fewer nodes and equal real values; others as they are.

    The result may magnify nothing any more: jumps that are none go.
    """
    return _repeated(graph, _EXACT) if magnifies(graph) else graph


def _repeated(graph: Graph, rules: tuple[Rule, ...]) -> Graph:
    for _ in range(MAX_ROUNDS):
        graph, any_change = share_repeats(graph)
        for rule in rules:
            graph, changed = rewrite(graph, rule)
            any_change |= changed
        if not any_change:
            break
    return graph
