"""Which candidates are not worth exact arithmetic: those far from being witnesses in float64."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from specdsl.graph import ops
from specdsl.graph.evaluate import evaluate
from specdsl.graph.graph import Graph, NodeId
from specdsl.query.query import Case

FloatArray = npt.NDArray[np.float64]

# A candidate whose float64 margin is above 1e-5 of the largest number met on the way is hopeless:
# float32 rounds at 6e-8, so neither exact numbers nor the runtime will find it negative.
HOPELESS = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class Screen:
    """Float64 margins at a point, and the largest number met on the way to them. `near_jump`:
    rounding decides on which side of some jump the point lies, so that margins say nothing.
    """

    margins: FloatArray
    largest: float
    near_jump: bool

    def hopeless(self, case: Case) -> bool:
        """Whether some atom of the case is far from holding."""
        if self.near_jump:
            return False
        margins = self.margins[[a.index for a in case.atoms]]
        return bool((margins > HOPELESS * self.largest).any())


def screen(graph: Graph, point: FloatArray) -> Screen:
    """Margins in float64, cheaply. point: flat."""
    shaped = point.reshape(1, *graph.shapes[graph.input])
    with np.errstate(over="ignore", invalid="ignore"):
        values = evaluate(graph, {graph.input: shaped})
        largest = max(float(np.abs(v).max(initial=0.0)) for v in values.values())
        # Arguments may be off by as much as margins. What is not a number is not far.
        near = not all(bool((d > HOPELESS * largest).all()) for d in _to_jumps(graph, values))
    return Screen(values[graph.output].reshape(-1).astype(np.float64), largest, near)


def _to_jumps(
    graph: Graph, values: Mapping[NodeId, npt.NDArray[np.floating]]
) -> Iterator[FloatArray]:
    """How far the arguments of each step are from the nearest place where it jumps."""
    for _, op, operands in graph:
        if isinstance(op, ops.Threshold):
            yield np.abs(values[operands[0]])
        elif isinstance(op, ops.Rounding):
            away = values[operands[0]] - op.jump
            yield np.abs(away - np.rint(away))
