"""Rewrites: a graph of fewer nodes with the same values, up to float64 rounding.

Methods that compute in floats take `simplify(restate(graph).graph)` and measure their rounding on
`restate(graph).graph`; exact ones take the latter as it is. The graph as it was built stays the
semantic reference: evidence is judged on that one. `expand_maxima` says maxima with ReLUs, for
methods without a rule of theirs.
"""

from specdsl.graph.rewrites.compare_arguments import compare_arguments
from specdsl.graph.rewrites.expand_maxima import expand_maxima
from specdsl.graph.rewrites.restate import Restated, restate
from specdsl.graph.rewrites.simplify import simplify, simplify_exactly

__all__ = [
    "Restated",
    "compare_arguments",
    "expand_maxima",
    "restate",
    "simplify",
    "simplify_exactly",
]
