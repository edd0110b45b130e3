"""Bounds of neurons by the solver itself, layer by layer, for exact branching afterwards.

What bound propagation leaves with more than one linear piece is minimised and maximised over the
mixed-integer model of all layers before it, on the bounds found so far. Every neuron that becomes
stable saves a binary, and narrower ones make the relaxation of the others tighter.

Source: Tjeng, Xiao and Tedrake 2019, arXiv:1711.07356 (progressive bounds tightening). Solver
bounds hold whenever a solve is stopped, so that a limit costs tightness, never soundness.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from specdsl.backend import Deadline, threads
from specdsl.bounds.analysis import GraphBounds, graph_bounds, unstable_entries
from specdsl.bounds.interval import NumpyInterval
from specdsl.encoding.encode import EncodedGraph, encode_graph
from specdsl.encoding.model.entries import Entries
from specdsl.encoding.model.linear_model import BoolArray, FloatArray, IndexArray
from specdsl.encoding.solvers.dual_bound import ROUNDING_PART
from specdsl.encoding.solvers.highs import HighsSession
from specdsl.encoding.solvers.session import INFEASIBLE
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder, NodeId
from specdsl.query.query import Variable
from specdsl.query.sets import InputSet

# Seconds for one end of one neuron, and the part of the time that all may take: what branching
# saves afterwards has to pay for it.
END_SECONDS, REFINING_PART = 1.0, 0.5
# Sessions that share the neurons of a layer, however many threads there are: where a session starts
# from may move an end by rounding, and ends should not depend on the machine.
SESSIONS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Refinement:
    """What is refined on: as of `encode_graph`. `relax`: by linear programs, without branching."""

    graph: Graph
    inputs: InputSet
    variables: tuple[Variable, ...]
    integers: IndexArray
    relax: bool = False

    def refined(self, found: GraphBounds, deadline: Deadline) -> GraphBounds:
        """The bounds, narrower where the solver says so, until the deadline leaves no more time.

        Layers with looser bounds than CROWN's are left alone, and so is what stands behind them.
        """
        if found.coarse:
            return found
        until = Deadline.after(REFINING_PART * deadline.remaining)
        for node in self.graph.order:
            if node not in found.bounds or until.passed:
                continue
            open_entries = unstable_entries(self.graph, node, found.bounds[node])
            if not open_entries.any():
                continue
            narrowed = self._narrowed(node, found.bounds, open_entries, until)
            # What was known stays: on narrower bounds CROWN may choose other lines.
            known = {**found.bounds, node: narrowed}
            found = graph_bounds(self.graph, self.inputs, known=known)
        return found

    def _narrowed(
        self,
        node: NodeId,
        bounds: Mapping[NodeId, NumpyInterval],
        open_entries: BoolArray,
        until: Deadline,
    ) -> NumpyInterval:
        before, encoded = bounds[node], self._before(node, bounds)
        lower, upper = before.lower.reshape(-1).copy(), before.upper.reshape(-1).copy()

        def narrow(entries: list[int]) -> None:
            ends = _Ends.of(encoded, node, relax=self.relax)
            for entry in entries:
                if until.passed:
                    break
                lower[entry] = max(lower[entry], ends.least(entry, 1.0, until))
                upper[entry] = min(upper[entry], -ends.least(entry, -1.0, until))

        # HiGHS lets other threads run while it solves.
        entries = np.flatnonzero(open_entries).tolist()
        parts = [entries[first::SESSIONS] for first in range(min(SESSIONS, len(entries)))]
        with ThreadPoolExecutor(min(SESSIONS, threads())) as pool:
            for done in [pool.submit(narrow, part) for part in parts]:
                done.result()
        return _interval(lower, upper, before)

    def _before(self, node: NodeId, bounds: Mapping[NodeId, NumpyInterval]) -> EncodedGraph:
        """The model of what is before a node, whose entries are its margins."""
        builder = GraphBuilder()
        source = self.graph.input
        shape = self.graph.shapes[source]
        names = builder.splice(self.graph, {source: builder.add(ops.Input(shape), name=source)})
        part = builder.build(names[node])
        return encode_graph(part, self.inputs, bounds, self.variables, self.integers)


@dataclass(frozen=True, slots=True, eq=False)
class _Ends:
    """Least and largest values of entries over one model, which HiGHS keeps."""

    entries: Entries
    session: HighsSession

    @classmethod
    def of(cls, encoded: EncodedGraph, node: NodeId, *, relax: bool) -> _Ends:
        model = encoded.model(f"ends_of_{node}")
        return cls(encoded.margins, HighsSession(model.relaxed() if relax else model))

    def least(self, entry: int, sign: float, until: Deadline) -> float:
        """A lower bound of one entry, or of its opposite."""
        column, offset = int(self.entries.columns[entry]), sign * self.entries.offsets[entry]
        if column < 0:
            return offset
        cost = np.zeros(self.session.model.columns)
        cost[column] = sign * self.entries.slopes[entry]
        self.session.minimise(cost)
        solution = self.session.solve(Deadline.after(min(END_SECONDS, until.remaining)))
        # What the solver calls infeasible is left to the case's own model to prove.
        bound = -np.inf if solution.status in INFEASIBLE else solution.bound
        return bound + offset - ROUNDING_PART * abs(offset)


def _interval(lower: FloatArray, upper: FloatArray, before: NumpyInterval) -> NumpyInterval:
    """Ends that crossed say that no input gets here; that, too, is for the case's model to say."""
    crossed = lower > upper
    old_lower, old_upper = before.lower.reshape(-1), before.upper.reshape(-1)
    shape = before.lower.shape
    return replace(
        before,
        lower=np.where(crossed, old_lower, lower).reshape(shape),
        upper=np.where(crossed, old_upper, upper).reshape(shape),
    )
