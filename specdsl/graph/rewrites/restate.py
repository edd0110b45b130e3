"""The margins that methods bound: those of a query, said so that bounds are easiest."""

from __future__ import annotations

from dataclasses import dataclass

from specdsl.graph.graph import Graph
from specdsl.graph.rewrites.compare_arguments import compare_arguments
from specdsl.graph.rewrites.simplify import simplify_exactly


@dataclass(frozen=True, slots=True, eq=False)
class Restated:
    """`graph`: margins of the same signs, for all real numbers. `keeps_values`: they are the same
    numbers as well, not only of the same signs.
    """

    graph: Graph
    keeps_values: bool


def restate(graph: Graph) -> Restated:
    """Margins compared where that is easiest, and jumps gone that are none.

    Nothing is rounded. What float64 hides is to be measured on this graph, and not on the original:
    that one may magnify errors, and be measured another way, where this one does not.
    `simplify(restate(graph).graph)` magnifies errors exactly where `restate(graph).graph` does.
    """
    exact = simplify_exactly(graph)
    compared = compare_arguments(exact)
    if compared is exact:
        return Restated(exact, keeps_values=True)
    return Restated(simplify_exactly(compared), keeps_values=False)
