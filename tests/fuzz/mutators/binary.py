"""Changes to bytes of no known structure, and to what is compressed."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Sequence
from random import Random

from tests.fuzz.mutators import numbers

# Larger inputs take long and show nothing that smaller ones do not.
MAX_BYTES = 2**16


def rounds(random: Random) -> int:
    """How many changes to make: one in half of the cases, then fewer and fewer."""
    count = 1
    while count < 8 and random.random() < 0.5:
        count += 1
    return count


def mutate(random: Random, content: bytes, corpus: Sequence[bytes]) -> bytes:
    """A few bytes changed, put in, left out, doubled, or taken from another input."""
    changed = bytearray(content)
    for _ in range(rounds(random)):
        at = random.randrange(len(changed) + 1)
        length = min(random.choice((1, 1, 2, 4, 8, 16, 64, 512)), len(changed) - at)
        match random.randrange(8):
            case 0 if at < len(changed):
                changed[at] ^= 1 << random.randrange(8)
            case 1 if at < len(changed):
                changed[at] = random.randrange(256)
            case 2:
                number = numbers.packed(random)
                changed[at : at + len(number)] = number
            case 3:
                del changed[at : at + length]
            case 4:
                changed[at:at] = changed[at : at + length] * random.choice((1, 1, 2, 20))
            case 5:
                changed[at:at] = random.randbytes(length)
            case 6:
                del changed[at:]
            case _:
                other = random.choice(corpus)
                start = random.randrange(len(other) + 1)
                changed[at : at + length] = other[start : start + random.choice((4, 32, 256))]
    return bytes(changed[:MAX_BYTES])


def is_compressed(content: bytes) -> bool:
    """Whether readers should see a `.gz` file in it."""
    return content[:2] == b"\x1f\x8b"


def compressed(random: Random, content: bytes, corpus: Sequence[bytes]) -> bytes:
    """A gzip file of the content: whole, damaged, in several parts, or of very many zeros."""
    packed = gzip.compress(content, 1, mtime=0)
    match random.randrange(8):
        case 0:
            return mutate(random, packed, corpus)
        case 1:
            return packed[: random.randrange(2, len(packed))]
        case 2:
            return packed + random.choice((packed, b"\0" * 9, b"garbage", packed[:7]))
        case 3:
            return packed + BOMB * random.choice((1, 1, 1, 4))
        case _:
            return packed


def _bomb() -> bytes:
    """1 MiB of zeros, in 1 KiB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return packer.compress(bytes(2**20)) + packer.flush()


BOMB = _bomb()


def either(inner: Callable[[Random, bytes, Sequence[bytes]], bytes]) -> Callable[..., bytes]:
    """Changes of a format that may be compressed: seldom it is."""

    def changed(random: Random, content: bytes, corpus: Sequence[bytes]) -> bytes:
        content = inner(random, content, corpus)
        return compressed(random, content, corpus) if random.random() < 0.1 else content

    return changed
