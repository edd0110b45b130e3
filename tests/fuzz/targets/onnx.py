"""ONNX models: imported, compared with ONNX Runtime, and simplified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.mutators import numbers
from tests.fuzz.mutators.protobuf import BYTES, VARINT, Field, Format, encode, places
from tests.fuzz.target import Target
from tests.fuzz.watch import PROJECT

# Of models in specs/: larger ones are the same with more numbers.
LARGEST_SEED = 2_000

Form = tuple[str, Sequence[int], Mapping[str, Any], Mapping[str, Any]]


def _forms() -> list[Form]:
    """One node each: op, shape of the input, constants that it reads after `x`, attributes."""
    import numpy as np

    from tests.graph.onnx_models import floats, integers

    image, axes = (1, 2, 4, 4), integers(1)
    return [
        ("Gemm", (1, 3), {"w": floats(3, 2), "b": floats(2)}, {"alpha": 0.5}),
        ("MatMul", (1, 3), {"w": floats(3, 2)}, {}),
        ("Conv", image, {"w": floats(3, 2, 2, 2), "b": floats(3)}, {"strides": [2, 1]}),
        ("ConvTranspose", image, {"w": floats(2, 3, 2, 2)}, {"output_padding": [0, 0]}),
        ("MaxPool", image, {}, {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]}),
        ("AveragePool", image, {}, {"kernel_shape": [2, 2], "ceil_mode": 1}),
        ("GlobalAveragePool", image, {}, {}),
        (
            "BatchNormalization",
            image,
            {"s": floats(2), "b": floats(2), "m": floats(2), "v": floats(2) ** 2},
            {},
        ),
        ("LayerNormalization", (1, 2, 3), {"s": floats(3)}, {"axis": -1}),
        ("InstanceNormalization", image, {"s": floats(2), "b": floats(2)}, {}),
        ("LRN", image, {}, {"size": 3}),
        ("Reshape", image, {"s": integers(1, -1, 2)}, {}),
        ("Flatten", image, {}, {"axis": 1}),
        ("Transpose", image, {}, {"perm": [0, 2, 3, 1]}),
        ("Squeeze", (1, 1, 3), {"a": axes}, {}),
        ("Unsqueeze", (1, 3), {"a": axes}, {}),
        ("Slice", image, {k: integers(v) for k, v in zip("sead", (0, 3, 2, 2), strict=True)}, {}),
        ("Split", (1, 4), {"s": integers(1, 3)}, {"axis": 1}),
        ("Concat", (1, 3), {"c": floats(1, 2)}, {"axis": 1}),
        ("Pad", (1, 3), {"p": integers(0, 1, 0, 2), "v": np.float32(0.5)}, {"mode": "constant"}),
        ("Tile", (1, 3), {"r": integers(1, 2)}, {}),
        ("Expand", (1, 3), {"s": integers(2, 2, 3)}, {}),
        ("Gather", (1, 4), {"i": integers(0, 2)}, {"axis": 1}),
        ("GatherElements", (1, 4), {"i": integers(0, 2)[None]}, {"axis": 1}),
        ("GatherND", (1, 4), {"i": integers(0, 2)[None]}, {}),
        ("ScatterND", (1, 4), {"i": integers(0, 2)[None], "u": floats(1)}, {}),
        ("ScatterElements", (1, 4), {"i": integers(0)[None], "u": floats(1, 1)}, {"axis": 1}),
        ("OneHot", (1, 2), {"d": integers(3), "v": floats(2)}, {"axis": -1}),
        ("Resize", image, {"r": floats(0), "f": np.float32([1, 1, 2, 2])}, {"mode": "nearest"}),
        ("DepthToSpace", (1, 4, 2, 2), {}, {"blocksize": 2}),
        ("ReduceSum", image, {"a": integers(1, 2)}, {"keepdims": 0}),
        ("ReduceMax", image, {}, {"axes": [1, -1]}),
        ("ArgMax", (1, 4), {}, {"axis": 1}),
        ("TopK", (1, 4), {"k": integers(2)}, {"axis": 1}),
        ("CumSum", (1, 4), {"a": np.int64(1)}, {}),
        ("Softmax", (1, 4), {}, {"axis": 1}),
        ("Clip", (1, 4), {"l": np.float32(-0.5), "u": np.float32(0.5)}, {}),
        ("Pow", (1, 4), {"e": np.float32(2)}, {}),
        ("PRelu", (1, 4), {"s": floats(4)}, {}),
        ("Where", (1, 4), {}, {}),
        ("Max", (1, 4), {"c": floats(4)}, {}),
        ("Div", (1, 4), {"c": floats(4)}, {}),
        ("Gelu", (1, 4), {}, {"approximate": "tanh"}),
        ("Cast", (1, 4), {}, {"to": 1}),
        ("QuantizeLinear", (1, 4), {"s": np.float32(0.5), "z": np.uint8(3)}, {}),
        *((op, (1, 4), {}, {}) for op in ("Relu", "Sigmoid", "Tanh", "Sin", "Erf", "Exp", "Sign")),
    ]


@cache
def _models() -> tuple[bytes, ...]:
    from tests.graph.onnx_forms import form

    networks = sorted((PROJECT / "specs/networks").glob("*.onnx"))
    found = [c for path in networks if len(c := path.read_bytes()) <= LARGEST_SEED]
    for op, shape, constants, attributes in _forms():
        if op == "Where":
            found.append(form(op, shape, {"c": _booleans()}, operands=["c", "x", "x"], opset=20))
            continue
        opset = 20 if op in ("Gelu", "LayerNormalization") else 13
        results = 2 if op in ("Split", "TopK") else 1
        found.append(form(op, shape, constants, opset=opset, results=results, **attributes))
    return (*found, _computed_shapes())


def _booleans() -> Any:
    import numpy as np

    return np.array([True, False, True, False])


def _computed_shapes() -> bytes:
    """Shapes that nodes compute: what bombs are made of."""
    import numpy as np

    from tests.graph.onnx_forms import several
    from tests.graph.onnx_models import integers

    constants = {"two": integers(2), "a": np.int64(0), "b": np.int64(4), "c": np.int64(1)}
    return several(
        [
            ("Shape", ["x"], ["s"], {}),
            ("Concat", ["two", "s"], ["t"], {"axis": 0}),
            ("ConstantOfShape", ["t"], ["zeros"], {}),
            ("Range", ["a", "b", "c"], ["r"], {}),
            ("Gather", ["x", "r"], ["g"], {"axis": 1}),
            ("Add", ["g", "zeros"], ["y"], {}),
        ],
        (1, 4),
        constants,
    )


# --- changes that only a model knows ------------------------------------------------------------


def _ops() -> tuple[str, ...]:
    from specdsl.graph.onnx_import.rules import RULES

    return (*sorted(RULES), "If", "Loop", "LSTM", "Einsum", "Unknown")


def _another_op(random: Random, root: list[Field]) -> None:
    """A node computes something else from the same operands, with an attribute it might have."""
    from onnx import defs

    nodes = [f for f in _inside(root, "node") if isinstance(f.value, list)]
    if not nodes:
        return
    fields = random.choice(nodes).value
    assert isinstance(fields, list)
    op = random.choice(_ops())
    fields[:] = [f for f in fields if f.name != "op_type"]
    fields.append(Field(4, BYTES, op.encode(), "op_type"))
    if op in ("Unknown",) or not defs.has(op) or random.random() < 0.4:
        return
    known = sorted(defs.get_schema(op).attributes)
    if known:
        fields.append(_attribute(random, random.choice(known)))


def _attribute(random: Random, name: str) -> Field:
    """An attribute of any type."""
    number = numbers.integer(random) % 2**64
    small = random.choice((0, 1, 2, 3, 2**64 - 1))
    value, kind = random.choice(
        (
            ([Field(3, VARINT, number, "i")], 2),
            ([Field(3, VARINT, small, "i")], 2),
            ([Field(8, VARINT, n, "ints") for n in (small, number)], 7),
            ([Field(8, VARINT, small, "ints")] * random.choice((0, 1, 2, 4)), 7),
            ([Field(4, BYTES, random.choice((b"linear", b"same", b"\xff", b"tanh")), "s")], 3),
            ([Field(2, 5, numbers.packed(random)[:4], "f")], 1),
        )
    )
    fields = [Field(1, BYTES, name.encode(), "name"), *value, Field(20, VARINT, kind, "type")]
    return Field(5, BYTES, fields, "attribute", _kinds()["AttributeProto"])


def _elsewhere(random: Random, root: list[Field]) -> None:
    """The data of a tensor are said to lie in another file."""
    tensors = [f for f in _inside(root, "initializer") if isinstance(f.value, list)]
    if not tensors:
        return
    fields = random.choice(tensors).value
    assert isinstance(fields, list)
    place = random.choice(
        (b"../secret", b"/etc/passwd", b"weights", b"", b"\xff", b"a/../../secret", b"/dev/zero")
    )
    entries = {b"location": place, b"offset": random.choice((b"0", b"-8", b"9" * 30, b"x"))}
    for key, value in entries.items():
        pair = [Field(1, BYTES, key, "key"), Field(2, BYTES, value, "value")]
        fields.append(Field(13, BYTES, pair, "external_data"))
    if random.random() < 0.7:
        fields.append(Field(14, VARINT, 1, "data_location"))
    if random.random() < 0.7:
        fields[:] = [f for f in fields if f.name != "raw_data"]


def _another_opset(random: Random, root: list[Field]) -> None:
    for item in _inside(root, "version"):
        item.value = random.choice((1, 6, 7, 9, 11, 12, 13, 17, 18, 21, 23, 2**40))


def _nested(random: Random, root: list[Field]) -> None:
    """A node with a graph inside, in which there is a node with a graph inside, and so on."""
    nodes = [f for f in _inside(root, "node") if isinstance(f.value, list)]
    if not nodes:
        return
    # As bytes: the levels are as many as a message may have, and more.
    graph = b""
    for _ in range(random.choice((1, 10, 99, 101, 1_000))):
        attribute = encode([Field(1, BYTES, b"body"), Field(6, BYTES, graph), Field(20, VARINT, 5)])
        graph = encode([Field(1, BYTES, [Field(5, BYTES, attribute)])])
    fields = random.choice(nodes).value
    assert isinstance(fields, list)
    fields.append(Field(5, BYTES, [Field(1, BYTES, b"x"), Field(6, BYTES, graph)], "attribute"))


def _larger(random: Random, root: list[Field]) -> None:
    """A shape, in a tensor or a value, with other extents."""
    names = ("dims", "dim_value", "ints", "raw_data")
    found = [f for name in names for f in _inside(root, name)]
    for item in random.sample(found, min(len(found), random.choice((1, 1, 2, 4)))):
        number = random.choice((0, 1, 2, 2**12, 10**6, 2**27, 2**31, 2**62, -1)) % 2**64
        if isinstance(item.value, bytes):
            count = max(1, len(item.value) // 8)
            item.value = number.to_bytes(8, "little") * count
        else:
            item.value = number


def _inside(root: list[Field], name: str) -> list[Field]:
    return [p.field for p in places(root, _kinds()["ModelProto"]) if p.field.name == name]


@cache
def _kinds() -> Mapping[str, Any]:
    import onnx

    return {name: getattr(onnx, name).DESCRIPTOR for name in ("ModelProto", "AttributeProto")}


@cache
def _format() -> Format:
    specials = (_another_op, _another_op, _larger, _larger, _elsewhere, _another_opset, _nested)
    words = (*_ops(), "x", "y", "w", "ai.onnx", "com.microsoft", "axis", "axes", "value", "body")
    return Format(_kinds()["ModelProto"], words, specials)


def mutate(random: Random, content: bytes, corpus: Sequence[bytes]) -> bytes:
    """A model with changed fields."""
    return _format().mutate(random, content, corpus)


def _load(content: bytes, _folder: Path) -> None:
    from specdsl.graph.onnx_import.load import load_onnx
    from specdsl.graph.rewrites.simplify import simplify

    simplify(load_onnx(content, "fuzz.onnx").graph)


def _properties(content: bytes, _folder: Path) -> None:
    """What `specdsl check` looks up to tell whether a network was trained by the spec as it is."""
    from specdsl.graph.onnx_import.read import properties_of

    properties_of(content, "fuzz.onnx")


TARGETS = (
    Target("onnx", ".onnx", _models, mutate, _load, 1_250),
    Target("onnx-properties", ".onnx", _models, mutate, _properties, 250),
)
