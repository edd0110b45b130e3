"""All trapdoor networks, by number; and beside each a twin without a counterexample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from tests.soundness.questions import Word
from tests.soundness.trapdoors.convolutional import Image, convolutional_trapdoor
from tests.soundness.trapdoors.curved import curved_trapdoor
from tests.soundness.trapdoors.dense import Form, dense_trapdoor
from tests.soundness.trapdoors.readout import Trapdoor
from tests.soundness.trapdoors.residual import residual_trapdoor
from tests.soundness.trapdoors.traps import Kind

Maker = Callable[[np.random.Generator, int, Kind], Trapdoor]


@dataclass(frozen=True, slots=True)
class Family:
    """`count` networks; `make` takes a generator and a number from 0 on, which forms go by."""

    name: str
    count: int
    make: Maker

    def trapdoor(self, number: int, kind: Kind = "deep") -> Trapdoor:
        """The network of that number, or its twin: the same draws, but for the pits."""
        random = np.random.default_rng([*self.name.encode(), number])
        return self.make(random, number, kind)


def _dense(random: np.random.Generator, number: int, kind: Kind) -> Trapdoor:
    inputs = (5, 8, 12, 20, 48)[number % 5]
    return dense_trapdoor(random, Form(inputs, 1 + number // 5 % 6, 4 + number % 5), kind)


def _wide(random: np.random.Generator, number: int, kind: Kind) -> Trapdoor:
    return dense_trapdoor(random, Form((196, 784)[number % 2], 2 + number % 3, 16), kind)


def _residual(random: np.random.Generator, number: int, kind: Kind) -> Trapdoor:
    inputs = (5, 9, 16, 40)[number % 4]
    return residual_trapdoor(random, inputs, 4 + number % 3, 2 + number // 4 % 5, kind)


def _hosted(host: str) -> Maker:
    def make(random: np.random.Generator, number: int, kind: Kind) -> Trapdoor:
        inputs = (5, 8, 16)[number % 3]
        return dense_trapdoor(random, Form(inputs, 1 + number // 3 % 4, 5, host), kind)

    return make


def _curved(random: np.random.Generator, number: int, kind: Kind) -> Trapdoor:
    return curved_trapdoor(random, (5, 6, 8, 12)[number % 4], 4, kind)


IMAGES = ((1, 4), (3, 4), (1, 8), (3, 8), (1, 12))


def _images(pooled: bool, residual: bool) -> Maker:
    def make(random: np.random.Generator, number: int, kind: Kind) -> Trapdoor:
        channels, extent = (1, 28) if number % 20 == 19 else IMAGES[number % len(IMAGES)]
        image = Image(channels, extent, 3, pooled, residual)
        return convolutional_trapdoor(random, image, kind)

    return make


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        family.name: family
        for family in (
            Family("dense", 150, _dense),
            Family("wide", 10, _wide),
            Family("residual", 80, _residual),
            Family("conv", 80, _images(pooled=False, residual=False)),
            Family("pool", 60, _images(pooled=True, residual=False)),
            Family("conv-residual", 60, _images(pooled=True, residual=True)),
            Family("sigmoid-host", 40, _hosted("sigmoid")),
            Family("tanh-host", 20, _hosted("tanh")),
            Family("curved", 40, _curved),
        )
    }
)
"""540 networks in all."""

EXPECTED: Mapping[Kind, Word] = MappingProxyType({"deep": "falsified", "shallow": "verified"})
