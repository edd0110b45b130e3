"""A query as VNN-LIB can say it: networks with their own inputs, ties between them, margins.

VNN-LIB has no variables but inputs, hidden values and outputs of networks. The networks of a query
are the original ones, each call with variables of its own; what the property computes around them
stays in the text as exact polynomials; an elementwise op that is no polynomial (`abs`, `max`)
becomes a small network of its own; variables that no network takes as they are belong to a network
that returns its input. So nothing is rounded: weights of networks are float32 to begin with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from specdsl.diagnostics import SpecError
from specdsl.query.elaboration.values.symbolic import EntryArray, Linear
from specdsl.query.query import Query
from specdsl.query.sets import Ball

Number = Fraction | Linear


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """A declared variable: `source` is what its entries are called in expressions.

    `values`: of an input, what its entries equal; None for outputs and hidden values.
    """

    name: str
    shape: tuple[int, ...]
    source: int
    values: EntryArray | None = None
    value_name: str | None = None

    def entry(self, position: int) -> str:
        """One entry as VNN-LIB 2.0 writes it."""
        indices = np.unravel_index(position, self.shape) if self.shape else ()
        return f"{self.name}[{','.join(str(int(i)) for i in indices)}]" if indices else self.name


@dataclass(frozen=True, slots=True, eq=False)
class SaidNetwork:
    """`equal_to`: the network that has the model already, or None where this one has it."""

    name: str
    model: bytes = field(repr=False)
    inputs: tuple[Said, ...]
    hidden: tuple[Said, ...]
    outputs: tuple[Said, ...]
    equal_to: str | None = None

    @property
    def variables(self) -> tuple[Said, ...]:
        """In the order of declaration."""
        return (*self.inputs, *self.hidden, *self.outputs)


@dataclass(frozen=True, slots=True)
class Product:
    """`left * right`, which stands in expressions as an entry of a source of its own."""

    left: Linear
    right: Linear


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """Everything of a query in terms of declared variables.

    `represented[v]`: entry v of the query's flat input. `ties`: pairs that are equal. `margins` as
    in the query. `products`: by source. `balls` of a case are in terms of `represented`.
    """

    query: Query
    networks: tuple[SaidNetwork, ...]
    represented: tuple[Linear, ...]
    ties: tuple[tuple[Linear, Number], ...]
    margins: tuple[Number, ...]
    products: Mapping[int, Product]
    norms: Mapping[Ball, Linear]

    @property
    def variables(self) -> dict[int, Said]:
        """The declared variables by source."""
        return {v.source: v for network in self.networks for v in network.variables}


def inexpressible(query: Query, what: str, help: str | None = None) -> SpecError:
    """E1013: what of a query VNN-LIB cannot say."""
    return SpecError.of("E1013", f"`{query.name}`: VNN-LIB has no words for {what}", help=help)
