"""How far rounding can move the outputs of a graph.

Two evaluators may fairly differ by more than the last place of an output. A step (a sign, a
comparison, an argmax) turns a difference in the last place into one of its full height. A function
that levels off is computed by runtimes to a float32 rounding of its range, not of its value: a
sigmoid of 1e-5 is known to two digits. So the graph is evaluated several times, with noise of the
size of float32 rounding on every value that an op rounds. Values that float32 holds exactly (whole
numbers, copies of inputs) get none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from specdsl.graph import ops
from specdsl.graph.evaluate import Batch, apply, reader_counts
from specdsl.graph.graph import Graph, NodeId

FloatArray = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating]

COPIES = 2
# Noise beyond the rounding of our own float32 evaluation, for others sum up in another order.
NOISE_FACTOR = 4.0
# Relative: one float32 rounding at least, where float32 and float64 differ at all.
FLOAT32_ROUNDING = 2.0**-24
# ONNX Runtime's vectorised sigmoid is off by 1e-7 everywhere (measured); 2**-22 is 2.4e-7. Of
# functions times their argument, relative to the argument.
LEVEL_ERROR = 2.0**-22
# These give entries of their operands, or numbers that need no rounding.
_EXACT = (ops.Input, ops.Constant, ops.Rearrange, ops.Relu, ops.Abs, ops.Step, ops.GroupMax)
# Functions that runtimes compute to a relative error.
_RELATIVE = (ops.Exp, ops.Log, ops.Sqrt, ops.Power, ops.Reciprocal)


@dataclass(frozen=True, slots=True, eq=False)
class NoisyOutput:
    """One output in float32, in float64, and how far noise moves it. Shapes: (points, entries)."""

    single: FloatArray
    double: FloatArray
    spread: FloatArray


def has_steps(graph: Graph) -> bool:
    """Whether anything in the graph jumps."""
    return any(isinstance(op, ops.Step) for _, op, _ in graph)


def is_sensitive(graph: Graph) -> bool:
    """Whether rounding can move outputs by more than float32 evaluation itself shows."""
    return any(isinstance(op, ops.Step) or _levels_off(op) for _, op, _ in graph)


def _levels_off(op: ops.Op) -> bool:
    return isinstance(op, ops.Smooth) and not isinstance(op, _RELATIVE)


def noisy_outputs(
    graph: Graph, inputs: Mapping[NodeId, npt.NDArray[np.float32]], seed: int = 0
) -> list[NoisyOutput]:
    """All outputs at some points. Shapes: inputs are (points, *shape)."""
    generator = np.random.default_rng(seed)
    points = min(len(x) for x in inputs.values())
    single = Batch(points, np.dtype(np.float32))
    double = Batch(points * (1 + COPIES), np.dtype(np.float64))
    remaining = reader_counts(graph, graph.outputs, given=())
    rounded: dict[NodeId, Floats] = {}
    copies: dict[NodeId, Floats] = {}
    for node, op, operands in graph:
        if node not in remaining:
            continue
        if isinstance(op, ops.Input):
            rounded[node] = inputs[node]
            copies[node] = np.concatenate([inputs[node].astype(np.float64)] * (1 + COPIES))
            continue
        rounded[node] = apply(op, [rounded[o] for o in operands], single)
        copies[node] = apply(op, [copies[o] for o in operands], double)
        if not isinstance(op, _EXACT):
            taken = [rounded[o] for o in operands]
            error = _rounding(op, taken, rounded[node], copies[node][:points], single)
            if _levels_off(op):
                error = error + LEVEL_ERROR * np.maximum(1.0, np.abs(rounded[operands[0]]))
            copies[node] = _with_noise(copies[node], error, generator)
        _release(operands, remaining, (rounded, copies))
    return [_output(rounded[n], copies[n], points) for n in graph.outputs]


def _rounding(
    op: ops.Op, operands: Sequence[Floats], single: Floats, double: Floats, batch: Batch
) -> Floats:
    """How far float32 is off, entry by entry; nowhere at a point where it is exact everywhere.

    Entries beyond float32 have no error: what they are is not a matter of rounding. Shapes: all
    (points, *shape), the operands' own.
    """
    finite = np.isfinite(single) & np.isfinite(double)
    error = np.zeros_like(double)
    np.subtract(single, double, out=error, where=finite)
    error = np.abs(error)
    inexact = error.any(axis=tuple(range(1, error.ndim)), keepdims=True)
    sizes = np.where(finite, _sizes(op, operands, double, batch), 0.0)
    return np.where(inexact, np.maximum(error, FLOAT32_ROUNDING * sizes), 0.0)


def _sizes(op: ops.Op, operands: Sequence[Floats], value: Floats, batch: Batch) -> Floats:
    """What is rounded for an entry: its value, or the sum of the sizes of what is added up."""
    if not isinstance(op, ops.Dense | ops.Conv | ops.ConvTranspose):
        return np.abs(value)
    positive = replace(op, weight=np.abs(op.weight), bias=np.abs(op.bias))
    return apply(positive, [np.abs(x) for x in operands], batch)


def _with_noise(values: Floats, error: Floats, generator: np.random.Generator) -> Floats:
    """Noise on all copies but the first, the values without any.

    Shapes: values ((1 + COPIES) * points, *shape), error (points, *shape).
    """
    split = values.reshape(1 + COPIES, len(error), *values.shape[1:]).copy()
    split[1:] += NOISE_FACTOR * error * generator.uniform(-1.0, 1.0, split[1:].shape)
    return split.reshape(values.shape)


def _release(
    operands: Sequence[NodeId],
    remaining: dict[NodeId, int],
    values: Sequence[dict[NodeId, Floats]],
) -> None:
    """Forget values that nothing will read."""
    for operand in operands:
        remaining[operand] -= 1
        if not remaining[operand]:
            for held in values:
                del held[operand]


def _output(rounded: Floats, copies: Floats, points: int) -> NoisyOutput:
    single = rounded.reshape(points, -1).astype(np.float64)
    split = copies.reshape(1 + COPIES, points, -1).astype(np.float64, copy=False)
    moved = np.abs(split[1:] - split[0]).max(axis=0)
    return NoisyOutput(single, split[0], np.maximum(moved, np.abs(single - split[0])))
