"""Layers on the input's own entries: intervals bound them exactly, and nothing else is tried."""

from __future__ import annotations

import numpy as np
import torch

from specdsl.bounds.compiled import compile_graph
from specdsl.bounds.interval import Interval
from specdsl.bounds.passes.crown import propagate
from specdsl.bounds.regions.region import InputRegion
from specdsl.graph import ops
from specdsl.graph.graph import GraphBuilder


def test_layers_on_entries_of_the_input_are_not_bounded_twice() -> None:
    """Picked, moved or scaled, each once, entries of a box fill a box; picked twice they do not."""
    once, twice = np.array([3, 1, 0]), np.array([0, 1, 0])
    for places, is_box in ((once, True), (twice, False)):
        builder = GraphBuilder()
        picked = builder.add(ops.Select(places), builder.add(ops.Input((4,))), name="picked")
        layer = builder.add(ops.Dense(np.array([[1.0, 1.0, -1.0]]), np.zeros(1)), picked)
        graph = builder.build(builder.add(ops.Relu(), layer))
        compiled = compile_graph(graph)
        assert ("picked" in compiled.boxes) is is_box
        box = Interval(*(torch.full((1, 4), e, dtype=torch.float64) for e in (-1.0, 1.0)))
        found = propagate(compiled, InputRegion(box)).bounds[layer]
        # x0 + x1 - x0 is x1, which intervals do not see.
        assert found.upper.item() == (3.0 if is_box else 1.0)
