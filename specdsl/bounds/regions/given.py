"""Input regions as callers of `specdsl.bound` give them: arrays, one region or a batch.

Each array has the shape of one input of the network (without its batch axis), or is flat; with one
more axis in front it holds a batch. Arrays for one region go with a batch of others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

Norm = Literal["l1", "l2", "linf"]


@dataclass(frozen=True, slots=True, eq=False)
class LinearConstraints:
    """`matrix @ x <= limits` for the flat input x of one region, or of each of a batch.

    Shapes: matrix (constraints, inputs) or (batch, constraints, inputs); limits (constraints,) or
    (batch, constraints).
    """

    matrix: npt.ArrayLike
    limits: npt.ArrayLike


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """`lower <= x <= upper`, entry by entry, and the linear constraints `where` if there are any.

    Shapes: (*input) or (inputs,) for one region, (batch, *input) or (batch, inputs) for several.
    """

    lower: npt.ArrayLike
    upper: npt.ArrayLike
    where: LinearConstraints | None = None


@dataclass(frozen=True, slots=True, eq=False)
class NormBall:
    """`norm(scale * (x - center)) <= radius`, inside the box `within` if there is one.

    Shapes: center and scale as those of a Box; radius a number, or (batch,). `scale` is positive,
    1 if not given: a weighted norm.
    """

    center: npt.ArrayLike
    radius: npt.ArrayLike
    norm: Norm = "linf"
    scale: npt.ArrayLike = field(default_factory=lambda: np.ones(()))
    within: Box | tuple[npt.ArrayLike, npt.ArrayLike] | None = None
    where: LinearConstraints | None = None


Region = Box | NormBall | tuple[npt.ArrayLike, npt.ArrayLike]
