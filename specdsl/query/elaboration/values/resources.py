"""`Resources`: the networks and datasets a spec names, each read once and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from specdsl.data import Dataset, conform, read_dataset
from specdsl.data.npz import read_npy
from specdsl.diagnostics import SpecError
from specdsl.files import read_bytes
from specdsl.graph import ops
from specdsl.graph.exact import evaluate_exact
from specdsl.graph.graph import GraphBuilder
from specdsl.graph.layer_weights import TensorSource
from specdsl.graph.layers import build_network
from specdsl.graph.onnx_import.load import ImportedNetwork, load_onnx
from specdsl.graph.safetensors import TensorFile, read_tensors
from specdsl.language.compositions import prefix_in_file
from specdsl.language.evaluation import evaluate
from specdsl.language.spec import (
    DatasetDeclaration,
    ExactArray,
    NetworkDeclaration,
    Spec,
    TrainDeclaration,
    WeightFile,
)
from specdsl.language.types import TupleType
from specdsl.query.elaboration.values.networks import LoadedNetwork, describe, shape_of
from specdsl.query.sets import exact
from specdsl.source import Span

Loaded = TypeVar("Loaded")


class Resources:
    """Reads what a spec names, each file once; what failed fails again without being read again.

    `networks` and `datasets` handed over in memory go before the files of the same name. A network
    is a `torch.nn.Module`, or has been imported already.
    """

    def __init__(
        self,
        networks: Mapping[str, object] | None = None,
        datasets: Mapping[str, Dataset] | None = None,
    ) -> None:
        self._given_networks = dict(networks or {})
        self._given_datasets = dict(datasets or {})
        self._imported: dict[object, ImportedNetwork | SpecError] = {}
        self._tensors: dict[Path, TensorFile | SpecError] = {}
        self._networks: dict[NetworkDeclaration, LoadedNetwork | SpecError] = {}
        self._datasets: dict[DatasetDeclaration, Dataset | SpecError] = {}
        self._constants: dict[object, tuple[ExactArray, ...]] = {}
        self._arrays: dict[Path, ExactArray | SpecError] = {}

    def network(self, spec: Spec, name: str) -> LoadedNetwork:
        """The declared network `name`. Raises SpecError E05xx, E06xx, placed at its declaration."""
        declaration = spec.networks[name]
        return _once(self._networks, declaration, lambda: self._load(declaration, spec))

    def dataset(self, spec: Spec, name: str) -> Dataset:
        """The declared dataset `name`. Raises SpecError E05xx, placed at its declaration."""
        declaration = spec.datasets[name]
        return _once(self._datasets, declaration, lambda: self._read(declaration))

    def evaluate(
        self, network: LoadedNetwork, points: Sequence[ExactArray], hidden: str | None = None
    ) -> tuple[ExactArray, ...]:
        """The exact outputs at exact inputs, in user units and flat; or one `hidden` value, in the
        model's own. Results are kept.
        """
        flat = tuple(point.reshape(-1) for point in points)
        key = (network.imported.graph, hidden, tuple(map(tuple, flat)))
        if key not in self._constants:
            builder = GraphBuilder()
            nodes = [
                builder.add(ops.Input(port.shape or (1,)), name="point") for port in network.inputs
            ]
            applied = network.apply(builder, nodes, () if hidden is None else (hidden,))
            wanted = applied.outputs if hidden is None else (applied.hidden[0][1],)
            graph = builder.build(*wanted)
            inputs = {n: p.reshape(builder.shape(n)) for n, p in zip(nodes, flat, strict=True)}
            values = evaluate_exact(graph, inputs, None, wanted)
            self._constants[key] = tuple(values[node].reshape(-1) for node in wanted)
        return self._constants[key]

    def array(self, path: Path, span: Span) -> ExactArray:
        """The array in a `.npy` file, read once. Raises SpecError E05xx, placed at `span`."""
        try:
            return _once(self._arrays, path, lambda: _exact_array(path))
        except SpecError as error:
            raise error.at(span) from error

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
            return describe(imported, declaration, spec)
        except SpecError as error:
            raise error.at(declaration.span, f"`{declaration.name}` is declared here") from error

    def _import(self, declaration: NetworkDeclaration, spec: Spec) -> ImportedNetwork:
        name = declaration.name
        if name in self._given_networks:
            return _handed_over(self._given_networks[name], declaration, spec)
        if declaration.given is not None:
            raise SpecError.of(
                "E0652",
                f"`{name}` is `given`, but no network was handed over",
                help=f'in Python, `specdsl.load(path, networks={{"{name}": module}})` does; '
                '`onnx("file.onnx")` reads a file',
            )
        if declaration.onnx is not None:
            path = declaration.onnx.path
            # Two declarations of one file share its graph and its bytes.
            return _once(self._imported, path, lambda: load_onnx(read_bytes(path), name))
        shape = shape_of(declaration.input, spec)

        def value(expression: object) -> object:
            return evaluate(expression, spec.values, spec.functions)  # type: ignore[arg-type]

        source = None if declaration.weights is None else self._weights(declaration.weights)
        trained = next((t for t in spec.trainings if name in t.parts and t.saved), None)
        if source is None and trained is not None:
            path = _finished(trained, name)
            if path.suffix == ".onnx":
                return _once(self._imported, path, lambda: load_onnx(read_bytes(path), name))
            prefix = prefix_in_file(trained.parts, name)
            source = self._weights(WeightFile(path, prefix, trained.span))
        return build_network(name, declaration.layers, shape, value, source)  # type: ignore[arg-type]

    def _weights(self, file: WeightFile) -> TensorSource:
        path = file.path
        try:
            tensors = _once(self._tensors, path, lambda: read_tensors(read_bytes(path), path.name))
        except SpecError as error:
            raise error.at(file.span) from error
        return TensorSource(tensors, file.prefix)


def _finished(training: TrainDeclaration, name: str) -> Path:
    """The file of a trained network: ONNX, where there is one. Raises SpecError E0623.

    ONNX holds what several networks are together, and none of them alone.
    """
    saved, help_ = training.saved, "run `specdsl train` on this file"
    if len(training.parts) > 1:
        saved = tuple(path for path in saved if path.suffix != ".onnx")
    if not saved:
        line = f'save safetensors("{training.saved[0].stem}.safetensors")'
        help_ = f"add `{line}`, and {help_}"
    found = [path for path in saved if path.exists()]
    if not found:
        names = ", ".join(f"`{path.name}`" for path in saved) or "file with its weights"
        text = f"`{name}` has not been trained: there is no {names}"
        raise SpecError.of("E0623", text, training.span, help=help_)
    return next((path for path in found if path.suffix == ".onnx"), found[0])


def _handed_over(given: object, declaration: NetworkDeclaration, spec: Spec) -> ImportedNetwork:
    """A module is traced on the declared shapes, each with a batch axis of 1."""
    if isinstance(given, ImportedNetwork):
        return given
    # PyTorch takes a second to load: only where a module is there, so that it is loaded anyway.
    from specdsl.graph.torch_import.load import load_module

    kind = declaration.input
    slots = [slot for _, slot in kind.items] if isinstance(kind, TupleType) else [kind]
    shapes = [(1, *(shape_of(slot, spec) or (1,))) for slot in slots]
    return load_module(given, shapes, declaration.name)


def _exact_array(path: Path) -> ExactArray:
    values = read_npy(path)
    if values.dtype.kind not in "biuf":
        raise SpecError.of("E0515", f"`{path}` holds no numbers but {values.dtype.name}")
    try:
        return exact(values).reshape(values.shape)
    except ValueError as error:
        raise SpecError.of("E0515", f"`{path}`: {error}") from error


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
