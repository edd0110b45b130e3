"""What float32 makes of a dense network, in an order of our choice: one of those that a deployed
network may be run in.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from tests.soundness.networks import Array, Dense, Network, Pointwise, as_exact
from tests.soundness.questions import Question

Float32 = npt.NDArray[np.float32]

SMALLEST_NORMAL = np.finfo(np.float32).tiny


@dataclass(frozen=True, slots=True)
class Execution:
    """How sums are added up: `falling` from the last term to the first, their offset at the `start`
    or the end; `fused` rounds each product and sum together, once; `flush` makes 0 of what is not
    normal.
    """

    falling: bool = False
    start: bool = False
    fused: bool = False
    flush: bool = False

    def run(self, network: Network, point: Array) -> Float32:
        """The outputs, flat. Raises TypeError for layers other than dense ones and ReLUs."""
        value = np.asarray(point, dtype=np.float64).astype(np.float32)
        for layer in network.layers:
            match layer:
                case Dense():
                    rows = zip(layer.weight, layer.bias, strict=True)
                    value = np.array([self._sum(w, value, b) for w, b in rows], dtype=np.float32)
                case Pointwise("relu"):
                    value = np.maximum(value, np.float32(0))
                case _:
                    raise TypeError(f"no float32 for {layer}")
        return value

    def violates(self, question: Question, point: Array) -> bool:
        """Whether the outputs lie in the unsafe set, judged exactly, or are no numbers."""
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            outputs = self.run(question.network, point)
        if not np.isfinite(outputs).all():
            return True
        said = Network(outputs.shape, ())
        return Question(said, outputs, outputs, question.cases).violated(as_exact(outputs))

    def _sum(self, weights: Array, values: Float32, offset: float) -> np.float32:
        terms = [(np.float32(w), v) for w, v in zip(weights, values, strict=True) if w != 0]
        if self.falling:
            terms.reverse()
        bias = (np.float32(offset), np.float32(1))
        total = np.float32(0)
        for weight, value in [bias, *terms] if self.start else [*terms, bias]:
            total = self._flushed(self._fused(total, weight, value))
        return total

    def _fused(self, total: np.float32, weight: np.float32, value: np.float32) -> np.float32:
        if self.fused and np.isfinite([total, value]).all():
            exact = Fraction(float(weight)) * Fraction(float(value)) + Fraction(float(total))
            # Numbers of these cases have so few bits that rounding twice is rounding once.
            return np.float32(float(exact))
        return np.float32(total + self._flushed(np.float32(weight * value)))

    def _flushed(self, number: np.float32) -> np.float32:
        return np.float32(0) if self.flush and abs(number) < SMALLEST_NORMAL else number


EXECUTIONS = tuple(
    Execution(falling, start, fused, flush)
    for falling in (False, True)
    for start in (False, True)
    for fused, flush in ((False, False), (True, False), (False, True))
)
"""All of them."""
