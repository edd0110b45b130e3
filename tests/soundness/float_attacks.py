"""Networks that mean one thing in real numbers and do another in floats.

The ideas are of Jia and Rinard 2021 (arXiv:2003.03021: a network's float32 differs from what was
proven, at margins below rounding), Zombori, Banhelyi, Csendes, Megyeri and Jelasity 2021 (Fooling a
complete neural network verifier, ICLR: weights so large that the verifier's own float64 loses what
is added to them, plainly or spread over layers), and Szasz, Banhelyi and Jelasity 2025
(arXiv:2506.01054: networks that notice the order of a sum, or the precision, that they run in).
All networks here are our own, and so is the idea of underflow: float64 loses numbers below
2**-1074, which layers of powers of 2 make of 1, and make 1 of again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, pairwise

import numpy as np

from tests.soundness.float32 import EXECUTIONS
from tests.soundness.laws import permuted, scaled
from tests.soundness.networks import RELU, Array, Dense, Layer, Network, as_exact, evaluate
from tests.soundness.questions import Atom, Question, Word


@dataclass(frozen=True, slots=True, eq=False)
class FloatCase:
    """`real`: the truth in real numbers. Where that is `verified`, some float32 execution violates
    the property at `point`, so that no proof for deployed networks may exist; where it is
    `falsified`, none may either, since real arithmetic is what all executions are near to.
    """

    name: str
    idea: str
    question: Question
    real: Word
    point: Array


JIA_RINARD, ZOMBORI, SZASZ = "Jia and Rinard", "Zombori et al.", "Szász et al."
UNDERFLOW = "underflow"


def all_cases() -> list[FloatCase]:
    """In order, the same in every run."""
    found = [*_cancellation(), *_near_boundaries(), *_hidden(), *_spread(), *_noticed()]
    return [*found, *_vanishing()]


def _ask(layers: list[Layer], lower: list[float], upper: list[float]) -> Question:
    """Whether the only output is ever 0 or less."""
    network = Network((1, len(lower)), tuple(layers))
    return Question(network, np.array(lower), np.array(upper), ((Atom(np.ones(1)),),))


def _dense(weight: list[list[float]], bias: list[float]) -> Dense:
    return Dense(np.array(weight), np.array(bias))


# --- Underflow ------------------------------------------------------------------------------------


def _vanishing() -> Iterator[FloatCase]:
    """Layers that make x so small that floats have 0, and others that make it large again."""
    for power, depth in ((60, 19), (100, 11), (120, 10)):
        for real in ("falsified", "verified"):
            factors = [2.0**-power] * depth + [2.0**power] * depth
            layers: list[Layer] = []
            for factor in factors:
                layers += [_dense([[factor], [-factor]], [0.0, 0.0]), RELU]
                # What is below 0 stays there, three quarters as large.
                layers.append(_dense([[1.0, -0.75]], [0.0]))
            constant, low, high = (
                (2.0**-depth, -1.0, 1.0) if real == "falsified" else (0.0, 0.5, 1.0)
            )
            question = _ask([*layers, _dense([[1.0]], [constant])], [low], [high])
            point = np.array([low])
            yield FloatCase(f"vanishing-{power}-{real}", UNDERFLOW, question, real, point)


# --- Jia and Rinard -----------------------------------------------------------------------------


def _cancellation() -> Iterator[FloatCase]:
    """`relu(x + big) - big` is x, and in floats what is left of it."""
    for power in (24, 30, 40):
        big = 2.0**power
        signs: tuple[tuple[float, Word], ...] = ((1.0, "verified"), (-1.0, "falsified"))
        for sign, real in signs:
            # sign * (x - 1/8) for x in [1/4, 3/8], where float32 has 0 for x.
            layers: list[Layer] = [
                _dense([[1.0]], [big]),
                RELU,
                _dense([[sign]], [-sign * big]),
                _dense([[1.0]], [-sign / 8]),
            ]
            question = _ask(layers, [0.25], [0.375])
            name = f"big-small-big-{power}-{real}"
            yield FloatCase(name, JIA_RINARD, question, real, np.array([0.25]))


NEAR_CASES = 5


def _near_boundaries() -> Iterator[FloatCase]:
    """Random networks at single points, so near to a boundary that float32 has the other sign."""
    wanted = {"verified": NEAR_CASES, "falsified": NEAR_CASES}
    for seed in count():
        question = _near_boundary(np.random.default_rng([32, seed]))
        point = question.lower
        real: Word = "falsified" if question.violated(as_exact(point)) else "verified"
        other = any(e.violates(question, point) == (real == "verified") for e in EXECUTIONS)
        if other and wanted[real]:
            wanted[real] -= 1
            yield FloatCase(f"near-boundary-{seed}-{real}", JIA_RINARD, question, real, point)
        if not any(wanted.values()):
            return


def _near_boundary(random: np.random.Generator) -> Question:
    """Weights with all bits of float32; the last offset takes away the margin, but for its own
    rounding.
    """
    widths = (3, 6, 6, 1)
    layers: list[Layer] = []
    for before, after in pairwise(widths):
        layers += [Dense(_singles(random, after, before), _singles(random, after)), RELU]
    layers.pop()
    point = _singles(random, widths[0])
    last = layers[-1]
    assert isinstance(last, Dense)
    (margin,) = evaluate(Network((1, widths[0]), tuple(layers)), as_exact(point))
    lifted = np.float32(float(last.bias[0] - margin)).astype(np.float64)
    layers[-1] = Dense(last.weight, np.array([lifted]))
    return _ask(layers, point.tolist(), point.tolist())


def _singles(random: np.random.Generator, *shape: int) -> Array:
    return random.normal(size=shape).astype(np.float32).astype(np.float64)


# --- Zombori et al. -----------------------------------------------------------------------------


def _hidden() -> Iterator[FloatCase]:
    """u = relu(8 x - 7) is at most 1, and nothing beside `big` in float64 already."""
    for power in (53, 54, 60, 100):
        big = 2.0**power
        for real in ("falsified", "verified"):
            constant, sign, low = (0.5, -1.0, 0.0) if real == "falsified" else (-0.5, 1.0, 0.984375)
            layers: list[Layer] = [
                _dense([[8.0, 0.0], [0.25, 1.0]], [-7.0, 0.0]),
                RELU,
                _dense([[1.0, 0.0], [0.0, 1.0]], [big, 0.0]),
                RELU,
                _dense([[sign, 0.0], [0.0, 0.125]], [-sign * big, 0.0]),
                _dense([[1.0, 1.0]], [constant]),
            ]
            question = _ask(layers, [low, 0.0], [1.0, 1.0])
            point = np.array([1.0, 0.0])
            yield FloatCase(f"hidden-{power}-{real}", ZOMBORI, question, real, point)


# A chain of so many layers, each times 2**9, makes 2**54 of 1.
SPREAD_LAYERS, SPREAD_POWER = 6, 9


def _spread() -> Iterator[FloatCase]:
    """The same with no large weight: two neurons that are equal grow layer by layer, u is added to
    one of them at the end; then neurons are permuted and scaled.
    """
    for seed in range(3):
        for real in ("falsified", "verified"):
            random = np.random.default_rng([54, seed])
            constant, sign, low = (0.5, -1.0, 0.0) if real == "falsified" else (-0.5, 1.0, 0.984375)
            grown = 2.0**SPREAD_POWER
            # Neurons: the grown one, its equal, u.
            layers: list[Layer] = [_dense([[0.0, 1.0], [0.0, 1.0], [8.0, 0.0]], [1.0, 1.0, -7.0])]
            for layer in range(SPREAD_LAYERS):
                added = float(layer == SPREAD_LAYERS - 1)
                layers.append(RELU)
                rows = [[grown, 0.0, added], [0.0, grown, 0.0], [0.0, 0.0, 1.0]]
                layers.append(_dense(rows, [0.0] * 3))
            layers += [RELU, _dense([[sign, -sign, 0.0]], [constant])]
            network = scaled(random, permuted(random, Network((1, 2), tuple(layers))))
            question = _ask(list(network.layers), [low, 0.0], [1.0, 1.0])
            point = np.array([1.0, 0.0])
            yield FloatCase(f"spread-{seed}-{real}", ZOMBORI, question, real, point)


# --- Szász et al. -------------------------------------------------------------------------------


def _noticed() -> Iterator[FloatCase]:
    """Real arithmetic says that all is well; who runs it otherwise triggers what was hidden."""
    for power in (26, 60):
        yield _noticed_case(f"order-{power}", _order(2.0**power), [1.0, 1.0], [2.0, 2.0])
    yield _noticed_case("small-terms", _small_terms(), [1.0], [2.0])
    yield _noticed_case("fused", _fused(), [1.0 + 2.0**-12], [1.0 + 2.0**-11])
    yield _noticed_case("flushed", _chain([-100, -30, 100, 30]), [1.0], [2.0])
    yield _noticed_case("underflow", _chain([-100, -100, 100, 100]), [1.0], [2.0])
    yield _noticed_case("overflow", _chain([100, 100, -100, -100], 3.0, -1.0), [1.0], [2.0])


def _noticed_case(
    name: str, layers: list[Layer], lower: list[float], upper: list[float]
) -> FloatCase:
    question = _ask(layers, lower, upper)
    return FloatCase(name, SZASZ, question, "verified", np.array(lower))


def _order(big: float) -> list[Layer]:
    """big a - big a + c is c, or 0 from the other end; 1/2 less the difference."""
    return [
        _dense([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [0.0] * 3),
        RELU,
        _dense([[big, -big, 1.0], [0.0, 0.0, 1.0]], [0.0] * 2),
        RELU,
        _dense([[-1.0, 1.0]], [0.0]),
        RELU,
        _dense([[-1.0]], [0.5]),
    ]


def _small_terms() -> list[Layer]:
    """a + 64 times a / 2**25 is a (1 + 2**-19), or a where it is added up from the large end."""
    terms = 64
    return [
        _dense([[1.0]] * (terms + 1), [0.0] * (terms + 1)),
        RELU,
        _dense([[1.0, *[2.0**-25] * terms], [1 + 2.0**-19, *[0.0] * terms]], [0.0] * 2),
        RELU,
        _dense([[-1.0, 1.0]], [0.0]),
        RELU,
        _dense([[-(2.0**20)]], [1.0]),
    ]


def _fused() -> list[Layer]:
    """(1 + 2**-12)**2 - (1 + 2**-11) is 2**-24, or 0 where the product is rounded first."""
    return [
        _dense([[1.0]], [0.0]),
        RELU,
        _dense([[1 + 2.0**-12]], [-(1 + 2.0**-11)]),
        RELU,
        _dense([[2.0**24]], [-0.5]),
    ]


def _chain(powers: list[int], constant: float = -0.5, sign: float = 1.0) -> list[Layer]:
    """x times all these powers of two one after another, which is x."""
    steps = [layer for power in powers for layer in (_dense([[2.0**power]], [0.0]), RELU)]
    return [*steps, _dense([[sign]], [constant])]
