"""Weights in safetensors files, and in checkpoints of a training."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.mutators import binary, json_values, numbers
from tests.fuzz.target import Target


def _file(header: dict[str, Any], body: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


@cache
def _tensors() -> tuple[bytes, ...]:
    weight = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
    bias = {"dtype": "F64", "shape": [2], "data_offsets": [24, 40]}
    half = {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}
    other = {"dtype": "I64", "shape": [], "data_offsets": [8, 16]}
    none = {"dtype": "F16", "shape": [0, 7], "data_offsets": [0, 0]}
    notes = {"__metadata__": {"recipe": "abc", "n": "2"}}
    return (
        _file({"0.weight": weight, "0.bias": bias}, struct.pack("<6f2d", *range(8))),
        _file({**notes, "h": half, "k": other, "none": none}, bytes(16)),
    )


def _mutate(random: Random, content: bytes, corpus: Sequence[bytes]) -> bytes:
    """The header changed as JSON, its length said rightly or not."""
    if random.random() < 0.3 or len(content) < 8:
        return binary.mutate(random, content, corpus)
    (length,) = struct.unpack("<Q", content[:8])
    header, body = content[8 : 8 + length], content[8 + length :]
    changed = json_values.mutate(random, header, [c[8:] for c in corpus])
    said = len(changed) if random.random() < 0.95 else numbers.integer(random) % 2**64
    return struct.pack("<Q", said) + changed + body


def _read(content: bytes, _folder: Path) -> None:
    from specdsl.graph.safetensors import read_tensors

    file = read_tensors(content, "fuzz.safetensors")
    for name in file.places:
        file.tensor(name)


TARGETS = (Target("safetensors", ".safetensors", _tensors, _mutate, _read, 2_500),)
