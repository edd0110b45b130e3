"""How the time of bounds grows with the width, the depth and the batch, on a log-log plot.

    python -m benchmarks.growth [-o FILE.svg] [--method NAME]... [--repeat N]

Random ReLU networks, weights of standard deviation `sqrt(2 / width)`, 32 inputs in a box of radius
0.02, ten outputs: about half of the neurons are unstable at every depth. One thread; the quickest
of some passes. The slope printed is the least-squares one over the last points, where the fixed
cost of a pass no longer matters.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from specdsl.bounds.compiled import compile_graph
from specdsl.bounds.interval import Interval
from specdsl.bounds.methods import METHODS
from specdsl.bounds.regions.region import InputRegion
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder

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


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-o", type=Path, help="draw the plot there, as SVG")
    parser.add_argument("--method", action="append", choices=METHODS)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    methods = options.method or ["interval", "crown_ibp", "crown", "alpha_crown"]
    torch.set_num_threads(1)
    found = measure(methods, options.repeat, print)
    if options.o is not None:
        draw(found, methods, options.o)


if __name__ == "__main__":
    main()
