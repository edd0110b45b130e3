"""A tiny query, obligations without a spec, and backends with a fixed answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, ClassVar, Literal

import numpy as np

from specdsl.backend import Capabilities, Deadline, Unsupported
from specdsl.graph.graph import GraphBuilder
from specdsl.graph.ops import Dense, Input
from specdsl.graph.to_onnx import export
from specdsl.query.query import Atom, Case, NetworkCall, Query, Variable
from specdsl.query.sets import Box, exact
from specdsl.source import Source, Span
from specdsl.verdict import Answer, Certificate, Unknown, Verified

SOURCE = Source("f.spec", "spec 1.0\nproperty robust = forall x in box(0, 1): net(x) > 0\n")
SPAN = Span(SOURCE, 18, 24)
ALL = Capabilities(verifies=True, falsifies=True, complete=True)


def query(
    shift: float = 0.5, kind: Literal["forall", "exists"] = "forall", strict: bool = False
) -> Query:
    """Margin `x + shift` over x in [0, 1]: unsafe points exist where shift <= 0."""
    builder = GraphBuilder()
    x = builder.add(Input((1, 1)), name="x")
    y = builder.add(Dense(np.eye(1), np.array([shift])), x, name="y")
    network = builder.build(y)
    builder = GraphBuilder()
    x = builder.add(Input((1, 1)), name="x")
    nodes = builder.splice(network, {network.input: x})
    margins = builder.concat_flat(nodes[network.output])
    return Query(
        name="robust",
        graph=builder.build(margins),
        cases=(Case(Box(exact([0]), exact([1])), (Atom(0, strict),)),),
        variables=(Variable.at("x", 0, (), "m"),),
        calls=(NetworkCall("net", export(network), (x,), (nodes[network.output],), ("safe",)),),
        kind=kind,
    )


@dataclass
class FakeObligation:
    """What `decide` needs of an obligation."""

    made: Query | Exception = field(default_factory=query)
    id: str = "f.spec::robust[7]"
    property_name: str = "robust"
    check: int = 0
    sample: int | None = 7
    span: Span = SPAN

    def query(self, resources: object) -> Query:
        if isinstance(self.made, Exception):
            raise self.made
        return self.made


@dataclass
class FakeBackend:
    """Gives or raises what it is told to."""

    result: Any
    name: ClassVar[str] = "fake"
    capabilities: ClassVar[Capabilities] = ALL

    def answer(self, query: Query, deadline: Deadline) -> Answer:
        if isinstance(self.result, BaseException):
            raise self.result
        return Answer(self.result, "fake/method", 0.25, {"domains": 3.0})


PROVEN = Verified(Certificate("fake", 0.125, ("float64 rounding",)))
UNDECIDED = Unknown("timeout after 1 s", -0.5, "more time", timeout=True)
NO_RULE = Unsupported("fake", "l2 balls", "use `portfolio`")
ORIGIN = exact([Fraction(0)])
