"""Tensors of a model as numpy arrays, guarded before anything is allocated."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from specdsl.diagnostics import SpecError
from specdsl.graph.onnx_import.wire import Outline

if TYPE_CHECKING:
    import onnx

# The largest tensor of the VNN-COMP models has 34 million entries.
MAX_TENSOR_ENTRIES = 2**27
MAX_RANK = 16

Tensor = npt.NDArray[Any]

_BOOLEAN, _BFLOAT16 = 9, 16
# Element types of tensors: enumeration values of onnx.TensorProto.DataType with their memory.
NUMBERS: Mapping[int, np.dtype[Any]] = MappingProxyType(
    {
        1: np.dtype("<f4"),
        2: np.dtype("u1"),
        3: np.dtype("i1"),
        6: np.dtype("<i4"),
        7: np.dtype("<i8"),
        _BOOLEAN: np.dtype("u1"),
        10: np.dtype("<f2"),
        11: np.dtype("<f8"),
        # The upper half of a float32; numpy has no name for it.
        _BFLOAT16: np.dtype("<u2"),
    }
)


def refuse(code: str, name: str, text: str, help: str | None = None) -> NoReturn:
    """Raise a diagnostic about the network `name`."""
    raise SpecError.of(code, f"network `{name}`: {text}", help=help)


def read_tensor(proto: onnx.TensorProto, file: Outline, name: str, label: str) -> Tensor:
    """The entries; float16 and bfloat16 as float32, exactly. Large float32 tensors are views.

    `name` and `label` are what diagnostics call the network and the tensor. Raises SpecError: E0601
    to E0603, E0605, E0606 where an entry is not finite.
    """
    data = file.data(proto.raw_data) if proto.HasField("raw_data") else None
    _guard_tensor(proto, data, name, label)
    try:
        value = _listed(proto) if data is None else _raw(proto, data)
    except (ValueError, TypeError) as error:
        refuse("E0601", name, f"tensor `{label}` cannot be read ({error})")
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        where = np.unravel_index(int(np.argmin(np.isfinite(value))), value.shape)
        found = value[where]
        refuse("E0606", name, f"`{label}` holds {found} at {[int(i) for i in where]}")
    _shrink(proto, data)
    return value


def _raw(proto: onnx.TensorProto, data: memoryview) -> Tensor:
    element = NUMBERS[proto.data_type]
    value = np.frombuffer(data, element).reshape(tuple(proto.dims))
    if proto.data_type == _BFLOAT16:
        return (value.astype(np.uint32) << 16).view(np.float32)
    if proto.data_type == _BOOLEAN:
        return value != 0
    # Only float32 may stay a view, which can lie at an odd address: every use converts it.
    if element.itemsize == 2:
        return value.astype(np.float32)
    return value if element == np.float32 else value.copy()


def _listed(proto: onnx.TensorProto) -> Tensor:
    """Entries in the fields of their type: short ones, and those of old exporters."""
    from onnx import numpy_helper

    value = numpy_helper.to_array(proto)
    return value.astype(np.float32) if NUMBERS[proto.data_type].itemsize == 2 else value


def _shrink(proto: onnx.TensorProto, data: memoryview | None) -> None:
    """Let the checker see a marker as what it is: fewer bytes than the tensor has."""
    if data is not None and len(data) != len(proto.raw_data):
        del proto.dims[:]
        proto.dims.append(1)


def _guard_tensor(proto: onnx.TensorProto, data: memoryview | None, name: str, label: str) -> None:
    # 1 is TensorProto.EXTERNAL; a list of places without that mark is refused all the same.
    if proto.data_location == 1 or proto.external_data:
        refuse("E0603", name, f"the data of `{label}` lie in another file")
    if proto.data_type not in NUMBERS:
        kinds = "floats, 8, 32 and 64 bit integers and booleans are supported"
        text = f"`{label}` has element type {element_name(proto.data_type)}"
        refuse("E0605", name, text, help=kinds)
    dims = tuple(proto.dims)
    if len(dims) > MAX_RANK or any(d < 0 for d in dims):
        refuse("E0601", name, f"`{label}` has the impossible shape {dims}")
    entries = prod(dims)
    if entries > MAX_TENSOR_ENTRIES:
        refuse("E0602", name, f"`{label}` has {entries} entries, more than {MAX_TENSOR_ENTRIES}")
    if data is not None:
        held = len(data) / NUMBERS[proto.data_type].itemsize
    else:
        fields = (proto.float_data, proto.int32_data, proto.int64_data, proto.double_data)
        held = sum(len(f) for f in fields)
    if held != entries:
        refuse("E0601", name, f"`{label}` has shape {dims} but data for {held:g} entries")


def element_name(number: int) -> str:
    """What messages call an element type, a value of onnx.TensorProto.DataType."""
    from onnx import TensorProto

    known = dict(zip(TensorProto.DataType.values(), TensorProto.DataType.keys(), strict=True))
    spoken = {"FLOAT": "float32", "DOUBLE": "float64"}
    name = known.get(number, str(number))
    return spoken.get(name, name.lower())
