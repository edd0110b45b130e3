"""Where the tensors of a method lie: on the host, or on a CUDA device where that gains."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

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


@contextmanager
def full_precision() -> Generator[None]:
    """float32 products of 24 bits on CUDA devices: torch lets convolutions round to 11 by default
    (TF32), which is far more than `bounds.rounding` allows for.
    """
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    matmul.allow_tf32 = False
    try:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield
    finally:
        matmul.allow_tf32 = before


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
