"""ONNX bytes to plain values: decoding, guards against hostile files, tensors as numpy arrays.

Nothing here knows what an op means, and nothing after this file needs the onnx package. The order
matters: cheap structural guards come before anything that could allocate, and the checker of the
onnx package, which is native code, sees only what has passed them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from specdsl.diagnostics import SpecError

if TYPE_CHECKING:
    import onnx

# The largest VNN-COMP model has some 3,000 nodes and 30 million weights in one tensor.
MAX_BYTES = 512 * 2**20
MAX_NODES = 50_000
MAX_TENSOR_ENTRIES = 2**27
MAX_RANK = 16
# Opset 7 introduced the broadcasting all later ones have; the checker knows the newest.
OLDEST_OPSET = 7

Tensor = npt.NDArray[Any]
Attribute = int | float | str | Tensor | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]

# Enumeration values of onnx.TensorProto.DataType, by name in messages.
_ELEMENTS = {1: "float32", 6: "int32", 7: "int64", 9: "bool", 11: "float64"}
_BYTES = {1: 4, 6: 4, 7: 8, 9: 1, 11: 8}
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
    """A float32 input; a dynamic first axis is bound to 1."""

    name: str
    shape: tuple[int, ...]


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
    proto = _decode(content, name)
    _guard_text(proto, name)
    _guard_structure(proto, name)
    _guard_ops(proto, name, supported)
    opset = _opset(proto, name)
    initializers = {t.name: _tensor(t, name, t.name) for t in proto.graph.initializer}
    inputs = _inputs(proto, name, initializers)
    _guard_names(proto, name)
    nodes = tuple(_node(n, name) for n in proto.graph.node)
    _check(proto, name)
    return OnnxModel(
        name=name,
        opset=opset,
        inputs=inputs,
        outputs=_outputs(proto, name),
        initializers=initializers,
        nodes=nodes,
    )


def _refuse(code: str, name: str, text: str, help: str | None = None) -> NoReturn:
    raise SpecError.of(code, f"network `{name}`: {text}", help=help)


def _decode(content: bytes, name: str) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    if len(content) > MAX_BYTES:
        _refuse("E0602", name, f"{len(content)} bytes, more than {MAX_BYTES}")
    if not content:
        _refuse("E0600", name, "the file is empty")
    try:
        proto = onnx.load_model_from_string(content)
    except (DecodeError, UnicodeDecodeError) as error:
        raise SpecError.of("E0600", f"network `{name}` is not an ONNX model") from error
    if not proto.graph.node:
        _refuse("E0600", name, "not an ONNX model, or one without nodes")
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
        _refuse("E0600", name, f"a name is not UTF-8 text ({broken[0]!r})")


def _guard_structure(proto: onnx.ModelProto, name: str) -> None:
    graph = proto.graph
    if len(graph.node) > MAX_NODES:
        _refuse("E0602", name, f"{len(graph.node)} nodes, more than {MAX_NODES}")
    if proto.functions:
        _refuse("E0612", name, f"local function `{proto.functions[0].name}`")
    if graph.sparse_initializer:
        _refuse("E0605", name, "sparse initializers are not supported")
    for node in graph.node:
        title = f"node `{node.name or (node.output[0] if node.output else '?')}`"
        if node.op_type in _CONTROL_FLOW or any(
            a.HasField("g") or a.graphs for a in node.attribute
        ):
            _refuse("E0612", name, f"{title} is control flow (`{node.op_type}`)")
        if node.domain not in {"", "ai.onnx"}:
            _refuse("E0613", name, f"{title} is `{node.op_type}` of domain `{node.domain}`")
        if not node.output:
            _refuse("E0601", name, f"a `{node.op_type}` node computes nothing")


def _guard_ops(proto: onnx.ModelProto, name: str, supported: Iterable[str]) -> None:
    known = set(supported)
    unknown = [n for n in proto.graph.node if n.op_type not in known]
    if unknown:
        first = unknown[0]
        others = sorted({n.op_type for n in unknown} - {first.op_type})
        more = f" (also without one: {', '.join(others)})" if others else ""
        _refuse(
            "E0604",
            name,
            f"no rule for op `{first.op_type}` at node `{first.name or first.output[0]}`{more}",
            help=f"supported ops: {', '.join(sorted(known))}",
        )


def _guard_names(proto: onnx.ModelProto, name: str) -> None:
    """Every name is computed once, before it is read: no cycles, no dangling names."""
    known = {i.name for i in proto.graph.input} | {t.name for t in proto.graph.initializer}
    if len(proto.graph.initializer) != len({t.name for t in proto.graph.initializer}):
        _refuse("E0601", name, "two initializers have one name")
    for node in proto.graph.node:
        title = f"node `{node.name or node.output[0]}` (`{node.op_type}`)"
        for operand in node.input:
            if operand and operand not in known:
                _refuse("E0601", name, f"{title} reads `{operand}`, which nothing before computes")
        for result in node.output:
            if result and result in known:
                _refuse("E0601", name, f"{title} computes `{result}`, which exists already")
        known.update(node.output)
    for output in proto.graph.output:
        if output.name not in known:
            _refuse("E0601", name, f"nothing computes the output `{output.name}`")


def newest_opset() -> int:
    """The newest version of the standard opset that the onnx package knows."""
    from onnx.defs import onnx_opset_version

    return onnx_opset_version()


def _opset(proto: onnx.ModelProto, name: str) -> int:
    versions = {o.version for o in proto.opset_import if o.domain in {"", "ai.onnx"}}
    newest = newest_opset()
    if len(versions) != 1:
        _refuse("E0614", name, f"it declares {len(versions)} versions of the standard opset")
    (version,) = versions
    if version < OLDEST_OPSET:
        _refuse("E0614", name, f"opset {version} is older than {OLDEST_OPSET}")
    if version > newest:
        _refuse("E0614", name, f"opset {version} is newer than {newest}, the last one known here")
    return int(version)


# --- tensors -------------------------------------------------------------------------------------


def _tensor(proto: onnx.TensorProto, name: str, label: str) -> Tensor:
    from onnx import numpy_helper

    _guard_tensor(proto, name, label)
    try:
        value = numpy_helper.to_array(proto)
    except (ValueError, TypeError) as error:
        _refuse("E0601", name, f"tensor `{label}` cannot be read ({error})")
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        where = np.unravel_index(int(np.argmin(np.isfinite(value))), value.shape)
        found = value[where]
        _refuse("E0606", name, f"`{label}` holds {found} at {[int(i) for i in where]}")
    return value


def _guard_tensor(proto: onnx.TensorProto, name: str, label: str) -> None:
    # 1 is TensorProto.EXTERNAL; a list of places without that mark is refused all the same.
    if proto.data_location == 1 or proto.external_data:
        _refuse("E0603", name, f"the data of `{label}` lie in another file")
    if proto.data_type not in _ELEMENTS:
        _refuse("E0605", name, f"`{label}` has element type {proto.data_type}, not a float or int")
    dims = tuple(proto.dims)
    if len(dims) > MAX_RANK or any(d < 0 for d in dims):
        _refuse("E0601", name, f"`{label}` has the impossible shape {dims}")
    entries = prod(dims)
    if entries > MAX_TENSOR_ENTRIES:
        _refuse("E0602", name, f"`{label}` has {entries} entries, more than {MAX_TENSOR_ENTRIES}")
    if proto.HasField("raw_data"):
        held = len(proto.raw_data) / _BYTES[proto.data_type]
    else:
        fields = (proto.float_data, proto.int32_data, proto.int64_data, proto.double_data)
        held = sum(len(f) for f in fields)
    if held != entries:
        _refuse("E0601", name, f"`{label}` has shape {dims} but data for {held:g} entries")


# --- nodes ---------------------------------------------------------------------------------------


def _node(proto: onnx.NodeProto, name: str) -> OnnxNode:
    label = proto.name or proto.output[0]
    return OnnxNode(
        op=proto.op_type,
        name=proto.name,
        operands=tuple(proto.input),
        results=tuple(proto.output),
        attributes={a.name: _attribute(a, name, label) for a in proto.attribute},
    )


def _attribute(proto: Any, name: str, label: str) -> Attribute:
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
            return _tensor(proto.t, name, f"{label}.{proto.name}")
        case _:
            _refuse("E0605", name, f"attribute `{proto.name}` of node `{label}` has no known type")


# --- inputs and outputs --------------------------------------------------------------------------


def _inputs(
    proto: onnx.ModelProto, name: str, initializers: Mapping[str, Tensor]
) -> tuple[OnnxInput, ...]:
    """Models of old exporters list their initializers among the inputs: those are none."""
    inputs = [i for i in proto.graph.input if i.name not in initializers]
    if not inputs:
        _refuse("E0607", name, "it has no input")
    if len({i.name for i in inputs}) != len(inputs):
        _refuse("E0601", name, "two inputs have one name")
    return tuple(OnnxInput(found.name, _input_shape(found, name)) for found in inputs)


def _input_shape(found: onnx.ValueInfoProto, name: str) -> tuple[int, ...]:
    _require_float(found, name, "input")
    if not found.type.tensor_type.HasField("shape"):
        _refuse("E0608", name, f"input `{found.name}` has no shape")
    shape: list[int] = []
    for axis, extent in enumerate(found.type.tensor_type.shape.dim):
        if extent.HasField("dim_value") and extent.dim_value > 0:
            shape.append(int(extent.dim_value))
        elif axis == 0 and not extent.HasField("dim_value"):
            shape.append(1)
        else:
            what = extent.dim_value if extent.HasField("dim_value") else extent.dim_param or "?"
            text = f"axis {axis} of input `{found.name}` has extent `{what}`, not a fixed number"
            _refuse("E0608", name, text, help="export the network with fixed shapes")
    if len(shape) > MAX_RANK or prod(shape) > MAX_TENSOR_ENTRIES:
        _refuse("E0602", name, f"input `{found.name}` has {prod(shape)} entries")
    return tuple(shape)


def _outputs(proto: onnx.ModelProto, name: str) -> tuple[str, ...]:
    if not proto.graph.output:
        _refuse("E0607", name, "it has no output")
    for output in proto.graph.output:
        _require_float(output, name, "output")
    return tuple(output.name for output in proto.graph.output)


def _require_float(value: onnx.ValueInfoProto, name: str, role: str) -> None:
    element = value.type.tensor_type.elem_type
    if element != 1:
        kind = _ELEMENTS.get(element, f"of element type {element}")
        _refuse("E0607", name, f"{role} `{value.name}` is {kind}, not float32")


def _check(proto: onnx.ModelProto, name: str) -> None:
    import onnx

    try:
        onnx.checker.check_model(proto)
    except (onnx.checker.ValidationError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise SpecError.of("E0601", f"network `{name}` is not valid ONNX: {reason}") from error
