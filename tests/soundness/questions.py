"""What is asked about a network: a box, and what must not happen in it; as a query by two ways."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from typing import Literal

import numpy as np

from specdsl.graph.onnx_import.load import load_onnx
from specdsl.query import query as queries
from specdsl.query.query import Query
from specdsl.query.sets import Box
from specdsl.query.vnnlib.read import read_query
from tests.soundness.as_graph import as_graph
from tests.soundness.as_onnx import as_onnx
from tests.soundness.networks import Array, Network, as_exact, evaluate
from tests.strategies import margin_query

Word = Literal["verified", "falsified"]
Route = Literal["graph", "file"]


@dataclass(frozen=True, slots=True, eq=False)
class Atom:
    """`coefficients @ outputs + offset <= 0`, or `< 0` where strict; numbers are dyadic."""

    coefficients: Array
    offset: float = 0.0
    strict: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """Is there a point of the box at which every atom of some case holds?

    `lower`, `upper`: flat, float64. `integers`: inputs that take whole numbers only. `form`: how
    the ONNX file spells the network.
    """

    network: Network
    lower: Array
    upper: Array
    cases: tuple[tuple[Atom, ...], ...]
    integers: tuple[int, ...] = ()
    form: int = field(default=0, kw_only=True)

    def by(self, route: Route) -> Query:
        """The query: of a graph made here, or of an ONNX file and a VNN-LIB file read back.

        Raises ValueError for a file where inputs are whole numbers, which VNN-LIB 1.0 cannot say.
        """
        return self._of_graph() if route == "graph" else self._of_files()

    def model(self) -> bytes:
        """The ONNX file."""
        return as_onnx(self.network, self.form)

    def margins(self, point: Array) -> list[list[Array]]:
        """Of every atom of every case, at a flat point; exact where the point is."""
        outputs = evaluate(self.network, point)
        exact = outputs.dtype == object
        return [
            [
                (as_exact(atom.coefficients) if exact else atom.coefficients) @ outputs
                + (Fraction(atom.offset) if exact else atom.offset)
                for atom in case
            ]
            for case in self.cases
        ]

    def violation(self, point: Array) -> Array:
        """The largest margin of the case that comes nearest to holding."""
        return min(max(margins) for margins in self.margins(point))

    def violated(self, point: Array) -> bool:
        """Whether all atoms of some case hold at an exact point, strict ones strictly."""
        return any(
            all(m < 0 if a.strict else m <= 0 for a, m in zip(case, margins, strict=True))
            for case, margins in zip(self.cases, self.margins(point), strict=True)
        )

    def contains(self, point: Array) -> bool:
        """Whether an exact point lies in the box, whole where it must be."""
        inside = (as_exact(self.lower) <= point) & (point <= as_exact(self.upper))
        return bool(inside.all()) and all(point[i].denominator == 1 for i in self.integers)

    def _of_graph(self) -> Query:
        atoms = [atom for case in self.cases for atom in case]
        weight = np.stack([atom.coefficients for atom in atoms])
        bias = np.array([atom.offset for atom in atoms])
        numbers = iter(range(len(atoms)))
        cases = tuple(
            tuple(queries.Atom(next(numbers), atom.strict) for atom in case) for case in self.cases
        )
        box = Box(as_exact(self.lower), as_exact(self.upper))
        query = margin_query(as_graph(self.network), box, weight, bias, cases)
        return replace(query, integers=np.array(self.integers, dtype=np.int64))

    def _of_files(self) -> Query:
        if self.integers:
            raise ValueError("VNN-LIB 1.0 has no whole numbers")
        text = "\n".join(self.vnnlib())
        return read_query(text.encode(), load_onnx(self.model(), "f"), "adversary.vnnlib")

    def vnnlib(self) -> Iterator[str]:
        """The lines of a VNN-LIB 1.0 file."""
        outputs = self.cases[0][0].coefficients.size
        for name, count in (("X", self.lower.size), ("Y", outputs)):
            yield from (f"(declare-const {name}_{i} Real)" for i in range(count))
        for i, (low, high) in enumerate(zip(self.lower, self.upper, strict=True)):
            yield f"(assert (>= X_{i} {_decimal(low)}))"
            yield f"(assert (<= X_{i} {_decimal(high)}))"
        cases = [f"(and {' '.join(_atom_text(atom) for atom in case)})" for case in self.cases]
        yield f"(assert (or {' '.join(cases)}))"


def _decimal(number: float) -> str:
    """All digits of a float."""
    return format(Decimal(float(number)), "f")


def _atom_text(atom: Atom) -> str:
    terms = [f"(* {_decimal(c)} Y_{i})" for i, c in enumerate(atom.coefficients.tolist()) if c != 0]
    total = f"(+ {' '.join(terms)} {_decimal(atom.offset)})" if terms else _decimal(atom.offset)
    return f"({'<' if atom.strict else '<='} {total} 0.0)"
