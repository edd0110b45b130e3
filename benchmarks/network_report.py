"""What one network of a benchmark family does: imports, agrees, has bounds that contain its values.

Run as a program (`NETWORK QUERY [METHOD...]`) it measures one network and prints a line of JSON
after each step, so that what ran before a time or memory limit is known.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from specdsl.backend import Unsupported
from specdsl.bounds import EmptyInterval, NumpyInterval, pre_activation_bounds
from specdsl.diagnostics import SpecError
from specdsl.files import read_bytes
from specdsl.graph.evaluate import evaluate
from specdsl.graph.graph import Graph, NodeId
from specdsl.graph.onnx_import.differential import compare_at
from specdsl.graph.onnx_import.load import ImportedNetwork, load_onnx
from specdsl.graph.rewrites.simplify import simplify
from specdsl.graph.runtime import Runtime
from specdsl.query.sets import InputSet
from specdsl.query.vnnlib.read import read_query

POINTS = 100
# Bounds are float64 numbers that are not rounded outward, and so are the values they contain: sums
# of some 10^4 terms differ by 1e-12 of what is summed up.
ROUNDING = 1e-9
METHODS = ("interval", "crown")

FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing measured. `problem`: why it does not work; `figures`: what the table shows."""

    name: str
    seconds: float
    problem: str | None
    figures: Mapping[str, Any]


def steps(network: Path, query: Path, methods: Sequence[str] = METHODS) -> Iterator[Step]:
    """Import, agreement with ONNX Runtime, and bounds by each method, one after another."""
    start = time.perf_counter()
    try:
        loaded = load_onnx(read_bytes(network), network.name)
    except SpecError as error:
        yield _step("import", start, _said(error))
        return
    seconds = time.perf_counter() - start
    simple = simplify(loaded.graph)
    yield Step("import", seconds, None, _described(loaded, simple))

    start = time.perf_counter()
    try:
        inputs = read_query(read_bytes(query), loaded, query.name).cases[0].inputs
        points = _points(inputs, loaded.graph)
        yield _agreement(loaded, points, start)
    except SpecError as error:
        yield _step("agreement", start, _said(error))
        return
    values = evaluate(simple, {simple.input: points})
    values[simple.output] = evaluate(
        loaded.graph, {loaded.graph.input: points}, (loaded.graph.output,)
    )[loaded.graph.output]
    for method in methods:
        yield _bounded(simple, inputs, values, method)


def _described(loaded: ImportedNetwork, simple: Graph) -> dict[str, Any]:
    import onnx

    proto = onnx.load_model_from_string(loaded.model)
    kinds = sorted({node.op_type for node in proto.graph.node})
    return {
        "ops": kinds,
        "onnx_nodes": len(proto.graph.node),
        "nodes": len(loaded.graph),
        "simplified": len(simple),
    }


def _points(inputs: InputSet, graph: Graph) -> FloatArray:
    """(POINTS, *shape): uniform in the box, its two extreme corners first."""
    lower, upper = (bound.reshape(-1) for bound in inputs.box.float_bounds())
    share = np.random.default_rng(0).random((POINTS, lower.size))
    share[0], share[1] = 0.0, 1.0
    points = np.clip(lower + share * (upper - lower), lower, upper)
    return points.reshape(POINTS, *graph.shapes[graph.input])


def _agreement(loaded: ImportedNetwork, points: FloatArray, start: float) -> Step:
    """At the nearest float32 points, which may lie beside a narrow box."""
    runtime = Runtime(loaded.model, loaded.name)
    inputs = {loaded.graph.input: points.astype(np.float32)}
    difference = compare_at(loaded.graph, runtime, inputs)
    problem = "no output could be compared" if difference is None else None
    return _step("agreement", start, problem, {"difference": difference})


def _bounded(
    graph: Graph, inputs: InputSet, values: Mapping[NodeId, FloatArray], method: Any
) -> Step:
    start = time.perf_counter()
    try:
        found = pre_activation_bounds(graph, inputs, method)
    except (Unsupported, EmptyInterval) as error:
        return _step(method, start, f"{type(error).__name__}: {error}")
    except RuntimeError as error:
        # torch has no name for an allocation that fails.
        if "memory" not in str(error):
            raise
        return _step(method, start, "out of memory")
    width = found[graph.output]
    figures = {"width": float(np.max(width.upper - width.lower))}
    return _step(method, start, _wrong(graph, found, values), figures)


def _wrong(
    graph: Graph, bounds: Mapping[NodeId, NumpyInterval], values: Mapping[NodeId, FloatArray]
) -> str | None:
    """Bounds of the output are finite, and all bounds contain the values.

    Inside a softmax over a wide box the exponentials may have no finite bound.
    """
    end = bounds[graph.output]
    if not (np.isfinite(end.lower).all() and np.isfinite(end.upper).all()):
        endless = [n for n, b in bounds.items() if not np.isfinite(b.upper - b.lower).all()]
        return f"no finite bounds on `{endless[0]}` ({_reader(graph, endless[0])})"
    for node, interval in bounds.items():
        value = values[node]
        slack = ROUNDING * (1 + np.abs(value).max())
        if (value < interval.lower - slack).any() or (value > interval.upper + slack).any():
            return f"UNSOUND: a value of `{node}` is outside its bounds"
    return None


def _reader(graph: Graph, node: NodeId) -> str:
    kinds = {type(graph.op(reader)).__name__ for reader in graph.readers(node)}
    made = type(graph.op(node)).__name__
    return f"{made}, read by {', '.join(sorted(kinds)) or 'nobody'}"


def _step(
    name: str, start: float, problem: str | None, figures: Mapping[str, Any] | None = None
) -> Step:
    return Step(name, time.perf_counter() - start, problem, figures or {})


def _said(error: SpecError) -> str:
    first = error.diagnostics[0]
    return f"{first.code}: {first.message}"


if __name__ == "__main__":
    for step in steps(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:] or METHODS):
        sys.stdout.write(json.dumps(asdict(step)) + "\n")
        sys.stdout.flush()
