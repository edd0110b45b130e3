"""Certificates changed so that their hashes fit again: what only the mathematics can refuse."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np

from specdsl.certificates.files import write_container
from specdsl.proof.container import digest, read_container

# What a change may make of a number.
FACTORS = (0.0, -1.0, 0.5, 2.0, 0.99, 1.01, 1e6)


def mutated(data: bytes, seed: int) -> bytes:
    """One to three changes of the header, of tensors, or of proofs."""
    rng = random.Random(seed)
    container = read_container(data)
    header: dict[str, Any] = json.loads(json.dumps(dict(container.header.record)))
    header.pop("sections")
    sections = dict(container.sections)
    kinds = rng.choices((_tensor, _proof, _header), (1, 2, 1), k=rng.randint(1, 3))
    # Once the header is changed, it may no longer say where tensors and proofs are.
    for change in sorted(kinds, key=lambda kind: kind is _header):
        change(rng, header, sections)
    return write_container(header, sections)


def _tensor(rng: random.Random, header: dict[str, Any], sections: dict[str, bytes]) -> None:
    """A number of a tensor, which gets another hash by that."""
    record = rng.choice(header["question"]["tensors"])
    content = sections[record["sha256"]]
    if record["dtype"] == "q":
        lines = content.split(b"\n")
        at = rng.randrange(len(lines))
        lines[at] = rng.choice((b"0", b"1/3", b"-" + lines[at].lstrip(b"-"), lines[at] + b"0"))
        content = b"\n".join(lines)
    else:
        values = np.frombuffer(content, np.dtype("<" + record["dtype"])).copy()
        if not values.size:
            return
        at = rng.randrange(values.size)
        values[at] = values[at] * rng.choice(FACTORS) + rng.choice((0, 0, 1))
        content = values.tobytes()
    record["sha256"] = digest(content)
    sections[record["sha256"]] = content


def _proof(rng: random.Random, header: dict[str, Any], sections: dict[str, bytes]) -> None:
    """Some bytes of a proof, or of a point: changed, dropped, or doubled."""
    witness = header.get("witness")
    name = witness["point"] if witness else rng.choice(header["proofs"])["tree"]
    content = bytearray(sections[name])
    at = rng.randrange(len(content))
    kind = rng.random()
    if kind < 0.8:
        content[at] = rng.randrange(256)
    elif kind < 0.9:
        del content[at : at + rng.randint(1, 8)]
    else:
        content[at:at] = content[at : at + rng.randint(1, 8)]
    sections[name] = bytes(content)


def _header(rng: random.Random, header: dict[str, Any], sections: dict[str, bytes]) -> None:
    """Something in the question or in what proofs, or a witness, say of themselves."""
    witness = [header["witness"]] if header.get("witness") else []
    holder: Any = rng.choice((header["question"], *header["proofs"], *witness))
    while True:
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        if not keys:
            return
        key = rng.choice(keys)
        inner = holder[key]
        if not isinstance(inner, dict | list) or (rng.random() < 0.2 and inner):
            break
        holder = inner
    if isinstance(inner, bool):
        holder[key] = not inner
    elif isinstance(inner, int):
        holder[key] = inner + rng.choice((-1, 1, 1, 2, 1000))
    elif isinstance(inner, float):
        holder[key] = inner * rng.choice(FACTORS)
    elif isinstance(inner, list):
        rng.choice((inner.pop, inner.reverse, lambda: inner.append(inner[0])))()
    elif isinstance(inner, dict):
        holder[key] = rng.choice(([], 0, None, {}))
    else:
        holder[key] = rng.choice(("real", "float32_any_order", "exact", "computed", "l1", "0"))
