"""Arrays that callers hand over, checked: numbers, of the right shape, in a batch or not."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import NoReturn

import numpy as np
import numpy.typing as npt
from torch import Tensor

from specdsl.diagnostics import SpecError
from specdsl.graph.ops import Shape

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Batched:
    """Values (batch, ...), the batch of 1 if there was no such axis: `is_batch` tells."""

    values: FloatArray
    is_batch: bool


def refuse(text: str, help: str | None = None) -> NoReturn:
    """Raise SpecError E0870."""
    raise SpecError.of("E0870", text, help=help)


def numbers(name: str, value: object) -> FloatArray:
    """An array or a tensor as finite float64. Raises SpecError E0870 with what is wrong."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    try:
        found = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        refuse(f"`{name}` is no array of numbers but a `{type(value).__name__}`")
    if not found.size:
        refuse(f"`{name}` has no entries")
    if np.isnan(found).any():
        refuse(f"`{name}` is NaN {_first(np.isnan(found))}")
    if not np.isfinite(found).all():
        help = "give every input a lower and an upper end, for example those of the data"
        refuse(f"`{name}` is infinite {_first(~np.isfinite(found))}", help)
    return found


def entries(name: str, value: object, shape: Shape) -> Batched:
    """Values for every input of one region or of a batch, flat: (batch, inputs).

    `shape`: of one input. Raises SpecError E0870 where the array does not fit it.
    """
    found, size = numbers(name, value), prod(shape)
    if found.shape in (shape, (size,)):
        return Batched(found.reshape(1, size), is_batch=False)
    if found.shape[1:] in (shape, (size,)) and found.ndim > 1:
        return Batched(found.reshape(len(found), size), is_batch=True)
    refuse(
        f"`{name}` has shape {found.shape}, but the network takes {shape}",
        f"give one region as {shape} or ({size},), a batch with one axis more in front",
    )


def stacked(name: str, value: object, shape: tuple[int | None, ...], axes: str) -> Batched:
    """Values of a fixed shape (None: any length) for one region or for each of a batch.

    `axes`: how the shape is called. Raises SpecError E0870 where the array does not fit.
    """
    found = numbers(name, value)
    for is_batch in (False, True):
        own = found.shape[1:] if is_batch else found.shape
        fits = len(own) == len(shape) and found.ndim == len(shape) + is_batch
        if fits and all(n in (None, m) for n, m in zip(shape, own, strict=True)):
            return Batched(found if is_batch else found[None], is_batch)
    refuse(f"`{name}` has shape {found.shape}; it is {axes}, or with a batch axis in front")


def common_batch(parts: dict[str, Batched]) -> int:
    """The length of the batches. Raises SpecError E0870 where they differ."""
    lengths = {name: len(part.values) for name, part in parts.items() if part.is_batch}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"`{name}` {length}" for name, length in lengths.items())
        refuse(f"batches differ in length: {listed}")
    return next(iter(lengths.values()), 1)


def _first(where: npt.NDArray[np.bool_]) -> str:
    if not where.ndim:
        return "as a whole"
    index = tuple(int(i) for i in np.argwhere(where)[0])
    return f"at [{', '.join(map(str, index))}]"
