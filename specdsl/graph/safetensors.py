"""Tensors from a safetensors file: a length, a header in JSON, and the numbers one after another.

The format is described at https://huggingface.co/docs/safetensors. Files may be hostile: the header
is limited, every place it names lies in the file, and a tensor takes no more memory than its bytes
there, twice at most.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from types import MappingProxyType
from typing import Any, NoReturn, cast

import numpy as np
import numpy.typing as npt

from specdsl.diagnostics import SpecError

FloatArray = npt.NDArray[np.float64]

# The header of a network with 100,000 tensors takes some 10 MiB.
MAX_HEADER_BYTES = 16 * 2**20
MAX_AXES = 8
LENGTH_BYTES = 8
BFLOAT16 = "BF16"
METADATA = "__metadata__"
# Element types that hold numbers of a network; all of their numbers are float64 numbers.
ELEMENTS: Mapping[str, npt.DTypeLike] = MappingProxyType(
    {"F16": "<f2", BFLOAT16: "<u2", "F32": "<f4", "F64": "<f8"}
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor lies in the numbers, and how they are to be read."""

    element: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True, eq=False)
class TensorFile:
    """A safetensors file whose header is in order; numbers are read when they are asked for."""

    title: str
    places: Mapping[str, Place]
    content: memoryview = field(repr=False)
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])

    def tensor(self, name: str) -> FloatArray:
        """The numbers of one tensor, exactly.

        Raises KeyError for a name that is not there, SpecError E0524 where they are no floats of
        16, 32 or 64 bits, E0606 where they are not finite.
        """
        place = self.places[name]
        if place.element not in ELEMENTS:
            _refuse(self.title, f"`{name}` holds {place.element}, no floats of 16, 32 or 64 bits")
        held = np.frombuffer(self.content[place.begin : place.end], dtype=ELEMENTS[place.element])
        if place.element == BFLOAT16:  # The upper half of a float32 number.
            held = (held.astype(np.uint32) << 16).view(np.float32)
        values = held.astype(np.float64).reshape(place.shape)
        if not np.isfinite(values).all():
            raise SpecError.of("E0606", f"`{name}` in `{self.title}` holds NaN or infinity")
        return values


def read_tensors(content: bytes, title: str) -> TensorFile:
    """The tensors of a file; `title` names it in messages. Raises SpecError E0524."""
    if len(content) < LENGTH_BYTES:
        _refuse(title, f"{len(content)} bytes are too few")
    (length,) = struct.unpack("<Q", content[:LENGTH_BYTES])
    if length > min(MAX_HEADER_BYTES, len(content) - LENGTH_BYTES):
        _refuse(title, f"a header of {length} bytes is longer than the file, or than the limit")
    numbers = memoryview(content)[LENGTH_BYTES + length :]
    header = _header(content[LENGTH_BYTES : LENGTH_BYTES + length], title)
    places = {
        name: _place(name, entry, len(numbers), title)
        for name, entry in header.items()
        if name != METADATA
    }
    return TensorFile(title, MappingProxyType(places), numbers, _metadata(header))


def _metadata(header: Mapping[str, Any]) -> Mapping[str, str]:
    """Texts that whoever wrote the file put into it; what is no text is left out."""
    found = header.get(METADATA)
    known: dict[Any, Any] = cast("dict[Any, Any]", found) if isinstance(found, dict) else {}
    return {str(k): v for k, v in known.items() if isinstance(v, str)}


def _header(text: bytes, title: str) -> dict[str, Any]:
    try:
        header = json.loads(text, object_pairs_hook=_unique)
    # Nesting beyond what Python can parse is a RecursionError.
    except (ValueError, RecursionError) as error:
        _refuse(title, f"its header is no JSON ({error})")
    if not isinstance(header, dict):
        _refuse(title, "its header is no JSON object")
    return cast("dict[str, Any]", header)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object none of whose names stands twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _place(name: str, entry: object, size: int, title: str) -> Place:
    """What the header says of one tensor, checked against the numbers there are."""
    match entry:
        case {
            "dtype": str(element),
            "shape": [*shape],
            "data_offsets": [int(begin), int(end)],
        } if len(shape) <= MAX_AXES and all(type(n) is int and n >= 0 for n in shape):
            extents = tuple(cast("list[int]", shape))
        case _:
            _refuse(title, f"its header does not say where `{name}` lies")
    if not 0 <= begin <= end <= size:
        _refuse(title, f"`{name}` lies at {begin} to {end} of {size} bytes")
    if element in ELEMENTS:
        expected = prod(extents) * np.dtype(ELEMENTS[element]).itemsize
        if end - begin != expected:
            _refuse(title, f"`{name}` takes {expected} bytes but has {end - begin}")
    return Place(element, extents, begin, end)


def _refuse(title: str, text: str) -> NoReturn:
    raise SpecError.of("E0524", f"`{title}` is not a safetensors file: {text}")
