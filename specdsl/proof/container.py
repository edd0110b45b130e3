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

from specdsl.proof.fields import Fields
from specdsl.proof.refusal import Refused, require

MAGIC = b"sdcert 1\n"
LENGTH_BYTES = 8
MAX_HEADER = 2**26
MAX_SECTION = 2**30


@dataclass(frozen=True, slots=True)
class Container:
    """`header`: parsed JSON; `sections`: bytes by name, their digests checked."""

    header: Fields
    sections: Mapping[str, bytes]

    def section(self, name: str) -> bytes:
        """Raises Refused where there is none of this name."""
        require(name in self.sections, f"there is no section `{name}`")
        return self.sections[name]


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def canonical(value: object) -> bytes:
    """The one JSON text of a value: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def read_container(data: bytes) -> Container:
    """Raises Refused for anything but a whole, undamaged file of this format."""
    require(data.startswith(MAGIC), "this is no certificate of format 1")
    start = len(MAGIC) + LENGTH_BYTES
    end = start + int.from_bytes(data[len(MAGIC) : start], "little")
    require(end <= min(len(data), start + MAX_HEADER), "the header is longer than the file")
    try:
        text = data[start:end].decode("ascii")
        header = Fields.of(json.loads(text, object_pairs_hook=_object, parse_constant=_no_number))
    except (ValueError, RecursionError) as error:
        raise Refused(f"the header is no JSON: {error}") from error
    sections: dict[str, bytes] = {}
    for each in header.objects("sections"):
        name, start = each.word("name"), end
        end = start + each.whole("stored")
        require(start <= end <= len(data), f"section `{name}` is cut off")
        require(name not in sections, f"there are two sections `{name}`")
        sections[name] = _expanded(data[start:end], each, name)
    require(end == len(data), "there is more in the file than its header says")
    return Container(header, sections)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Where a name comes twice, readers might disagree about what is asked."""
    found = dict(pairs)
    require(len(found) == len(pairs), "an object in the header has two entries of one name")
    return found


def _no_number(text: str) -> object:
    raise Refused(f"`{text}` in the header is no number")


def _expanded(packed: bytes, each: Fields, name: str) -> bytes:
    size = each.whole("bytes")
    require(0 <= size <= MAX_SECTION, f"section `{name}` is too large")
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(packed, size + 1)
    except zlib.error as error:
        raise Refused(f"section `{name}` is damaged: {error}") from error
    whole = len(content) == size and stream.eof and not stream.unused_data
    require(whole, f"section `{name}` is not as long as it says")
    require(digest(content) == each.word("sha256"), f"section `{name}` has another hash")
    return content
