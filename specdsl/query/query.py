"""`Query`: one question a backend can answer.

    Is there a point x in the inputs of some case such that every atom of that case holds?

"No" proves the property, "yes" comes with the point. The graph maps the flat or shaped input to a
vector of *margins*; an atom says that one margin is <= 0 (or < 0). The compiler has negated the
property already: nobody else needs to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from specdsl.diagnostics import Diagnostic
from specdsl.graph.graph import Graph, NodeId
from specdsl.query.sets import InputSet
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

    `start` is the position of its first entry in the flat input.
    """

    name: str
    start: int
    shape: tuple[int, ...]
    unit: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class NetworkCall:
    """One application of an original network inside the query graph, for replay.

    `input` and `output` are nodes of the query graph: the network's raw input, in its own shape,
    and its raw output (before any denormalisation). `model` holds the ONNX file's bytes: the
    original file, or the export of an inline network. `labels` names the output's entries.
    """

    name: str
    model: bytes = field(repr=False)
    input: NodeId
    output: NodeId
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """A union of cases over one graph.

    `graph` has one input and one output of shape (margins,). It is the semantic reference: backends
    may rewrite it for themselves, evidence is judged on it as it stands. `kind`: `forall` asks that
    no case has a point, `exists` that one has. `warnings`: what the user should know beside the
    verdict, for example that the claim is vacuous.
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

    @property
    def margins(self) -> int:
        """Length of the graph's output."""
        return self.graph.size(self.graph.output)

    def atom_indices(self) -> npt.NDArray[np.int64]:
        """The margins that some case reads, each once, rising."""
        return np.unique(np.array([a.index for c in self.cases for a in c.atoms], dtype=np.int64))
