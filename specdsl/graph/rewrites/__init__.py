"""Rewrites: a graph of fewer nodes with the same values, up to float64 rounding.

`simplify` is for methods that compute in floats. The graph as it was built stays the semantic
reference: evidence is judged on that one.
"""

from specdsl.graph.rewrites.simplify import simplify

__all__ = ["simplify"]
