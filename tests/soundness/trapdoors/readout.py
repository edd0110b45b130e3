"""The last layer of a trapdoor network: outputs whose differences are the margin, and what is asked
about them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.soundness.networks import Array, Dense, Layer, Network, Shape, evaluate
from tests.soundness.questions import Atom, Question
from tests.soundness.trapdoors.ranges import least, ranges
from tests.soundness.trapdoors.traps import FLOOR, GRID, Plan, weights


@dataclass(frozen=True, slots=True, eq=False)
class Margin:
    """`FLOOR + host @ units - lowest - sum_i height_i * pit_i`, of the last hidden units, where
    `pit_i = rows[i] @ units + offsets[i]` and `host @ units` is at least `lowest`, or what
    intervals know.

    Shapes: host (units,); rows (pits, units), offsets (pits,), for each pit of the plan.
    """

    host: Array
    rows: Array
    offsets: Array
    lowest: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Trapdoor:
    """`hidden`: the point where the margin is known to be below 0, where there is one."""

    question: Question
    hidden: Array | None


def trapdoor(
    random: np.random.Generator,
    shape: Shape,
    hidden: tuple[Layer, ...],
    plan: Plan,
    margin: Margin,
) -> Trapdoor:
    """The network with 1 to 4 outputs: the first alone, or less each of the others, is the margin
    or more, and 0 or less is what must not be.
    """
    row, constant = _with_pits(shape, hidden, plan, margin)
    outputs = int(random.choice([1, 1, 2, 4]))
    if outputs == 1:
        weight, bias, atoms = row[None], np.array([constant]), [np.ones(1)]
    else:
        label = int(random.integers(outputs))
        # What all outputs have in common cancels in their differences, and in no bound of one.
        common = weights(random, row.size, scale=0.5)
        weight = np.tile(common, (outputs, 1))
        # All but one of the others are lower than need be.
        bias = -np.round(random.uniform(0, 1, outputs) * 64) / 64
        bias[(label + 1) % outputs] = 0.0
        weight[label], bias[label] = common + row, constant
        identity = np.eye(outputs)
        atoms = [identity[label] - identity[j] for j in range(outputs) if j != label]
    network = Network(shape, (*hidden, Dense(weight, bias)))
    cases = tuple((Atom(coefficients),) for coefficients in atoms)
    form = int(random.integers(2**31))
    return Trapdoor(Question(network, plan.lower, plan.upper, cases, form=form), plan.hidden)


def _with_pits(
    shape: Shape, hidden: tuple[Layer, ...], plan: Plan, margin: Margin
) -> tuple[Array, float]:
    """The row and the constant that make the margin of the last hidden units."""
    box = plan.lower.reshape(shape), plan.upper.reshape(shape)
    found = np.floor(least(margin.host, ranges(hidden, box)) / GRID - 1) * GRID
    lowest = max(margin.lowest, float(found))
    row, constant = margin.host.copy(), FLOOR - lowest
    # Shallow ones first: how deep the other must be depends on the margin with them.
    for i in sorted(range(len(plan.pits)), key=lambda i: plan.pits[i].height is None):
        pit = plan.pits[i]
        units = evaluate(Network(shape, hidden), pit.center)
        height = pit.height_above(float(row @ units + constant))
        row, constant = row - height * margin.rows[i], constant - height * margin.offsets[i]
    return row, float(constant)
