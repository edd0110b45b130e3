"""Which tensors of a PyTorch module the nodes of its graph hold, by the names of its parameters.

`torch.export` lifts parameters and buffers to inputs of the traced graph. What an op reads of them,
directly or computed from them (weight normalisation, masks), is computed anew from the module at
every step, so that bounds see the weights as they are and gradients flow into them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.fx import Node

from specdsl.bounds.affine import (
    AffineKernel,
    ConvKernel,
    ConvTransposeKernel,
    DenseKernel,
    ScaleKernel,
)
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.parameters import Parameters
from specdsl.diagnostics import SpecError
from specdsl.graph.graph import Graph, NodeId
from specdsl.graph.torch_import.call import INTERNAL, placed
from specdsl.graph.torch_import.trace import Traced, op_name

BatchNorm = nn.modules.batchnorm._BatchNorm

# Weights are copied, so that they agree to the last digit; what is merged of several numbers (batch
# normalisation) rounds a few times in float32.
AGREEMENT = 1e-5

Values = Mapping[str, Tensor]
"""Tensors by the names of the traced graph's values."""

Reading = Callable[[Values], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """Mean and variance of each channel that a batch normalisation divides by: (channels,)."""

    mean: Tensor
    variance: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """The tensors of one affine node. `reads`: the values of the traced graph that they come from.

    None: that of the graph stays, nothing of the module is in it.
    """

    weight: Reading | None
    offset: Reading | None
    reads: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class HeldNormalisation:
    """A batch normalisation: its sub-module, and the names of gamma and beta, if it has any."""

    path: str
    gamma: str | None
    beta: str | None
    reads: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class ModuleWeights:
    """What every node with weights holds, of one module.

    `computed`: traced ops that weights are computed by, in order. `targets`: how the module calls
    the values that are its own; `constants`: the other values.
    """

    module: nn.Module = field(repr=False)
    nodes: Mapping[NodeId, Held | HeldNormalisation]
    computed: tuple[Node, ...]
    targets: Mapping[str, str]
    constants: Values

    def parameters(
        self, compiled: CompiledGraph, statistics: Mapping[str, Statistics]
    ) -> dict[NodeId, Parameters]:
        """The tensors of now, in the shapes of the kernels of `compiled`.

        `statistics` of the batch, by the path of the normalisation: those in training mode take
        them, the others their running ones. Raises ValueError where they are not known.
        """
        values = self._values()
        found: dict[NodeId, Parameters] = {}
        for node, held in self.nodes.items():
            before = kernel_weight(compiled.kernels[node])
            if isinstance(held, HeldNormalisation):
                now = self._normalised(held, values, statistics)
                found[node] = Parameters(now.weight.reshape(before.shape), now.offset)
                continue
            weight = before if held.weight is None else held.weight(values).reshape(before.shape)
            found[node] = Parameters(weight, None if held.offset is None else held.offset(values))
        return found

    def _values(self) -> dict[str, Tensor]:
        own = {name: tensor_at(self.module, target) for name, target in self.targets.items()}
        device = next(iter(own.values())).device if own else torch.device("cpu")
        values = {**{n: c.to(device) for n, c in self.constants.items()}, **own}
        for node in self.computed:
            values[node.name] = _run(node, values)
        return values

    def _normalised(
        self, held: HeldNormalisation, values: Values, statistics: Mapping[str, Statistics]
    ) -> Parameters:
        norm = self.module.get_submodule(held.path)
        assert isinstance(norm, BatchNorm)
        if norm.training:
            if held.path not in statistics:
                text = f"`{held.path}` normalises by the clean batch: call the network on it first"
                raise ValueError(text)
            found = statistics[held.path]
        else:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            found = Statistics(norm.running_mean, norm.running_var)
        factor = torch.rsqrt(found.variance + norm.eps)
        factor = factor if held.gamma is None else factor * values[held.gamma]
        offset = -factor * found.mean
        offset = offset if held.beta is None else offset + values[held.beta]
        return Parameters(factor, offset)


def tensor_at(module: nn.Module, target: str) -> Tensor:
    """The parameter or buffer of this name (`0.weight`)."""
    path, _, name = target.rpartition(".")
    found = getattr(module.get_submodule(path), name)
    assert isinstance(found, Tensor)
    return found


def _run(node: Node, values: Values) -> Any:
    assert callable(node.target)
    arguments = torch.fx.map_arg((node.args, node.kwargs), lambda n: values[n.name])
    positional, named = arguments
    return node.target(*positional, **named)


# --- finding them --------------------------------------------------------------------------------


def weights_of(module: nn.Module, traced: Traced, graph: Graph) -> ModuleWeights:
    """What the nodes of the graph hold of the module that it was traced from (or of a copy).

    Raises SpecError E0605 where a parameter is read in a way that no node with weights shows.
    """
    return _Search(module, traced, graph).run()


class _Search:
    """`fixed`: values of the traced graph that no input takes part in; `trained`: those of them
    that depend on a parameter.
    """

    def __init__(self, module: nn.Module, traced: Traced, graph: Graph) -> None:
        self.module, self.traced, self.graph = module, traced, graph
        parameters = {name for name, _ in module.named_parameters(remove_duplicate=False)}
        self.fixed = set(traced.constants)
        self.trained = {n for n, target in traced.targets.items() if target in parameters}
        self.computed: list[Node] = []
        self.nodes: dict[NodeId, Held | HeldNormalisation] = {}

    def run(self) -> ModuleWeights:
        """All nodes."""
        for node in self.traced.graph.graph.nodes:
            if node.op != "call_function":
                continue
            reads = {n.name for n in node.all_input_nodes}
            if reads <= self.fixed:
                self.fixed.add(node.name)
                if reads & self.trained:
                    self.trained.add(node.name)
                    self.computed.append(node)
            elif reads & self.trained or self._is_normalisation(node):
                self._place(node, reads & self.trained)
        self._add_untrained()
        targets = self.traced.targets
        constants = {n: c for n, c in self.traced.constants.items() if n not in targets}
        return ModuleWeights(self.module, self.nodes, tuple(self.computed), targets, constants)

    def _add_untrained(self) -> None:
        """Ops that weights are computed by may read constants that are computed themselves."""
        needed = {n.name for node in self.computed for n in node.all_input_nodes}
        found: list[Node] = []
        for node in reversed(list(self.traced.graph.graph.nodes)):
            if node.op != "call_function" or node.name not in self.fixed:
                continue
            if node.name in needed or node in self.computed:
                found.insert(0, node)
                needed.update(n.name for n in node.all_input_nodes)
        self.computed = found

    def _place(self, node: Node, trained: set[str]) -> None:
        place = self._graph_node(node)
        arguments = _arguments(node)
        held = None if place is None else self._held(node, arguments)
        if place is None or held is None or not trained <= held.reads:
            self._refuse(node, trained - (held.reads if held else frozenset()))
        self.nodes[place] = held

    def _graph_node(self, node: Node) -> NodeId | None:
        """The node of the graph that holds the tensors of a traced op."""
        parts = [n.name for n in node.users if n.target is operator.getitem and n.args[1] == 0]
        shapes = self.graph.shapes
        for name in (node.name, *parts, f"{node.name}.{INTERNAL}"):
            if name in shapes:
                return name
        return None

    def _is_normalisation(self, node: Node) -> bool:
        return _name(node) in NORMALISATIONS

    def _held(self, node: Node, arguments: Mapping[str, Any]) -> Held | HeldNormalisation | None:
        name = _name(node)
        if name in NORMALISATIONS:
            return self._held_normalisation(arguments)
        reading = READINGS.get(name)
        return None if reading is None else reading(arguments, self.fixed)

    def _held_normalisation(self, arguments: Mapping[str, Any]) -> HeldNormalisation | None:
        path, _, _ = self.traced.targets.get(
            _value(arguments, "running_mean") or "", ""
        ).rpartition(".")
        if not isinstance(self.module.get_submodule(path), BatchNorm):
            return None
        gamma, beta = _value(arguments, "weight"), _value(arguments, "bias")
        return HeldNormalisation(path, gamma, beta, frozenset({gamma or "", beta or ""} - {""}))

    def _refuse(self, node: Node, missed: set[str]) -> NoReturn:
        names = [self.traced.targets.get(m, m) for m in sorted(missed)]
        listed = ", ".join(f"`{n}`" for n in names) or "its statistics"
        text = (
            f"network `{self.traced.network}`: `{node.name}` (`aten.{_name(node)}`{placed(node)}) "
            f"reads {listed} in a way that bounds cannot be trained through"
        )
        help = "trained are `Linear`, `Conv`, `ConvTranspose`, `BatchNorm`, products and sums"
        raise SpecError.of("E0605", text, help=help)


def _name(node: Node) -> str:
    target = node.target
    return op_name(target) if isinstance(target, torch._ops.OpOverload) else str(target)


def _arguments(node: Node) -> dict[str, Any]:
    """The arguments of the op's schema by name; defaults are left out."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload):
        return {}
    names = [a.name for a in target._schema.arguments]
    return {**dict(zip(names, node.args, strict=False)), **node.kwargs}


def _value(arguments: Mapping[str, Any], name: str) -> str | None:
    """The name of a value that an argument is."""
    found = arguments.get(name)
    return found.name if isinstance(found, Node) else None


# --- reading them --------------------------------------------------------------------------------

HeldBy = Callable[[Mapping[str, Any], set[str]], Held | None]


def _held(weight: Reading | None, offset: Reading | None, *names: str | None) -> Held:
    return Held(weight, offset, frozenset(n for n in names if n is not None))


def _tensor(name: str) -> Reading:
    return lambda values: values[name]


def _layer(arguments: Mapping[str, Any], fixed: set[str]) -> Held | None:
    """A linear layer or a convolution: `weight` and `bias` as they are."""
    weight, bias = _value(arguments, "weight"), _value(arguments, "bias")
    if weight is None or weight not in fixed:
        return None
    return _held(_tensor(weight), None if bias is None else _tensor(bias), weight, bias)


def _product(arguments: Mapping[str, Any], fixed: set[str]) -> Held | None:
    """A matrix from the right."""
    right = _value(arguments, "other") or _value(arguments, "mat2")
    if right is None or right not in fixed:
        return None
    return _held(lambda values: values[right].mT, None, right)


def _added_product(arguments: Mapping[str, Any], fixed: set[str]) -> Held | None:
    """`bias + input @ matrix`."""
    bias, right = _value(arguments, "self"), _value(arguments, "mat2")
    if right is None or bias is None or not fixed >= {right, bias}:
        return None
    if {"alpha", "beta"} & arguments.keys():
        return None
    return _held(lambda values: values[right].mT, _tensor(bias), right, bias)


def _factor(arguments: Mapping[str, Any], fixed: set[str]) -> Held | None:
    """Entry by entry, from either side."""
    name = _fixed_side(arguments, fixed)
    return None if name is None else _held(_tensor(name), None, name)


def _term(arguments: Mapping[str, Any], fixed: set[str]) -> Held | None:
    name = _fixed_side(arguments, fixed)
    if name is None or "alpha" in arguments:
        return None
    return _held(None, _tensor(name), name)


def _fixed_side(arguments: Mapping[str, Any], fixed: set[str]) -> str | None:
    """Which of two operands is constant."""
    names = (_value(arguments, "self"), _value(arguments, "other"))
    return next((n for n in names if n is not None and n in fixed), None)


READINGS: Mapping[str, HeldBy] = {
    "linear": _layer,
    "conv1d": _layer,
    "conv2d": _layer,
    "conv3d": _layer,
    "conv_transpose1d": _layer,
    "conv_transpose2d": _layer,
    "conv_transpose3d": _layer,
    "convolution": _layer,
    "matmul": _product,
    "mm": _product,
    "addmm": _added_product,
    "mul": _factor,
    "add": _term,
}

NORMALISATIONS = frozenset(
    {"batch_norm", "_native_batch_norm_legit_no_training", "native_batch_norm"}
)


# --- comparing them ------------------------------------------------------------------------------


def kernel_weight(kernel: AffineKernel) -> Tensor:
    """What a kernel multiplies by. Raises ValueError for one without weights."""
    match kernel:
        case DenseKernel() | ConvKernel() | ConvTransposeKernel():
            return kernel.weight
        case ScaleKernel():
            return kernel.scale
        case _:
            raise ValueError(f"a {type(kernel).__name__} has no weights")


def require_agreement(name: str, compiled: CompiledGraph, weights: ModuleWeights) -> None:
    """That a module in eval mode holds what its graph was compiled with. Raises SpecError E0605."""
    for node in weights.nodes:
        one = replace(weights, nodes={node: weights.nodes[node]})
        try:
            own = one.parameters(compiled, {})[node]
        except (ValueError, RuntimeError):
            own = None  # Of another shape.
        if own is None or not _agrees(compiled.kernels[node], own):
            text = f"network `{name}`: `{node}` does not hold the parameters that it reads"
            raise SpecError.of("E0605", text, help="apply weights as they are in `forward`")


def _agrees(kernel: AffineKernel, own: Parameters) -> bool:
    pairs = [(kernel_weight(kernel), own.weight)]
    if own.offset is not None:
        if kernel.offset is None:
            return False
        pairs.append((kernel.offset, own.offset))
    return all(
        before.numel() == now.numel()
        and torch.allclose(before.reshape(-1), now.reshape(-1), rtol=AGREEMENT, atol=AGREEMENT)
        for before, now in pairs
    )
