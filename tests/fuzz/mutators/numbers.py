"""Numbers that are just inside, just outside, and far outside of what readers expect."""

from __future__ import annotations

import struct
from random import Random

INTEGERS = (
    *(0, 1, 2, 3, 7, 8, 16, 127, 128, 255, 256, 1000),
    *(2**15, 2**16 - 1, 2**16, 2**20, 2**24, 2**27, 2**27 + 1, 10**6, 10**9),
    *(2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**53, 2**53 + 1, 2**62, 2**63 - 1),
)
FLOATS = (
    *(0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 1e-38, 3.4e38, 2.0**24, 2.0**53),
    *(float("nan"), float("inf"), float("-inf")),
)
TEXTS = (
    *("0", "1", "-1", "1e999", "1e-999", "-0", "0.1", ".5", "1.", "1e", "--1", "+1", "1/3", "007"),
    *("nan", "inf", "-Infinity", "0x1f", "1_000", "1__0", "٣", "²", "1e400", "1e401", "1e5000000"),
    *("9" * 399, "9" * 401, "9" * 5000, "0." + "0" * 500 + "1", "1e" + "9" * 5000, "1.5.5"),
    *(
        "1e+-1",
        "18446744073709551616",
        "9223372036854775807",
        "4294967296",
        "3.4028235e38",
        "1e-46",
    ),
)


def integer(random: Random) -> int:
    """An interesting whole number, of either sign."""
    return random.choice(INTEGERS) * random.choice((1, 1, 1, -1)) + random.choice((0, 0, 0, 1, -1))


def text(random: Random) -> str:
    """A number as people, or those who mean harm, would write it."""
    return random.choice(TEXTS) if random.random() < 0.8 else str(integer(random))


def packed(random: Random) -> bytes:
    """An interesting number as it lies in a binary file."""
    order = random.choice("<>")
    if random.random() < 0.3:
        return struct.pack(order + random.choice("fd"), random.choice(FLOATS[:-6] + FLOATS[-3:]))
    width = random.choice((1, 2, 4, 8))
    value = integer(random) % 2 ** (8 * width)
    return value.to_bytes(width, "little" if order == "<" else "big")
