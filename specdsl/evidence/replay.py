"""Is a candidate a witness? In exact rationals, and with the original network's own outputs, as
ONNX Runtime gives them, or PyTorch for a module.

Three outcomes: a `Witness` where all atoms of a case hold both ways, `Suspected` where the two
disagree (float32 rounding decides: no verdict rests on that), None where neither does.

Elementary functions are irrational: where a margin depends on one, an atom holds only where it does
for every number within the error bound of the margin (`graph.enclosure`). A witness then carries
that error, and a note.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
import numpy.typing as npt

from specdsl.diagnostics import SpecError
from specdsl.evidence.atoms import ELEMENTARY, Atoms, atoms_hold, disagreement
from specdsl.evidence.placement import Placement, as_floats, place
from specdsl.evidence.screening import Screen, screen
from specdsl.graph.enclosure import Enclosed, enclose
from specdsl.graph.exact import NoValue, evaluate_exact, is_exact
from specdsl.graph.graph import Graph, NodeId
from specdsl.graph.rewrites import restate
from specdsl.graph.runtime import Original, Runner, Runtime
from specdsl.query.query import Case, NetworkCall, Query
from specdsl.query.sets import Box, ExactArray, InputSet
from specdsl.verdict import CallReplay, Witness

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Suspected:
    """Exact and float32 evaluation disagree about a point, or the runtime fails there.

    Margins are the largest of the case's atoms, as in `Witness`; `replayed_margin` is None where
    there was no replay. `exact_holds`: whether the exact numbers make it a witness. `reason` is a
    sentence part for an `Unknown` verdict.
    """

    reason: str
    exact_margin: Fraction
    replayed_margin: Fraction | None
    point: ExactArray
    case: int
    exact_holds: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Replay:
    """Margins computed from the runtime's outputs, and what the networks said."""

    margins: Enclosed
    calls: tuple[CallReplay, ...]
    replayed_with: str
    title: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Judgement:
    """What is true at one exact point, whatever the case. `replay` is text where it failed."""

    placement: Placement
    margins: Enclosed
    replay: _Replay | str

    def verdict(self, case: Case, index: int) -> Witness | Suspected | None:
        """Do the atoms of the case hold, both ways?"""
        point = self.placement.point
        exact = atoms_hold(case, self.margins)
        if isinstance(self.replay, str):
            reason = f"suspected counterexample: the replay failed: {self.replay}"
            found = Suspected(reason, exact.margin, None, point, index, exact_holds=True)
            return found if exact.surely else None
        replayed = atoms_hold(case, self.replay.margins)
        if exact.surely and replayed.surely:
            return self._witness(index, exact, replayed, self.replay)
        if exact.surely or replayed.surely or (exact.perhaps and replayed.perhaps):
            reason = disagreement(exact, replayed, self.replay.title)
            holds = exact.surely
            return Suspected(reason, exact.margin, replayed.margin, point, index, holds)
        return None

    def _witness(self, index: int, exact: Atoms, replayed: Atoms, replay: _Replay) -> Witness:
        note = self.placement.note
        error = max(exact.error, replayed.error)
        curves = (f"{ELEMENTARY}: the margins are right to within {error:.1g}",) if error else ()
        return Witness(
            point=self.placement.point,
            case=index,
            exact_margin=exact.margin,
            replayed_margin=replayed.margin,
            calls=replay.calls,
            replayed_with=replay.replayed_with,
            notes=((note,) if note else ()) + replay.notes + curves,
            error=error,
        )


def confirm(
    query: Query, point: FloatArray | ExactArray, cases: Sequence[int] | None = None
) -> Witness | Suspected | None:
    """`Replayer(query).confirm(point, cases)`, for one point."""
    return Replayer(query).confirm(point, cases)


class Replayer:
    """Judges candidates for one query; holds its networks, ready to be run, while it lives."""

    def __init__(self, query: Query) -> None:
        self.query = query
        self._runners: dict[tuple[bytes | Original, tuple[str, ...]], Runner] = {}
        # By the identity of the case's set, which the query keeps alive.
        self._bounds: dict[int, tuple[FloatArray, FloatArray]] = {}
        self._calls = tuple(in_order(query))

    def confirm(
        self, point: FloatArray | ExactArray, cases: Sequence[int] | None = None
    ) -> Witness | Suspected | None:
        """The first of `cases` (all by default) that has a witness near `point`.

        `point`: flat, floats or exact numbers; it is moved into each case's input set first. A
        witness of any case goes before a suspicion. Raises SpecError E0611 where the runtime
        cannot load a network, ValueError where the point has the wrong length.
        """
        if np.shape(point) != (self.query.graph.size(self.query.graph.input),):
            raise ValueError(f"a point of shape {np.shape(point)} for a flat input")
        suspected: Suspected | None = None
        # Cases often share one input set: what does not depend on the atoms is computed once.
        attempts: dict[int, _Attempt] = {}
        for index in range(len(self.query.cases)) if cases is None else cases:
            case = self.query.cases[index]
            key = id(case.inputs)
            if key not in attempts:
                attempts[key] = _Attempt(self, point, case.inputs)
            found = attempts[key].verdict(case, index)
            if isinstance(found, Witness):
                return found
            suspected = suspected or found
        return suspected

    def judge(self, placement: Placement, index: int) -> Witness | Suspected | None:
        """The verdict on an exact point of case `index`, which is not moved any more."""
        found = self.judgement(placement)
        return None if found is None else found.verdict(self.query.cases[index], index)

    def clip(self, point: FloatArray | ExactArray, box: Box) -> FloatArray:
        """The candidate in float64, inside the box rounded outward; whole where it must be."""
        if id(box) not in self._bounds:
            self._bounds[id(box)] = box.float_bounds()
        lower, upper = self._bounds[id(box)]
        clipped = np.clip(np.asarray(point, dtype=np.float64), lower, upper)
        integers = self.query.integers
        clipped[integers] = np.round(clipped[integers])
        return clipped

    def judgement(self, placement: Placement) -> _Judgement | None:
        """Margins at an exact point, in rationals and by replay; None where they have no value."""
        graph = self.query.graph
        shaped = placement.point.reshape(graph.shapes[graph.input])
        try:
            margins = self._margins({graph.input: shaped}, {})
        except NoValue:
            return None
        try:
            return _Judgement(placement, margins, self._replay(shaped))
        except _ReplayFailed as error:
            return _Judgement(placement, margins, str(error))

    def _replay(self, shaped: ExactArray) -> _Replay:
        """Run every network at the float32 nearest to its exact inputs, in order."""
        graph = self.query.graph
        inputs = {graph.input: shaped}
        given: dict[NodeId, ExactArray] = {}
        calls: list[CallReplay] = []
        notes: list[str] = []
        for call in self._calls:
            try:
                values = evaluate_exact(graph, inputs, given, call.inputs)
            except NoValue as error:
                text = f"an input of `{call.name}` has no value behind {self._title}'s outputs"
                raise _ReplayFailed(text) from error
            seen = [_float32(values[node]) for node in call.inputs]
            flat = np.concatenate([value.reshape(-1) for value in seen])
            wanted = (v for node in call.inputs for v in values[node].flat)
            coarse = sum(Fraction(s) != v for s, v in zip(flat.tolist(), wanted, strict=True))
            if coarse:
                what = f"{coarse} of {flat.size} inputs of `{call.text or call.name}`"
                notes.append(f"{what} are no float32 numbers, replayed at the nearest ones")
            said = self._run(call, seen)
            nodes = (*call.outputs, *(node for _, node in call.hidden))
            for node, value in zip(nodes, said, strict=True):
                given[node] = _fractions(value).reshape(graph.shapes[node])
            outputs = np.concatenate(said[: len(call.outputs)])
            calls.append(CallReplay(call.name, flat, outputs, call.labels, call.text))
        try:
            margins = self._margins(inputs, given)
        except NoValue as error:
            text = f"the claim has no value for what {self._title} says"
            raise _ReplayFailed(text) from error
        return _Replay(margins, tuple(calls), self._version, self._title, tuple(notes))

    def _margins(
        self, inputs: Mapping[NodeId, ExactArray], given: Mapping[NodeId, ExactArray]
    ) -> Enclosed:
        """All margins; exact ones without the cost of carrying errors. Raises NoValue.

        Where a number is beyond float64, as `exp(800)` in a softmax is, margins of the same signs
        that compare arguments instead.
        """
        try:
            return _margins_of(self.query.graph, inputs, given)
        except NoValue:
            if given or self._compared is self.query.graph:
                raise
            shaped = {self._compared.input: inputs[self.query.graph.input]}
            return _margins_of(self._compared, shaped, {})

    @cached_property
    def _compared(self) -> Graph:
        """Margins of the same signs as the query's for all inputs, those without a value aside."""
        return restate(self.query.graph).graph

    def _run(
        self, call: NetworkCall, seen: list[npt.NDArray[np.float32]]
    ) -> list[npt.NDArray[np.float32]]:
        """The network's outputs and then its hidden values, flat."""
        if not all(np.isfinite(value).all() for value in seen):
            raise _ReplayFailed(f"an input of `{call.name}` is beyond float32")
        hidden = tuple(name for name, _ in call.hidden)
        key = (call.original or call.model, hidden)
        if key not in self._runners:
            self._runners[key] = (
                Runtime(call.model, call.name, hidden)
                if call.original is None
                else call.original.runner(hidden)
            )
        runner = self._runners[key]
        try:
            said = [value.reshape(-1) for value in runner.run_many(seen)]
        except SpecError as error:
            raise _ReplayFailed(error.diagnostics[0].message) from error
        nodes = (*call.outputs, *(node for _, node in call.hidden))
        sizes = [self.query.graph.size(node) for node in nodes]
        if [value.size for value in said] != sizes:
            counted = sum(value.size for value in said)
            raise _ReplayFailed(f"`{call.name}` has {counted} outputs in {runner.title}")
        if not all(np.isfinite(value).all() for value in said):
            raise _ReplayFailed(f"an output of `{call.name}` is not finite in {runner.title}")
        return said

    @property
    def _version(self) -> str:
        versions = sorted({r.version for r in self._runners.values()})
        return ", ".join(versions) if versions else "no network"

    @property
    def _title(self) -> str:
        return " and ".join(sorted({r.title for r in self._runners.values()})) or "the network"


def _margins_of(
    graph: Graph, inputs: Mapping[NodeId, ExactArray], given: Mapping[NodeId, ExactArray]
) -> Enclosed:
    nodes = (graph.output,)
    if is_exact(graph, nodes, given=given):
        margins = evaluate_exact(graph, inputs, given, nodes)[graph.output]
        return Enclosed(margins, np.zeros(margins.shape))
    return enclose(graph, inputs, given, nodes)[graph.output]


class _ReplayFailed(Exception):
    """The runtime has no finite answer at a point."""


class _Attempt:
    """One candidate against one input set; each thing is computed when first needed, once."""

    def __init__(
        self, replayer: Replayer, point: FloatArray | ExactArray, inputs: InputSet
    ) -> None:
        self._replayer = replayer
        self._point = point
        self._inputs = inputs
        self._judgements: dict[int, _Judgement | None] = {}

    def verdict(self, case: Case, index: int) -> Witness | Suspected | None:
        """The best that a placement of the candidate gives for the case."""
        if self._screen is None or self._screen.hopeless(case):
            return None
        suspected: Suspected | None = None
        for position, placement in enumerate(self._placements):
            if position not in self._judgements:
                self._judgements[position] = self._replayer.judgement(placement)
            judgement = self._judgements[position]
            found = None if judgement is None else judgement.verdict(case, index)
            if isinstance(found, Witness):
                return found
            suspected = suspected or found
        return suspected

    @cached_property
    def _screen(self) -> Screen | None:
        """Before any exact arithmetic for a box; a ball's point must be pulled inside first."""
        graph = self._replayer.query.graph
        if isinstance(self._inputs, Box):
            return screen(graph, self._replayer.clip(self._point, self._inputs))
        if not self._placements:
            return None
        return screen(graph, as_floats(self._placements[0].point))

    @cached_property
    def _placements(self) -> tuple[Placement, ...]:
        return place(self._point, self._inputs, self._replayer.query.integers)


def in_order(query: Query) -> Iterator[NetworkCall]:
    """The calls, each after those whose outputs or hidden values it reads."""
    makers = {
        node: call
        for call in query.calls
        for node in (*call.outputs, *(hidden for _, hidden in call.hidden))
    }
    done: set[int] = set()

    def visit(call: NetworkCall) -> Iterator[NetworkCall]:
        if id(call) in done:
            return
        done.add(id(call))
        for node in sources(query.graph, call.inputs, stop=makers.keys()):
            if node in makers:
                yield from visit(makers[node])
        yield call

    for call in query.calls:
        yield from visit(call)


def sources(graph: Graph, nodes: Sequence[NodeId], stop: Container[NodeId]) -> list[NodeId]:
    """The nodes that `nodes` are computed from, themselves included, in topological order; nothing
    beyond those in `stop`.
    """
    found: set[NodeId] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node in found:
            continue
        found.add(node)
        if node not in stop:
            waiting.extend(graph.operands(node))
    return [node for node in graph.order if node in found]


def _float32(values: ExactArray) -> npt.NDArray[np.float32]:
    """The nearest float32 of each number; infinite beyond their range."""
    with np.errstate(over="ignore"):
        return as_floats(values.reshape(-1)).astype(np.float32).reshape(values.shape)


def _fractions(values: npt.NDArray[np.float32]) -> ExactArray:
    result = np.empty(values.shape, dtype=object)
    result[:] = [Fraction(v) for v in values.tolist()]
    return result
