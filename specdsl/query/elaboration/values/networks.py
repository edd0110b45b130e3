"""Networks as functions of the language: in user units, with named inputs and outputs, composed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod

import numpy as np

from specdsl.data.read import entries as entries_of
from specdsl.diagnostics import SpecError, suggestion
from specdsl.graph import ops
from specdsl.graph.exact import is_exact
from specdsl.graph.graph import GraphBuilder, NodeId
from specdsl.graph.onnx_import.load import ImportedNetwork
from specdsl.language.spec import ExactArray, NetworkDeclaration, Space, Spec
from specdsl.language.types import RecordType, TensorType, TupleType, Type
from specdsl.query.elaboration.values.symbolic import EntryArray


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """`scale * x + shift`, entry by entry; both (size,), exact."""

    scale: ExactArray
    shift: ExactArray

    @property
    def identity(self) -> bool:
        """Whether it changes nothing."""
        return bool((self.scale == 1).all() and (self.shift == 0).all())


@dataclass(frozen=True, slots=True, eq=False)
class Port:
    """One input or output as declared: `shape` is without a batch axis, `affine` goes from user
    units to what the network takes (inputs), or from what it gives to user units (outputs).
    """

    name: str | None
    shape: tuple[int, ...]
    affine: Affine
    space: Space | None = None
    labels: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Number of entries."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class NetworkNodes:
    """Where a network's own inputs, outputs and hidden values are in a graph, and its outputs in
    user units.
    """

    inputs: tuple[NodeId, ...]
    raw_outputs: tuple[NodeId, ...]
    outputs: tuple[NodeId, ...]
    hidden: tuple[tuple[str, NodeId], ...]


@dataclass(frozen=True, slots=True, eq=False)
class LoadedNetwork:
    """A network with what turns the user's units into what it was trained on, and back."""

    imported: ImportedNetwork
    declaration: NetworkDeclaration
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    @property
    def name(self) -> str:
        """As declared."""
        return self.declaration.name

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the entries of a single output."""
        return self.outputs[0].labels if len(self.outputs) == 1 else ()

    def exact(self, hidden: str | None = None) -> bool:
        """Whether its outputs (or a hidden value) at rational inputs are rational: no curve is in
        it.
        """
        graph = self.imported.graph
        return is_exact(graph, graph.outputs if hidden is None else (self.hidden_node(hidden),))

    def check_arguments(self, arguments: Sequence[EntryArray]) -> None:
        """Raise SpecError E0752 where the number or a size does not fit."""
        if len(arguments) != len(self.inputs):
            text = f"`{self.name}` takes {len(self.inputs)} inputs, not {len(arguments)}"
            raise SpecError.of("E0752", text)
        for port, argument in zip(self.inputs, arguments, strict=True):
            if argument.size != port.size:
                what = f"`{self.name}`" if port.name is None else f"`{port.name}` of `{self.name}`"
                text = f"{what} takes {port.size} entries, not {argument.size}"
                raise SpecError.of("E0752", text)

    def hidden_node(self, name: str) -> NodeId:
        """The node of a hidden value. Raises SpecError E0651 where there is none of that name."""
        known = self.imported.value_nodes
        if name not in known:
            raise SpecError.of(
                "E0651",
                f"the network `{self.name}` has no value `{name}`",
                help=_closest(name, known),
            )
        return known[name]

    def hidden_shape(self, name: str) -> tuple[int, ...]:
        """Its shape without a leading batch axis of one."""
        shape = self.imported.graph.shapes[self.hidden_node(name)]
        return shape[1:] if shape[:1] == (1,) else shape

    def apply(
        self, builder: GraphBuilder, nodes: Sequence[NodeId], hidden: Sequence[str] = ()
    ) -> NetworkNodes:
        """Add the network on nodes that hold its inputs in the user's units."""
        graph, name = self.imported.graph, self.name
        raw: list[NodeId] = []
        for port, node, entry in zip(self.inputs, nodes, graph.inputs, strict=True):
            scaled = add_affine(builder, node, port.affine, f"{name}.normalize")
            raw.append(_reshape(builder, scaled, graph.shapes[entry], f"{name}.input"))
        new = builder.splice(graph, dict(zip(graph.inputs, raw, strict=True)), prefix=f"{name}.")
        said = tuple(new[output] for output in graph.outputs)
        outputs = tuple(
            add_affine(builder, node, port.affine, f"{name}.denormalize")
            for port, node in zip(self.outputs, said, strict=True)
        )
        values = tuple((value, new[self.hidden_node(value)]) for value in hidden)
        return NetworkNodes(tuple(raw), said, outputs, values)


@dataclass(frozen=True, slots=True, eq=False)
class Composition:
    """`first >> second`: what `first` gives goes into `second`."""

    first: LoadedNetwork | Composition
    second: LoadedNetwork | Composition


@dataclass(frozen=True, slots=True, eq=False)
class HiddenValue:
    """`network.hidden("name")`, perhaps with `[index]` behind: a function of the same inputs."""

    network: LoadedNetwork
    name: str
    index: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Smoothed:
    """`smooth(network, sigma)`: the class it gives most often under Gaussian noise of that standard
    deviation on every entry of its input, in the user's units.
    """

    network: LoadedNetwork | Composition
    sigma: Fraction


def _closest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    listed = ", ".join(f"`{n}`" for n in names[:MAX_LISTED])
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    hint = suggestion(name, names)
    return f"{hint}; its values are {listed}{more}" if hint else f"its values are {listed}{more}"


MAX_LISTED = 12


# --- describing ----------------------------------------------------------------------------------


def describe(
    imported: ImportedNetwork, declaration: NetworkDeclaration, spec: Spec
) -> LoadedNetwork:
    """The network with its declared ports.

    Raises SpecError E0650 where numbers or sizes of inputs or outputs disagree, E0901 for an output
    in a space with normalisation.
    """
    source = declaration.onnx or declaration.given
    scale, shift = (source.scale, source.shift) if source else (Fraction(1), Fraction(0))
    return LoadedNetwork(
        imported=imported,
        declaration=declaration,
        inputs=_ports("input", declaration, imported, spec, (Fraction(1), Fraction(0))),
        outputs=_ports("output", declaration, imported, spec, (scale, shift)),
    )


def _ports(
    side: str,
    declaration: NetworkDeclaration,
    imported: ImportedNetwork,
    spec: Spec,
    undo: tuple[Fraction, Fraction],
) -> tuple[Port, ...]:
    kind = declaration.input if side == "input" else declaration.output
    nodes = imported.graph.inputs if side == "input" else imported.graph.outputs
    slots = kind.items if isinstance(kind, TupleType) else ((None, kind),)
    if len(slots) != len(nodes):
        raise SpecError.of(
            "E0650",
            f"`{declaration.name}` is declared with {len(slots)} {side}s, "
            f"but the network has {len(nodes)}",
            help=f"its {side}s are, in order, {', '.join(f'`{n}`' for n in nodes)}",
        )
    ports: list[Port] = []
    for (name, slot), node in zip(slots, nodes, strict=True):
        size = imported.graph.size(node)
        _check_size(side, size, slot, declaration, spec)
        space = spec.spaces.get(slot.name) if isinstance(slot, RecordType) else None
        if side == "input" and space is not None:
            affine = normalisation(space)
        else:
            _check_output(space)
            affine = _uniform(*undo, size)
        ports.append(Port(name, shape_of(slot, spec), affine, space, _labels(slot)))
    return tuple(ports)


def _check_size(
    side: str, found: int, declared: Type, declaration: NetworkDeclaration, spec: Spec
) -> None:
    space = spec.spaces.get(declared.name) if isinstance(declared, RecordType) else None
    size = entries_of(declared) if space is None else space.width
    if size is None or size == found:
        return
    raise SpecError.of(
        "E0650",
        f"`{declaration.name}` is declared with {size} {side} entries (`{declared}`), "
        f"but the network has {found}",
        help=f"make the {side} type of `{declaration.name}` one with {found} entries, "
        "or give another file",
    )


def _check_output(space: Space | None) -> None:
    """Refuse an output in a space with normalisation: which way it would go is not settled."""
    if space is not None and not normalisation(space).identity:
        raise SpecError.of(
            "E0901",
            f"outputs in `{space.name}`, which has `normalize`, are not supported yet",
            help="declare the output as `real[...]` and give `denormalize` to `onnx(...)`",
        )


def shape_of(kind: Type, spec: Spec) -> tuple[int, ...]:
    """The shape of a value; a space with several fields is one packed vector."""
    if isinstance(kind, TensorType):
        return kind.shape
    if isinstance(kind, RecordType):
        space = spec.spaces.get(kind.name)
        return kind.fields[0][1].shape if space is None else space_shape(space)
    raise SpecError.of("E0901", f"networks over {kind} are not supported yet")


def space_shape(space: Space) -> tuple[int, ...]:
    """The shape of a value: that of the only field, or one packed vector of all of them."""
    if len(space.fields) == 1 and space.fields[0].encode != "one_hot":
        return space.fields[0].type.shape
    return (space.width,)


def _labels(kind: Type) -> tuple[str, ...]:
    if isinstance(kind, TensorType) and kind.labels is not None:
        return kind.labels.labels
    return ()


def normalisation(space: Space) -> Affine:
    """`(x - mean) / range` for every entry of a space, in packing order."""
    scale: list[Fraction] = []
    shift: list[Fraction] = []
    for field in space.fields:
        scale += [1 / field.range] * field.width
        shift += [-field.mean / field.range] * field.width
    return Affine(_exact(scale), _exact(shift))


def _uniform(scale: Fraction, shift: Fraction, size: int) -> Affine:
    return Affine(_exact([scale] * size), _exact([shift] * size))


def _exact(values: list[Fraction]) -> ExactArray:
    result = np.empty(len(values), dtype=object)
    result[:] = values
    return result


# --- adding to graphs ----------------------------------------------------------------------------


def add_affine(builder: GraphBuilder, node: NodeId, affine: Affine, name: str) -> NodeId:
    """The affine map of a node, which has as many entries; the node itself where it is none."""
    if affine.identity:
        return node
    shape = builder.shape(node)
    op = ops.Scale(_broadcast(affine.scale, shape), _broadcast(affine.shift, shape))
    return builder.add(op, node, name=name)


def _broadcast(values: ExactArray, shape: tuple[int, ...]) -> ops.Array:
    """One number where all entries are the same, else an array of that shape."""
    uniform = bool((values == values[0]).all())
    return compact(values[:1].reshape(()) if uniform else values.reshape(shape))


def _reshape(builder: GraphBuilder, node: NodeId, shape: tuple[int, ...], name: str) -> NodeId:
    if builder.shape(node) == shape:
        return node
    return builder.add(ops.Reshape(shape), node, name=name)


def compact(values: ExactArray) -> ops.Array:
    """float64 where that holds every value exactly, so that nothing works on fractions in vain."""
    try:
        rounded = values.astype(np.float64)
    except OverflowError:
        return values
    same = all(Fraction(r) == v for r, v in zip(rounded.flat, values.flat, strict=True))
    return rounded if same else values
