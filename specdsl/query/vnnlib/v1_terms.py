"""Variables, linear expressions and comparisons of VNN-LIB 1.0."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from specdsl.diagnostics import SpecError
from specdsl.query.vnnlib.forms import (
    Form,
    Node,
    PlainComparison,
    Word,
    literal,
    not_a_formula,
    not_a_number,
    shown,
    syntax_error,
)
from specdsl.source import Source

FORMULAS = "`<=`, `<`, `>=`, `>`, `=` with two operands, and `and`, `or`, `not`"

VariableKey = tuple[Literal["X", "Y"], int]

_VARIABLE = re.compile(r"([XY])_(\d{1,9})")
_ZERO = Fraction(0)
_OPPOSITE = {"<=": ">", "<": ">=", ">=": "<", ">": "<="}


@dataclass(frozen=True, slots=True)
class Bound:
    """`X_index >= value` (or `<=`): part of the input box."""

    index: int
    is_lower: bool
    value: Fraction


@dataclass(frozen=True, slots=True)
class RowAtom:
    """`rows[row] <= 0`, or `< 0` where strict."""

    row: int
    strict: bool


Constraint = Bound | RowAtom


@dataclass(frozen=True, slots=True)
class Row:
    """`sum of coefficient * variable + constant`; terms are sorted and not zero."""

    terms: tuple[tuple[VariableKey, Fraction], ...]
    constant: Fraction


@dataclass(slots=True)
class Terms:
    """The declarations so far, the rows met so far (each once), and memories by text."""

    source: Source
    rows: list[Row] = field(default_factory=list)
    _row_index: dict[tuple[object, ...], int] = field(default_factory=dict)
    _declared: dict[VariableKey, int] = field(default_factory=dict)
    _words: dict[str, _Linear] = field(default_factory=dict)
    _compared: dict[tuple[str, str, str, bool], list[tuple[Constraint, ...]]] = field(
        default_factory=dict
    )

    def error(self, code: str, message: str, start: int, help: str | None = None) -> SpecError:
        """An error at an offset of the file."""
        return syntax_error(self.source, code, message, start, help)

    # --- declarations ---------------------------------------------------------------------------

    def declare(self, command: Form) -> None:
        """`(declare-const X_0 Real)` or `(declare-fun X_0 () Real)`. Raises E1005."""
        words = [item.text for item in command.items if isinstance(item, Word)]
        match = _VARIABLE.fullmatch(words[1]) if len(words) == 3 else None
        if match is None or words[2] != "Real":
            raise self.error(
                "E1005",
                "a declaration names an input `X_i` or an output `Y_i` of type `Real`",
                command.start,
                "write `(declare-const X_0 Real)`",
            )
        key = _key(match)
        if key in self._declared:
            raise self.error("E1005", f"`{shown(words[1])}` is declared twice", command.start)
        self._declared[key] = command.start

    def counts(self) -> tuple[int, int]:
        """Numbers of inputs and outputs. Raises E1005 where an index is left out."""
        return self._count("X"), self._count("Y")

    def unbounded(self, index: int, side: str) -> SpecError:
        """E1006 for an input without a bound, at its declaration."""
        return self.error(
            "E1006",
            f"`X_{index}` has no {side} bound",
            self._declared["X", index],
            f"add `(assert ({'>=' if side == 'lower' else '<='} X_{index} ...))`; every input "
            "needs both bounds in every case",
        )

    def _count(self, kind: Literal["X", "Y"]) -> int:
        indices = sorted(i for k, i in self._declared if k == kind)
        for expected, index in enumerate(indices):
            if index != expected:
                start = self._declared[kind, index]
                message = f"`{kind}_{index}` is declared, `{kind}_{expected}` is not"
                raise self.error("E1005", message, start)
        return len(indices)

    # --- comparisons ----------------------------------------------------------------------------

    def compare_words(self, node: PlainComparison, negated: bool) -> list[tuple[Constraint, ...]]:
        """A plain comparison in disjunctive normal form; remembered by its text."""
        key = (node.operator, node.left, node.right, negated)
        if key not in self._compared:
            left = self._word(Word(node.left, node.start))
            right = self._word(Word(node.right, node.start))
            self._compared[key] = self._compare(node.operator, left, right, negated)
        return self._compared[key]

    def compare_forms(self, node: Form, negated: bool) -> list[tuple[Constraint, ...]]:
        """`(operator left right)` with expressions inside. Raises E1002, E1003, E1004, E1008."""
        if node.head not in ("<=", "<", ">=", ">", "=") or len(node.items) != 3:
            raise not_a_formula(self.source, node, FORMULAS)
        left, right = (self._expression(item) for item in node.items[1:])
        return self._compare(node.head, left, right, negated)

    def _compare(
        self, operator: str, left: _Linear, right: _Linear, negated: bool
    ) -> list[tuple[Constraint, ...]]:
        if operator == "=":
            parts = [self._less(left, right, negated), self._less(right, left, negated)]
            if negated:  # left > right or left < right
                return [clause for clauses in parts for clause in clauses]
            return [(*a, *b) for a in parts[0] for b in parts[1]]
        operator = _OPPOSITE[operator] if negated else operator
        if operator in (">=", ">"):
            left, right = right, left
        return self._less(left, right, strict=operator in ("<", ">"))

    def _less(self, left: _Linear, right: _Linear, strict: bool) -> list[tuple[Constraint, ...]]:
        """`left <= right`, or `left < right`, as one clause, or none where it is false.

        The margin `left - right` is <= 0 exactly where the comparison holds.
        """
        margin = left.minus(right)
        if not margin.terms:
            holds = margin.constant < 0 if strict else margin.constant <= 0
            return [()] if holds else []
        ((kind, index), coefficient), *rest = margin.terms.items()
        if kind == "X" and not rest and not strict:
            # The value itself where the comparison is plain, so that equal literals are one object.
            plain = right if coefficient == 1 else left
            simple = coefficient in (1, -1) and not plain.terms
            value = plain.constant if simple else -margin.constant / coefficient
            return [(Bound(index, is_lower=coefficient < 0, value=value),)]
        atom = RowAtom(self._row(margin), strict)
        if kind == "X" and not rest:
            # A strict bound: the closed box, and the strict inequality beside it.
            bound = Bound(index, coefficient < 0, -margin.constant / coefficient)
            return [(bound, atom)]
        return [(atom,)]

    def _row(self, margin: _Linear) -> int:
        """The place of a row among the rows; equal ones share it."""
        terms = (
            tuple(sorted(margin.terms.items())) if len(margin.terms) > 1 else margin.terms.items()
        )
        # Numerators and denominators: hashing a Fraction costs a modular inverse.
        parts = [(key, value.numerator, value.denominator) for key, value in terms]
        key = (margin.constant.numerator, margin.constant.denominator, *parts)
        index = self._row_index.setdefault(key, len(self.rows))
        if index == len(self.rows):
            self.rows.append(Row(tuple(terms), margin.constant))
        return index

    # --- expressions ----------------------------------------------------------------------------

    def _expression(self, node: Node) -> _Linear:
        if isinstance(node, Word):
            return self._word(node)
        if isinstance(node, PlainComparison):
            raise not_a_number(self.source, node)
        operands = [self._expression(item) for item in node.items[1:]]
        if node.head not in ("+", "-", "*", "/") or not operands:
            message = f"`{shown(node.head or '(')}` is no arithmetic operator of VNN-LIB 1.0"
            raise self.error("E1002", message, node.start)
        result, *others = operands
        if node.head == "-" and not others:
            return result.times(Fraction(-1))
        for other in others:
            result = self._apply(node, result, other)
        return result

    def _apply(self, node: Form, left: _Linear, right: _Linear) -> _Linear:
        if node.head == "+":
            return left.plus(right, Fraction(1))
        if node.head == "-":
            return left.plus(right, Fraction(-1))
        if node.head == "*" and not left.terms:
            left, right = right, left
        if right.terms or (node.head == "/" and right.constant == 0):
            raise self.error(
                "E1008",
                "a product of two variables, or a division by a variable or by 0",
                node.start,
                "only linear expressions can be decided",
            )
        factor = right.constant if node.head == "*" else 1 / right.constant
        return left.times(factor)

    def _word(self, word: Word) -> _Linear:
        """A number or a variable; equal texts give one object."""
        if word.text not in self._words:
            self._words[word.text] = self._read_word(word)
        return self._words[word.text]

    def _read_word(self, word: Word) -> _Linear:
        value = literal(self.source, word)
        if value is not None:
            return _Linear({}, value)
        match = _VARIABLE.fullmatch(word.text)
        key = _key(match) if match else None
        if key is None or key not in self._declared:
            raise self.error("E1004", f"`{shown(word.text)}` is not declared", word.start)
        return _Linear({key: Fraction(1)}, _ZERO)


@dataclass(frozen=True, slots=True)
class _Linear:
    """`sum of terms + constant`; no coefficient is 0."""

    terms: dict[VariableKey, Fraction]
    constant: Fraction

    def plus(self, other: _Linear, factor: Fraction) -> _Linear:
        terms = dict(self.terms)
        for key, value in other.terms.items():
            total = terms.pop(key, Fraction(0)) + factor * value
            if total != 0:
                terms[key] = total
        return _Linear(terms, self.constant + factor * other.constant)

    def minus(self, other: _Linear) -> _Linear:
        """`self - other`, fast where only one of them has terms and the other is their bound."""
        if other.terms and self.terms:
            return self.plus(other, Fraction(-1))
        terms = self.terms or {key: -value for key, value in other.terms.items()}
        if self.constant is _ZERO:
            return _Linear(terms, -other.constant)
        return _Linear(terms, self.constant - other.constant)

    def times(self, factor: Fraction) -> _Linear:
        terms = {key: value * factor for key, value in self.terms.items() if factor != 0}
        return _Linear(terms, self.constant * factor)


def _key(match: re.Match[str]) -> VariableKey:
    return ("X" if match[1] == "X" else "Y", int(match[2]))
