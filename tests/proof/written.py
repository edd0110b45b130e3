"""Certificates written entry by entry, as docs/certificate_format.md says.

Nothing here is shared with what makes or reads certificates, so that they may say what is false.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt

Record = dict[str, Any]
Numbers = npt.ArrayLike
LEAF, SPLIT, STEP, CASES = (bytes([kind]) for kind in range(4))
NO_MULTIPLIERS = struct.pack("<I", 0)


def singles(*values: float) -> bytes:
    """As float32: weights, multipliers."""
    return np.array(values, "<f4").tobytes()


def split(at: int, point: float) -> bytes:
    """Of the first of the entries' nodes: the entry at that position among its columns."""
    return SPLIT + struct.pack("<IId", 0, at, point)


def step(node: int, columns: Sequence[int], weights: Sequence[float]) -> bytes:
    """New bounds of these columns; no choices and no entries are expected."""
    return (
        STEP
        + struct.pack(f"<{2 + len(columns)}I", node, len(columns), *columns)
        + singles(*weights)
    )


def multiplier(*values: float) -> bytes:
    """Of the first column, for each row."""
    return struct.pack("<II", 1, 0) + singles(*values)


def boxes(*inner: tuple[int, float], weights: Sequence[float] = (), kind: int = 1) -> bytes:
    """A tree of boxes whose upper children are split on, if any is. `kind`: of splits."""
    kinds = bytes([kind, 0]) * len(inner) + b"\0"
    ends = struct.pack(f"<{len(inner)}I", *(at for at, _ in inner))
    points = struct.pack(f"<{len(inner)}d", *(point for _, point in inner))
    return struct.pack("<Q", len(kinds)) + kinds + ends + points + singles(*weights)


@dataclass(slots=True)
class Written:
    """A question about one input vector, and its proofs. What is asked is whether some point has
    all of a case's margins at 0 or less.
    """

    semantics: str = "real"
    tensors: list[Record] = field(default_factory=list)
    nodes: list[Record] = field(default_factory=list)
    sets: list[Record] = field(default_factory=list)
    cases: list[Record] = field(default_factory=list)
    integers: list[int] = field(default_factory=list)
    proofs: list[Record] = field(default_factory=list)
    sections: dict[str, bytes] = field(default_factory=dict)

    def tensor(self, values: Numbers, dtype: str = "f8") -> int:
        """Its position."""
        own = np.asarray(values, f"<{dtype}")
        name = sha256(own.tobytes()).hexdigest()
        self.sections[name] = own.tobytes()
        self.tensors.append({"dtype": dtype, "shape": list(own.shape), "sha256": name})
        return len(self.tensors) - 1

    def rationals(self, values: Sequence[Fraction], shape: Sequence[int]) -> int:
        """The position of a tensor of exact numbers."""
        data = "\n".join(map(str, values)).encode()
        name = sha256(data).hexdigest()
        self.sections[name] = data
        self.tensors.append({"dtype": "q", "shape": list(shape), "sha256": name})
        return len(self.tensors) - 1

    def node(
        self, op: str, *operands: int, size: int = 1, evaluated: str = "exact", **attributes: Any
    ) -> int:
        """A vector's, unless attributes name a `shape`."""
        own = {"op": op, "in": list(operands), "shape": [size], "evaluated": evaluated}
        self.nodes.append(own | attributes)
        return len(self.nodes) - 1

    def dense(
        self,
        *operands: int,
        weight: Numbers,
        offset: Numbers | None = None,
        evaluated: str = "exact",
    ) -> int:
        """The same matrix of all operands, added up."""
        own = np.asarray(weight, float)
        map_ = {"kind": "dense", "weight": self.tensor(own)}
        return self.node(
            "affine",
            *operands,
            size=len(own),
            evaluated=evaluated,
            maps=[map_ for _ in operands],
            offset=None if offset is None else self.tensor(offset),
        )

    def piecewise(
        self,
        operand: int,
        breakpoint_: float,
        value: float,
        slopes: Numbers,
        evaluated: str = "exact",
    ) -> int:
        """Of one number and one breakpoint."""
        parts = {"breakpoints": [breakpoint_], "values": [value], "slopes": slopes}
        tensors = {name: self.tensor(values) for name, values in parts.items()}
        return self.node("piecewise", operand, evaluated=evaluated, **tensors)

    def ball(
        self,
        center: Sequence[float],
        radius: str,
        norm: str = "l1",
        positions: Sequence[int] = (0,),
    ) -> Record:
        """Of weights 1."""
        return {
            "positions": self.tensor(positions, "i8"),
            "center": self.tensor(center),
            "scale": self.tensor(np.ones(len(center))),
            "radius": radius,
            "norm": norm,
        }

    def box(self, lower: Numbers, upper: Numbers, *balls: Record) -> None:
        """One more set."""
        ends = {"lower": self.tensor(lower), "upper": self.tensor(upper)}
        self.sets.append(ends | {"balls": list(balls)})

    def case(self, *margins: int, strict: Sequence[bool] | None = None, own: int = 0) -> None:
        """One more; its set is the one at `own`."""
        strict = [False] * len(margins) if strict is None else list(strict)
        self.cases.append({"set": own, "margins": list(margins), "strict": strict})

    def prove(self, tree: bytes, kind: str = "boxes", exact: bool = False) -> None:
        """All cases, by this tree."""
        every = list(range(len(self.cases)))
        own = {"kind": kind, "cases": every, "tree": "t", "exact": exact}
        self.proofs = [own | ({"choices": [], "entries": []} if kind == "parts" else {})]
        self.sections["t"] = tree

    def prove_parts(self, tree: bytes, *entries: tuple[int, int]) -> None:
        """By parts: `entries` are nodes of one number each and a column of it."""
        columns = struct.pack(f"<{len(entries)}I", *(column for _, column in entries))
        self.prove(columns + tree, "parts")
        self.proofs[0]["entries"] = [{"node": node, "count": 1} for node, _ in entries]

    @property
    def content(self) -> bytes:
        """The file."""
        packed = {name: zlib.compress(data) for name, data in self.sections.items()}
        records = [
            {
                "name": name,
                "bytes": len(data),
                "stored": len(packed[name]),
                "sha256": sha256(data).hexdigest(),
            }
            for name, data in self.sections.items()
        ]
        parts = ("semantics", "tensors", "nodes", "sets", "cases", "integers")
        question = {name: getattr(self, name) for name in parts}
        question["output"] = len(self.nodes) - 1
        own = {"question": question, "proofs": self.proofs, "sections": records, "made_by": {}}
        header = json.dumps(own).encode("ascii")
        length = struct.pack("<Q", len(header))
        return b"sdcert 1\n" + length + header + b"".join(packed.values())
