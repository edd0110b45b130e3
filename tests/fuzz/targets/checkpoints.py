"""Checkpoints of trainings, with which a killed run goes on."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import Any

from tests.fuzz.mutators import arrays
from tests.fuzz.target import Target


def _checkpoint(path: Path) -> Any:
    """The checkpoint of a small training: one part of every kind.

    No optimiser: the first one takes seconds of imports.
    """
    import numpy as np
    import torch

    from specdsl.training.runtime.loop.checkpoint import Checkpoint

    return Checkpoint(
        path,
        "recipe",
        module=torch.nn.Linear(2, 1),
        torch=torch.Generator(),
        numpy=np.random.default_rng(0),
        python=random.Random(0),
    )


@cache
def _saved() -> tuple[bytes, ...]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.pt"
        _checkpoint(path).save()
        return (path.read_bytes(),)


def _resume(content: bytes, folder: Path) -> None:
    path = folder / "fuzz.pt"
    path.write_bytes(content)
    _checkpoint(path).resume()


TARGETS = (Target("checkpoint", ".pt", _saved, arrays.archive, _resume, 200),)
