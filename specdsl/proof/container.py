"""The file: a line with the format, a JSON header, and sections of bytes that it names.

Everything read is bounded before it is read: lengths by what the file holds, expansion by what the
header declares, and that by a limit.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from specdsl.proof.refusal import Refused

MAGIC = b"sdcert 1\n"
LENGTH_BYTES = 8
MAX_HEADER = 2**26
MAX_SECTION = 2**30


@dataclass(frozen=True, slots=True)
class Container:
    """`header`: parsed JSON; `sections`: bytes by name, their digests checked."""

    header: Mapping[str, Any]
    sections: Mapping[str, bytes]


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def canonical(value: object) -> bytes:
    """The one JSON text of a value: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def read_container(data: bytes) -> Container:
    """Raises Refused for anything but a whole, undamaged file of this format."""
    if not data.startswith(MAGIC):
        raise Refused("this is no certificate of format 1")
    start = len(MAGIC) + LENGTH_BYTES
    length = int.from_bytes(data[len(MAGIC) : start], "little")
    if length > MAX_HEADER or start + length > len(data):
        raise Refused("the header is longer than the file")
    try:
        header = json.loads(data[start : start + length])
    except (ValueError, RecursionError) as error:
        raise Refused(f"the header is no JSON: {error}") from error
    listed = field(header, "sections", list)
    sections: dict[str, bytes] = {}
    at = start + length
    for each in listed:
        name, stored = field(each, "name", str), field(each, "stored", int)
        if name in sections or not 0 <= stored <= len(data) - at:
            raise Refused(f"section `{name}` is doubled or cut off")
        sections[name] = _expanded(data[at : at + stored], each, name)
        at += stored
    if at != len(data):
        raise Refused("there is more in the file than its header says")
    return Container(header, sections)


def write_container(header: Mapping[str, Any], sections: Mapping[str, bytes]) -> bytes:
    """The file's bytes; `header` without the list of sections."""
    listed: list[dict[str, object]] = []
    stored: list[bytes] = []
    for name, content in sections.items():
        packed = zlib.compress(content, 6)
        own: dict[str, object] = {"name": name, "bytes": len(content), "stored": len(packed)}
        listed.append(own | {"sha256": digest(content)})
        stored.append(packed)
    text = canonical({**header, "sections": listed})
    return b"".join([MAGIC, len(text).to_bytes(LENGTH_BYTES, "little"), text, *stored])


def field(record: object, name: str, kind: type | tuple[type, ...]) -> Any:
    """An entry of a JSON object, which must be of this kind. Raises Refused."""
    if not isinstance(record, dict) or name not in record:
        raise Refused(f"the header lacks `{name}`")
    value = record[name]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise Refused(f"`{name}` in the header is {type(value).__name__}")
    return value


def whole_numbers(record: object, name: str) -> list[int]:
    """A list of whole numbers in a JSON object. Raises Refused."""
    values = field(record, name, list)
    if any(type(v) is not int for v in values):
        raise Refused(f"`{name}` in the header holds more than whole numbers")
    return values


def _expanded(packed: bytes, each: object, name: str) -> bytes:
    size = field(each, "bytes", int)
    if not 0 <= size <= MAX_SECTION:
        raise Refused(f"section `{name}` is too large")
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(packed, size + 1)
    except zlib.error as error:
        raise Refused(f"section `{name}` is damaged: {error}") from error
    if len(content) != size or not stream.eof or stream.unused_data:
        raise Refused(f"section `{name}` is not as long as it says")
    if digest(content) != field(each, "sha256", str):
        raise Refused(f"section `{name}` has another hash than it says")
    return content
