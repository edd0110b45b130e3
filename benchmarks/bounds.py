"""Bounds of the reference cases: our time, width and memory beside those of the reference.

    python -m benchmarks.bounds DATA [--method NAME] [--dtype float32] [-k CASE]... [--repeat N]

DATA holds `bounds/` (input boxes `CASE.npz`, figures `reference.csv`) and the networks under the
paths in that table. Every case is measured in a process of its own, on one thread: the quickest of
some passes after a first one, in processor time (on a quiet machine the same as by the clock), the
sum of `upper - lower` over the outputs and over the entries that nonlinear ops read, and the most
memory that the process ever had, libraries included. The reference times were measured on a machine
with 90 GFLOP/s in float32: `--scale` is that over one's own.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from specdsl.bounds.compiled import CompiledGraph, compile_graph
from specdsl.bounds.interval import Interval
from specdsl.bounds.passes.alpha_crown import alpha_propagate, alpha_rows
from specdsl.bounds.passes.crown import entry_ends, propagate
from specdsl.bounds.regions.region import InputRegion
from specdsl.files import read_bytes
from specdsl.graph.graph import NodeId
from specdsl.graph.onnx_import.load import load_onnx
from specdsl.graph.rewrites.simplify import simplify

REPEAT = 5
HEADER = (
    "| case | s | reference s | ratio | width | reference width | ratio | peak MiB "
    "| width by layer |"
)

Bounds = Mapping[NodeId, Interval]


def crown(compiled: CompiledGraph, region: InputRegion) -> Bounds:
    """CROWN bounds of every layer, and of the output by its own rows."""
    graph = compiled.graph
    found = propagate(compiled, region)
    everything = torch.arange(graph.size(graph.output))
    ends = entry_ends(compiled, graph.output, everything, region, found.relaxations)
    by_layer = {node: found.bounds[node] for node in compiled.pre_activations}
    return {**by_layer, graph.output: ends}


def alpha_crown(compiled: CompiledGraph, region: InputRegion) -> Bounds:
    """The same with lines chosen for every row."""
    graph = compiled.graph
    found = alpha_propagate(compiled, region)
    size = graph.size(graph.output)
    unit = torch.eye(size, dtype=compiled.like.dtype)
    rows = torch.cat([unit, -unit]).reshape(1, 2 * size, *graph.shapes[graph.output])
    lower = alpha_rows(compiled, rows, region, found).linear.lower
    ends = Interval(lower[:, :size], -lower[:, size:])
    return {**{node: found.bounds[node] for node in compiled.pre_activations}, graph.output: ends}


METHODS: Mapping[str, Callable[[CompiledGraph, InputRegion], Bounds]] = {
    "crown": crown,
    "alpha-crown": alpha_crown,
}
# Their names in the reference table, and how many steps the reference took.
REFERENCE = {"crown": ("CROWN", ""), "alpha-crown": ("alpha-CROWN", "20")}


def measure(data: Path, case: str, network: str, method: str, dtype: str, repeat: int) -> Any:
    """The figures of one case, in this process."""
    torch.set_num_threads(1)
    graph = simplify(load_onnx(read_bytes(data / network), case).graph)
    compiled = compile_graph(graph, torch.empty(0, dtype=getattr(torch, dtype)))
    box = np.load(data / "bounds" / f"{case}.npz")
    lower, upper = (compiled.like.new_tensor(box[end]).reshape(1, -1) for end in ("lb", "ub"))
    region = InputRegion(Interval(lower, upper))
    seconds: list[float] = []
    found: Bounds = {}
    with torch.no_grad():
        for _ in range(1 + repeat):
            start = time.process_time()
            found = METHODS[method](compiled, region)
            seconds.append(time.process_time() - start)
    widths = {node: float((ends.upper - ends.lower).sum()) for node, ends in found.items()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return {"seconds": min(seconds[1:]), "widths": widths, "output": graph.output, "peak": peak}


def row(case: str, found: Any, reference: Sequence[Mapping[str, str]], scale: float) -> str:
    """One line of the table, beside the quickest of the reference's ways."""
    quickest = min(reference, key=lambda r: float(r["repeat_seconds"]))
    wanted = scale * float(quickest["repeat_seconds"])
    width, theirs = found["widths"][found["output"]], float(quickest["sum_upper_minus_lower"])
    layers = " ".join(f"{width:.6g}" for width in found["widths"].values())
    cells = [case, f"{found['seconds']:.4f}", f"{wanted:.4f}", f"{found['seconds'] / wanted:.2f}"]
    cells += [f"{width:.6g}", f"{theirs:.6g}", f"{width / theirs:.4f}"]
    return f"| {' | '.join([*cells, format(found['peak'], '.0f'), layers])} |"


def main() -> None:
    """Print the table, or the figures of one case as JSON for the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path)
    parser.add_argument("--method", choices=METHODS, default="crown")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float64")
    parser.add_argument("-k", dest="cases", action="append", default=[])
    parser.add_argument("--repeat", type=int, default=REPEAT)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--alone", metavar="NETWORK", help="measure the case in this process")
    options = parser.parse_args()
    write, method, dtype = sys.stdout.write, options.method, options.dtype
    if options.alone:
        (case,) = options.cases
        found = measure(options.data, case, options.alone, method, dtype, options.repeat)
        write(json.dumps(found) + "\n")
        return
    with (options.data / "bounds" / "reference.csv").open(newline="") as file:
        table = csv.DictReader(file)
        rows = [r for r in table if (r["method"], r["iterations"]) == REFERENCE[method]]
    write(f"{HEADER}\n|{' --- |' * (HEADER.count('|') - 1)}\n")
    for case in dict.fromkeys(r["case"] for r in rows):
        if options.cases and case not in options.cases:
            continue
        reference = [r for r in rows if r["case"] == case]
        command = [sys.executable, "-m", "benchmarks.bounds", str(options.data.resolve())]
        command += ["-k", case, "--method", method, "--dtype", dtype]
        command += ["--repeat", str(options.repeat), "--alone", reference[0]["network"]]
        root = Path(__file__).parents[1]
        result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
        write(row(case, json.loads(result.stdout), reference, options.scale) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
