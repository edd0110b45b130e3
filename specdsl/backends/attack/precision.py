"""Which numbers an attack computes with; candidates are judged in float64, and then exactly."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from specdsl.bounds.interval import Interval
from specdsl.bounds.regions.region import InputRegion
from specdsl.graph import ops
from specdsl.graph.graph import Graph
from specdsl.graph.work import work

# From so many multiplications and additions a point on, half the bytes are a quarter to two fifths
# of the time; below, a step costs what it costs to call torch.
LARGE_WORK = 2**17
# Edges of boxes, in parts of the numbers at their ends: a thousand float32 numbers fit in.
NARROW_PART = 1e-4
# A fixed entry that is no float64 has an edge of its last place.
ROUNDED_PART = 1e-14


def search_dtype(graph: Graph, regions: Sequence[InputRegion]) -> torch.dtype:
    """float32 for large graphs over boxes that it resolves; near jumps and balls float64."""
    if work(graph) < LARGE_WORK or has_steps(graph):
        return torch.float64
    if all(region.is_box and _is_wide(region.box) for region in regions):
        return torch.float32
    return torch.float64


def in_dtype(region: InputRegion, dtype: torch.dtype) -> InputRegion:
    """Boxes with ends in another precision, rounded to nearest; the region itself in its own."""
    if region.box.lower.dtype == dtype:
        return region
    return InputRegion(Interval(region.box.lower.to(dtype), region.box.upper.to(dtype)))


def has_steps(graph: Graph) -> bool:
    """Whether gradients say nothing in some places."""
    return any(isinstance(op, ops.Step) for _, op, _ in graph)


def varying(box: Interval) -> Tensor:
    """Which entries vary by more than what rounding outward made of a number: a mask like ends."""
    size = torch.maximum(box.lower.abs(), box.upper.abs())
    return box.upper - box.lower > ROUNDED_PART * size


def _is_wide(box: Interval) -> bool:
    size = torch.maximum(box.lower.abs(), box.upper.abs())
    wide = box.upper - box.lower >= NARROW_PART * size
    return bool((wide | ~varying(box)).all())
