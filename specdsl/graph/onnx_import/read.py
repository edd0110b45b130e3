"""ONNX bytes to plain values: decoding, guards against hostile files, tensors as numpy arrays.

Nothing here knows what an op means, and nothing after this file needs the onnx package. The order
matters: cheap structural guards come before anything that could allocate, and the checker of the
onnx package, which is native code, sees only what has passed them. Large tensors are never copied:
they are views into the file (see `wire`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from specdsl.diagnostics import SpecError
from specdsl.graph.import_call import MAX_VALUE_ENTRIES
from specdsl.graph.onnx_import.tensors import (
    MAX_RANK,
    NUMBERS,
    Tensor,
    element_name,
    read_tensor,
    refuse,
)
from specdsl.graph.onnx_import.wire import Outline, outline

if TYPE_CHECKING:
    import onnx

# The largest VNN-COMP model has some 3,000 nodes and 30 million weights in one tensor.
MAX_BYTES = 512 * 2**20
MAX_NODES = 50_000
# Opset 7 introduced the broadcasting all later ones have; the checker knows the newest.
OLDEST_OPSET = 7

Attribute = int | float | str | Tensor | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]

# What inputs may be: the runtime replays both.
_INPUT_ELEMENTS: Mapping[int, np.dtype[Any]] = MappingProxyType(
    {1: np.dtype(np.float32), 11: np.dtype(np.float64)}
)
_CONTROL_FLOW = ("If", "Loop", "Scan", "SequenceMap")


@dataclass(frozen=True, slots=True, eq=False)
class OnnxNode:
    """One node. An operand `""` is an absent optional one."""

    op: str
    name: str
    operands: tuple[str, ...]
    results: tuple[str, ...]
    attributes: Mapping[str, Attribute]

    @property
    def title(self) -> str:
        """How messages call it."""
        return f"node `{self.name or self.results[0]}`"


@dataclass(frozen=True, slots=True)
class OnnxInput:
    """An input of float32 or float64 numbers; dynamic batch axes are bound to 1."""

    name: str
    shape: tuple[int, ...]
    element: np.dtype[Any]


@dataclass(frozen=True, slots=True, eq=False)
class OnnxModel:
    """A model with its inputs (those that are no initializers) and outputs, in its own order."""

    name: str
    opset: int
    inputs: tuple[OnnxInput, ...]
    outputs: tuple[str, ...]
    initializers: Mapping[str, Tensor]
    nodes: tuple[OnnxNode, ...]


def read(content: bytes, name: str, supported: Iterable[str]) -> OnnxModel:
    """Decode and check a model. `supported`: the ops that have a rule.

    Raises SpecError (no span): E0600 to E0608, E0612 to E0614.
    """
    if len(content) > MAX_BYTES:
        refuse("E0602", name, f"{len(content)} bytes, more than {MAX_BYTES}")
    file = outline(content, name)
    proto = _decode(file.model, name)
    _guard_text(proto, name)
    _guard_structure(proto, name)
    _guard_ops(proto, name, supported)
    opset = _opset(proto, name)
    initializers = {t.name: read_tensor(t, file, name, t.name) for t in proto.graph.initializer}
    inputs = _inputs(proto, name, initializers)
    _guard_names(proto, name)
    nodes = tuple(_node(n, file, name) for n in proto.graph.node)
    _check(proto, name)
    return OnnxModel(
        name=name,
        opset=opset,
        inputs=inputs,
        outputs=_outputs(proto, name),
        initializers=initializers,
        nodes=nodes,
    )


def properties_of(content: bytes, name: str) -> Mapping[str, str]:
    """What whoever wrote the file noted in it, by name. Raises SpecError as `read`."""
    return {p.key: p.value for p in _decode(content, name).metadata_props}


def _decode(content: bytes, name: str) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    if not content:
        refuse("E0600", name, "the file is empty")
    try:
        proto = onnx.load_model_from_string(content)
    except (DecodeError, UnicodeDecodeError) as error:
        raise SpecError.of("E0600", f"network `{name}` is not an ONNX model") from error
    if not proto.graph.node:
        refuse("E0600", name, "not an ONNX model, or one without nodes")
    if len(proto.graph.node) > MAX_NODES:
        refuse("E0602", name, f"{len(proto.graph.node)} nodes, more than {MAX_NODES}")
    return proto


def _guard_text(proto: onnx.ModelProto, name: str) -> None:
    """Names are text: protobuf hands out bytes where they are not UTF-8."""
    graph = proto.graph
    values = (*graph.input, *graph.output, *graph.initializer)
    texts = [v.name for v in values]
    for node in graph.node:
        texts += [node.name, node.op_type, node.domain, *node.input, *node.output]
        texts += [a.name for a in node.attribute]
    # The stubs promise str, the library gives bytes for broken UTF-8.
    broken: list[object] = [t for t in texts if type(t) is not str]
    if broken:
        refuse("E0600", name, f"a name is not UTF-8 text ({broken[0]!r})")


def _guard_structure(proto: onnx.ModelProto, name: str) -> None:
    graph = proto.graph
    if proto.functions:
        refuse("E0612", name, f"local function `{proto.functions[0].name}`")
    if graph.sparse_initializer:
        refuse("E0605", name, "sparse initializers are not supported")
    for node in graph.node:
        title = f"node `{node.name or (node.output[0] if node.output else '?')}`"
        if node.op_type in _CONTROL_FLOW or any(
            a.HasField("g") or a.graphs for a in node.attribute
        ):
            refuse("E0612", name, f"{title} is control flow (`{node.op_type}`)")
        if node.domain not in {"", "ai.onnx"}:
            refuse("E0613", name, f"{title} is `{node.op_type}` of domain `{node.domain}`")
        if not node.output:
            refuse("E0601", name, f"a `{node.op_type}` node computes nothing")


def _guard_ops(proto: onnx.ModelProto, name: str, supported: Iterable[str]) -> None:
    known = set(supported)
    unknown = [n for n in proto.graph.node if n.op_type not in known]
    if unknown:
        first = unknown[0]
        others = sorted({n.op_type for n in unknown} - {first.op_type})
        more = f" (also without one: {', '.join(others)})" if others else ""
        refuse(
            "E0604",
            name,
            f"no rule for op `{first.op_type}` at node `{first.name or first.output[0]}`{more}",
            help="the ops that have one are listed in docs/ops.md",
        )


def _guard_names(proto: onnx.ModelProto, name: str) -> None:
    """Every name is computed once, before it is read: no cycles, no dangling names."""
    known = {i.name for i in proto.graph.input} | {t.name for t in proto.graph.initializer}
    if len(proto.graph.initializer) != len({t.name for t in proto.graph.initializer}):
        refuse("E0601", name, "two initializers have one name")
    for node in proto.graph.node:
        title = f"node `{node.name or node.output[0]}` (`{node.op_type}`)"
        for operand in node.input:
            if operand and operand not in known:
                refuse("E0601", name, f"{title} reads `{operand}`, which nothing before computes")
        for result in node.output:
            if result and result in known:
                refuse("E0601", name, f"{title} computes `{result}`, which exists already")
        known.update(node.output)
    for output in proto.graph.output:
        if output.name not in known:
            refuse("E0601", name, f"nothing computes the output `{output.name}`")


def newest_opset() -> int:
    """The newest version of the standard opset that the onnx package knows."""
    from onnx.defs import onnx_opset_version

    return onnx_opset_version()


def _opset(proto: onnx.ModelProto, name: str) -> int:
    versions = {o.version for o in proto.opset_import if o.domain in {"", "ai.onnx"}}
    newest = newest_opset()
    if len(versions) != 1:
        refuse("E0614", name, f"it declares {len(versions)} versions of the standard opset")
    (version,) = versions
    if version < OLDEST_OPSET:
        refuse("E0614", name, f"opset {version} is older than {OLDEST_OPSET}")
    if version > newest:
        refuse("E0614", name, f"opset {version} is newer than {newest}, the last one known here")
    return int(version)


# --- nodes ---------------------------------------------------------------------------------------


def _node(proto: onnx.NodeProto, file: Outline, name: str) -> OnnxNode:
    label = proto.name or proto.output[0]
    return OnnxNode(
        op=proto.op_type,
        name=proto.name,
        operands=tuple(proto.input),
        results=tuple(proto.output),
        attributes={a.name: _attribute(a, file, name, label) for a in proto.attribute},
    )


def _attribute(proto: Any, file: Outline, name: str, label: str) -> Attribute:
    from onnx import AttributeProto as Kind

    match proto.type:
        case Kind.INT:
            return int(proto.i)
        case Kind.FLOAT:
            return float(proto.f)
        case Kind.STRING:
            return proto.s.decode("utf-8", errors="replace")
        case Kind.INTS:
            return tuple(int(i) for i in proto.ints)
        case Kind.FLOATS:
            return tuple(float(f) for f in proto.floats)
        case Kind.STRINGS:
            return tuple(s.decode("utf-8", errors="replace") for s in proto.strings)
        case Kind.TENSOR:
            return read_tensor(proto.t, file, name, f"{label}.{proto.name}")
        case _:
            text = f"attribute `{proto.name}` of node `{label}` has no known type"
            raise SpecError.of("E0605", f"network `{name}`: {text}")


# --- inputs and outputs --------------------------------------------------------------------------


def _inputs(
    proto: onnx.ModelProto, name: str, initializers: Mapping[str, Tensor]
) -> tuple[OnnxInput, ...]:
    """Models of old exporters list their initializers among the inputs: those are none."""
    inputs = [i for i in proto.graph.input if i.name not in initializers]
    if not inputs:
        refuse("E0607", name, "it has no input")
    if len({i.name for i in inputs}) != len(inputs):
        refuse("E0601", name, "two inputs have one name")
    batch = {i.type.tensor_type.shape.dim[0].dim_param for i in inputs if _is_batched(i)}
    return tuple(_input(found, batch - {""}, name) for found in inputs)


def _input(found: onnx.ValueInfoProto, batch: Set[str], name: str) -> OnnxInput:
    """`batch`: the names of first axes, bound to 1 wherever they stand."""
    element = found.type.tensor_type.elem_type
    if element not in _INPUT_ELEMENTS:
        text = f"input `{found.name}` is {element_name(element)}, not float32 or float64"
        refuse("E0607", name, text)
    if not found.type.tensor_type.HasField("shape"):
        refuse("E0608", name, f"input `{found.name}` has no shape")
    shape = tuple(
        1 if _is_dynamic(extent) and (axis == 0 or extent.dim_param in batch) else extent.dim_value
        for axis, extent in enumerate(found.type.tensor_type.shape.dim)
    )
    for axis, extent in enumerate(found.type.tensor_type.shape.dim):
        if shape[axis] < 1:
            what = extent.dim_value if extent.HasField("dim_value") else extent.dim_param or "?"
            text = f"axis {axis} of input `{found.name}` has extent `{what}`, not a fixed number"
            refuse("E0608", name, text, help="export the network with fixed shapes")
    if len(shape) > MAX_RANK or prod(shape) > MAX_VALUE_ENTRIES:
        refuse("E0602", name, f"input `{found.name}` has {prod(shape)} entries")
    return OnnxInput(found.name, shape, _INPUT_ELEMENTS[element])


def _is_batched(found: onnx.ValueInfoProto) -> bool:
    extents = found.type.tensor_type.shape.dim
    return bool(extents) and _is_dynamic(extents[0])


def _is_dynamic(extent: onnx.TensorShapeProto.Dimension) -> bool:
    """Whether the model leaves an extent open: by a name, by nothing, or by a negative number."""
    return not extent.HasField("dim_value") or extent.dim_value < 0


def _outputs(proto: onnx.ModelProto, name: str) -> tuple[str, ...]:
    """Outputs are numbers or booleans, which are the numbers 0 and 1."""
    if not proto.graph.output:
        refuse("E0607", name, "it has no output")
    for output in proto.graph.output:
        element = output.type.tensor_type.elem_type
        if element not in NUMBERS:
            refuse("E0607", name, f"output `{output.name}` is {element_name(element)}, not numbers")
    return tuple(output.name for output in proto.graph.output)


def _check(proto: onnx.ModelProto, name: str) -> None:
    import onnx

    try:
        onnx.checker.check_model(proto)
    except (onnx.checker.ValidationError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise SpecError.of("E0601", f"network `{name}` is not valid ONNX: {reason}") from error
