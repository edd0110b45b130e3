"""Changes to the headers of binary arrays: IDX files, NumPy arrays, archives of them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from random import Random

from specdsl.data.npz import DAMAGED
from tests.fuzz.mutators import binary, numbers
from tests.fuzz.mutators.binary import rounds

# Of what a header promises: more is promised, less is there.
MAX_BODY = 2**12

_IDX_TYPES = (0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x0E, 0x00, 0x0A, 0xFF)
_NPY_TYPES = (
    *("|u1", "<i8", ">f4", "<f8", "<f2", "<f16", "|b1", "<c16", "|O", "|S8", "<U4", "|V16"),
    *("<M8[s]", "<f3", "", "float64", "f8,i4", "(2,3)<f8", "int"),
)
_PIECES = ("(" * 300, "{", "'", "__import__('os')", "\0", "9" * 5000, "-")
_NAMES = ("../x.npy", "/etc/passwd", "x.npy", "y.npy", "none", "é.npy")
_NPY_MAGIC = b"\x93NUMPY\x01\x00"


def idx(random: Random, content: bytes, corpus: Sequence[bytes]) -> bytes:
    """Another element type, other extents or more of them, and as many bytes, or others."""
    if random.random() < 0.2 or len(content) < 4:
        return binary.mutate(random, content, corpus)
    kind, count = content[2], content[3]
    extents = [int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(count)]
    body = content[4 + 4 * count :]
    for _ in range(rounds(random)):
        at = random.randrange(len(extents) + 1)
        match random.randrange(7):
            case 0:
                kind = random.choice(_IDX_TYPES)
            case 1:
                new = random.choice((0, 1, 1, 2, 2**32 - 1))
                extents[at:at] = [new] * random.choice((1, 1, 70))
            case 2:
                del extents[at : at + 1]
            case 3 if at < len(extents):
                extents[at] = abs(numbers.integer(random)) % 2**32
            case 4 if at < len(extents):
                extents[at] = random.choice((0, 1))
            case 5:
                body = body[: random.randrange(len(body) + 1)]
            case _:
                body = _sized(body, extents, kind)
    count = min(len(extents), 255) if random.random() < 0.9 else random.randrange(256)
    header = bytes((0, 0, kind, count))
    return header + b"".join(n.to_bytes(4, "big") for n in extents[:255]) + body


def _sized(body: bytes, extents: Sequence[int], kind: int) -> bytes:
    """As many bytes as the header says, where that is not many."""
    wanted = {0x0B: 2, 0x0C: 4, 0x0D: 4, 0x0E: 8}.get(kind, 1)
    for extent in extents:
        wanted *= extent
    return (body * (1 + wanted // max(1, len(body))))[:wanted] if wanted <= MAX_BODY else body


def npy(random: Random, content: bytes, corpus: Sequence[bytes]) -> bytes:
    """Another header (a Python literal), or other bytes behind it."""
    if random.random() < 0.3 or content[:6] != _NPY_MAGIC[:6]:
        return binary.mutate(random, content, corpus)
    length = int.from_bytes(content[8:10], "little")
    header, body = content[10 : 10 + length].decode("latin-1"), content[10 + length :]
    for _ in range(rounds(random)):
        match random.randrange(6):
            case 0:
                header = _with(header, "'descr'", repr(random.choice(_NPY_TYPES)))
            case 1:
                header = _with(header, "'shape'", _shape(random))
            case 2:
                header = _with(header, "'fortran_order'", random.choice(("True", "1", "None")))
            case 3:
                at = random.randrange(len(header) + 1)
                header = header[:at] + random.choice(_PIECES) + header[at:]
            case 4:
                body = body[: random.randrange(len(body) + 1)]
            case _:
                body = body * random.choice((2, 3)) if body else b"\0" * 64
    length = len(header) if random.random() < 0.9 else abs(numbers.integer(random))
    return _NPY_MAGIC + (length % 2**16).to_bytes(2, "little") + header.encode("latin-1") + body


def _shape(random: Random) -> str:
    extents = [numbers.integer(random) for _ in range(random.choice((0, 1, 1, 2, 2, 3, 33, 70)))]
    if random.random() < 0.5:
        extents = [random.choice((0, 1, 2, 3)) for _ in extents]
    return f"({''.join(f'{n}, ' for n in extents)})"


def _with(header: str, key: str, value: str) -> str:
    """The header with another value of a key, as far as the next key or the end."""
    before, found, rest = header.partition(key)
    end = rest.find(", '")
    return before + found + ": " + value + (rest[end:] if end >= 0 else ", }") if found else header


def archive(random: Random, content: bytes, corpus: Sequence[bytes]) -> bytes:
    """A zip file with changed members, changed names, other methods, or changed bytes."""
    if random.random() < 0.3:
        return binary.mutate(random, content, corpus)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            members = [(name, file.read(name)) for name in file.namelist()]
    except DAMAGED:
        return binary.mutate(random, content, corpus)
    made = io.BytesIO()
    method = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
    with zipfile.ZipFile(made, "w", method) as file:
        for name, body in _members(random, members):
            if name not in file.namelist():
                file.writestr(zipfile.ZipInfo(name), body)
    changed = made.getvalue()
    return binary.mutate(random, changed, corpus) if random.random() < 0.3 else changed


def _members(random: Random, members: Sequence[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """The members, some of them changed, some left out."""
    for name, body in members:
        match random.randrange(6):
            case 0:
                yield name, npy(random, body, [b for _, b in members])
            case 1:
                yield random.choice(_NAMES), body
            case 2:
                pass
            case 3:
                yield name, body + bytes(random.choice((1, 2**16)))
            case _:
                yield name, body
