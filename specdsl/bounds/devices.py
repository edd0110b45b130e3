"""Where the tensors of a method lie: on the host, or on a CUDA device where that gains."""

from __future__ import annotations

import torch
from torch import Tensor

from specdsl.diagnostics import SpecError
from specdsl.graph.graph import Graph
from specdsl.graph.work import work

DEVICES = ("auto", "cpu", "cuda")
"""What may be asked for."""

LARGE_WORK = 2**20
"""Multiplications a point from which `auto` takes the device. Calling one kernel takes some ten
microseconds, the time in which a core does 2**16 multiplications: a graph of ten nodes below this
waits for calls, not for numbers. Reckoned, not measured."""


def require_device(device: str) -> None:
    """Raise SpecError E0853 where `cuda` is asked for and torch has none; ValueError for a name
    that is not among `DEVICES`."""
    if device not in DEVICES:
        raise ValueError(f"`{device}` is no device; there are {', '.join(DEVICES)}")
    if device == "cuda" and not torch.cuda.is_available():
        help = "`--device auto` takes one where there is one, `cpu` is always there"
        raise SpecError.of("E0853", "torch finds no CUDA device here", help=help)


def like_on(device: str, graph: Graph) -> Tensor:
    """An empty float64 tensor where a method is to work on the graph.

    `auto`: on the CUDA device where there is one and the graph has `LARGE_WORK`, else on the host.
    Any other name is torch's own.
    """
    if device == "auto":
        gains = work(graph) >= LARGE_WORK and torch.cuda.is_available()
        device = "cuda" if gains else "cpu"
    return torch.empty(0, dtype=torch.float64, device=device)
