"""Affine ops: sums of maps of their operands, each with its transpose for rows.

Values and rows carry a batch in front: (batch, *shape).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from itertools import product
from math import prod
from typing import NamedTuple

import numpy as np

from specdsl.proof.arithmetic import Arithmetic, Array
from specdsl.proof.fields import Fields
from specdsl.proof.refusal import NotCovered, require

Shape = tuple[int, ...]
# Of a normalisation: by a variance, what is added to it, a root, a quotient and a product.
FACTOR_ROUNDINGS = 8


class Map(NamedTuple):
    """One matrix: applied to values, transposed to rows, and its magnitudes applied to magnitudes.
    `terms`: of the longest sum in either; `moves`: whether entries are only moved. `matrix`: of one
    that takes a vector, (out, in); `factor`: of one that multiplies each entry, (entries,).
    """

    apply: Callable[[Array], Array]
    transpose: Callable[[Array], Array]
    size: Callable[[Array], Array]
    terms: int
    moves: bool = False
    matrix: Array | None = None
    factor: Array | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """`sum_i maps[i](x_i) + offset`. `hidden`: magnitudes that a runtime adds up besides (of a
    normalisation, its mean), where it computes the factors as well. `moves`: whether entries are
    only moved, which rounds nothing. `slack`: what each entry may be off by besides.
    `held`: magnitudes of the constants of each entry, added up: (1, *shape).
    """

    maps: tuple[Map, ...]
    offset: Array | None
    hidden: Array | None
    moves: bool
    slack: Array | None = None
    held: Array | None = None

    @property
    def terms(self) -> int:
        """Of the longest sum, the offset's included, and what computing its factors rounds."""
        own = 0 if self.hidden is None else FACTOR_ROUNDINGS
        return sum(m.terms for m in self.maps) + len(self.maps) + 1 + own

    def size(self, sizes: Sequence[Array]) -> Array:
        """Magnitudes that values are added up from."""
        parts = [m.size(x) for m, x in zip(self.maps, sizes, strict=True)]
        parts += [np.abs(a)[None] for a in (self.offset, self.hidden) if a is not None]
        return reduce(np.add, parts)


def affine(own: Fields, shapes: Sequence[Shape], shape: Shape, how: Arithmetic) -> Affine:
    """Raises Refused where parameters and shapes do not fit."""
    records = own.objects("maps")
    require(len(records) == len(shapes), "an affine op has a map for each operand")
    maps = tuple(_map(r, x, shape, how) for r, x in zip(records, shapes, strict=True))
    offset, hidden = (_of_shape(own, name, shape, how) for name in ("offset", "hidden"))
    require(bool(maps) or offset is not None, "an affine op adds nothing up")
    moves = offset is None and hidden is None and all(m.moves for m in maps)
    # Where entries of several operands, or none, come together, they are added up.
    parts = [m.apply(np.ones((1, *x))) for m, x in zip(maps, shapes, strict=True) if moves]
    moves = moves and bool((reduce(np.add, parts) <= 1).all())
    found = Affine(maps, offset, hidden, moves)
    if moves:
        return found
    held = found.size([how.array(np.ones((1, *x))) for x in shapes])
    return replace(found, held=np.broadcast_to(held, (1, *shape)))


def _of_shape(own: Fields, name: str, shape: Shape, how: Arithmetic) -> Array | None:
    if own.record.get(name) is None:
        return None
    return np.broadcast_to(how.array(own.tensor(name)), shape)


def _map(own: Fields, source: Shape, target: Shape, how: Arithmetic) -> Map:
    kind = own.word("kind")
    if kind not in MAPS:
        raise NotCovered(f"the checker has no rule for a map `{kind}`")
    return MAPS[kind](own, source, target, how)


def _dense(own: Fields, source: Shape, target: Shape, how: Arithmetic) -> Map:
    """`x @ weight.T` on the last axis; weight (out, in)."""
    weight = how.array(own.tensor("weight"))
    fits = weight.ndim == 2 and (*source[:-1], weight.shape[0]) == target
    require(fits and source[-1:] == weight.shape[1:], "a matrix does not fit its operand")
    return dense_map(weight)._replace(matrix=weight if prod(source[:-1]) == 1 else None)


def dense_map(weight: Array) -> Map:
    """By a matrix (out, in)."""
    sizes = np.abs(weight)
    return Map(
        lambda x: x @ weight.T, lambda rows: rows @ weight, lambda x: x @ sizes.T, max(weight.shape)
    )


def _factor(own: Fields, source: Shape, target: Shape, how: Arithmetic) -> Map:
    """Entry i of the operand, row-major, times a factor that broadcasts."""
    require(prod(source) == prod(target), "factors do not fit their operand")
    # Of the numbers themselves: what only rounds to 1 is a product.
    one = bool((own.tensor("factor") == 1).all())
    factor = np.broadcast_to(how.array(own.tensor("factor")), target)
    sizes = np.abs(factor)
    return Map(
        lambda x: x.reshape(-1, *target) * factor if not one else x.reshape(-1, *target),
        lambda rows: (rows * factor if not one else rows).reshape(-1, *source),
        lambda x: x.reshape(-1, *target) * sizes,
        1,
        moves=one,
        factor=factor.reshape(-1),
    )


def _pick(own: Fields, source: Shape, target: Shape, _how: Arithmetic) -> Map:
    """Entry i is entry `indices[i]` of the operand, row-major."""
    indices = own.tensor("indices").reshape(-1)
    _require_indices(indices, prod(target), prod(source))
    once = int(np.bincount(indices).max())
    apply = partial(_gathered, indices, target)
    return Map(apply, partial(_scattered, indices, source, once), apply, once, moves=True)


def _place(own: Fields, source: Shape, target: Shape, _how: Arithmetic) -> Map:
    """Entry `indices[i]` is entry i of the operand, row-major; all others are 0."""
    indices = own.tensor("indices").reshape(-1)
    _require_indices(indices, prod(source), prod(target))
    require(len(np.unique(indices)) == len(indices), "two entries have one place")
    apply = partial(_scattered, indices, target, 1)
    return Map(apply, partial(_gathered, indices, source), apply, 1, moves=True)


def _require_indices(indices: Array, count: int, size: int) -> None:
    fits = indices.dtype == np.int64 and indices.size == count
    require(fits and 0 <= indices.min() <= indices.max() < size, "indices do not fit")


def _gathered(indices: Array, shape: Shape, x: Array) -> Array:
    return x.reshape(len(x), -1)[:, indices].reshape(len(x), *shape)


def _scattered(indices: Array, shape: Shape, most: int, x: Array) -> Array:
    """`most`: how often an index comes."""
    out = np.zeros((len(x), prod(shape)), dtype=x.dtype)
    if most <= 1:
        out[:, indices] = x.reshape(len(x), -1)
    else:
        np.add.at(out.T, indices, x.reshape(len(x), -1).T)
    return out.reshape(len(x), *shape)


def _conv(own: Fields, source: Shape, target: Shape, how: Arithmetic) -> Map:
    """Cross-correlation as ONNX `Conv` on (1, channels, *spatial), or its transpose."""
    flipped = own.flag("transposed")
    wide, narrow = (target, source) if flipped else (source, target)
    weight, groups = how.array(own.tensor("weight")), own.whole("groups")
    kernel = weight.shape[2:]
    spans = [own.wholes(name) for name in ("strides", "begins", "ends", "dilations")]
    strides, begins, ends, dilations = spans
    fits = groups >= 1 and min(*strides, *dilations) >= 1 and min(*begins, *ends) >= 0
    fits = fits and all(len(e) + 2 == weight.ndim for e in spans) and len(wide) == weight.ndim
    fits = fits and wide[:2] == (1, weight.shape[1] * groups) and weight.shape[0] % groups == 0
    require(fits and narrow[:2] == (1, weight.shape[0]), "a kernel does not fit its channels")
    padded = [n + b + e for n, b, e in zip(wide[2:], begins, ends, strict=True)]
    reach = zip(dilations, kernel, strides, narrow[2:], strict=True)
    last = [d * (k - 1) + s * (n - 1) + 1 for d, k, s, n in reach]
    require(all(a <= b for a, b in zip(last, padded, strict=True)), "a kernel reaches beyond")
    # Of each entry of the kernel: the matrix, in one piece of memory, and where in the padded value
    # it is read.
    entries = list(product(*(range(k) for k in kernel)))
    matrices = [np.ascontiguousarray(weight[(slice(None), slice(None), *at)]) for at in entries]
    windows = [
        tuple(
            slice(o * d, o * d + s * (n - 1) + 1, s)
            for o, d, s, n in zip(at, dilations, strides, narrow[2:], strict=True)
        )
        for at in entries
    ]
    inner = tuple(slice(b, b + n) for b, n in zip(begins, wide[2:], strict=True))
    out, read = weight.shape[0] // groups, weight.shape[1]
    channels = [
        (slice(g * out, g * out + out), slice(g * read, g * read + read)) for g in range(groups)
    ]
    every = slice(None)

    def forward(matrices: Sequence[Array], x: Array) -> Array:
        x = x.reshape(-1, *wide[1:])
        space = np.zeros((len(x), wide[1], *padded), dtype=x.dtype)
        space[(every, every, *inner)] = x
        y = np.zeros((len(x), *narrow[1:]), dtype=x.dtype)
        for (matrix, window), (to, of) in product(zip(matrices, windows, strict=True), channels):
            part = space[(every, of, *window)]
            sums = matrix[to] @ part.reshape(len(x), read, -1)
            y[:, to] += sums.reshape(len(x), out, *narrow[2:])
        return y[:, None]

    def backward(matrices: Sequence[Array], rows: Array) -> Array:
        rows = rows.reshape(-1, *narrow[1:])
        space = np.zeros((len(rows), wide[1], *padded), dtype=rows.dtype)
        for (matrix, window), (to, of) in product(zip(matrices, windows, strict=True), channels):
            sums = matrix[to].T @ rows[:, to].reshape(len(rows), out, -1)
            space[(every, of, *window)] += sums.reshape(len(rows), read, *narrow[2:])
        return space[(every, every, *inner)][:, None]

    there, back = (backward, forward) if flipped else (forward, backward)
    terms = max(weight.shape[0], weight.shape[1] * groups) * prod(kernel)
    sizes = [np.abs(matrix) for matrix in matrices]
    return Map(partial(there, matrices), partial(back, matrices), partial(there, sizes), terms)


MAPS = {"dense": _dense, "factor": _factor, "pick": _pick, "place": _place, "conv": _conv}
