"""Linear rows and products together as one Lagrangian, quadratic in some of the columns.

For any multipliers (of the right sign) a point of the network has at least the objective
`sum of cost x + multipliers times what is at most 0 there`. This is linear in most columns, whose
bounds say how low it gets, and a quadratic form in the *lifted* ones, which products are made of.
The best multipliers are a semidefinite program, the dual of the relaxation of Shor.

Source: Raghunathan, Steinhardt and Liang 2018, arXiv:1811.01057; the view as multipliers whose
bound needs no exact solution: Dathathri et al. 2020, arXiv:2010.11645.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from specdsl.encoding.model.linear_model import (
    BoolArray,
    FloatArray,
    IndexArray,
    LinearModel,
    SparseTerms,
)
from specdsl.encoding.model.quadratics import Forms, Products, Quadratics, Sums
from specdsl.encoding.solvers.dual_bound import ROUNDING_PART
from specdsl.encoding.solvers.quadratic_bound import least_on_cube

# A lifted column is `center + radius s` with s from -1 to 1: the radius makes room for rounding.
ROOM = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Multipliers:
    """`rows`: above 0 of a row's lower side, below 0 of its upper one; `products`: of any sign;
    `boxes`, of every lifted column's `s^2 <= 1`, and `squares`, of every ball: at least 0.
    """

    rows: FloatArray
    products: FloatArray
    boxes: FloatArray
    squares: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Lifting:
    """`columns`: the lifted ones, `centers + radii s`; quadratic forms are of `[1, s]`.

    `products`, `squares`: a row for each, with the entries of its symmetric form of
    shape (order, order), flattened; `product_sizes`, `square_sizes`: the magnitudes that they are
    computed from.
    """

    columns: IndexArray
    centers: FloatArray
    radii: FloatArray
    products: SparseTerms
    product_sizes: FloatArray
    squares: SparseTerms
    square_sizes: FloatArray

    @property
    def order(self) -> int:
        """Of the forms: the lifted columns, and one."""
        return self.columns.size + 1

    @classmethod
    def of(cls, model: LinearModel, known: Quadratics) -> Lifting:
        """What `model` has of `known`; its first columns must be those of the encoding."""
        met, base = _reached(model, known)
        expanded = _Expansion(model, base)
        for sums in known.sums:
            if met[sums.columns].any():
                expanded.define(sums)
        products = [form for each in known.products for form in _products(expanded, each)]
        squares = [_sum_of_squares(expanded, forms) for forms in known.squares]
        lifted, centers, radii = expanded.lifted, expanded.centers, expanded.radii
        return cls(lifted, centers, radii, *_stacked(products), *_stacked(squares))

    def bound(self, model: LinearModel, multipliers: Multipliers) -> float:
        """The least value of the Lagrangian, less all rounding; -inf where one is not finite.

        Multipliers of the wrong sign, or of a side that is missing, are taken as 0.
        """
        given = (multipliers.rows, multipliers.products, multipliers.boxes, multipliers.squares)
        if not all(np.isfinite(each).all() for each in given):
            return -np.inf
        y = usable(model, multipliers.rows)
        boxes, squares = np.maximum(multipliers.boxes, 0), np.maximum(multipliers.squares, 0)
        side = np.where(y > 0, model.row_lower, model.row_upper)
        right = y * np.where(y == 0, 0.0, side)
        reduced = model.cost - model.terms.transposed_times(y, model.columns)
        flat = reduced.copy()
        flat[self.columns] = 0.0
        at_best = flat * np.where(flat > 0, model.lower, model.upper)
        form = self._form(reduced[self.columns], multipliers.products, boxes, squares)
        least = least_on_cube(form)
        farthest = np.maximum(np.abs(model.lower), np.abs(model.upper))
        passed = model.terms.magnitude().transposed_times(np.abs(y), model.columns)
        size = np.abs(right).sum() + ((np.abs(model.cost) + passed) * farthest).sum()
        size += np.abs(multipliers.products) @ self.product_sizes + 2 * boxes.sum()
        size += squares @ self.square_sizes
        bound = float(right.sum() + at_best.sum() + least - ROUNDING_PART * size)
        return bound if np.isfinite(bound) else -np.inf

    def linear_terms(self) -> SparseTerms:
        """A row for each lifted column itself, as `products` are."""
        own = np.arange(self.columns.size, dtype=np.int64)
        places = np.stack([0 * own, 1 + own, (1 + own) * self.order], 1)
        values = np.stack([self.centers, self.radii / 2, self.radii / 2], 1)
        return SparseTerms(np.repeat(own, 3), places.reshape(-1), values.reshape(-1))

    def box_terms(self) -> SparseTerms:
        """A row for the `s^2 - 1` of each, as `products` are."""
        own = np.arange(self.columns.size, dtype=np.int64)
        places = np.stack([0 * own, (1 + own) * (self.order + 1)], 1)
        values = np.tile([-1.0, 1.0], own.size)
        return SparseTerms(np.repeat(own, 2), places.reshape(-1), values)

    def _form(
        self, linear: FloatArray, products: FloatArray, boxes: FloatArray, squares: FloatArray
    ) -> FloatArray:
        """The quadratic part. Shape: (order, order)."""
        order = self.order
        parts = (
            (self.linear_terms(), linear),
            (self.products, products),
            (self.box_terms(), boxes),
            (self.squares, squares),
        )
        flat = np.zeros(order * order)
        for terms, weights in parts:
            flat += terms.transposed_times(weights, order * order)
        return flat.reshape(order, order)


def usable(model: LinearModel, rows: FloatArray) -> FloatArray:
    """Multipliers of rows without those that need a side that is missing."""
    lacks_side = ((rows > 0) & np.isneginf(model.row_lower)) | (
        (rows < 0) & np.isposinf(model.row_upper)
    )
    return np.where(lacks_side, 0.0, rows)


def _reached(model: LinearModel, known: Quadratics) -> tuple[BoolArray, IndexArray]:
    """Which columns products are made of, directly or once sums are written out, shape (columns,);
    and those of them that are no sums.
    """
    met, summed = np.zeros((2, model.columns), dtype=bool)
    used = [f for each in known.products for f in (each.first, each.second, each.value)]
    for forms in (*used, *known.squares):
        met[forms.terms.columns] = True
    for sums in reversed(known.sums):
        summed[sums.columns] = True
        terms = sums.forms.terms
        met[terms.columns[met[sums.columns][terms.rows]]] = True
    return met, np.flatnonzero(met & ~summed)


class _Expansion:
    """All columns that matter as affine forms of s, and the magnitudes that these come from."""

    def __init__(self, model: LinearModel, base: IndexArray) -> None:
        lower, upper = model.lower[base], model.upper[base]
        open_ = np.flatnonzero(upper > lower)
        size = np.maximum(np.abs(lower), np.abs(upper))
        center = (lower + upper) / 2
        radius = (upper - lower) / 2 * (1 + ROOM) + ROOM * size
        self.lifted, self.centers, self.radii = base[open_], center[open_], radius[open_]
        self._place = np.full(model.columns, -1, dtype=np.int64)
        self._place[base] = np.arange(base.size)
        self._rows = np.zeros((base.size, open_.size + 1))
        self._rows[:, 0] = np.where(upper > lower, center, lower)
        self._rows[open_, 1 + np.arange(open_.size)] = self.radii
        self._sizes = size

    def define(self, sums: Sums) -> None:
        """Columns that are sums of columns defined before."""
        rows, sizes = self.of(sums.forms)
        self._place[sums.columns] = self._rows.shape[0] + np.arange(sums.columns.size)
        self._rows = np.concatenate([self._rows, rows])
        self._sizes = np.concatenate([self._sizes, sizes])

    def of(self, forms: Forms) -> tuple[FloatArray, FloatArray]:
        """Forms over `[1, s]`, (forms, order), and their magnitudes, (forms,)."""
        terms, rows = forms.terms, np.zeros((forms.count, self._rows.shape[1]))
        place, sizes = self._place[terms.columns], np.abs(forms.offsets)
        rows[:, 0] = forms.offsets
        np.add.at(rows, terms.rows, terms.coefficients[:, None] * self._rows[place])
        np.add.at(sizes, terms.rows, np.abs(terms.coefficients) * self._sizes[place])
        return rows, sizes


@dataclass(frozen=True, slots=True, eq=False)
class _Form:
    """Entries of one symmetric matrix, and the magnitude that they are computed from."""

    places: IndexArray
    values: FloatArray
    size: float

    @classmethod
    def of(cls, matrix: FloatArray, size: float) -> _Form:
        flat = matrix.reshape(-1)
        places = np.flatnonzero(flat)
        return cls(places, flat[places], size)


def _products(expanded: _Expansion, products: Products) -> Iterator[_Form]:
    """`first second - value`, each."""
    one, one_size = expanded.of(products.first)
    two, two_size = expanded.of(products.second)
    value, size = expanded.of(products.value)
    for a, b, c, total in zip(one, two, value, one_size * two_size + size, strict=True):
        half = np.outer(a, b) / 2
        half[0] -= c / 2
        yield _Form.of(half + half.T, float(total))


def _sum_of_squares(expanded: _Expansion, forms: Forms) -> _Form:
    """The sum of squares, less 1."""
    rows, sizes = expanded.of(forms)
    matrix = rows.T @ rows
    matrix[0, 0] -= 1
    return _Form.of(matrix, float(sizes @ sizes + 1))


def _stacked(forms: Sequence[_Form]) -> tuple[SparseTerms, FloatArray]:
    """A row for each form."""
    nowhere, nothing = np.zeros(0, dtype=np.int64), np.zeros(0)
    counts = [form.places.size for form in forms]
    terms = SparseTerms(
        np.repeat(np.arange(len(forms), dtype=np.int64), counts),
        np.concatenate([nowhere, *(form.places for form in forms)]),
        np.concatenate([nothing, *(form.values for form in forms)]),
    )
    return terms, np.array([form.size for form in forms])
