"""What a claim speaks about while it is read: a scene whose samples and numbers have names only.

The interpreter of the query module gives expressions their meaning. A query has the numbers of one
sample; here the parts of a sample, and the named numbers, are entries like those of a variable.
What depends on the label of a sample (`margin(net(z), y)`, `net(z)[y]`) and norms of varying
vectors are steps of one number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod

import numpy as np

from specdsl.diagnostics import SpecError
from specdsl.graph import ops
from specdsl.graph.graph import GraphBuilder, NodeId
from specdsl.graph.onnx_import.load import ImportedNetwork
from specdsl.language.spec import NetworkDeclaration, Space, Spec
from specdsl.language.types import TupleType
from specdsl.query.elaboration.values.networks import LoadedNetwork, describe, shape_of
from specdsl.query.elaboration.values.regions import Region
from specdsl.query.elaboration.values.resources import Resources
from specdsl.query.elaboration.values.scene import OpStep, Scene
from specdsl.query.elaboration.values.symbolic import EntryArray, Linear, Tensor, entries
from specdsl.query.sets import Norm
from specdsl.source import Span
from specdsl.training.claims.template import Parameter


def untrainable(why: str, span: Span | None = None, help: str | None = None) -> SpecError:
    """The error that a property is none of those that a training can work with."""
    return SpecError.of("E0730", f"this cannot be trained for: {why}", span, help=help)


# --- steps ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LabelMargin(ops.Op):
    """Operands scores, label: the score of the label (a name, or a class) minus the best other."""

    def shape(self, *operands: tuple[int, ...]) -> tuple[int, ...]:
        """One number."""
        return (1,)


@dataclass(frozen=True, slots=True)
class Agreement(ops.Op):
    """Operands two vectors of scores: positive where both have the same strictly largest entry."""

    def shape(self, *operands: tuple[int, ...]) -> tuple[int, ...]:
        """One number."""
        return (1,)


@dataclass(frozen=True, slots=True)
class LabelEntry(ops.Op):
    """Operands vector, label: the entry that the label counts."""

    def shape(self, *operands: tuple[int, ...]) -> tuple[int, ...]:
        """One number."""
        return (1,)


@dataclass(frozen=True, slots=True)
class Distance(ops.Op):
    """The norm of a vector, in l1 or l2."""

    norm: Norm

    def shape(self, *operands: tuple[int, ...]) -> tuple[int, ...]:
        """One number."""
        return (1,)


class ClaimScene(Scene):
    """A scene that knows which of its variables are parts of the sample, or named numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.parameters: list[Parameter] = []

    def call(
        self,
        network: LoadedNetwork,
        arguments: Sequence[EntryArray],
        noise: Fraction | None = None,
    ) -> tuple[Tensor, ...]:
        """As for queries. Raises SpecError E0730 for a smoothed classifier."""
        if noise is not None:
            text = f"`{network.name}` is smoothed there, and nothing bounds what samples say"
            raise untrainable(text, help="train the network under noise, and `check` it smoothed")
        return super().call(network, arguments)

    def declare(self, parameter: Parameter, space: Space | None) -> Tensor:
        """A parameter as entries. All are declared before anything is quantified."""
        size = prod(parameter.shape)
        nothing = np.full(size, None, dtype=object)
        self.parameters.append(parameter)
        return self.quantify(parameter.name, Region(parameter.shape, space, nothing, nothing))

    @property
    def given_size(self) -> int:
        """Entries of all parameters: those of variables follow."""
        return sum(prod(parameter.shape) for parameter in self.parameters)

    def parameter_at(self, position: int) -> tuple[Parameter, int]:
        """The parameter that an entry belongs to, and where in it the entry stands."""
        for parameter in self.parameters:
            size = prod(parameter.shape)
            if position < size:
                return parameter, position
            position -= size
        raise IndexError(position)

    def step_of(self, source: int) -> object:
        """The step that computes a source other than the input."""
        return self.steps[self.source(source).step]

    # --- steps of one number ---------------------------------------------------------------------

    def label_margin(self, scores: EntryArray, label: Linear | Fraction) -> Linear:
        """The score of a label, named or a class, minus the best other one."""
        return self._single(LabelMargin(), scores.reshape(-1), entries([label], (1,)))

    def agreement(self, first: EntryArray, second: EntryArray) -> Linear:
        """A number that is positive where two predictions are the same."""
        return self._single(Agreement(), first.reshape(-1), second.reshape(-1))

    def label_entry(self, vector: EntryArray, label: Linear) -> Linear:
        """The entry that a label counts."""
        return self._single(LabelEntry(), vector.reshape(-1), entries([label], (1,)))

    def distance(self, norm: Norm, vector: EntryArray) -> Linear:
        """The norm of a vector that varies."""
        return self._single(Distance(norm), vector.reshape(-1))

    def _single(self, op: ops.Op, *operands: EntryArray) -> Linear:
        key = (op, tuple(map(tuple, operands)))
        return self._entries(self._step(key, OpStep(op, operands)), 0, 1)[0]

    def _entries(self, step: int, part: int | str, size: int) -> EntryArray:
        found = super()._entries(step, part, size)
        # Nothing here has a value before the script runs: networks are stand-ins.
        self.enclosed[len(self.sources)] = None
        return found


# --- networks without weights ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class UntrainedNetwork(LoadedNetwork):
    """A network as declared. Its graph has the right sizes and computes nothing."""

    def exact(self, hidden: str | None = None) -> bool:
        """Never: the weights are not known yet."""
        return False

    def hidden_node(self, name: str) -> NodeId:
        """Refused: training scripts bound outputs. Raises SpecError E0730."""
        raise untrainable(f"`{name}` is a hidden value of `{self.name}`, and bounds are of outputs")


class UntrainedResources(Resources):
    """Networks are stand-ins made from their declarations; arrays are read from their files."""

    def __init__(self) -> None:
        super().__init__()
        self._stand_ins: dict[NetworkDeclaration, LoadedNetwork] = {}

    def network(self, spec: Spec, name: str) -> LoadedNetwork:
        """The network as declared. Raises SpecError E0730 for several inputs or outputs."""
        declaration = spec.networks[name]
        if declaration not in self._stand_ins:
            self._stand_ins[declaration] = _stand_in(declaration, spec)
        return self._stand_ins[declaration]


def _stand_in(declaration: NetworkDeclaration, spec: Spec) -> LoadedNetwork:
    kinds = (declaration.input, declaration.output)
    if any(isinstance(kind, TupleType) for kind in kinds):
        raise untrainable(f"`{declaration.name}` has several inputs or outputs")
    inputs, outputs = (prod(shape_of(kind, spec)) for kind in kinds)
    builder = GraphBuilder()
    node = builder.add(ops.Input((inputs,)), name="input")
    graph = builder.build(
        builder.add(ops.Dense(np.zeros((outputs, inputs)), np.zeros(outputs)), node)
    )
    made = describe(ImportedNetwork(declaration.name, graph, b"", 0), declaration, spec)
    return UntrainedNetwork(made.imported, declaration, made.inputs, made.outputs)


def label_of(value: object, scene: ClaimScene) -> Linear | None:
    """The entry of a label parameter that a value is; None for everything else."""
    if not isinstance(value, Tensor) or not isinstance(value.scalar, Linear):
        return None
    place = value.scalar.only
    if place is None or place[0] != 0 or place[1] >= scene.given_size:
        return None
    parameter, _ = scene.parameter_at(place[1])
    return value.scalar if parameter.kind == "label" else None


def flat(values: Sequence[EntryArray]) -> EntryArray:
    """Several arrays one after another."""
    return np.concatenate([v.reshape(-1) for v in values]) if values else entries([], (0,))
