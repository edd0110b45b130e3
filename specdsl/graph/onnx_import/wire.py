"""The protobuf encoding of a model: its outline without the weights, and where the weights lie.

protobuf copies every tensor out of the file, and small hostile messages become large objects. Both
are avoided by looking at the bytes first: data of large tensors stay where they are, and what is
left for protobuf to decode has a limit. Nothing is judged here but sizes: bytes that are no
protobuf pass unchanged, for protobuf to refuse.

Source: the protobuf encoding, https://protobuf.dev/programming-guides/encoding; field numbers from
onnx.proto.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from specdsl.diagnostics import SpecError

# Smaller messages are left to protobuf as they are.
SMALL = 1024
# A message of two bytes becomes an object of 200 (an attribute): 8 MiB become 0.9 GiB at most. The
# largest VNN-COMP model has 0.4 MiB beside its weights.
MAX_OUTLINE_BYTES = 8 * 2**20
# Reading a field takes a microsecond. A model has one for every node, value and tensor, and those
# of its large messages.
MAX_FIELDS = 2**19
# A marker stands for data of another length, so a file that holds one by itself is refused.
MARKER = b"weights at "

Span = tuple[int, int]
"""First byte and one after the last."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FLOAT, _DOUBLE = 1, 11
_DATA_TYPE, _FLOAT_DATA, _RAW_DATA, _DOUBLE_DATA = 2, 4, 9, 10
# Fields of TensorProto that hold entries, all element types.
_DATA_FIELDS = frozenset({4, 5, 6, 7, 9, 10, 11, 13, 14})
# Field numbers on the way from a model to its tensors.
_CHILDREN: Mapping[str, Mapping[int, str]] = MappingProxyType(
    {
        "model": {7: "graph"},
        "graph": {1: "node", 5: "tensor"},
        "node": {5: "attribute"},
        "attribute": {5: "tensor"},
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """A model whose large tensors hold markers, and the bytes of the file that these stand for."""

    model: bytes
    content: bytes
    spans: tuple[Span, ...]

    def data(self, raw: bytes) -> memoryview:
        """What `raw_data` of a tensor of the outline stands for, as a view into the file."""
        if raw.startswith(MARKER):
            number = raw[len(MARKER) :]
            if number.isdigit() and len(number) < 10 and int(number) < len(self.spans):
                start, end = self.spans[int(number)]
                return memoryview(self.content)[start:end]
        return memoryview(raw)


def outline(content: bytes, name: str) -> Outline:
    """The model without the data of its large tensors.

    `name` is what diagnostics call the network. Raises SpecError E0602 where it has too many fields
    or too much beside weights.
    """
    scan = _Scan(content, name)
    model = b"".join(scan.message("model", 0, len(content)))
    return Outline(model, content, tuple(scan.spans))


@dataclass(frozen=True, slots=True)
class _Field:
    """A field from its tag at `start` to `end`; bytes begin at `body`."""

    number: int
    wire: int
    start: int
    body: int
    end: int
    value: int


class _Malformed(Exception):
    """The bytes are no protobuf message."""


class _Scan:
    """One pass over the bytes; collects spans and what was kept."""

    def __init__(self, content: bytes, name: str) -> None:
        self.content = content
        self.name = name
        self.spans: list[Span] = []
        self.fields = 0
        self.kept = 0

    def message(self, kind: str, start: int, end: int) -> list[bytes]:
        """A message with the data of large tensors replaced; unchanged where it is malformed."""
        if kind == "tensor":
            return self._tensor(start, end)
        pieces: list[bytes] = []
        children = _CHILDREN[kind]
        position = start
        while position < end:
            try:
                field = self._field(position, end)
            except _Malformed:
                pieces.append(self._copy(position, end))
                break
            child = children.get(field.number) if field.wire == _BYTES else None
            if child is None or field.end - field.body < SMALL:
                pieces.append(self._copy(field.start, field.end))
            else:
                inner = self.message(child, field.body, field.end)
                pieces += [_tag(field.number), _varint(sum(map(len, inner))), *inner]
            position = field.end
        return pieces

    def _tensor(self, start: int, end: int) -> list[bytes]:
        """Only tensors with one large field of plain numbers are touched."""
        try:
            fields = self._fields(start, end)
        except _Malformed:
            return [self._copy(start, end)]
        held = [f for f in fields if f.number in _DATA_FIELDS]
        elements = {f.value for f in fields if f.number == _DATA_TYPE and f.wire == _VARINT}
        if len(held) != 1 or not _is_plain(held[0], elements):
            return [self._copy(start, end)]
        (data,) = held
        marker = MARKER + str(len(self.spans)).encode()
        self.spans.append((data.body, data.end))
        replaced = _tag(_RAW_DATA) + _varint(len(marker)) + marker
        return [self._copy(start, data.start), replaced, self._copy(data.end, end)]

    def _fields(self, start: int, end: int) -> list[_Field]:
        fields: list[_Field] = []
        while start < end:
            fields.append(self._field(start, end))
            start = fields[-1].end
        return fields

    def _field(self, start: int, end: int) -> _Field:
        self.fields += 1
        if self.fields > MAX_FIELDS:
            text = f"network `{self.name}`: more than {MAX_FIELDS} fields"
            raise SpecError.of("E0602", text)
        tag, body = self._number(start, end)
        number, wire = tag >> 3, tag & 7
        value = 0
        if wire == _VARINT:
            value, stop = self._number(body, end)
        elif wire == _BYTES:
            length, body = self._number(body, end)
            stop = body + length
        elif wire in {_FIXED32, _FIXED64}:
            stop = body + (4 if wire == _FIXED32 else 8)
        else:
            raise _Malformed
        if stop > end:
            raise _Malformed
        return _Field(number, wire, start, body, stop, value)

    def _number(self, position: int, end: int) -> tuple[int, int]:
        """A varint (ten bytes at most) and the position after it."""
        value = 0
        for shift in range(0, 70, 7):
            if position >= end:
                break
            byte = self.content[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, position
        raise _Malformed

    def _copy(self, start: int, end: int) -> bytes:
        self.kept += end - start
        if self.kept > MAX_OUTLINE_BYTES:
            limit = MAX_OUTLINE_BYTES // 2**20
            text = f"network `{self.name}`: more than {limit} MiB beside the weights"
            raise SpecError.of("E0602", text)
        return self.content[start:end]


def _is_plain(data: _Field, elements: set[int]) -> bool:
    """Whether the field is large and holds the entries as they are in memory."""
    if data.wire != _BYTES or data.end - data.body < SMALL:
        return False
    plain = {_RAW_DATA: elements, _FLOAT_DATA: {_FLOAT}, _DOUBLE_DATA: {_DOUBLE}}
    return elements == plain.get(data.number)


def _tag(number: int) -> bytes:
    return _varint(number << 3 | _BYTES)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
