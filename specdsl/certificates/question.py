"""A query as the question of a certificate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from specdsl.certificates.files import write_container
from specdsl.certificates.nodes import NodeTable, NotCertified, add_graph
from specdsl.certificates.tensors import TensorTable
from specdsl.graph.graph import Graph, NodeId
from specdsl.proof.container import canonical, digest
from specdsl.query.query import NetworkCall, Query
from specdsl.query.sets import Ball, InputSet
from specdsl.verdict import Semantics
from specdsl.version import __version__


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """`record`: the question in a header; `tensors`: bytes by hash; `numbers`: where nodes are."""

    record: Mapping[str, object]
    tensors: Mapping[str, bytes]
    numbers: Mapping[NodeId, int]

    @property
    def digest(self) -> str:
        """The question's name, as the checker gives it."""
        return digest(canonical(self.record))

    def certificate(
        self, proofs: Sequence[Mapping[str, object]], sections: Mapping[str, bytes]
    ) -> bytes:
        """A file with proofs of it, whose bytes are in `sections`."""
        return self._file({"proofs": list(proofs)}, sections)

    def answer(self, case: int, point: bytes) -> bytes:
        """A file with a point of a case, a rational in each line."""
        witness = {"case": case, "point": "point"}
        return self._file({"proofs": [], "witness": witness}, {"point": point})

    def _file(self, own: Mapping[str, object], sections: Mapping[str, bytes]) -> bytes:
        made_by = {"tool": "specdsl", "version": __version__}
        header = {"question": self.record, "made_by": made_by, **own}
        return write_container(header, {**self.tensors, **sections})


def state(query: Query, semantics: Semantics) -> Statement:
    """The question that a query asks, about its graph as it stands. Raises NotCertified."""
    if query.smoothing is not None:
        raise NotCertified("a certificate says nothing of smoothed classifiers")
    tensors = TensorTable()
    nodes = NodeTable(tensors)
    add_graph(nodes, query.graph, evaluated(query.graph, query.calls))
    sets: list[dict[str, object]] = []
    positions: dict[int, int] = {}
    for case in query.cases:
        if id(case.inputs) not in positions:
            positions[id(case.inputs)] = len(sets)
            sets.append(_set(case.inputs, tensors))
    cases = [
        {
            "set": positions[id(c.inputs)],
            "margins": [a.index for a in c.atoms],
            "strict": [a.strict for a in c.atoms],
        }
        for c in query.cases
    ]
    record: dict[str, object] = {
        "semantics": semantics,
        "nodes": nodes.records,
        "output": nodes.numbers[query.graph.output],
        "tensors": tensors.records,
        "sets": sets,
        "cases": cases,
        "integers": [int(i) for i in query.integers],
    }
    return Statement(record, tensors.content, nodes.numbers)


def evaluated(graph: Graph, calls: Sequence[NetworkCall]) -> dict[NodeId, str]:
    """What float32 makes of nodes: networks compute their own, and round what they take."""
    found: dict[NodeId, str] = {}
    for call in calls:
        inside: set[NodeId] = set()
        hidden = [node for _, node in call.hidden]
        waiting = [n for n in (*call.outputs, *hidden) if n not in call.inputs]
        while waiting:
            node = waiting.pop()
            if node not in inside:
                inside.add(node)
                waiting += [o for o in graph.operands(node) if o not in call.inputs]
        found |= dict.fromkeys(inside, "computed")
    for call in calls:
        for node in call.inputs:
            found.setdefault(node, "rounded")
    return found


def _set(inputs: InputSet, tensors: TensorTable) -> dict[str, object]:
    box = inputs.box
    return {
        "lower": tensors.add(box.lower),
        "upper": tensors.add(box.upper),
        "balls": [_ball(ball, tensors) for ball in inputs.balls],
    }


def _ball(ball: Ball, tensors: TensorTable) -> dict[str, object]:
    return {
        "positions": tensors.add(np.asarray(ball.positions)),
        "center": tensors.add(ball.center),
        "scale": tensors.add(ball.scale),
        "radius": str(ball.radius),
        "norm": ball.norm,
    }
