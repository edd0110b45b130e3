"""Networks so small that Z3 knows the truth: 1 to 3 inputs, up to 3 hidden layers of up to 4."""

from __future__ import annotations

import numpy as np

from tests.soundness.networks import (
    Array,
    Dense,
    Layer,
    MaxOf,
    Network,
    Pointwise,
    Residual,
    evaluate,
)
from tests.soundness.questions import Atom, Question

COUNT = 2_000

# Weights, ends of boxes and offsets are multiples of one of these.
STEPS = (1.0, 0.5, 0.125)
ACTIVATIONS = (
    *[Pointwise("relu")] * 5,
    Pointwise("leaky_relu", (0.125,)),
    Pointwise("leaky_relu", (-0.5,)),
    Pointwise("abs"),
    Pointwise("clip", (-0.5, 1.0)),
    Pointwise("clip", (0.0, 2.0)),
)
# How far, in margin, a case is from the boundary at the best of the points that were looked at: 0
# is a tie, which only exact arithmetic decides.
CLEARANCES = (-0.5, -(2.0**-10), -(2.0**-20), 0.0, 0.0, 2.0**-20, 2.0**-10, 0.125, 1.0, 2.0, 4.0)
POINTS = 64


def tiny_question(number: int) -> Question:
    """The question of that number, always the same."""
    random = np.random.default_rng([2_000, number])
    step = float(random.choice(STEPS))
    inputs = int(random.integers(1, 4))
    network = _network(random, inputs, step)
    lower, upper = _box(random, inputs, step)
    whole = random.random() < 0.15
    integers = tuple(i for i in range(inputs) if random.random() < 0.7) if whole else ()
    sample = _sample(random, lower, upper, integers)
    outputs = np.stack([evaluate(network, point) for point in sample])
    cases = tuple(_case(random, outputs) for _ in range(random.choice([1, 1, 2, 3])))
    form = int(random.integers(2**31))
    return Question(network, lower, upper, cases, integers, form=form)


def _network(random: np.random.Generator, inputs: int, step: float) -> Network:
    layers: list[Layer] = []
    width = inputs
    for _ in range(random.integers(1, 4)):
        before, width = width, int(random.integers(1, 5))
        layers.append(_dense(random, before, width, step))
        if width % 2 == 0 and random.random() < 0.1:
            layers.append(MaxOf(2))
            width //= 2
        else:
            layers.append(_activation(random))
        if random.random() < 0.1:
            layers.append(Residual((_dense(random, width, width, step), _activation(random))))
    layers.append(_dense(random, width, int(random.integers(1, 4)), step))
    return Network((1, inputs), tuple(layers))


def _activation(random: np.random.Generator) -> Pointwise:
    return ACTIVATIONS[int(random.integers(len(ACTIVATIONS)))]


def _dense(random: np.random.Generator, before: int, after: int, step: float) -> Dense:
    weight = random.integers(-3, 4, size=(after, before)) * step
    return Dense(weight.astype(np.float64), random.integers(-3, 4, size=after) * step)


def _box(random: np.random.Generator, inputs: int, step: float) -> tuple[Array, Array]:
    """Now and then a side has no width."""
    lower = random.integers(-4, 4, size=inputs) * step
    widths = random.integers(1, 9, size=inputs) * step
    if random.random() < 0.1:
        widths[random.integers(inputs)] = 0.0
    return lower, lower + widths


def _sample(
    random: np.random.Generator, lower: Array, upper: Array, integers: tuple[int, ...]
) -> Array:
    """Dyadic points of the box, corners among them; whole numbers may lie outside of it."""
    parts = np.round(random.random((POINTS, lower.size)) * 16) / 16
    parts[: POINTS // 4] = np.round(parts[: POINTS // 4])
    points = lower + parts * (upper - lower)
    points[:, list(integers)] = np.round(points[:, list(integers)])
    return points


def _case(random: np.random.Generator, outputs: Array) -> tuple[Atom, ...]:
    """One or two atoms, shifted so that the best of the sampled points has the drawn clearance."""
    count = int(random.integers(1, 3))
    coefficients = random.integers(-2, 3, size=(count, outputs.shape[1])).astype(np.float64)
    margins = outputs @ coefficients.T + random.integers(-2, 3, size=count)
    least = margins.max(axis=1)
    best = int(least.argmin())
    clearance = float(random.choice(CLEARANCES))
    offsets = clearance - float(least[best]) + margins[best] - outputs[best] @ coefficients.T
    return tuple(
        Atom(row, float(offset), bool(random.random() < 0.5))
        for row, offset in zip(coefficients, offsets, strict=True)
    )
