"""`Resources`: the networks and datasets a spec names, each read once and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import TypeVar

import numpy as np

from specdsl.data import Dataset, conform, read_dataset
from specdsl.data.read import entries
from specdsl.diagnostics import SpecError
from specdsl.files import read_bytes
from specdsl.graph import ops
from specdsl.graph.exact import evaluate_exact
from specdsl.graph.graph import Graph, GraphBuilder, NodeId
from specdsl.graph.layers import build_network
from specdsl.graph.onnx_import.load import ImportedNetwork, load_onnx
from specdsl.language.constants import evaluate
from specdsl.language.spec import (
    DatasetDeclaration,
    ExactArray,
    NetworkDeclaration,
    Space,
    Spec,
)
from specdsl.language.types import LabelType, RecordType, TensorType, Type

Loaded = TypeVar("Loaded")


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
class LoadedNetwork:
    """A network with what turns the user's units into what it was trained on, and back.

    `input_shape`, `output_shape`: as declared, without a batch axis. `labels` names the outputs.
    """

    imported: ImportedNetwork
    declaration: NetworkDeclaration
    normalize: Affine
    denormalize: Affine
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    labels: tuple[str, ...]

    @property
    def name(self) -> str:
        """As declared."""
        return self.declaration.name

    def apply(self, builder: GraphBuilder, node: NodeId) -> NetworkNodes:
        """Add the network on a node that holds its input in the user's units."""
        graph, name = self.imported.graph, self.name
        node = _affine(builder, node, self.normalize, f"{name}.normalize")
        raw = _reshape(builder, node, graph.shapes[graph.input], f"{name}.input")
        nodes = builder.splice(graph, {graph.input: raw}, prefix=f"{name}.")
        said = nodes[graph.output]
        output = _affine(builder, said, self.denormalize, f"{name}.denormalize")
        return NetworkNodes(raw, said, output)


@dataclass(frozen=True, slots=True)
class NetworkNodes:
    """Where a network's own input and output are in a graph, and its output in user units."""

    input: NodeId
    raw_output: NodeId
    output: NodeId


class Resources:
    """Reads what a spec names, each file once; what failed fails again without being read again.

    `networks` and `datasets` handed over in memory go before the files of the same name.
    """

    def __init__(
        self,
        networks: Mapping[str, ImportedNetwork] | None = None,
        datasets: Mapping[str, Dataset] | None = None,
    ) -> None:
        self._given_networks = dict(networks or {})
        self._given_datasets = dict(datasets or {})
        self._imported: dict[object, ImportedNetwork | SpecError] = {}
        self._networks: dict[NetworkDeclaration, LoadedNetwork | SpecError] = {}
        self._datasets: dict[DatasetDeclaration, Dataset | SpecError] = {}
        self._constants: dict[tuple[Graph, tuple[Fraction, ...]], ExactArray] = {}

    def network(self, spec: Spec, name: str) -> LoadedNetwork:
        """The declared network `name`. Raises SpecError E05xx, E06xx, placed at its declaration."""
        declaration = spec.networks[name]
        return _once(self._networks, declaration, lambda: self._load(declaration, spec))

    def dataset(self, spec: Spec, name: str) -> Dataset:
        """The declared dataset `name`. Raises SpecError E05xx, placed at its declaration."""
        declaration = spec.datasets[name]
        return _once(self._datasets, declaration, lambda: self._read(declaration))

    def evaluate(self, network: LoadedNetwork, point: ExactArray) -> ExactArray:
        """The exact output at an exact point, both in user units; results are kept.

        point: as many entries as the network has inputs; the result is flat.
        """
        builder = GraphBuilder()
        key = (network.imported.graph, (*point.reshape(-1),))
        if key not in self._constants:
            node = builder.add(ops.Input((point.size,)), name="point")
            output = network.apply(builder, node).output
            values = evaluate_exact(
                builder.build(output), {node: point.reshape(-1)}, None, [output]
            )
            self._constants[key] = values[output].reshape(-1)
        return self._constants[key]

    def _read(self, declaration: DatasetDeclaration) -> Dataset:
        given = self._given_datasets.get(declaration.name)
        if given is None:
            return read_dataset(declaration)
        try:
            return conform(given, declaration)
        except SpecError as error:
            raise error.at(declaration.span) from error

    def _load(self, declaration: NetworkDeclaration, spec: Spec) -> LoadedNetwork:
        try:
            imported = self._import(declaration, spec)
            return _describe(imported, declaration, spec)
        except SpecError as error:
            raise error.at(declaration.span, f"`{declaration.name}` is declared here") from error

    def _import(self, declaration: NetworkDeclaration, spec: Spec) -> ImportedNetwork:
        name = declaration.name
        if name in self._given_networks:
            return self._given_networks[name]
        if declaration.onnx is not None:
            path = declaration.onnx.path
            # Two declarations of one file share its graph and its bytes.
            return _once(self._imported, path, lambda: load_onnx(read_bytes(path), name))
        shape = _shape(declaration.input, declaration)

        def value(expression: object) -> object:
            return evaluate(expression, spec.values, spec.functions)  # type: ignore[arg-type]

        return build_network(name, declaration.layers, shape, value)  # type: ignore[arg-type]


Key = TypeVar("Key")


def _once(cache: dict[Key, Loaded | SpecError], key: Key, load: Callable[[], Loaded]) -> Loaded:
    if key not in cache:
        try:
            cache[key] = load()
        except SpecError as error:
            cache[key] = error
    found = cache[key]
    if isinstance(found, SpecError):
        raise found
    return found


def _describe(
    imported: ImportedNetwork, declaration: NetworkDeclaration, spec: Spec
) -> LoadedNetwork:
    _check_size("input", imported.input_size, declaration.input, declaration)
    _check_size("output", imported.output_size, declaration.output, declaration)
    _check_output(declaration, spec)
    onnx = declaration.onnx
    scale = onnx.scale if onnx else Fraction(1)
    shift = onnx.shift if onnx else Fraction(0)
    return LoadedNetwork(
        imported=imported,
        declaration=declaration,
        normalize=_normalisation(declaration, spec),
        denormalize=_uniform(scale, shift, imported.output_size),
        input_shape=_shape(declaration.input, declaration),
        output_shape=_shape(declaration.output, declaration),
        labels=_labels(declaration.output),
    )


def _check_size(side: str, found: int, declared: Type, declaration: NetworkDeclaration) -> None:
    size = entries(declared)
    if size is None or size == found:
        return
    raise SpecError.of(
        "E0650",
        f"`{declaration.name}` is declared with {size} {side} entries (`{declared}`), "
        f"but the network has {found}",
        help=f"make the {side} type of `{declaration.name}` one with {found} entries, "
        "or give another file",
    )


def _check_output(declaration: NetworkDeclaration, spec: Spec) -> None:
    """Refuse an output in a space with normalisation: which way it would go is not settled."""
    kind = declaration.output
    space = spec.spaces.get(kind.name) if isinstance(kind, RecordType) else None
    if space is not None and not normalisation(space).identity:
        raise SpecError.of(
            "E0901",
            f"outputs in `{space.name}`, which has `normalize`, are not supported yet",
            help="declare the output as `real[...]` and give `denormalize` to `onnx(...)`",
        )


def _shape(kind: Type, declaration: NetworkDeclaration) -> tuple[int, ...]:
    """The declared shape; a space with several fields is one vector."""
    if isinstance(kind, TensorType):
        return kind.shape
    if isinstance(kind, RecordType):
        return kind.fields[0][1].shape if len(kind.fields) == 1 else (kind.size,)
    if isinstance(kind, LabelType):
        raise SpecError.of("E0901", "networks over labels are not supported yet")
    text = f"several inputs or outputs of a network (`{declaration.name}`) are not supported yet"
    raise SpecError.of("E0901", text)


def _labels(kind: Type) -> tuple[str, ...]:
    if isinstance(kind, TensorType) and kind.labels is not None:
        return kind.labels.labels
    return ()


def _normalisation(declaration: NetworkDeclaration, spec: Spec) -> Affine:
    kind = declaration.input
    space = spec.spaces.get(kind.name) if isinstance(kind, RecordType) else None
    if space is None:
        return _uniform(Fraction(1), Fraction(0), entries(kind) or 0)
    return normalisation(space)


def normalisation(space: Space) -> Affine:
    """`(x - mean) / range` for every entry of a space, in packing order."""
    scale: list[Fraction] = []
    shift: list[Fraction] = []
    for field in space.fields:
        count = prod(field.type.shape)
        scale += [1 / field.range] * count
        shift += [-field.mean / field.range] * count
    return Affine(_exact(scale), _exact(shift))


def _uniform(scale: Fraction, shift: Fraction, size: int) -> Affine:
    return Affine(_exact([scale] * size), _exact([shift] * size))


def _exact(values: list[Fraction]) -> ExactArray:
    result = np.empty(len(values), dtype=object)
    result[:] = values
    return result


def _affine(builder: GraphBuilder, node: NodeId, affine: Affine, name: str) -> NodeId:
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
