"""Safetensors files: what is written is read, and what is broken is refused without harm."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.diagnostics import SpecError
from specdsl.graph.safetensors import MAX_HEADER_BYTES, read_tensors


def packed(header: object, numbers: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + numbers


def saved(tensors: dict[str, tuple[str, tuple[int, ...], bytes]]) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    numbers = b""
    for name, (element, shape, held) in tensors.items():
        place = [len(numbers), len(numbers) + len(held)]
        header[name] = {"dtype": element, "shape": list(shape), "data_offsets": place}
        numbers += held
    return packed(header, numbers)


def entry(**changes: object) -> dict[str, object]:
    return {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}}


@settings(max_examples=50, deadline=None)
@given(
    element=st.sampled_from(["F16", "BF16", "F32", "F64"]),
    shape=st.lists(st.integers(0, 4), max_size=3),
    seed=st.integers(0, 1000),
)
def test_numbers_are_read_exactly(element: str, shape: list[int], seed: int) -> None:
    values = np.random.default_rng(seed).standard_normal(shape)
    if element == "BF16":
        upper = values.astype("<f4").view("<u4") >> 16
        expected = (upper << 16).astype("<u4").view("<f4").astype(np.float64)
        held = upper.astype("<u2").tobytes()
    else:
        narrow = values.astype({"F16": "<f2", "F32": "<f4", "F64": "<f8"}[element])
        expected, held = narrow.astype(np.float64), narrow.tobytes()
    other = np.ones(3, "<f4").tobytes()
    content = saved({"o": ("F32", (3,), other), "a.b": (element, tuple(shape), held)})
    file = read_tensors(content, "f")
    assert set(file.places) == {"o", "a.b"}
    found = file.tensor("a.b")
    assert found.shape == tuple(shape)
    assert np.array_equal(found, expected)


HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "a header longer than the file": struct.pack("<Q", 2**63) + b"{}",
    "a header longer than the limit": packed(b" " * (MAX_HEADER_BYTES + 1)),
    "no JSON": packed(b"{"),
    "no UTF-8": packed(b'{"\xff": 1}'),
    "no object": packed([1, 2]),
    "nested too deep": packed(b'{"w": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "a number too long": packed(b'{"w": ' + b"9" * 10_000 + b"}"),
    "a name twice": packed(b'{"w": 1, "w": 1}'),
    "no entry": packed({"w": 3}),
    "no shape": packed({"w": {"dtype": "F32", "data_offsets": [0, 8]}}, bytes(8)),
    "a negative extent": packed(entry(shape=[-2]), bytes(8)),
    "a truth value as extent": packed(entry(shape=[True, 2]), bytes(8)),
    "too many axes": packed(entry(shape=[1] * 9 + [2]), bytes(8)),
    "beyond the end": packed(entry(data_offsets=[4, 12]), bytes(8)),
    "backwards": packed(entry(data_offsets=[8, 0]), bytes(8)),
    "before the beginning": packed(entry(data_offsets=[-8, 0]), bytes(8)),
    "a shape too large": packed(entry(shape=[2**40, 2**40]), bytes(8)),
    "a shape too small": packed(entry(shape=[1]), bytes(8)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_broken_files_are_refused(name: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_tensors(HOSTILE[name], "w.safetensors")
    (found,) = caught.value.diagnostics
    assert found.code == "E0524"
    assert found.message.startswith("`w.safetensors` is not a safetensors file: ")


@settings(max_examples=200, deadline=None)
@given(place=st.integers(0, 99), byte=st.integers(0, 255), cut=st.integers(0, 120))
def test_no_broken_byte_does_harm(place: int, byte: int, cut: int) -> None:
    content = bytearray(saved({"w": ("F32", (2, 2), np.ones(4, "<f4").tobytes())}))
    content[place % len(content)] = byte
    assert sizes(bytes(content[: len(content) - cut])) <= {0, 1, 2, 4, 8}


def sizes(content: bytes) -> set[int]:
    """Of all tensors; none where the file, or the numbers in it, are refused."""
    try:
        file = read_tensors(content, "f")
        return {file.tensor(name).size for name in file.places}
    except SpecError:
        return set()


@pytest.mark.parametrize(
    ("element", "held", "code"),
    [("I64", bytes(8), "E0524"), ("F32", np.float32([np.nan]).tobytes(), "E0606")],
)
def test_what_is_no_finite_number_is_refused_when_asked_for(
    element: str, held: bytes, code: str
) -> None:
    file = read_tensors(saved({"w": (element, (1,), held)}), "f")
    with pytest.raises(SpecError) as caught:
        file.tensor("w")
    assert caught.value.diagnostics[0].code == code
