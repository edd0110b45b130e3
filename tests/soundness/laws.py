"""Changes of a question that leave its answer as it is, or move it one way only.

Numbers are dyadic and factors powers of two, so that changed networks mean the same exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Literal

import numpy as np

from tests.soundness.networks import RELU, Array, Dense, Layer, Network, Pointwise, evaluate
from tests.soundness.questions import Atom, Question

Change = Callable[[np.random.Generator, Question], Question]


@dataclass(frozen=True, slots=True)
class Law:
    """`gives`: the same answer; or an answer over a `wider` box, which is falsified where the first
    one is.
    """

    name: str
    change: Change
    gives: Literal["same", "wider"] = "same"

    def broken(self, before: str, after: str) -> bool:
        """Whether two answers cannot both be true. `before`, `after`: of the change."""
        if self.gives == "wider":
            return (before, after) == ("falsified", "verified")
        return {before, after} == {"verified", "falsified"}


# --- questions to change ------------------------------------------------------------------------

ACTIVATIONS = (*[RELU] * 3, Pointwise("leaky_relu", (0.25,)), Pointwise("abs"))
# Of the margin at the lowest of the sampled points.
CLEARANCES = (-0.25, 0.0, 0.125, 0.25, 0.5, 1.0, 2.0)
POINTS = 200


def base_question(number: int) -> Question:
    """The question of that number: dense layers, beyond what an oracle takes."""
    random = np.random.default_rng([70, number])
    inputs = int(random.integers(2, 6))
    widths = [inputs, *random.integers(4, 9, size=random.integers(2, 4)).tolist()]
    layers: list[Layer] = []
    for before, after in pairwise(widths):
        layers.append(_random_dense(random, before, after))
        layers.append(ACTIVATIONS[int(random.integers(len(ACTIVATIONS)))])
    layers.append(_random_dense(random, widths[-1], int(random.integers(1, 4))))
    network = Network((1, inputs), tuple(layers))
    middle, reach = random.integers(-8, 9, size=inputs) / 8, float(random.choice([0.25, 0.5, 1.0]))
    points = middle + reach * random.uniform(-1, 1, (POINTS, inputs))
    outputs = np.stack([evaluate(network, point) for point in points])
    cases = tuple(_case(random, outputs) for _ in range(random.integers(1, 3)))
    form = int(random.integers(2**31))
    return Question(network, middle - reach, middle + reach, cases, form=form)


def _random_dense(random: np.random.Generator, before: int, after: int) -> Dense:
    weight = np.round(random.normal(size=(after, before)) * 8) / 8
    return Dense(weight, np.round(random.normal(size=after) * 4) / 8)


def _case(random: np.random.Generator, outputs: Array) -> tuple[Atom, ...]:
    """One or two atoms, shifted so that the lowest of the sampled margins is as drawn."""
    rows = random.integers(-2, 3, size=(int(random.integers(1, 3)), outputs.shape[1]))
    lowest = float((outputs @ rows.T).max(axis=1).min())
    offset = np.round((float(random.choice(CLEARANCES)) - lowest) * 256) / 256
    return tuple(Atom(row.astype(np.float64), float(offset)) for row in rows)


# --- changes of networks ------------------------------------------------------------------------


def _of_network(change: Callable[[np.random.Generator, Network], Network]) -> Change:
    return lambda random, question: replace(question, network=change(random, question.network))


def _between(network: Network) -> list[int]:
    """Places of pointwise layers between two dense ones."""
    layers = network.layers
    return [
        i
        for i in range(1, len(layers) - 1)
        if isinstance(layers[i - 1], Dense)
        and isinstance(layers[i], Pointwise)
        and isinstance(layers[i + 1], Dense)
    ]


def _replaced(network: Network, at: int, before: Dense, after: Dense) -> Network:
    """With other layers before and after the one at that place."""
    layers = list(network.layers)
    layers[at - 1], layers[at + 1] = before, after
    return Network(network.shape, tuple(layers))


def permuted(random: np.random.Generator, network: Network) -> Network:
    """The neurons of every hidden layer in another order."""
    for at in _between(network):
        before, after = network.layers[at - 1], network.layers[at + 1]
        assert isinstance(before, Dense)
        assert isinstance(after, Dense)
        order = random.permutation(len(before.bias))
        first = Dense(before.weight[order], before.bias[order])
        network = _replaced(network, at, first, Dense(after.weight[:, order], after.bias))
    return network


def scaled(random: np.random.Generator, network: Network) -> Network:
    """What a neuron says times a power of two, what reads it divided by that; where f(c x) is
    c f(x).
    """
    for at in _between(network):
        layer, before, after = network.layers[at], network.layers[at - 1], network.layers[at + 1]
        assert isinstance(layer, Pointwise)
        assert isinstance(before, Dense)
        assert isinstance(after, Dense)
        if layer.kind == "clip":
            continue
        factors = 2.0 ** random.integers(-6, 7, size=len(before.bias))
        first = Dense(before.weight * factors[:, None], before.bias * factors)
        network = _replaced(network, at, first, Dense(after.weight / factors, after.bias))
    return network


def doubled(random: np.random.Generator, network: Network) -> Network:
    """Every neuron twice, and each read with a part of its weight."""
    for at in _between(network):
        before, after = network.layers[at - 1], network.layers[at + 1]
        assert isinstance(before, Dense)
        assert isinstance(after, Dense)
        part = random.choice([0.25, 0.5, 2.0], size=after.weight.shape[1])
        first = Dense(np.tile(before.weight, (2, 1)), np.tile(before.bias, 2))
        parts = [after.weight * part, after.weight * (1 - part)]
        network = _replaced(network, at, first, Dense(np.concatenate(parts, axis=1), after.bias))
    return network


def cancelled(random: np.random.Generator, network: Network, power: int = 16) -> Network:
    """Every neuron twice, read with weights of about 2**power that add up to what they were."""
    for at in _between(network):
        before, after = network.layers[at - 1], network.layers[at + 1]
        assert isinstance(before, Dense)
        assert isinstance(after, Dense)
        more = random.choice([-1.0, 1.0], after.weight.shape) * 2.0**power
        more *= 2.0 ** -random.integers(0, 8, size=after.weight.shape)
        first = Dense(np.tile(before.weight, (2, 1)), np.tile(before.bias, 2))
        weight = np.concatenate([after.weight + more, -more], axis=1)
        network = _replaced(network, at, first, Dense(weight, after.bias))
    return network


def split(random: np.random.Generator, network: Network) -> Network:
    """A dense layer as two: one with two parts of every sum, one that adds them."""
    places = [i for i, layer in enumerate(network.layers) if isinstance(layer, Dense)]
    at = int(random.choice(places))
    layer = network.layers[at]
    assert isinstance(layer, Dense)
    chosen = random.random(layer.weight.shape) < 0.5
    size = len(layer.bias)
    parts = np.concatenate([layer.weight * chosen, layer.weight * ~chosen])
    first = Dense(parts, np.concatenate([layer.bias, np.zeros(size)]))
    second = Dense(np.tile(np.eye(size), 2), np.zeros(size))
    layers = (*network.layers[:at], first, second, *network.layers[at + 1 :])
    return Network(network.shape, layers)


def passed(random: np.random.Generator, network: Network) -> Network:
    """relu(x) - relu(-x) before a dense layer."""
    places = [i for i, layer in enumerate(network.layers) if isinstance(layer, Dense)]
    at = int(random.choice(places))
    layer = network.layers[at]
    assert isinstance(layer, Dense)
    size = layer.weight.shape[1]
    into = Dense(np.concatenate([np.eye(size), -np.eye(size)]), np.zeros(2 * size))
    out = Dense(np.concatenate([layer.weight, -layer.weight], axis=1), layer.bias)
    layers = (*network.layers[:at], into, RELU, out, *network.layers[at + 1 :])
    return Network(network.shape, layers)


def lifted(random: np.random.Generator, network: Network, power: int = 12) -> Network:
    """relu(x + 2**power) - 2**power before a dense layer: x, where it is not below -(2**power)."""
    places = [i for i, layer in enumerate(network.layers) if isinstance(layer, Dense)]
    at = int(random.choice(places))
    layer = network.layers[at]
    assert isinstance(layer, Dense)
    size = layer.weight.shape[1]
    lift = np.full(size, 2.0**power)
    up, down = Dense(np.eye(size), lift), Dense(np.eye(size), -lift)
    layers = (*network.layers[:at], up, RELU, down, *network.layers[at:])
    return Network(network.shape, layers)


# --- changes of what is asked -------------------------------------------------------------------


def negated(_random: np.random.Generator, question: Question) -> Question:
    """Outputs with the other sign, and all that is asked about them."""
    *others, last = question.network.layers
    assert isinstance(last, Dense)
    network = Network(question.network.shape, (*others, Dense(-last.weight, -last.bias)))
    cases = tuple(
        tuple(replace(atom, coefficients=-atom.coefficients) for atom in case)
        for case in question.cases
    )
    return replace(question, network=network, cases=cases)


def reordered(random: np.random.Generator, question: Question) -> Question:
    """Cases and atoms in another order, some twice, each atom times a power of two."""
    cases: list[tuple[Atom, ...]] = []
    for case in random.permutation(len(question.cases)).tolist():
        atoms = [question.cases[case][i] for i in random.permutation(len(question.cases[case]))]
        atoms += atoms[: int(random.integers(2))]
        factors = (2.0 ** random.integers(-3, 4, size=len(atoms))).tolist()
        cases.append(
            tuple(
                replace(atom, coefficients=atom.coefficients * f, offset=atom.offset * f)
                for atom, f in zip(atoms, factors, strict=True)
            )
        )
    return replace(question, cases=(*cases, *cases[: int(random.integers(2))]))


def widened(random: np.random.Generator, question: Question) -> Question:
    """A box around the box."""
    low, high = random.integers(0, 5, size=(2, question.lower.size)) / 16
    return replace(question, lower=question.lower - low, upper=question.upper + high)


LAWS: Mapping[str, Law] = MappingProxyType(
    {
        law.name: law
        for law in (
            Law("permute neurons", _of_network(permuted)),
            Law("scale neurons", _of_network(scaled)),
            Law("double neurons", _of_network(doubled)),
            Law("cancel weights", _of_network(cancelled)),
            Law("split a layer", _of_network(split)),
            Law("insert an identity", _of_network(passed)),
            Law("negate outputs", negated),
            Law("reorder atoms", reordered),
            Law("widen the box", widened, "wider"),
        )
    }
)
