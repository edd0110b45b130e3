"""`Query`: one question a backend can answer.

    Is there a point x in the inputs of some case such that every atom of that case holds?

"No" proves the property, "yes" comes with the point. The graph maps the flat or shaped input to a
vector of *margins*; an atom says that one margin is <= 0 (or < 0). The compiler has negated the
property already: nobody else needs to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import prod
from typing import Literal

import numpy as np
import numpy.typing as npt

from specdsl.diagnostics import Diagnostic
from specdsl.graph.graph import Graph, NodeId
from specdsl.graph.runtime import Original
from specdsl.query.sets import ExactArray, IndexArray, InputSet
from specdsl.source import Span


@dataclass(frozen=True, slots=True)
class Atom:
    """`margins[index] <= 0`, or `< 0` where strict."""

    index: int
    strict: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A conjunction: `x in inputs` and every atom. Without atoms the inputs alone are the case."""

    inputs: InputSet
    atoms: tuple[Atom, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """One named group of entries of the input, for showing witnesses in the user's terms.

    `positions`: where its entries stand in the flat input, row-major. Two variables may share
    entries, where the property says that they are equal. `labels`: names of the values 0, 1, ...
    of a category; `one_hot`: the value is the place of the 1 among the entries.
    """

    name: str
    positions: IndexArray
    shape: tuple[int, ...]
    unit: str | None = None
    labels: tuple[str, ...] = ()
    one_hot: bool = False

    @classmethod
    def at(cls, name: str, start: int, shape: tuple[int, ...], unit: str | None = None) -> Variable:
        """A variable whose entries stand one after another from `start` on."""
        return cls(name, np.arange(start, start + prod(shape), dtype=np.int64), shape, unit)


@dataclass(frozen=True, slots=True, eq=False)
class Nonlinear:
    """A place where a term of the property is not piecewise linear: a product of two varying terms.

    `text`: the user's own; `chains`: where each factor gets its variables from, with words.
    """

    text: str
    span: Span | None
    chains: tuple[tuple[Span, str], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class NetworkCall:
    """One application of an original network inside the query graph, for replay.

    `inputs` and `outputs` are nodes of the query graph, in the model's order: the network's raw
    inputs, in their own shapes, and its raw outputs (before any denormalisation). `model` holds the
    ONNX file's bytes: the original file, or the export of an inline network. `labels` names the
    entries of a single output. `hidden`: hidden values that the query reads, ONNX name and node.
    `text` says what it is applied to, `net(a)`, where that is something the user has named.
    `original` replays it instead of `model`, where the network did not come from ONNX.
    """

    name: str
    model: bytes = field(repr=False)
    inputs: tuple[NodeId, ...]
    outputs: tuple[NodeId, ...]
    labels: tuple[str, ...] = ()
    hidden: tuple[tuple[str, NodeId], ...] = ()
    text: str = ""
    original: Original | None = None


@dataclass(frozen=True, slots=True)
class Smoothing:
    """That a question is about the class a network gives most often under Gaussian noise of the
    standard deviation `sigma` on every entry of the flat input, in the user's units.
    """

    sigma: Fraction


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """A union of cases over one graph.

    `graph` has one input and one output of shape (margins,). It is the semantic reference: backends
    may rewrite it for themselves, evidence is judged on it as it stands. `kind`: `forall` asks that
    no case has a point, `exists` that one has. `integers`: entries of the flat input that take
    whole numbers only. `nonlinear`: where the graph multiplies, for those who cannot.
    `warnings`: what the user should know beside the verdict, for example that the claim is vacuous.
    `center`: of a query about a sample, the flat input at which nothing is perturbed, if that is
    plain. `smoothing`: where set, the cases say that a class is not the one asked for, at one draw
    of the noise, and the question is whether the noise makes that class the most frequent one at
    every point of their inputs, which are one set. Nobody may answer it who does not know that.
    """

    name: str
    graph: Graph
    cases: tuple[Case, ...]
    variables: tuple[Variable, ...]
    calls: tuple[NetworkCall, ...]
    kind: Literal["forall", "exists"] = "forall"
    property_name: str = ""
    span: Span | None = None
    warnings: tuple[Diagnostic, ...] = ()
    integers: IndexArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    nonlinear: tuple[Nonlinear, ...] = ()
    center: ExactArray | None = None
    smoothing: Smoothing | None = None

    def groups(self) -> tuple[Variable, ...]:
        """The variables without what an earlier one holds: each flat entry once, or `input`."""
        size = self.graph.size(self.graph.input)
        taken = np.zeros(size, dtype=bool)
        found: list[Variable] = []
        for variable in self.variables:
            fresh = variable.positions[~taken[variable.positions]]
            taken[fresh] = True
            if fresh.size:
                whole = fresh.size == variable.positions.size
                shape = variable.shape if whole else (fresh.size,)
                found.append(Variable(variable.name, fresh, shape, variable.unit))
        if not taken.all():
            rest = np.flatnonzero(~taken)
            found.append(Variable("input", rest, (rest.size,)))
        return tuple(found)

    @property
    def margins(self) -> int:
        """Length of the graph's output."""
        return self.graph.size(self.graph.output)

    def atom_indices(self) -> npt.NDArray[np.int64]:
        """The margins that some case reads, each once, rising."""
        return np.unique(np.array([a.index for c in self.cases for a in c.atoms], dtype=np.int64))
