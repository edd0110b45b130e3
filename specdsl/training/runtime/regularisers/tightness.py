"""Gaps between a relaxation and the network, as terms: d of outputs, r of pre-activations.

Source: Zhu et al. 2020, arXiv:2002.09766; the mathematics is in `specdsl.bounds.tightness`.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.passes.crown import propagate
from specdsl.bounds.passes.fast_lin import with_parallel_lines
from specdsl.bounds.passes.first_layer import interval_pass
from specdsl.bounds.passes.wong_kolter import dual_bounds
from specdsl.bounds.regions.region import InputRegion
from specdsl.bounds.tightness import Tightness, tightness

Lines = Literal["crown_ibp", "crown", "fast_lin", "wong_kolter"]
"""Whose relaxation: its lines, and its bounds of pre-activations."""


def tightness_gaps(
    compiled: CompiledGraph, region: InputRegion, rows: Tensor, lines: Lines = "crown_ibp"
) -> Tightness:
    """Both gaps of `rows . output` for each row, in the relaxation named; differentiable.

    `crown_ibp`: CROWN's lines on intervals; `crown`: on CROWN's own bounds; `fast_lin` and
    `wong_kolter`: parallel lines, on bounds that are intersected with intervals or not.
    Shapes: rows (batch or 1, rows, *output), gaps (batch, rows). Raises Unsupported where the
    graph is no chain of affine layers and ReLUs.
    """
    match lines:
        case "crown_ibp":
            return tightness(compiled, rows, region, interval_pass(compiled, region).bounds)
        case "crown":
            return tightness(compiled, rows, region, propagate(compiled, region).bounds)
        case "fast_lin":
            parallel = with_parallel_lines(compiled)
            return tightness(parallel, rows, region, propagate(parallel, region).bounds)
        case "wong_kolter":
            parallel = with_parallel_lines(compiled)
            return tightness(parallel, rows, region, dual_bounds(parallel, region))


def output_gap(
    compiled: CompiledGraph, region: InputRegion, rows: Tensor, lines: Lines = "crown_ibp"
) -> Tensor:
    """The mean over batch and rows of d: a row at the relaxation's minimiser, less its bound."""
    return tightness_gaps(compiled, region, rows, lines).output_gap.mean()


def pre_activation_gap(
    compiled: CompiledGraph, region: InputRegion, rows: Tensor, lines: Lines = "crown_ibp"
) -> Tensor:
    """The mean over batch and rows of r: how far pre-activations lie from where lines touch."""
    return tightness_gaps(compiled, region, rows, lines).pre_activation_gap.mean()
