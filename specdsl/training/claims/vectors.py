"""Affine vectors as torch expressions of shape (batch, entries)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from specdsl.training.claims.layout import Group, Node, call, flat, lines, number, tensor
from specdsl.training.claims.template import POINT, Affine, ClaimTemplate

LONGEST_INLINE = 30
"""Literals that are longer get a line and a name of their own."""


@dataclass(frozen=True, slots=True)
class Vector:
    """A torch expression. `width`: entries behind the batch axis, of which 1 stands for all; 0
    where it is a number. `is_sum`: whether it needs parentheses as a factor.
    """

    text: str
    width: int
    is_sum: bool = False

    @property
    def factor(self) -> str:
        """As an operand of `*`, `-` or of a method."""
        return f"({self.text})" if self.is_sum or self.text.startswith("-") else self.text


@dataclass(slots=True, eq=False)
class Writer:
    """The lines of one function, and the names that stand in them.

    `like`: the tensor whose dtype, device and batch new ones take.
    """

    template: ClaimTemplate
    like: str
    body: list[str] = field(default_factory=list[str])
    _literals: dict[Node, str] = field(default_factory=dict[Node, str])

    def assign(self, name: str, node: Node) -> None:
        """`name = node`."""
        self.body += lines(f"    {name} = ", node)

    def literal(self, node: Node) -> str:
        """A literal where it is used, or under a name of its own."""
        text = flat(node)
        if len(text) <= LONGEST_INLINE:
            return text
        if node not in self._literals:
            self._literals[node] = f"values_{len(self._literals) + 1}"
            self.assign(self._literals[node], node)
        return self._literals[node]

    # --- vectors ---------------------------------------------------------------------------------

    def vector(self, forms: Sequence[Affine]) -> Vector:
        """Affine forms over parameters and the point, one for each entry."""
        terms = [
            self._term(source, size, [form.only(source) for form in forms])
            for source, size in self._sources(forms)
        ]
        constants = [form.constant for form in forms]
        if len(set(constants)) == 1:
            terms.append((constants[0], Vector("", 0)))
        else:
            terms.append((Fraction(1), Vector(self._constants(constants), len(forms))))
        return _sum(terms)

    def full(self, forms: Sequence[Affine]) -> str:
        """The same with all its entries, for each sample."""
        found = self.vector(forms)
        count = len(forms)
        if found.width == 0:
            return f"{self.like}.new_full((len({self.like}), {count}), {found.text})"
        uniform = not any(form.terms and form.sources - self.numbers for form in forms)
        if uniform or (found.width == 1 and count > 1):
            batch = f"len({self.like})" if uniform else "-1"
            entries = str(count) if found.width == 1 and count > 1 else "-1"
            return f"{found.factor}.expand({batch}, {entries})"
        return found.text

    @property
    def labels(self) -> frozenset[str]:
        """The parameters that are labels, (batch,)."""
        return frozenset(p.name for p in self.template.parameters if p.kind == "label")

    @property
    def numbers(self) -> frozenset[str]:
        """The parameters that are numbers."""
        return frozenset(p.name for p in self.template.parameters if p.kind == "number")

    def _sources(self, forms: Sequence[Affine]) -> list[tuple[str, int]]:
        """What the forms read with its number of entries (0 for numbers), samples first."""
        used = {source for form in forms for source in form.sources}
        sizes: dict[str, int] = {}
        for parameter in self.template.parameters:
            if parameter.kind != "number":
                sizes[parameter.name] = _size(parameter.shape)
        sizes[POINT] = self.template.size
        sizes |= dict.fromkeys(sorted(self.numbers), 0)
        return [(source, size) for source, size in sizes.items() if source in used]

    def _term(self, source: str, size: int, forms: list[Affine]) -> tuple[Fraction, Vector]:
        """The part of the forms over one source: a factor and what it multiplies."""
        rows = [form.terms for form in forms]
        if source in self.labels:
            source = f"{source}[:, None]"
        if size == 0:
            return self._scaled([row[0][1] if row else Fraction(0) for row in rows], source, 0)
        if any(len(row) != 1 for row in rows):
            width = len(forms)
            matrix = self.matrix([{e.position: c for e, c in row} for row in rows], size)
            return Fraction(1), Vector(f"{source} @ {matrix}.T", width, is_sum=False)
        positions = [row[0][0].position for row in rows]
        text, width = _taken(source, size, positions)
        return self._scaled([row[0][1] for row in rows], text, width)

    def _scaled(
        self, coefficients: list[Fraction], text: str, width: int
    ) -> tuple[Fraction, Vector]:
        if len(set(coefficients)) == 1:
            return coefficients[0], Vector(text, width)
        weights = self._constants(coefficients)
        return Fraction(1), Vector(f"{text} * {weights}", len(coefficients))

    def _constants(self, values: Sequence[Fraction]) -> str:
        """Constants for all samples, (1, entries)."""
        row = Group("[", tuple(number(v) for v in values), "]")
        return self.literal(tensor(self.like, row))

    def matrix(self, rows: Sequence[Mapping[int, Fraction]], size: int) -> str:
        """Sparse rows as a matrix (rows, size)."""
        column = {tuple(row.items()) for row in rows}
        if size == 1 and len(column) == 1:
            ((_, value),) = next(iter(column))
            return f"{self.like}.new_full(({len(rows)}, 1), {number(value)})"
        return self.literal(self.rows(rows, size, "matrix_of"))

    def rows(
        self, rows: Sequence[Mapping[int, Fraction]], size: int, name: str = "rows_of"
    ) -> Group:
        """Sparse rows, (1, rows, size)."""
        return call(name, self.like, str(size), *(_row(row) for row in rows))


def _sum(terms: Sequence[tuple[Fraction, Vector]]) -> Vector:
    """Multiples of vectors added up, what is positive first; a number is one without a text."""
    kept = sorted((term for term in terms if term[0]), key=lambda term: term[0] < 0)
    text = ""
    for factor, term in kept:
        size = abs(factor)
        written = term.factor if size == 1 else f"{number(size)} * {term.factor}"
        if not term.text:
            written = number(size)
        if not text:
            text = f"-{written}" if factor < 0 else written
        else:
            text += f" {'-' if factor < 0 else '+'} {written}"
    width = max((term.width for _, term in kept), default=0)
    return Vector(text or "0.0", width, is_sum=len(kept) > 1)


def _row(row: Mapping[int, Fraction]) -> Node:
    entries = tuple(f"{place}: {number(value)}" for place, value in sorted(row.items()))
    return Group("{", entries, "}")


def _taken(source: str, size: int, positions: Sequence[int]) -> tuple[str, int]:
    """Entries of a tensor (batch, size)."""
    first, count = positions[0], len(positions)
    if list(positions) == list(range(size)):
        return source, count
    if list(positions) == list(range(first, first + count)):
        return f"{source}[:, {first}:{first + count}]" if count > 1 else _one(source, first), count
    if len(set(positions)) == 1:
        return (source if size == 1 else _one(source, first)), 1
    return f"{source}[:, {list(positions)}]", count


def _one(source: str, place: int) -> str:
    return f"{source}[:, {place}, None]"


def _size(shape: Sequence[int]) -> int:
    size = 1
    for extent in shape:
        size *= extent
    return size
