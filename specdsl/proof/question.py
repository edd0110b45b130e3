"""What a certificate is about: a network of margins, and cases of an input set and atoms.

A case asks for a point of its set at which every one of its atoms holds; an atom says that a margin
is 0 or less, or less than 0. The proof is that there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from specdsl.proof.arithmetic import Array
from specdsl.proof.container import Container, canonical, digest, field, whole_numbers
from specdsl.proof.network import Network, read_network
from specdsl.proof.refusal import Refused

Semantics = Literal["real", "float32_any_order"]
DTYPES = {"f4": np.dtype("<f4"), "f8": np.dtype("<f8"), "i8": np.dtype("<i8")}
MAX_DIGITS = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class BallSet:
    """Points with `norm(scale * (x[positions] - center)) <= radius`; `norm` is l1 or l2."""

    positions: Array
    center: tuple[Fraction, ...]
    scale: tuple[Fraction, ...]
    radius: Fraction
    norm: str


@dataclass(frozen=True, slots=True, eq=False)
class InputSet:
    """A box, both ends included, cut by balls."""

    lower: tuple[Fraction, ...]
    upper: tuple[Fraction, ...]
    balls: tuple[BallSet, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """`set`: position among the question's sets. `atoms`: the margin of each, and whether it is
    strict.
    """

    set: int
    atoms: tuple[tuple[int, bool], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """`integers`: entries of the input that are whole numbers. `digest`: of everything here and of
    every tensor.
    """

    network: Network
    semantics: Semantics
    sets: tuple[InputSet, ...]
    cases: tuple[Case, ...]
    integers: frozenset[int]
    digest: str


def read_question(container: Container) -> Question:
    """Raises Refused where it is malformed."""
    record = field(container.header, "question", dict)
    semantics = field(record, "semantics", str)
    if semantics not in {"real", "float32_any_order"}:
        raise Refused(f"there is no semantics `{semantics}`")
    tensors = [_tensor(each, container) for each in field(record, "tensors", list)]
    network = read_network(field(record, "nodes", list), field(record, "output", int), tensors)
    size = network.size(network.input)
    sets = tuple(_set(each, tensors, size) for each in field(record, "sets", list))
    cases = tuple(_case(each, network, len(sets)) for each in field(record, "cases", list))
    integers = frozenset(whole_numbers(record, "integers"))
    if not all(0 <= i < size for i in integers):
        raise Refused("a whole number is no entry of the input")
    return Question(network, semantics, sets, cases, integers, digest(canonical(record)))


def _tensor(record: object, container: Container) -> Array:
    """A tensor by its hash, which the container has checked against the bytes."""
    name, kind = field(record, "sha256", str), field(record, "dtype", str)
    shape = tuple(whole_numbers(record, "shape"))
    if min(shape, default=0) < 0 or name not in container.sections:
        raise Refused(f"there is no tensor {name[:12]} of shape {shape}")
    data = container.sections[name]
    if digest(data) != name:
        raise Refused(f"tensor {name[:12]} has another hash")
    if kind == "q":
        values: Array = _rationals(data)
    elif kind in DTYPES and len(data) % DTYPES[kind].itemsize == 0:
        values = np.frombuffer(data, DTYPES[kind])
        if not np.isfinite(values).all():
            raise Refused(f"tensor {name[:12]} holds what is no number")
    else:
        raise Refused(f"tensor {name[:12]} is no `{kind}`")
    if values.size != int(np.prod(shape, dtype=object)):
        raise Refused(f"tensor {name[:12]} is not of shape {shape}")
    return values.reshape(shape)


def _rationals(data: bytes) -> Array:
    """One `numerator/denominator` or whole number a line."""
    lines = data.split(b"\n") if data else []
    found = np.empty(len(lines), dtype=object)
    for i, line in enumerate(lines):
        try:
            if len(line) > MAX_DIGITS or b"e" in line.lower() or b"_" in line:
                raise ValueError("no plain rational")
            found[i] = Fraction(line.decode("ascii"))
        except (ValueError, ZeroDivisionError, UnicodeDecodeError) as error:
            raise Refused(f"line {i + 1} of a tensor of rationals: {error}") from error
    return found


def _set(record: object, tensors: list[Array], size: int) -> InputSet:
    lower, upper = (_vector(record, name, tensors, size) for name in ("lower", "upper"))
    balls = tuple(_ball(each, tensors, size) for each in field(record, "balls", list))
    return InputSet(lower, upper, balls)


def _ball(record: object, tensors: list[Array], size: int) -> BallSet:
    positions = _chosen(record, "positions", tensors)
    flat = positions.tolist()
    inside = positions.dtype == DTYPES["i8"] and all(0 <= p < size for p in flat)
    if not inside or len(set(flat)) < len(flat):
        raise Refused("a ball is over entries that the input does not have, or has twice")
    center, scale = (_vector(record, n, tensors, len(flat)) for n in ("center", "scale"))
    radius, norm = Fraction(field(record, "radius", str)), field(record, "norm", str)
    if norm not in {"l1", "l2"} or radius < 0 or any(s <= 0 for s in scale):
        raise Refused(f"there is no ball of norm `{norm}`, radius {radius} and these weights")
    return BallSet(positions, center, scale, radius, norm)


def _vector(record: object, name: str, tensors: list[Array], size: int) -> tuple[Fraction, ...]:
    values = _chosen(record, name, tensors)
    if values.shape != (size,):
        raise Refused(f"`{name}` has shape {values.shape}, not ({size},)")
    return tuple(Fraction(v) for v in values.tolist())


def _chosen(record: object, name: str, tensors: list[Array]) -> Array:
    at = field(record, name, int)
    if not 0 <= at < len(tensors):
        raise Refused(f"`{name}` is no tensor")
    return tensors[at]


def _case(record: object, network: Network, sets: int) -> Case:
    at, atoms = field(record, "set", int), field(record, "atoms", list)
    margins = network.size(network.output)
    for atom in atoms:
        if not (isinstance(atom, list) and len(atom) == 2):
            raise Refused("an atom is a margin and whether it is strict")
        if type(atom[0]) is not int or not 0 <= atom[0] < margins or type(atom[1]) is not bool:
            raise Refused("an atom is a margin and whether it is strict")
    if not 0 <= at < sets:
        raise Refused("a case has a set that is not there")
    return Case(at, tuple((index, strict) for index, strict in atoms))


Record = Mapping[str, Any]
