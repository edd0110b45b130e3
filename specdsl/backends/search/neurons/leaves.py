"""Parts in which nothing is left to split: every op is linear there, and a linear program decides.

Its columns are the inputs and the largest margin; its rows are what the atoms' linear bounds say,
and those of the entries that were split. Where all relaxations are exact, so is the program.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from specdsl.backend import Deadline
from specdsl.backends.search.neurons.bounding import Bounder
from specdsl.backends.search.neurons.parts import Batch
from specdsl.bounds.parts.beta_crown import PartBounds
from specdsl.bounds.regions.region import ROUNDING_PART, InputRegion
from specdsl.bounds.rounding import region_slack
from specdsl.encoding.deciding.emptiness import ROUNDED_NUMBERS, proven_empty
from specdsl.encoding.model.linear_model import (
    FloatArray,
    IndexArray,
    LinearModel,
    ModelBuilder,
    SparseTerms,
)
from specdsl.encoding.solvers.highs import solve
from specdsl.encoding.solvers.session import INFEASIBLE


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    """`bound`: of the deciding margin, infinite where the part is proven empty. `point`: where the
    program is least, (inputs,), if HiGHS found it.
    """

    bound: float
    point: Tensor | None


def settle_leaf(bounder: Bounder, batch: Batch, deadline: Deadline) -> Leaf | None:
    """The linear program of a batch of one part; None where balls or constraints cut the inputs, or
    where every step is rounded outward, which a program is not.
    """
    region = bounder.known.region
    if not region.is_box or bounder.known.rounding is not None:
        return None
    # Where bounds inside hold only for witnesses, ops are linear by them alone.
    given = bounder.constrained(batch.parts) if bounder.is_sharpened else batch.parts
    parts = PartBounds(bounder.known, given)
    none = batch.multipliers.new_zeros(1, batch.multipliers.shape[1], len(parts.parts.numbers))
    atoms = parts.rows(bounder.rows[batch.cases], {}, none)
    split = parts.constraints()
    coefficients = torch.cat([atoms.linear.coefficients[0], split.coefficients])
    constant = torch.cat([atoms.linear.constant[0], split.constant - split.most])
    # A constraint gives way by what rounding may have added to it.
    size = (split.coefficients.abs() @ region.farthest[0]) + split.constant.abs()
    constant[len(atoms.proven[0]) :] -= ROUNDING_PART * (size + split.most.abs())
    model = _model(coefficients, constant, len(atoms.proven[0]), region)
    solution = solve(model, deadline)
    if solution.status in INFEASIBLE and proven_empty(model, deadline, _hidden(bounder)):
        return Leaf(float("inf"), None)
    rounding = float((atoms.linear.lower - atoms.proven).max())
    bound = solution.bound - rounding - bounder.problem.slack
    point = (
        None if solution.point is None else bounder.rows.new_tensor(solution.point[model.inputs])
    )
    return Leaf(bound, point)


def _hidden(bounder: Bounder) -> float:
    """How far rows may be off, which say something of inner values or of margins."""
    known = bounder.known
    slack = region_slack(known.compiled, known.region)
    inside = max(float(own.amax()) for own in slack.values())
    return ROUNDED_NUMBERS * max(inside, bounder.problem.slack)


def _model(coefficients: Tensor, constant: Tensor, atoms: int, region: InputRegion) -> LinearModel:
    """Minimise the largest of the first `atoms` rows over a box where the others are <= 0."""
    builder = ModelBuilder()
    lower, upper = region.box.lower[0].cpu().numpy(), region.box.upper[0].cpu().numpy()
    inputs = builder.add_columns("input", np.arange(lower.size), lower, upper, whole=False)
    own, shift = coefficients.cpu().numpy(), constant.cpu().numpy()
    reach = np.abs(own[:atoms]) @ np.maximum(np.abs(lower), np.abs(upper)) + np.abs(shift[:atoms])
    most = np.array([reach.max(initial=0.0)])
    (worst,) = builder.add_columns("worst", np.zeros(1, dtype=np.int64), -most, most, whole=False)
    rows, columns = np.nonzero(own)
    values, columns = own[rows, columns], inputs[columns]
    first = rows < atoms
    builder.add_rows(
        "margin",
        np.arange(atoms),
        _less(rows[first], columns[first], values[first], worst, atoms),
        -np.inf,
        -shift[:atoms],
    )
    count = len(own) - atoms
    builder.add_rows(
        "split",
        np.arange(count),
        SparseTerms.of(rows[~first] - atoms, columns[~first], values[~first]),
        -np.inf,
        -shift[atoms:],
    )
    return builder.build("leaf", int(worst), inputs)


def _less(
    rows: IndexArray, columns: IndexArray, values: FloatArray, worst: int, count: int
) -> SparseTerms:
    """Terms of `count` rows, less column `worst` in every row."""
    return SparseTerms.of(
        np.concatenate([rows, np.arange(count)]),
        np.concatenate([columns, np.full(count, worst)]),
        np.concatenate([values, np.full(count, -1.0)]),
    )
