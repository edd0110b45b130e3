"""Does the graph compute what the original network computes? Random points decide, or the import
is off.

Both sides round, so agreement is judged against the rounding that float32 shows on our own graph:
its float32 and float64 evaluations differ by a typical amount, and a misread op differs by far
more. Where a graph has steps, rounding can decide on which side of one a value lies: outputs that
jump under noise of that size are not compared (see `noise`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from specdsl.diagnostics import SpecError
from specdsl.graph import ops
from specdsl.graph.evaluate import evaluate
from specdsl.graph.graph import Graph, NodeId
from specdsl.graph.onnx_import.noise import has_steps, is_sensitive, noisy_outputs
from specdsl.graph.runtime import Runner, Runtime

FloatArray = npt.NDArray[np.float64]

POINTS = 32
# Multiplications in all; 2**32 take two seconds in float32 and float64 together. The largest
# network of the benchmarks needs 2**33, VGG16 needs 2**39 for all points.
MAX_WORK = 2**32
LEAST_POINTS = 4
# An entry of any other op takes as long as so many: 30 ns in both, comparing included.
ENTRY_WORK = 64
# 1e-5 of the largest output: some hundred float32 roundings (6e-8 each), which is what sums of a
# few thousand terms in another order differ by.
RELATIVE_TOLERANCE = 1e-5
# Where intermediate values cancel, float32 is worse than that; our own float32 error says how much.
ROUNDING_FACTOR = 100.0
# Noise is a sample of what rounding does; other samples may go further.
SPREAD_FACTOR = 4.0
# Relative: outputs that rounding moves further (a sigmoid of -15) say nothing about the import.
LARGEST_SPREAD = 1e-2
# Values beyond this may overflow float32 on the way.
FLOAT32_SAFE = 1e37
# Of one value at all points at once, 32 MiB in float64, of which noise takes a dozen: networks with
# larger values are compared a few points at a time.
MAX_ENTRIES = 2**22
# Of one input at all points, 64 MiB in float64: larger ones are given fewer points, two at least.
# Where an input has millions of entries, one point is already a sample of millions.
MAX_POINT_ENTRIES = 2**23


def compare_with_runtime(graph: Graph, model: bytes, name: str, *, seed: int = 0) -> None:
    """Compare all outputs of `graph` with ONNX Runtime's on `POINTS` seeded random points, one by
    one.

    Raises SpecError: E0610 with the largest difference where they disagree, E0611 where the runtime
    refuses the model.
    """
    compare(graph, Runtime(model, name), seed=seed)


def compare(graph: Graph, runner: Runner, *, seed: int = 0) -> None:
    """The same with anything that runs the original network."""
    largest = max(prod(graph.shapes[n]) for n in graph.inputs)
    count = max(2, min(POINTS, MAX_POINT_ENTRIES // max(1, largest)))
    chosen = _chosen_points(graph, count)
    inputs = {
        n: random_points(graph.shapes[n], seed + i, count)[chosen]
        for i, n in enumerate(graph.inputs)
    }
    if compare_at(graph, runner, inputs) is None:
        text = f"network `{runner.name}`: no random point has an output that can be compared"
        raise SpecError.of("E0610", text)


def compare_at(
    graph: Graph, runner: Runner, inputs: Mapping[NodeId, npt.NDArray[np.float32]]
) -> float | None:
    """The same at given points: the largest difference, relative to the largest output there.

    None where some output could not be compared at any point. Shapes: inputs are (points, *shape).
    Raises SpecError E0610 where they disagree, E0611 where the original fails.
    """
    count = min(len(points) for points in inputs.values())
    step = max(1, min(count, MAX_ENTRIES // max(prod(graph.shapes[n]) for n in graph.order)))
    usable = [False for _ in graph.outputs]
    largest = 0.0
    for start in range(0, count, step):
        chunk = {n: points[start : start + step] for n, points in inputs.items()}
        for i, values in enumerate(_compared(graph, runner, chunk)):
            found = values.largest_difference(runner, start)
            usable[i] |= found is not None
            largest = max(largest, found or 0.0)
    return largest if all(usable) else None


def _chosen_points(graph: Graph, count: int) -> slice:
    """Which of `count` random points to compare: all, or fewer of every kind where the network is
    large.
    """
    # Noise takes three more evaluations in float64, and one in float32.
    evaluations = 3 if is_sensitive(graph) else 1
    work = evaluations * sum(_multiplications(graph, node) for node in graph.order)
    return slice(None, None, max(1, min(count // LEAST_POINTS, 1 + count * work // MAX_WORK)))


def _multiplications(graph: Graph, node: NodeId) -> int:
    """How many multiplications take as long as one point does, at most."""
    op, size = graph.op(node), graph.size(node)
    match op:
        case ops.Dense():
            return size * op.weight.shape[1]
        case ops.Conv():
            return size * prod(op.weight.shape[1:])
        case ops.ConvTranspose():
            (x,) = graph.operands(node)
            return graph.size(x) * prod(op.weight.shape[1:])
        case _:
            return ENTRY_WORK * size


def _replayed(
    runner: Runner, graph: Graph, inputs: Mapping[NodeId, npt.NDArray[np.float32]]
) -> list[FloatArray]:
    """The original's outputs, each (points, entries)."""
    points = zip(*(inputs[n] for n in graph.inputs), strict=True)
    said = [runner.run_many(point) for point in points]
    results: list[FloatArray] = []
    for node, values in zip(graph.outputs, zip(*said, strict=True), strict=True):
        stacked = np.stack([v.reshape(-1) for v in values]).astype(np.float64)
        if stacked.shape[1] != graph.size(node):
            found = f"{stacked.shape[1]} outputs, the graph {graph.size(node)}"
            raise SpecError.of("E0610", f"network `{runner.name}`: {runner.title} gives {found}")
        results.append(stacked)
    return results


def random_points(
    shape: tuple[int, ...], seed: int, count: int = POINTS
) -> npt.NDArray[np.float32]:
    """(count, *shape): zeros, images in [0, 1], standard normals, and larger normals.

    Of fewer than four points none is zero.
    """
    generator = np.random.default_rng(seed)
    points = generator.standard_normal((count, *shape))
    zeros = int(count >= LEAST_POINTS)
    points[:zeros] = 0.0
    points[zeros : count // 2] = generator.random((count // 2 - zeros, *shape))
    points[-max(1, count // 4) :] *= 10.0
    return points.astype(np.float32)


def _outputs(graph: Graph, inputs: Mapping[NodeId, npt.NDArray[np.floating]]) -> list[FloatArray]:
    """Our outputs in the type of the inputs, each (points, entries)."""
    values = evaluate(graph, inputs, graph.outputs)
    flat = (values[n].reshape(values[n].shape[0], -1) for n in graph.outputs)
    return [v.astype(np.float64) for v in flat]


@dataclass(frozen=True, slots=True, eq=False)
class _Compared:
    """One output at some points, as the original says it and as we evaluate it.

    Shapes: all (points, entries). `spread`: how far rounding moves an entry; `steady`: which ones
    it moves by so little that they can be compared.
    """

    expected: FloatArray
    single: FloatArray
    double: FloatArray
    spread: FloatArray
    steady: npt.NDArray[np.bool_]

    def largest_difference(self, runner: Runner, start: int) -> float | None:
        """Relative to the largest output; None where nothing can be compared.

        `start` counts the points before these. Raises SpecError E0610 where it is too large.
        """
        moderate = np.isfinite(self.single) & (np.abs(self.double) < FLOAT32_SAFE) & self.steady
        usable = np.isfinite(self.expected) & moderate
        broken = ~np.isfinite(self.expected) & moderate
        with np.errstate(invalid="ignore"):
            scale = _largest(np.abs(self.double), usable)
            rounding = _largest(np.abs(self.single - self.double), usable)
            tolerance = RELATIVE_TOLERANCE * scale + ROUNDING_FACTOR * rounding
            tolerance = tolerance + SPREAD_FACTOR * self.spread
            difference = np.where(usable, np.abs(self.expected - self.double), 0.0)
        excess = np.where(broken, np.inf, np.where(usable, difference - tolerance, -np.inf))
        if excess.size and excess.max() > 0:
            point, entry = np.unravel_index(int(np.argmax(excess)), excess.shape)
            ours, theirs = self.double[point, entry], self.expected[point, entry]
            raise SpecError.of(
                "E0610",
                f"network `{runner.name}`: output {entry} is {theirs:.9g} in {runner.title} but "
                f"{ours:.9g} here, at random point {start + int(point)}",
                help="this network was misread and is refused; please report it",
            )
        if not usable.any():
            return None
        return float((difference / np.where(scale > 0, scale, 1.0)).max())


def _largest(values: FloatArray, usable: npt.NDArray[np.bool_]) -> FloatArray:
    """The largest usable entry at each point, (points, 1)."""
    return np.where(usable, values, 0.0).max(axis=1, keepdims=True, initial=0.0)


def _compared(
    graph: Graph, runner: Runner, inputs: Mapping[NodeId, npt.NDArray[np.float32]]
) -> list[_Compared]:
    expected = _replayed(runner, graph, inputs)
    with np.errstate(over="ignore", invalid="ignore"):
        if is_sensitive(graph):
            found = noisy_outputs(graph, inputs)
            return [
                _Compared(e, f.single, f.double, f.spread, _steady(graph, f.double, f.spread))
                for e, f in zip(expected, found, strict=True)
            ]
        single = _outputs(graph, inputs)
        double = _outputs(graph, {n: points.astype(np.float64) for n, points in inputs.items()})
        columns = zip(expected, single, double, strict=True)
        return [
            _Compared(e, s, d, np.abs(s - d), np.ones(d.shape, dtype=bool)) for e, s, d in columns
        ]


def _steady(graph: Graph, values: FloatArray, spread: FloatArray) -> npt.NDArray[np.bool_]:
    """Which entries noise moves by little only. Shapes: (points, entries)."""
    limit = RELATIVE_TOLERANCE if has_steps(graph) else LARGEST_SPREAD
    scale = _largest(np.abs(values), np.isfinite(values))
    with np.errstate(invalid="ignore"):
        return spread <= limit * scale
