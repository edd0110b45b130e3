"""Does the graph compute what ONNX Runtime computes? Random points decide, or the import is off.

Both sides round, so agreement is judged against the rounding that float32 shows on our own graph:
its float32 and float64 evaluations differ by a typical amount, and a misread op differs by far
more.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np
import numpy.typing as npt

from specdsl.diagnostics import SpecError
from specdsl.graph.evaluate import evaluate
from specdsl.graph.graph import Graph, NodeId
from specdsl.graph.runtime import Runtime

FloatArray = npt.NDArray[np.float64]

POINTS = 32
# 1e-5 of the largest output: some hundred float32 roundings (6e-8 each), which is what sums of a
# few thousand terms in another order differ by.
RELATIVE_TOLERANCE = 1e-5
# Where intermediate values cancel, float32 is worse than that; our own float32 error says how much.
ROUNDING_FACTOR = 100.0
# Values beyond this may overflow float32 on the way.
FLOAT32_SAFE = 1e37
# 2**24 float64 are 128 MiB: larger networks are compared a few points at a time.
MAX_ENTRIES = 2**24


def compare_with_runtime(graph: Graph, model: bytes, name: str, *, seed: int = 0) -> None:
    """Compare all outputs of `graph` with ONNX Runtime's on `POINTS` seeded random points, one by
    one.

    Raises SpecError: E0610 with the largest difference where they disagree, E0611 where the runtime
    refuses the model.
    """
    runtime = Runtime(model, name)
    inputs = {n: random_points(graph.shapes[n], seed + i) for i, n in enumerate(graph.inputs)}
    largest = max(prod(graph.shapes[n]) for n in graph.order)
    step = max(1, min(POINTS, MAX_ENTRIES // largest))
    usable = [False for _ in graph.outputs]
    for start in range(0, POINTS, step):
        chunk = {n: points[start : start + step] for n, points in inputs.items()}
        expected = _replayed(runtime, graph, chunk)
        single = _outputs(graph, chunk)
        double = _outputs(graph, {n: points.astype(np.float64) for n, points in chunk.items()})
        for i, values in enumerate(zip(expected, single, double, strict=True)):
            usable[i] |= _agree(name, start, *values)
    if not all(usable):
        raise SpecError.of("E0610", f"network `{name}`: no finite output at any random point")


def _replayed(
    runtime: Runtime, graph: Graph, inputs: Mapping[NodeId, npt.NDArray[np.float32]]
) -> list[FloatArray]:
    """The runtime's outputs, each (points, entries)."""
    points = zip(*(inputs[n] for n in graph.inputs), strict=True)
    said = [runtime.run_many(point) for point in points]
    results: list[FloatArray] = []
    for node, values in zip(graph.outputs, zip(*said, strict=True), strict=True):
        stacked = np.stack([v.reshape(-1) for v in values]).astype(np.float64)
        if stacked.shape[1] != graph.size(node):
            found = f"{stacked.shape[1]} outputs, the graph {graph.size(node)}"
            raise SpecError.of("E0610", f"network `{runtime.name}`: ONNX Runtime gives {found}")
        results.append(stacked)
    return results


def random_points(shape: tuple[int, ...], seed: int) -> npt.NDArray[np.float32]:
    """(POINTS, *shape): zeros, images in [0, 1], standard normals, and larger normals."""
    generator = np.random.default_rng(seed)
    points = generator.standard_normal((POINTS, *shape))
    points[0] = 0.0
    points[1 : POINTS // 2] = generator.random((POINTS // 2 - 1, *shape))
    points[-POINTS // 4 :] *= 10.0
    return points.astype(np.float32)


def _outputs(graph: Graph, inputs: Mapping[NodeId, npt.NDArray[np.floating]]) -> list[FloatArray]:
    """Our outputs in the type of the inputs, each (points, entries)."""
    with np.errstate(over="ignore", invalid="ignore"):
        values = evaluate(graph, inputs, graph.outputs)
    flat = (values[n].reshape(values[n].shape[0], -1) for n in graph.outputs)
    return [v.astype(np.float64) for v in flat]


def _agree(
    name: str,
    start: int,
    expected: FloatArray,
    single: FloatArray,
    double: FloatArray,
) -> bool:
    """Whether anything could be compared; raises E0610 where it disagrees."""
    moderate = np.isfinite(single) & (np.abs(double) < FLOAT32_SAFE)
    usable = np.isfinite(expected) & moderate
    broken = ~np.isfinite(expected) & moderate
    with np.errstate(invalid="ignore"):
        scale = np.where(usable, np.abs(double), 0.0).max(axis=1, keepdims=True)
        rounding = np.where(usable, np.abs(single - double), 0.0).max(axis=1, keepdims=True)
        tolerance = RELATIVE_TOLERANCE * scale + ROUNDING_FACTOR * rounding
        excess = np.where(usable, np.abs(expected - double) - tolerance, -np.inf)
    excess = np.where(broken, np.inf, excess)
    if excess.max() > 0:
        point, entry = np.unravel_index(int(np.argmax(excess)), excess.shape)
        ours, theirs = double[point, entry], expected[point, entry]
        raise SpecError.of(
            "E0610",
            f"network `{name}`: output {entry} is {theirs:.9g} in ONNX Runtime but {ours:.9g} "
            f"here, at random point {start + int(point)}",
            help="this network was misread and is refused; please report it",
        )
    return bool(usable.any())
