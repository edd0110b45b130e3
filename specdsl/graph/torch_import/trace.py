"""A module as a list of ATen ops: what `torch.export` records of one run on example inputs."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from io import StringIO
from typing import NoReturn

import torch
from torch.export import ExportedProgram
from torch.utils._pytree import tree_leaves

from specdsl.diagnostics import SpecError
from specdsl.graph import ops
from specdsl.graph.torch_import.call import placed
from specdsl.graph.torch_import.rules import REFUSED, RULES

# Some ops decompose into others that decompose again; none takes more rounds than this.
MAX_ROUNDS = 5
FIRST_LINE = 300


@dataclass(frozen=True, slots=True, eq=False)
class Traced:
    """A module and its ops, every one of which has a rule or is refused.

    `constants`: the value of every placeholder that is a parameter, a buffer or a constant;
    `targets`: how the module calls the parameters and buffers among them (`0.weight`).
    `inputs`: the placeholders that are inputs, in order.
    """

    network: str
    module: torch.nn.Module = field(repr=False)
    graph: torch.fx.GraphModule = field(repr=False)
    constants: dict[str, torch.Tensor] = field(repr=False)
    targets: dict[str, str] = field(repr=False)
    inputs: tuple[str, ...]


def trace(module: torch.nn.Module, shapes: Sequence[ops.Shape], network: str) -> Traced:
    """Record what the module does with float32 inputs of these shapes (batch axis included).

    Raises SpecError: E0615 where the module cannot be run or traced as it is, E0604, E0612, E0613
    for ops that have no rule.
    """
    _check_module(module, network)
    examples = tuple(torch.zeros(shape, dtype=torch.float32) for shape in shapes)
    _check_outputs(_run(module, examples, network), network)
    program = _exported(module, examples, network)
    for _ in range(MAX_ROUNDS):
        table = _decompositions(_without_rule(program))
        if not table:
            break
        with _quietly():
            program = program.run_decompositions(table)
    constants, inputs = _placeholders(program, network)
    _refuse_ops(program, inputs, network)
    return Traced(network, module, program.graph_module, constants, _targets(program), inputs)


# --- before --------------------------------------------------------------------------------------


def _check_module(module: torch.nn.Module, network: str) -> None:
    """In eval mode, on the CPU, in float32."""
    for path, part in module.named_modules():
        if part.training:
            where = f"its part `{path}`" if path else "the module"
            text = f"{where} is in training mode, in which dropout and batch statistics vary"
            _refuse(network, text, "call `net.eval()` before handing it over")
    for path, tensor in (*module.named_parameters(), *module.named_buffers()):
        if torch.nn.parameter.is_lazy(tensor) or tensor.is_meta:
            _refuse(
                network, f"`{path}` has no values yet", "run the module once, or load its weights"
            )
        if tensor.device.type != "cpu":
            text = f"`{path}` is on the device `{tensor.device}`"
            _refuse(network, text, "hand over `net.cpu()`: results there are repeatable")
        if (tensor.is_floating_point() or tensor.is_complex()) and tensor.dtype != torch.float32:
            kind = str(tensor.dtype).removeprefix("torch.")
            help = "hand over `net.float()`; counterexamples are replayed in float32"
            _refuse(network, f"`{path}` is {kind}, not float32", help)


def _run(module: torch.nn.Module, examples: tuple[torch.Tensor, ...], network: str) -> list[object]:
    """What the module gives for the examples, as a flat list."""
    try:
        with _quietly(), torch.no_grad():
            said = module(*(e.clone() for e in examples))
    # The user's own code runs here: whatever it raises is a fact about the module, not about us.
    except Exception as error:
        shapes = ", ".join(str(tuple(e.shape)) for e in examples)
        text = f"the module fails on zeros of shape {shapes}: {_first_line(error)}"
        help = "it is called with the declared shapes, a batch axis of 1 in front of each"
        raise _refusal(network, text, help) from error
    return tree_leaves(said)


def _check_outputs(said: list[object], network: str) -> None:
    if not said:
        raise SpecError.of("E0607", f"network `{network}`: the module gives nothing")
    for number, value in enumerate(said):
        if not isinstance(value, torch.Tensor) or value.dtype != torch.float32:
            kind = value.dtype if isinstance(value, torch.Tensor) else type(value).__name__
            text = f"output {number} is {str(kind).removeprefix('torch.')}, not a float32 tensor"
            help = "give only what properties speak about; `.float()` makes numbers of places"
            raise SpecError.of("E0607", f"network `{network}`: {text}", help=help)


# --- tracing -------------------------------------------------------------------------------------


def _exported(
    module: torch.nn.Module, examples: tuple[torch.Tensor, ...], network: str
) -> ExportedProgram:
    """The ops, those that write in place replaced by those that do not."""
    try:
        with _quietly(), torch.no_grad():
            program = torch.export.export(module, examples)
            return program.run_decompositions({})
    # The exporter has exceptions of many kinds without a common base.
    except Exception as error:
        kind = type(error).__name__
        text = f"torch.export cannot trace it ({kind}): {_first_line(error)}"
        if "DataDependent" in kind:
            text = "it branches on values that depend on the input"
            help = "write `torch.where` instead of `if`"
            raise SpecError.of("E0612", f"network `{network}`: {text}", help=help) from error
        help = "the ops must not depend on values: no `if` or loop over them"
        raise _refusal(network, text, help) from error


@contextmanager
def _quietly() -> Generator[None]:
    """Without what PyTorch prints, logs and warns of, which is about its own code."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _without_rule(program: ExportedProgram) -> set[object]:
    return {
        node.target
        for node in program.graph.nodes
        if isinstance(node.target, torch._ops.OpOverload) and op_name(node.target) not in RULES
    }


def _decompositions(missing: set[object]) -> dict[torch._ops.OperatorBase, Callable[..., object]]:
    """PyTorch's own decompositions of the ops that have no rule, where it has some."""
    if not missing:
        return {}
    known = torch.export.default_decompositions()
    return {op: function for op, function in known.items() if op in missing}


def op_name(target: torch._ops.OpOverload) -> str:
    """`relu` of `aten.relu.default`; other namespaces than `aten` stay in front."""
    namespace, _, name = target._schema.name.partition("::")
    return name if namespace == "aten" else f"{namespace}.{name}"


CHECKS = frozenset({"_assert_tensor_metadata", "_assert_async", "_assert_scalar"})
"""Ops that check something while tracing and give nothing."""


def _refuse_ops(program: ExportedProgram, inputs: Sequence[str], network: str) -> None:
    """E0612 for control flow; E0613, E0604 for ops without a rule that read an input."""
    computed = set(inputs)
    unknown: dict[str, str] = {}
    for node in program.graph.nodes:
        target = node.target
        if isinstance(target, torch._ops.HigherOrderOperator):
            text = f"network `{network}`: `{target.name()}` is control flow"
            raise SpecError.of("E0612", text, help="write `torch.where` instead")
        if isinstance(target, torch._ops.OpOverload):
            _refuse_random(node, target, network)
        if any(n.name in computed for n in node.all_input_nodes):
            computed.add(node.name)
            if isinstance(target, torch._ops.OpOverload):
                name = op_name(target)
                if name not in RULES and name not in CHECKS:
                    unknown.setdefault(name, placed(node))
    if unknown:
        raise _no_rule(network, unknown)


def _refuse_random(node: torch.fx.Node, target: torch._ops.OpOverload, network: str) -> None:
    if torch.Tag.nondeterministic_seeded in target.tags and op_name(target) not in RULES:
        op = f"`{node.name}` (`aten.{op_name(target)}`{placed(node)})"
        text = f"network `{network}`: {op} draws random numbers"
        help = "a network is a function: draw them in training only, `if self.training:`"
        raise SpecError.of("E0605", text, help=help)


def _no_rule(network: str, places: Mapping[str, str]) -> SpecError:
    """`places`: where each op without a rule stands."""
    names = list(places)
    first = names[0]
    more = f" (also without one: {', '.join(f'`{n}`' for n in names[1:])})" if names[1:] else ""
    if "." in first:
        text = f"network `{network}`: `{first}` is no op of PyTorch itself{more}"
        return SpecError.of("E0613", text, help="write it with ops of `torch`")
    text = f"network `{network}`: no rule for op `aten.{first}`{places[first]}{more}"
    help = REFUSED.get(first, "the ops that have one are listed in docs/networks.md")
    return SpecError.of("E0604", text, help=help)


# --- after ---------------------------------------------------------------------------------------


def _placeholders(
    program: ExportedProgram, network: str
) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """The value of every placeholder that has one, and the names of the inputs."""
    from torch.export.graph_signature import InputKind, OutputKind

    for spec in program.graph_signature.output_specs:
        if spec.kind != OutputKind.USER_OUTPUT:
            _refuse(
                network, f"it changes `{spec.target}` while it runs", "keep no state in `forward`"
            )
    values: dict[str, torch.Tensor] = {}
    inputs: list[str] = []
    for spec in program.graph_signature.input_specs:
        if spec.kind == InputKind.USER_INPUT:
            inputs.append(spec.arg.name)
            continue
        target = spec.target or ""
        value = program.state_dict.get(target, program.constants.get(target))
        if not isinstance(value, torch.Tensor):
            _refuse(network, f"`{target}` is no tensor", "keep to tensors in `forward`")
        values[spec.arg.name] = value.detach().clone()
    return values, tuple(inputs)


def _targets(program: ExportedProgram) -> dict[str, str]:
    """How the module calls the parameter or buffer behind a placeholder."""
    named = program.state_dict
    specs = program.graph_signature.input_specs
    return {spec.arg.name: spec.target for spec in specs if spec.target in named}


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].strip()[:FIRST_LINE]


def _refuse(network: str, text: str, help: str) -> NoReturn:
    raise _refusal(network, text, help)


def _refusal(network: str, text: str, help: str) -> SpecError:
    return SpecError.of("E0615", f"network `{network}`: {text}", help=help)
