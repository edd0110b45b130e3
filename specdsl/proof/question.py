"""What a certificate is about: a network of margins, and cases of an input set and atoms.

A case asks for a point of its set at which every one of its atoms holds; an atom says that a margin
is 0 or less, or less than 0. The proof is that there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np

from specdsl.proof.arithmetic import Array
from specdsl.proof.container import Container, canonical, digest
from specdsl.proof.fields import Fields
from specdsl.proof.network import Network, read_network
from specdsl.proof.refusal import Refused, require

SEMANTICS = frozenset({"real", "float32_any_order"})
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
    semantics: str
    sets: tuple[InputSet, ...]
    cases: tuple[Case, ...]
    integers: frozenset[int]
    digest: str


def read_question(container: Container) -> Question:
    """Raises Refused where it is malformed."""
    record = Fields.of(container.header.entry("question", dict))
    semantics = record.word("semantics")
    require(semantics in SEMANTICS, f"there is no semantics `{semantics}`")
    own = Fields(record.record, [_tensor(each, container) for each in record.objects("tensors")])
    network = read_network(own.objects("nodes"), own.whole("output"))
    size, margins = network.size(network.input), network.size(network.output)
    sets = tuple(_set(each, size) for each in own.objects("sets"))
    cases = tuple(_case(each, margins, len(sets)) for each in own.objects("cases"))
    integers = frozenset(own.wholes("integers"))
    require(integers <= set(range(size)), "a whole number is no entry of the input")
    name = digest(canonical(record.record))
    return Question(network, semantics, sets, cases, integers, name)


def _tensor(record: Fields, container: Container) -> Array:
    """A tensor by its hash, which the container has checked against the bytes."""
    name, kind, shape = record.word("sha256"), record.word("dtype"), record.wholes("shape")
    data = container.section(name)
    require(digest(data) == name, f"tensor {name[:12]} has another hash")
    require(kind in {"q", *DTYPES}, f"a tensor is no `{kind}`")
    try:
        values = rationals(data) if kind == "q" else np.frombuffer(data, DTYPES[kind])
    except (ValueError, ZeroDivisionError) as error:
        raise Refused(f"tensor {name[:12]}: {error}") from error
    fits = min(shape, default=0) >= 0 and values.size == prod(shape)
    require(fits, f"tensor {name[:12]} is not of shape {shape}")
    finite = kind == "q" or bool(np.isfinite(values).all())
    require(finite, f"tensor {name[:12]} holds what is no number")
    return values.reshape(shape)


def rationals(data: bytes) -> Array:
    """One `numerator/denominator` or whole number a line. Raises ValueError, ZeroDivisionError."""
    lines = data.decode("ascii").split("\n") if data else []
    return np.array([_rational(line) for line in lines] + [None], dtype=object)[:-1]


def _rational(text: str) -> Fraction:
    """Without exponents, which a few letters could make endless."""
    if len(text) > MAX_DIGITS or not set(text) <= set("-/0123456789"):
        raise ValueError("no plain rational")
    return Fraction(text)


def _set(record: Fields, size: int) -> InputSet:
    lower, upper = (_vector(record, name, size) for name in ("lower", "upper"))
    return InputSet(lower, upper, tuple(_ball(each, size) for each in record.objects("balls")))


def _ball(record: Fields, size: int) -> BallSet:
    positions = record.tensor("positions")
    flat: list[Any] = positions.reshape(-1).tolist()
    inside = positions.dtype == np.int64 and bool(flat) and set(flat) <= set(range(size))
    require(inside and len(set(flat)) == len(flat), "a ball is over entries that there are not")
    center, scale = (_vector(record, n, len(flat)) for n in ("center", "scale"))
    try:
        radius = _rational(record.word("radius"))
    except (ValueError, ZeroDivisionError) as error:
        raise Refused(f"the radius of a ball: {error}") from error
    norm = record.word("norm")
    fits = norm in {"l1", "l2"} and radius >= 0 and all(s > 0 for s in scale)
    require(fits, f"there is no ball of norm `{norm}`, radius {radius} and these weights")
    return BallSet(positions.reshape(-1), center, scale, radius, norm)


def _vector(record: Fields, name: str, size: int) -> tuple[Fraction, ...]:
    values = record.tensor(name)
    require(values.shape == (size,), f"`{name}` has shape {values.shape}, not ({size},)")
    return tuple(Fraction(v) for v in values.tolist())


def _case(record: Fields, margins: int, sets: int) -> Case:
    at, indices, strict = (
        record.whole("set"),
        record.wholes("margins"),
        record.entry("strict", list),
    )
    require(0 <= at < sets, "a case has a set that is not there")
    fits = set(indices) <= set(range(margins)) and all(type(s) is bool for s in strict)
    require(fits and len(strict) == len(indices), "an atom is a margin and whether it is strict")
    return Case(at, tuple(zip(indices, strict, strict=True)))
