"""How the time of bounds grows with the width, the depth and the batch, on a log-log plot.

    python -m benchmarks.growth [-o FILE.svg] [--method NAME]... [--repeat N]
    python -m benchmarks.growth --memory DATA

Random ReLU networks, weights of standard deviation `sqrt(2 / width)`, 32 inputs in a box of radius
0.02, ten outputs: about half of the neurons are unstable at every depth. One thread; the quickest
of some passes. The slope printed is the least-squares one over the last points, where the fixed
cost of a pass no longer matters.

With `--memory`, the most memory that a process ever had against the batch: CROWN in float64 on
`oval_deep` of DATA (as `benchmarks.bounds` takes it), the box of the case once for each member, a
process for each batch. What remains of libraries is in all of them, so the slope is that of what a
batch adds, in MiB for each box.
"""

from __future__ import annotations

import argparse
import csv
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.bounds import crown
from specdsl.bounds.compiled import compile_graph
from specdsl.bounds.interval import Interval
from specdsl.bounds.methods import METHODS
from specdsl.bounds.regions.region import InputRegion
from specdsl.files import read_bytes
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.graph.onnx_import.load import load_onnx
from specdsl.graph.rewrites.simplify import simplify

INPUTS = 32
OUTPUTS = 10
RADIUS = 0.02
# Points that the slope is fitted to.
FITTED = 3


@dataclass(frozen=True, slots=True)
class Size:
    """What a pass is measured on."""

    width: int = 128
    depth: int = 4
    batch: int = 1


SWEEPS: Mapping[str, Sequence[Size]] = {
    "width": [Size(width=w) for w in (32, 64, 128, 256, 512, 1024)],
    "depth": [Size(depth=d) for d in (2, 4, 8, 16, 32)],
    "batch": [Size(batch=b) for b in (1, 2, 4, 8, 16, 32, 64)],
}


def network(size: Size) -> Graph:
    """A chain of dense layers and ReLUs."""
    random = np.random.default_rng(0)
    builder = GraphBuilder()
    node, last = builder.add(ops.Input((1, INPUTS))), INPUTS
    for _ in range(size.depth):
        weight = random.normal(0, (2 / last) ** 0.5, (size.width, last))
        node = builder.add(ops.Relu(), builder.add(ops.Dense(weight, np.zeros(size.width)), node))
        last = size.width
    weight = random.normal(0, (2 / last) ** 0.5, (OUTPUTS, last))
    return builder.build(builder.add(ops.Dense(weight, np.zeros(OUTPUTS)), node))


def seconds(size: Size, method: str, repeat: int) -> float:
    """The quickest of `repeat` passes, in processor time."""
    compiled = compile_graph(network(size))
    center = torch.as_tensor(np.random.default_rng(1).normal(size=(size.batch, INPUTS)))
    region = InputRegion(Interval(center - RADIUS, center + RADIUS))
    rows = torch.eye(OUTPUTS, dtype=torch.float64)[None, :, None]
    taken: list[float] = []
    with torch.no_grad():
        for _ in range(1 + repeat):
            start = time.process_time()
            METHODS[method].lower(compiled, region, rows)
            taken.append(time.process_time() - start)
    return min(taken[1:])


def slope(sizes: Sequence[float], times: Sequence[float]) -> float:
    """Of the logarithms, over the last points."""
    return float(np.polyfit(np.log(sizes[-FITTED:]), np.log(times[-FITTED:]), 1)[0])


def measure(methods: Sequence[str], repeat: int, say: Callable[[str], None]) -> dict[str, object]:
    """Times by sweep and method; a line of a table for each is said."""
    found: dict[str, object] = {}
    say("| growing | method | sizes | seconds | slope |")
    say("|---|---|---|---|---|")
    for what, sizes in SWEEPS.items():
        values = [getattr(size, what) for size in sizes]
        for method in methods:
            times = [seconds(size, method, repeat) for size in sizes]
            found[f"{what} {method}"] = values, times
            cells = " ".join(str(v) for v in values), " ".join(f"{t:.3g}" for t in times)
            say(f"| {what} | `{method}` | {cells[0]} | {cells[1]} | {slope(values, times):.2f} |")
    return found


def draw(found: Mapping[str, object], methods: Sequence[str], path: Path) -> None:
    """One panel for each sweep, a line for each method."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "specdsl", "svg.fonttype": "none"}):
        figure = Figure(figsize=(10, 3.2), layout="constrained")
        panels = figure.subplots(1, len(SWEEPS), sharey=True)
        for panel, what in zip(panels, SWEEPS, strict=True):
            for method in methods:
                sizes, times = found[f"{what} {method}"]  # pyright: ignore[reportGeneralTypeIssues]
                panel.loglog(sizes, times, marker="o", markersize=3, label=method)
            panel.set_xlabel(what)
            panel.grid(alpha=0.3, which="both", linewidth=0.4)
        panels[0].set_ylabel("seconds")
        panels[0].legend(fontsize="small")
        figure.savefig(path, format="svg", metadata={"Date": None})


MEMORY_CASE = "oval_deep"
MEMORY_BATCHES = (1, 8, 16, 32, 64, 128)


def peak_mib(data: Path, network: str, batch: int) -> float:
    """The most memory that this process ever had, after a pass over so many boxes."""
    graph = simplify(load_onnx(read_bytes(data / network), MEMORY_CASE).graph)
    compiled = compile_graph(graph)
    box = np.load(data / "bounds" / f"{MEMORY_CASE}.npz")
    lower, upper = (
        compiled.like.new_tensor(box[end]).reshape(1, -1).repeat(batch, 1) for end in ("lb", "ub")
    )
    with torch.no_grad():
        crown(compiled, InputRegion(Interval(lower, upper)))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def measure_memory(data: Path, say: Callable[[str], None]) -> None:
    """A line of a table for each batch, and the slope over all."""
    with (data / "bounds" / "reference.csv").open(newline="") as file:
        network = next(r["network"] for r in csv.DictReader(file) if r["case"] == MEMORY_CASE)
    say("| boxes | peak MiB |")
    say("|---|---|")
    peaks: list[float] = []
    for batch in MEMORY_BATCHES:
        command = [sys.executable, "-m", "benchmarks.growth", "--memory", str(data.resolve())]
        command += ["--alone", network, "--batch", str(batch)]
        root = Path(__file__).parents[1]
        result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
        peaks.append(float(result.stdout))
        say(f"| {batch} | {peaks[-1]:.0f} |")
    slope_of, at_none = np.polyfit(MEMORY_BATCHES, peaks, 1)
    say(f"{slope_of:.2f} MiB for each box, beside {at_none:.0f} MiB")


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-o", type=Path, help="draw the plot there, as SVG")
    parser.add_argument("--method", action="append", choices=METHODS)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--memory", type=Path, metavar="DATA", help="measure memory instead")
    parser.add_argument("--alone", metavar="NETWORK", help="measure memory in this process")
    parser.add_argument("--batch", type=int, default=1, help="boxes, with --alone")
    options = parser.parse_args()
    methods = options.method or ["interval", "crown_ibp", "crown", "alpha_crown"]
    torch.set_num_threads(1)
    if options.alone:
        sys.stdout.write(f"{peak_mib(options.memory, options.alone, options.batch)}\n")
        return
    if options.memory:
        measure_memory(options.memory, print)
        return
    found = measure(methods, options.repeat, print)
    if options.o is not None:
        draw(found, methods, options.o)


if __name__ == "__main__":
    main()
