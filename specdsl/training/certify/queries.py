"""A claim about one sample as the `Query` that backends answer: is there a point that violates it?

The query says what the claim says, number by number: ends of boxes, balls and rows are floats and
taken at their exact values, weights are those of the module. A margin of 0 counts as a violation,
as everywhere in the runtime, so that a claim is never weaker than what it stands for.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, reduce

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from specdsl.backend import Unsupported
from specdsl.bounds.regions.balls import Ball as FloatBall
from specdsl.bounds.regions.region import InputRegion
from specdsl.graph import ops
from specdsl.graph.composites.choices import maximum, minimum, reduce_min
from specdsl.graph.graph import GraphBuilder, NodeId
from specdsl.graph.onnx_import.load import ImportedNetwork
from specdsl.graph.torch_import.load import load_module
from specdsl.query import query as queries
from specdsl.query.query import NetworkCall, Query, Variable
from specdsl.query.sets import Ball, Box, InputSet, cut, exact
from specdsl.training.runtime.claims.claim import All, Application, Atom, Claim, Formula, unchanged
from specdsl.training.runtime.networks.network import Trainable

FloatArray = npt.NDArray[np.float64]

# Two ways of computing one affine function in float64 differ by less than this part of its values.
AFFINE_PART = 1e-9


@dataclass(frozen=True, eq=False)
class QuerySource:
    """Makes the queries of claims about one network, as its weights are when it is made first."""

    net: Trainable

    @cached_property
    def imported(self) -> ImportedNetwork:
        """The network as a graph, with what replays counterexamples on it; in float32."""
        still = deepcopy(self.net.module).cpu().float().eval()
        return load_module(still, [(1, *self.net.shape)], self.net.name)

    def query(self, claim: Claim, name: str) -> Query:
        """The query of a claim about one sample, in float64.

        Raises Unsupported where the network is applied to something that is no affine function of
        the variables, ValueError for a claim about several samples.
        """
        if claim.region.batch != 1:
            raise ValueError(f"a query is about one sample, not {claim.region.batch}")
        made = _Emitter(self.imported, claim)
        cases = made.violations(claim.formula)
        margins, places = made.margins(cases)
        graph = made.builder.build(margins, keep=[made.variables])
        inputs = input_set(claim.region)
        size = graph.size(graph.input)
        return Query(
            name=name,
            graph=graph,
            cases=tuple(
                queries.Case(inputs, tuple(queries.Atom(places[margin]) for margin in case))
                for case in cases
            ),
            variables=(Variable.at("point", 0, (size,)),),
            calls=tuple(made.calls),
        )


def input_set(region: InputRegion) -> InputSet:
    """The box and the balls of a region of one sample, exactly; half-spaces are no part of it."""
    box = Box(_exactly(region.box.lower[0]), _exactly(region.box.upper[0]))
    return cut(box, [_ball(ball) for ball in region.balls.all] if region.balls else [])


def _ball(ball: FloatBall) -> Ball:
    entries = ball.positions.numel()
    center, scale = (each.expand(1, entries)[0] for each in (ball.center, ball.scale))
    positions = ball.positions.cpu().numpy().astype(np.int64)
    return Ball(positions, _exactly(center), _exactly(scale), Fraction(ball.radius), ball.norm)


def _exactly(values: Tensor) -> npt.NDArray[np.object_]:
    return exact(_array(values).tolist())


def _array(values: Tensor) -> FloatArray:
    return values.detach().cpu().double().numpy()


# --- the graph ------------------------------------------------------------------------------------

_Margin = tuple[NodeId, int]
"""An entry of a vector of margins."""


class _Emitter:
    """The graph from the variables to the margins, node by node.

    `variables`: the flat input; `calls`: the applications of the network so far.
    """

    def __init__(self, imported: ImportedNetwork, claim: Claim) -> None:
        self.builder = GraphBuilder()
        self.calls: list[NetworkCall] = []
        self._imported = imported
        self._claim = claim
        size = claim.region.box.lower.shape[1]
        self.variables = self.builder.add(ops.Input((size,)), name="point")
        self._outputs: dict[int, NodeId] = {}

    def violations(self, formula: Formula) -> list[tuple[_Margin, ...]]:
        """Where the formula fails in the region: in some of these cases all margins are at most 0.

        Points outside the half-spaces of the region violate nothing, so every case has theirs.
        """
        return [(*case, *self._within) for case in self._cases(formula)]

    def margins(self, cases: Sequence[tuple[_Margin, ...]]) -> tuple[NodeId, dict[_Margin, int]]:
        """One vector of all margins, and where each stands in it."""
        nodes = list(dict.fromkeys(node for case in cases for node, _ in case))
        places: dict[_Margin, int] = {}
        for node in nodes:
            for index in range(self._size(node)):
                places[node, index] = len(places)
        if len(nodes) == 1:
            return nodes[0], places
        return self.builder.concat_flat(*nodes, name="margins"), places

    def _cases(self, formula: Formula) -> list[tuple[_Margin, ...]]:
        if isinstance(formula, Atom):
            node = self._atom(formula)
            return [((node, index),) for index in range(self._size(node))]
        if isinstance(formula, All):
            return [case for part in formula.parts for case in self._cases(part)]
        # All alternatives fail at once: one case, to which each gives a single margin.
        return [tuple((self._value(part), 0) for part in formula.parts)]

    def _value(self, formula: Formula) -> NodeId:
        """The quantitative value of a formula, a vector of one entry."""
        if isinstance(formula, Atom):
            return reduce_min(self.builder, self._atom(formula), [0])
        join = minimum if isinstance(formula, All) else maximum
        values = [self._value(part) for part in formula.parts]
        return reduce(lambda x, y: join(self.builder, x, y), values)

    def _atom(self, atom: Atom) -> NodeId:
        """`sum over k of rows[k] . outputs k + offset`, as one matrix."""
        offset = _array(atom.offset)[0]
        rows = {k: _array(row)[0] for k, row in enumerate(atom.rows) if row is not None}
        if not rows:
            return self.builder.add(ops.Constant(_decided(offset)), name="decided")
        read = [self._output(k) for k in rows]
        joined = read[0] if len(read) == 1 else self.builder.concat_flat(*read)
        weight = np.concatenate(list(rows.values()), axis=1)
        known = ~np.isfinite(offset)
        weight = np.where(known[:, None], 0.0, weight)
        return self.builder.add(ops.Dense(weight, _decided(offset)), joined, name="atom")

    @cached_property
    def _within(self) -> tuple[_Margin, ...]:
        """`matrix @ point - limits`, at most 0 in the half-spaces of the region."""
        halfspaces = self._claim.region.halfspaces
        if halfspaces is None:
            return ()
        matrix, limits = _array(halfspaces.matrix)[0], _array(halfspaces.limits)[0]
        node = self.builder.add(ops.Dense(matrix, -limits), self.variables, name="within")
        return tuple((node, index) for index in range(len(limits)))

    def _output(self, number: int) -> NodeId:
        """What the network says to application `number`, flat."""
        if number not in self._outputs:
            imported, builder = self._imported, self.builder
            (taken,), (given,) = imported.graph.inputs, imported.graph.outputs
            point = self._point(self._claim.applications[number])
            shaped = builder.add(ops.Reshape(imported.graph.shapes[taken]), point)
            new = builder.splice(imported.graph, {taken: shaped}, f"{imported.name}{number}.")
            self.calls.append(
                NetworkCall(
                    name=imported.name,
                    model=imported.model,
                    inputs=(shaped,),
                    outputs=(new[given],),
                    original=imported.original,
                )
            )
            flat = ops.Reshape((imported.graph.size(given),))
            self._outputs[number] = builder.add(flat, new[given])
        return self._outputs[number]

    def _point(self, application: Application) -> NodeId:
        """What the network is applied to, a vector: an affine function of the variables."""
        if application.point is unchanged:
            return self.variables
        weight, shift = affine_of(application, self._claim.region)
        if not weight.any():
            return self.builder.add(ops.Constant(shift), name="at")
        diagonal = (
            weight.shape[0] == weight.shape[1] and not (weight - np.diag(np.diag(weight))).any()
        )
        op = ops.Scale(np.diag(weight).copy(), shift) if diagonal else ops.Dense(weight, shift)
        return self.builder.add(op, self.variables, name="at")

    def _size(self, node: NodeId) -> int:
        (size,) = self.builder.shape(node)
        return size


def _decided(offset: FloatArray) -> FloatArray:
    """Offsets with 1 and -1 where they are infinite: the margin is known, and no number."""
    return np.where(np.isfinite(offset), offset, np.sign(offset))


def affine_of(application: Application, region: InputRegion) -> tuple[FloatArray, FloatArray]:
    """The matrix (entries, variables) and the shift (entries,) of an application's point.

    The point is a function of PyTorch, whose gradients are the matrix's own numbers. Raises
    Unsupported where points of the region show that it is not affine.
    """
    like = region.box.lower[:1]
    zero = torch.zeros_like(like)

    def flat(variables: Tensor) -> Tensor:
        return application.point(variables).flatten(1)[0]

    with torch.no_grad():
        shift = flat(zero).expand(-1)
    matrix = torch.autograd.functional.jacobian(flat, zero, vectorize=True)
    assert isinstance(matrix, Tensor), "one output and one argument"
    weight = matrix[:, 0]
    with torch.no_grad():
        for point in (region.box.lower, region.box.upper, region.box.center):
            computed, stated = flat(point), weight @ point[0] + shift
            size = 1 + weight.abs() @ point[0].abs() + shift.abs()
            if bool(((computed - stated).abs() > AFFINE_PART * size).any()):
                raise Unsupported("certify", "a network at a point that is no affine function")
    return _array(weight), _array(shift)
