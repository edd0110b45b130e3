"""Does the graph compute what ONNX Runtime computes? Random points decide, or the import is off.

Both sides round, so agreement is judged against the rounding that float32 shows on our own graph:
its float32 and float64 evaluations differ by a typical amount, and a misread op differs by far
more.
"""

from __future__ import annotations

from math import prod

import numpy as np
import numpy.typing as npt

from specdsl.diagnostics import SpecError
from specdsl.graph.evaluate import evaluate
from specdsl.graph.graph import Graph
from specdsl.graph.runtime import Runtime

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
    """Compare `graph` with ONNX Runtime on `POINTS` seeded random points, one by one.

    Raises SpecError: E0610 with the largest difference where they disagree, E0611 where the runtime
    refuses the model.
    """
    runtime = Runtime(model, name)
    points = random_points(graph.shapes[graph.input], seed)
    largest = max(prod(graph.shapes[n]) for n in graph.order)
    step = max(1, min(POINTS, MAX_ENTRIES // largest))
    usable = False
    for start in range(0, POINTS, step):
        chunk = points[start : start + step]
        expected = np.stack([runtime.run(p).reshape(-1) for p in chunk]).astype(np.float64)
        if expected.shape[1] != graph.size(graph.output):
            found = f"{expected.shape[1]} outputs, the graph {graph.size(graph.output)}"
            raise SpecError.of("E0610", f"network `{name}`: ONNX Runtime gives {found}")
        double = _outputs(graph, chunk.astype(np.float64))
        usable |= _agree(name, start, expected, _outputs(graph, chunk), double)
    if not usable:
        raise SpecError.of("E0610", f"network `{name}`: no finite output at any random point")


def random_points(shape: tuple[int, ...], seed: int) -> npt.NDArray[np.float32]:
    """(POINTS, *shape): zeros, images in [0, 1], standard normals, and larger normals."""
    generator = np.random.default_rng(seed)
    points = generator.standard_normal((POINTS, *shape))
    points[0] = 0.0
    points[1 : POINTS // 2] = generator.random((POINTS // 2 - 1, *shape))
    points[-POINTS // 4 :] *= 10.0
    return points.astype(np.float32)


def _outputs(graph: Graph, points: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    with np.errstate(over="ignore", invalid="ignore"):
        values = evaluate(graph, {graph.input: points}, [graph.output])[graph.output]
    return values.reshape(len(points), -1).astype(np.float64)


def _agree(
    name: str,
    start: int,
    expected: npt.NDArray[np.float64],
    single: npt.NDArray[np.float64],
    double: npt.NDArray[np.float64],
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
