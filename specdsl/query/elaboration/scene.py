"""The graph of one query while it is being built: variables, network calls, and what they give."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

import numpy as np

from specdsl.diagnostics import SpecError
from specdsl.graph import ops
from specdsl.graph.graph import GraphBuilder, NodeId
from specdsl.query.elaboration.regions import Region
from specdsl.query.elaboration.resources import LoadedNetwork, Resources
from specdsl.query.elaboration.symbolic import INPUT, Tensor, variable
from specdsl.query.query import NetworkCall, Variable


@dataclass(frozen=True, slots=True, eq=False)
class Quantified:
    """A variable of the query, its set, and where it starts in the flat input."""

    name: str
    region: Region
    start: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the variable's value."""
        return self.region.shape or ()


class Scene:
    """Collects variables first, then network calls; nothing is added twice.

    Nodes are known by the source whose entries they hold: 0 is the flat input, 1, 2, ... are
    outputs of networks, and -1, -2, ... variables, whose entries are entries of the input.
    """

    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        self.variables: list[Quantified] = []
        self.calls: list[NetworkCall] = []
        self.builder = GraphBuilder()
        self._nodes: dict[int, NodeId] = {}
        self._outputs: dict[tuple[str, int], Tensor] = {}

    @property
    def input_size(self) -> int:
        """Number of entries of all variables."""
        return sum(prod(v.shape) for v in self.variables)

    def quantify(self, name: str, region: Region) -> Tensor:
        """A new variable over a region.

        Raises SpecError E0901 after the first network call, E0752 for a set without a shape.
        """
        if self._nodes:
            text = f"`{name}` stands behind a claim about other variables: not supported yet"
            raise SpecError.of("E0901", text, help="move all quantifiers to the front")
        if region.shape is None:
            help_ = "intersect its set with one that has a shape, for example `& Image`"
            raise SpecError.of("E0752", f"`{name}` has no shape", help=help_)
        start = self.input_size
        self.variables.append(Quantified(name, region, start))
        found = variable(INPUT, region.shape, region.space, start)
        return Tensor(found.values, -len(self.variables), region.space)

    def call(self, network: LoadedNetwork, argument: Tensor) -> Tensor:
        """The network's output at `argument`, in the declared shape and user units.

        Raises SpecError E0901 where the argument is neither constant nor a whole variable or
        output, E0752 where it has another size than the network takes.
        """
        wanted = network.imported.input_size
        if argument.values.size != wanted:
            text = f"`{network.name}` takes {wanted} entries, not {argument.values.size}"
            raise SpecError.of("E0752", text)
        constant = argument.constant
        if constant is not None:
            said = self.resources.evaluate(network, constant)
            return Tensor(said.reshape(network.output_shape))
        if argument.whole is None:
            raise SpecError.of(
                "E0901",
                f"`{network.name}` on a computed argument is not supported yet",
                help="quantify over the argument itself: `forall z in ...`",
            )
        key = (network.name, argument.whole)
        if key not in self._outputs:
            self._outputs[key] = self._apply(network, argument.whole)
        return self._outputs[key]

    def _apply(self, network: LoadedNetwork, whole: int) -> Tensor:
        nodes = network.apply(self.builder, self.node(whole))
        call = NetworkCall(
            name=network.name,
            model=network.imported.model,
            input=nodes.input,
            output=nodes.raw_output,
            labels=network.labels,
        )
        self.calls.append(call)
        source = len(self.calls)
        self._nodes[source] = nodes.output
        return Tensor(variable(source, network.output_shape, None).values, source)

    def node(self, source: int) -> NodeId:
        """The node that holds a source's entries; input and variables are added when asked for."""
        if source not in self._nodes:
            if source == INPUT:
                self._nodes[INPUT] = self._input()
            elif len(self.variables) == 1:
                self._nodes[source] = self.node(INPUT)
            else:
                self._nodes[source] = self._part(self.variables[-source - 1])
        return self._nodes[source]

    def _input(self) -> NodeId:
        match self.variables:
            case []:
                # A claim without variables: the graph still has an input, which nothing reads.
                return self.builder.add(ops.Input((1,)), name="nothing")
            case [only]:
                return self.builder.add(ops.Input(only.shape or (1,)), name=only.name)
            case _:
                return self.builder.add(ops.Input((self.input_size,)), name="inputs")

    def _part(self, chosen: Quantified) -> NodeId:
        shape = chosen.shape or (1,)
        positions = np.arange(chosen.start, chosen.start + prod(shape), dtype=np.int64)
        return self.builder.add(
            ops.Select(positions.reshape(shape)), self.node(INPUT), name=chosen.name
        )

    def shown_variables(self) -> tuple[Variable, ...]:
        """The groups of input entries in the user's terms: variables, or their fields."""
        return tuple(shown for quantified in self.variables for shown in _shown(quantified))


def _shown(quantified: Quantified) -> Iterable[Variable]:
    space, start = quantified.region.space, quantified.start
    if space is None:
        yield Variable(quantified.name, start, quantified.shape)
        return
    for field in space.fields:
        name = quantified.name if len(space.fields) == 1 else f"{quantified.name}.{field.name}"
        yield Variable(name, start, field.type.shape, field.type.unit)
        start += prod(field.type.shape)
