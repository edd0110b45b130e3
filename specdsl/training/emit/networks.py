"""Networks in text: the one that is trained, those that teach it, and what they take of samples."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import groupby

from specdsl.diagnostics import SpecError
from specdsl.files import read_bytes
from specdsl.graph import ops
from specdsl.graph.graph import Graph, NodeId
from specdsl.graph.layers import LaidLayer
from specdsl.graph.onnx_import.load import load_onnx
from specdsl.language import syntax
from specdsl.language.constants import entries
from specdsl.language.evaluation import evaluate
from specdsl.language.spec import NetworkDeclaration, Spec, WeightFile
from specdsl.query.elaboration.values.networks import Affine, shape_of
from specdsl.training.emit.common import WIDTH, Given
from specdsl.training.emit.data import file_from, identifier
from specdsl.training.emit.given import affine_of, layout_of
from specdsl.training.emit.lines import statement
from specdsl.training.emit.model import model_source
from specdsl.training.emit.numbers import real
from specdsl.training.emit.together import joint_source, quoted
from specdsl.training.emit.words import Runtime
from specdsl.training.plan.plan import Plan

WITHIN = '''\
def within(x: Tensor, r: float) -> InputRegion:
    """All inputs of the network that lie within `r` of samples, in linf and in their units."""
    return intersect(box(network_input(x - r).flatten(1), network_input(x + r).flatten(1)))'''
SEEDED = "torch.Generator().manual_seed({seed})"


def model_text(plan: Plan, given: Given, dialect: Runtime) -> str:
    """The function `model()`, and `network_input` where it takes other numbers than data have."""
    if given.joint is not None:
        dialect.use("Together")
        text = joint_source(plan, given.joint)
    elif given.layout is not None:
        text = model_source(given.layout)
    else:
        assert given.file is not None, "a network is written out or in a file"
        path = file_from(given.file, given.folder)
        lines = ["def model() -> nn.Module:", '    """The network as it is in its file."""']
        text = "\n".join([*lines, f'    return {dialect.use("from_onnx")}(HERE / "{path}")'])
    if given.inputs is None:
        return text
    texts = [text, _input_source("network_input", given.inputs)]
    return "\n\n\n".join([*texts, WITHIN] if "InputRegion" in dialect.names else texts)


def _input_source(name: str, affine: Affine) -> str:
    """A function from the user's units to what a network takes."""
    lines = [f"def {name}(x: Tensor) -> Tensor:"]
    lines.append('    """Samples as the network takes them: normalised as its space says."""')
    scale, shift = _values(affine.scale), _values(affine.shift)
    if len(scale) == len(shift) == 1:
        sign = "-" if shift[0] < 0 else "+"
        less = f" {sign} {real(abs(shift[0]))}" if shift[0] else ""
        return "\n".join([*lines, f"    return {real(scale[0])} * x{less}"])
    lines += [*_listed("scale", scale), *_listed("shift", shift)]
    like = "dtype=x.dtype, device=x.device"
    lines.append(f"    factor, offset = (torch.tensor(v, {like}) for v in (scale, shift))")
    return "\n".join([*lines, "    return (factor * x.flatten(1) + offset).reshape(x.shape)"])


def _listed(name: str, values: list[Fraction]) -> list[str]:
    """A list of numbers, those that are equal and next to each other at once."""
    runs = [(real(value), len(list(same))) for value, same in groupby(values)]
    parts = [f"[{value}] * {count}" if count > 1 else f"[{value}]" for value, count in runs]
    whole = f"    {name} = {' + '.join(parts)}"
    if len(whole) <= WIDTH:
        return [whole]
    return [f"    {name} = {parts[0]}", *(f"    {name} += {part}" for part in parts[1:])]


def _values(numbers: object) -> list[Fraction]:
    """All numbers, or the one that all are."""
    found = [Fraction(v) for v in numbers]  # type: ignore[attr-defined]
    return found[:1] if len(set(found)) == 1 else found


# --- where it begins ------------------------------------------------------------------------------


def initialisation(plan: Plan, given: Given, dialect: Runtime) -> list[str]:
    """What gives the module its first weights, each call saying what it did; nothing where it has
    them.

    Raises SpecError E0901 for random weights of a network in a file.
    """
    init = plan.settings.init
    if init.name == "keep":
        return [text for name in plan.parts for text in _own_start(name, given, dialect)]
    if given.joint is not None:
        others = [name for name in given.joint.layouts if name not in given.joint.chain]
        if init.name == "ibp" and others:
            # Of what is not verified no bounds are computed.
            chain = _drawn("ibp", "generator", dialect, _only(given.joint.chain), "SHAPE")
            return [chain, _drawn("default", "generator", dialect, _only(others))]
    elif given.layout is None:
        text = f"weights of `{plan.network}` are in its file, and cannot be drawn anew yet"
        raise SpecError.of("E0901", text, init.span, help="write `init = keep`")
    return [_drawn(init.name, "generator", dialect)]


def _own_start(name: str, given: Given, dialect: Runtime) -> list[str]:
    """The weights that a network says of itself it has at first."""
    declaration = given.spec.networks[name]
    own = _setting(declaration, "init")
    if declaration.weights is not None or own is None:
        return []
    seed = SEEDED.format(seed=_seed(own, given.spec))
    word = own.function if isinstance(own, syntax.Call) else own
    assert isinstance(word, syntax.Name), "checked with the network"
    kind = "ibp" if word.name == "ibp" else "default"
    if given.joint is None:
        return [_drawn(kind, seed, dialect)]
    shape = str(shape_of(declaration.input, given.spec))
    return [_drawn(kind, seed, dialect, _only([name]), shape)]


def first_weights(plan: Plan, given: Given, dialect: Runtime) -> list[str]:
    """Lines that read the weights that networks are declared with."""
    if plan.settings.init.name != "keep":
        return []
    lines: list[str] = []
    for name in plan.parts:
        weights = given.spec.networks[name].weights
        module = "module" if given.joint is None else f'module["{name}"]'
        if weights is not None:
            lines += _loading(weights, given, dialect, module)
    return lines


def _only(names: Sequence[str]) -> str:
    return f"module.only({quoted(tuple(dict.fromkeys(names)))})"


def _drawn(
    kind: str, generator: str, dialect: Runtime, module: str = "module", shape: str = "SHAPE"
) -> str:
    name = dialect.use(f"initialise_{kind}")
    arguments = [module, *([shape] if kind == "ibp" else []), generator]
    return f"{name}({', '.join(arguments)})"


def _setting(declaration: NetworkDeclaration, name: str) -> syntax.Expr | None:
    """What a network block says of itself."""
    settings = [s for s in declaration.layers if isinstance(s, syntax.Setting)]
    return next((s.value for s in settings if s.name == name), None)


def _seed(init: syntax.Expr, spec: Spec) -> int:
    arguments = init.arguments if isinstance(init, syntax.Call) else ()
    for argument in arguments:
        if isinstance(argument, syntax.NamedArgument) and argument.name == "seed":
            return int(entries(evaluate(argument.value, spec.values, spec.functions))[0])
    return 0


def _loading(
    weights: WeightFile, given: Given, dialect: Runtime, module: str = "module"
) -> list[str]:
    path = file_from(weights.path, given.folder)
    prefix = f', "{weights.prefix}"' if weights.prefix else ""
    return statement(f'{dialect.use("load_safetensors")}({module}, HERE / "{path}"{prefix})')


# --- teachers -------------------------------------------------------------------------------------


def teacher_source(name: str, function: str, given: Given, dialect: Runtime) -> str:
    """A function that gives the outputs of another declared network on samples.

    Raises SpecError E0901 where the network has no weights.
    """
    declaration = given.spec.networks[name]
    shape = shape_of(declaration.input, given.spec)
    affine = affine_of(declaration, given.spec)
    own = identifier(name)
    parts: list[str] = []
    lines = ["@cache", f"def network_{own}(device: torch.device) -> nn.Module:"]
    lines.append(f'    """The network `{name}`, which is not trained."""')
    if declaration.onnx is not None:
        path = file_from(declaration.onnx.path, given.folder)
        lines += statement(f'module = {dialect.use("from_onnx")}(HERE / "{path}")')
    else:
        layout = layout_of(declaration, given.spec)
        if declaration.weights is None or layout is None:
            raise _weightless(declaration)
        parts.append(model_source(layout, f"model_{own}"))
        lines.append(f"    module = model_{own}()")
        lines += _loading(declaration.weights, given, dialect)
    lines.append("    return module.to(device).eval().requires_grad_(False)")
    parts.append("\n".join(lines))
    x = "x"
    if affine is not None:
        parts.append(_input_source(f"input_of_{own}", affine))
        x = f"input_of_{own}(x)"
    x = x if shape == given.shape else f"{x}.reshape(len(x), {', '.join(map(str, shape))})"
    lines = [f"def {function}(x: Tensor) -> Tensor:"]
    lines.append(f'    """The outputs of `{name}` on samples."""')
    parts.append("\n".join([*lines, f"    return network_{own}(x.device)({x})"]))
    return "\n\n\n".join(parts)


def _weightless(declaration: NetworkDeclaration) -> SpecError:
    text = f"`{declaration.name}` has no file with its weights, so it teaches nothing yet"
    help_ = "declare it as `onnx(...)`, or give its layers `weights = safetensors(...)`"
    return SpecError.of("E0901", text, declaration.span, help=help_)


# --- ReLUs ----------------------------------------------------------------------------------------


def relus_of(given: Given) -> dict[str, int]:
    """Which ReLU a layer is, from 1: by the layer's name, or that of a value in the file."""
    if given.file is not None:
        imported = load_onnx(read_bytes(given.file), given.file.name)
        graph = imported.graph
        numbers = {node: n for n, node in enumerate(_relus(graph), 1)}
        named = {v: numbers[node] for v, node in imported.value_nodes.items() if node in numbers}
        return numbers | named
    found: dict[str, int] = {}
    number = 0
    names = ("",) if given.joint is None else tuple(f"{name}." for name in given.joint.chain)
    for name, layout in zip(names, given.layouts, strict=True):
        for step in layout.steps:
            if isinstance(step, LaidLayer) and step.call.kind == "relu":
                number += 1
                # A layer with a name; that no other network has it was looked at.
                found |= {step.source: number, f"{name}{step.source}": number}
    return found


def _relus(graph: Graph) -> list[NodeId]:
    return [node for node, op, _ in graph if type(op) is ops.Relu]
