"""Changes to protobuf messages, field by field, by the description of their format.

Source: https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.fuzz.mutators import binary, numbers
from tests.fuzz.mutators.binary import rounds
from tests.fuzz.mutators.texts import ODD

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
# Of what a message may become by doubling.
MAX_BYTES = 2**18
# Models have some 10 levels; protobuf reads 100.
MAX_DEPTH = 40


@dataclass(slots=True)
class Field:
    """A field: `value` is a number, bytes, or the fields of a message of the type `kind`."""

    number: int
    wire: int
    value: int | bytes | list[Field]
    name: str = ""
    kind: Any = None


class _Malformed(Exception):
    """The bytes are no message."""


def decode(content: bytes, kind: Any, depth: int = MAX_DEPTH) -> list[Field]:
    """The fields of a message of type `kind` (a descriptor). Raises _Malformed.

    What is nested deeper than `depth` stays bytes.
    """
    found: list[Field] = []
    position = 0
    while position < len(content):
        tag, position = _varint(content, position)
        number, wire = tag >> 3, tag & 7
        known = kind.fields_by_number.get(number)
        name = known.name if known else ""
        if wire == VARINT:
            value, position = _varint(content, position)
            found.append(Field(number, wire, value, name))
        elif wire in (FIXED32, FIXED64):
            end = position + (4 if wire == FIXED32 else 8)
            found.append(Field(number, wire, content[position:end], name))
            position = end
        elif wire == BYTES:
            length, position = _varint(content, position)
            body = content[position : position + length]
            position += length
            inner = known.message_type if known and depth else None
            found.append(_body(Field(number, BYTES, body, name), inner, depth - 1))
        else:
            raise _Malformed
    return found


def _body(item: Field, kind: Any, depth: int) -> Field:
    """The field with the fields inside, where it is a message of type `kind`."""
    assert isinstance(item.value, bytes)
    if kind is not None:
        try:
            return Field(item.number, BYTES, decode(item.value, kind, depth), item.name, kind)
        except _Malformed:
            pass
    return item


def _varint(content: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(content):
            break
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise _Malformed


def encode(fields: Sequence[Field]) -> bytes:
    """The bytes of a message; a field whose value does not suit its wire type is bent until it
    does.
    """
    pieces: list[bytes] = []
    for item in fields:
        pieces.append(_number(item.number << 3 | item.wire))
        value = encode(item.value) if isinstance(item.value, list) else item.value
        if item.wire == VARINT:
            number = value if isinstance(value, int) else int.from_bytes(value[:8], "little")
            pieces.append(_number(number % 2**64))
            continue
        body = value if isinstance(value, bytes) else (value % 2**64).to_bytes(8, "little")
        if item.wire == BYTES:
            pieces += [_number(len(body)), body]
        else:
            width = 4 if item.wire == FIXED32 else 8
            pieces.append(body[:width].ljust(width, b"\0"))
    return b"".join(pieces)


def _number(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


@dataclass(frozen=True, slots=True)
class Place:
    """A field of a message: `siblings[index]`; `parent` is the type of the message."""

    siblings: list[Field]
    index: int
    parent: Any

    @property
    def field(self) -> Field:
        return self.siblings[self.index]


def places(root: list[Field], kind: Any) -> Iterator[Place]:
    """Every field of a message and of those inside."""
    pending = [(root, kind)]
    while pending:
        fields, parent = pending.pop()
        for i, item in enumerate(fields):
            yield Place(fields, i, parent)
            if isinstance(item.value, list):
                pending.append((item.value, item.kind))


Special = Callable[[Random, list[Field]], None]


@dataclass(frozen=True, slots=True)
class Format:
    """A message type, texts that mean something in it, and changes that only it knows."""

    kind: Any
    words: Sequence[str]
    specials: Sequence[Special] = field(default=())

    def mutate(self, random: Random, content: bytes, corpus: Sequence[bytes]) -> bytes:
        """A few fields left out, doubled, exchanged, changed, or taken from another message.

        One in ten is changed byte by byte, afterwards or instead.
        """
        try:
            root = decode(content, self.kind)
        except _Malformed:
            return binary.mutate(random, content, corpus)
        for _ in range(rounds(random)):
            if self.specials and random.random() < 0.25:
                random.choice(self.specials)(random, root)
            else:
                self._change(random, root, corpus)
        changed = encode(root)[:MAX_BYTES]
        return binary.mutate(random, changed, corpus) if random.random() < 0.1 else changed

    def _change(self, random: Random, root: list[Field], corpus: Sequence[bytes]) -> None:
        found = list(places(root, self.kind))
        if not found:
            return
        # Kinds of fields first: a model has few shapes among many names.
        name = random.choice(sorted({p.field.name for p in found}))
        place = random.choice([p for p in found if p.field.name == name])
        siblings, index, chosen = place.siblings, place.index, place.field
        match random.randrange(10):
            case 0:
                del siblings[index]
            case 1:
                siblings[index:index] = [chosen] * random.choice((1, 1, 2, 30))
            case 2:
                other = random.randrange(len(siblings))
                siblings[index], siblings[other] = siblings[other], chosen
            case 3:
                self._take(random, place, corpus)
            case 4:
                changed = Field(chosen.number, random.choice((0, 1, 2, 5)), chosen.value)
                siblings[index] = changed
            case 5:
                number = random.choice((1, 2, 3, 4, 5, 8, 9, 13, 14, 15, 20, 21, 2**20))
                siblings[index] = Field(number, chosen.wire, chosen.value)
            case _:
                self._value(random, place, found)

    def _take(self, random: Random, place: Place, corpus: Sequence[bytes]) -> None:
        """A field for the same type of message from another input: in place of this one, or new."""
        try:
            donor = decode(random.choice(corpus), self.kind)
        except _Malformed:
            return
        fitting = [p.field for p in places(donor, self.kind) if p.parent is place.parent]
        same = [f for f in fitting if f.name == place.field.name]
        if same and random.random() < 0.7:
            place.siblings[place.index] = random.choice(same)
        elif fitting:
            place.siblings.insert(place.index, random.choice(fitting))

    def _value(self, random: Random, place: Place, found: Sequence[Place]) -> None:
        old = place.field
        new: int | bytes | list[Field]
        match old.value:
            case int(value):
                new = random.choice((numbers.integer(random), value + 1, value - 1, value * 2))
            case bytes(value) if old.wire == BYTES and _is_text(place):
                new = self._text(random, value, found)
            case bytes(value):
                new = _data(random, value)
            case list(value):
                new = random.choice(([], value[: len(value) // 2], value[::-1], value * 2))
        place.siblings[place.index] = Field(old.number, old.wire, new, old.name, old.kind)

    def _text(self, random: Random, value: bytes, found: Sequence[Place]) -> bytes:
        """Another text of the message, one that means something, an odd one, or none."""
        texts = [p.field.value for p in found if _is_text(p) and isinstance(p.field.value, bytes)]
        match random.randrange(6):
            case 0:
                return random.choice(self.words).encode()
            case 1:
                odd = random.choice(ODD).encode(errors="surrogatepass")
                return value[:2] + odd + value[2:]
            case 2:
                return random.choice((b"", b"\xff\xfe", b"../secret", b"/etc/passwd", b"x" * 2000))
            case _:
                return random.choice(texts) if texts else b""


def _is_text(place: Place) -> bool:
    known = place.parent.fields_by_number.get(place.field.number) if place.parent else None
    # 9 is the type `string` of protobuf.
    return known is not None and known.type == 9


def _data(random: Random, value: bytes) -> bytes:
    """Numbers one after another: one of them replaced, or more or fewer of them."""
    width = random.choice((4, 8))
    at = random.randrange(max(1, len(value) // width)) * width
    match random.randrange(5):
        case 0:
            return value[: random.randrange(len(value) + 1)]
        case 1:
            return value * random.choice((2, 3))
        case 2:
            special = struct.pack("<f", random.choice(numbers.FLOATS)) if width == 4 else None
            special = special or struct.pack("<d", random.choice(numbers.FLOATS))
            return value[:at] + special + value[at + width :]
        case _:
            number = numbers.integer(random) % 2 ** (8 * width)
            return value[:at] + number.to_bytes(width, "little") + value[at + width :]
