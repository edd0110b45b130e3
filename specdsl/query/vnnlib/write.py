"""Queries as VNN-LIB files: the unsafe set, with the networks that it speaks about.

Numbers are written exactly. A decimal point is all VNN-LIB has for fractions, so that inequalities
with other denominators are multiplied out: `x <= 1/255` is `(<= (* 255.0 X[0]) 1.0)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor, lcm, prod
from typing import Literal

from specdsl.query.elaboration.values.symbolic import Linear
from specdsl.query.query import Atom, Case, Query
from specdsl.query.vnnlib.forms import MAX_NUMBER_LENGTH
from specdsl.query.vnnlib.statement import (
    Number,
    Product,
    SaidNetwork,
    Statement,
    inexpressible,
)
from specdsl.query.vnnlib.stating import state

_FLIPPED = {"<=": ">=", "<": ">", "==": "=="}

MAX_WHOLE = 64
"""Whole numbers are listed one by one, at most this many for one entry."""


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """A file, the ONNX models it speaks about by the names it gives them, and what it means.

    `inputs[v]`: entry v of the query's flat input as `(variable, position, slope, offset)`: it is
    `slope * entry + offset`.
    """

    text: str
    models: Mapping[str, bytes] = field(repr=False)
    inputs: tuple[tuple[str, int, Fraction, Fraction], ...]


def write_vnnlib2(query: Query) -> Written:
    """The query as VNN-LIB 2.0. Raises SpecError E1013 for what it has no words for."""
    statement = state(query)
    variables = statement.variables

    def entry(source: int, position: int) -> str:
        return variables[source].entry(position)

    lines = _header(query)
    lines.append("(vnnlib-version <2.0>)")
    for network in statement.networks:
        lines += _declared(network)
    lines += (f"(assert {line})" for line in _Writer(2, statement, entry).assertions())
    return _written(statement, lines)


def write_vnnlib1(query: Query) -> Written:
    """The query as VNN-LIB 1.0: one network, and linear constraints on its input and output.

    Raises SpecError E1013 for anything more.
    """
    statement = state(query)
    help_ = "write it as VNN-LIB 2.0"
    networks = statement.networks
    if len(networks) != 1 or len(networks[0].inputs) != 1 or len(networks[0].outputs) != 1:
        raise inexpressible(query, "several networks, inputs or outputs in version 1.0", help_)
    if statement.ties or statement.products or networks[0].hidden:
        what = "computed inputs, products and hidden values in version 1.0"
        raise inexpressible(query, what, help_)
    (network,) = networks
    letters = {network.inputs[0].source: "X", network.outputs[0].source: "Y"}

    def entry(source: int, position: int) -> str:
        return f"{letters[source]}_{position}"

    lines = _header(query)
    for said in network.variables:
        size = prod(said.shape)
        lines += [f"(declare-const {entry(said.source, i)} Real)" for i in range(size)]
    lines += (f"(assert {line})" for line in _Writer(1, statement, entry).assertions())
    return _written(statement, lines)


def _header(query: Query) -> list[str]:
    name = " ".join(query.name.split())
    meaning = "the claim fails" if query.kind == "forall" else "the claim holds"
    return [f"; {name}", f"; sat: {meaning} at the assignment"]


def _declared(network: SaidNetwork) -> Iterator[str]:
    yield f"(declare-network {network.name}"
    if network.equal_to is not None:
        yield f"  (equal-to {network.equal_to})"
    kinds = (("input", network.inputs), ("hidden", network.hidden), ("output", network.outputs))
    for kind, variables in kinds:
        for said in variables:
            shape = ",".join(map(str, said.shape))
            value = f' "{said.value_name}"' if said.value_name is not None else ""
            yield f"  (declare-{kind} {said.name} real [{shape}]{value})"
    yield ")"


def _written(statement: Statement, lines: Sequence[str]) -> Written:
    variables = statement.variables
    inputs: list[tuple[str, int, Fraction, Fraction]] = []
    for expression in statement.represented:
        (((source, position), slope),) = expression.terms
        inputs.append((variables[source].name, position, slope, expression.constant))
    models = {n.name: n.model for n in statement.networks if n.equal_to is None}
    return Written("\n".join(lines) + "\n", models, tuple(inputs))


@dataclass(frozen=True, slots=True, eq=False)
class _Writer:
    """The assertions of a statement; `entry` names a declared entry."""

    version: Literal[1, 2]
    statement: Statement
    entry: Callable[[int, int], str]

    def assertions(self) -> Iterator[str]:
        """Ties, whole numbers, then the cases: what all share first, then their disjunction."""
        for left, right in self.statement.ties:
            yield self.defined(left, right)
        cases = self.statement.query.cases
        if not cases:
            yield "(<= 1.0 0.0)"
            return
        yield from self._whole(cases)
        parts = [list(dict.fromkeys(self._conditions(case))) for case in cases]
        shared = set(parts[0]).intersection(*parts[1:])
        yield from (line for line in parts[0] if line in shared)
        own = [[line for line in part if line not in shared] for part in parts]
        if all(own):
            yield _joined("or", [_joined("and", lines) for lines in own])

    def _conditions(self, case: Case) -> Iterator[str]:
        """A case line by line: its box, its balls, its atoms."""
        box = case.inputs.box
        for expression, low, high in zip(
            self.statement.represented, box.lower, box.upper, strict=True
        ):
            if low == high and self.version == 2:
                yield self.equal(expression, low)
                continue
            yield self.below(-expression + low, strict=False)
            yield self.below(expression - high, strict=False)
        for ball in case.inputs.balls:
            limit = ball.radius if ball.norm == "l1" else ball.radius**2
            yield self.below(self.statement.norms[ball] - limit, strict=False)
        yield from (self._atom(atom) for atom in case.atoms)

    def _atom(self, atom: Atom) -> str:
        return self.below(self.statement.margins[atom.index], strict=atom.strict)

    def _whole(self, cases: Sequence[Case]) -> Iterator[str]:
        """Entries that take whole numbers only, each as the disjunction of its values."""
        query = self.statement.query
        for place in query.integers.tolist():
            low = ceil(min(case.inputs.box.lower[place] for case in cases))
            high = floor(max(case.inputs.box.upper[place] for case in cases))
            if high - low >= MAX_WHOLE:
                what = f"whole numbers between {low} and {high} (at most {MAX_WHOLE} are listed)"
                raise inexpressible(query, what)
            expression = self.statement.represented[place]
            values = [self.equal(expression, Fraction(n)) for n in range(low, high + 1)]
            yield _joined("or", values) if values else "(<= 1.0 0.0)"

    # --- inequalities ---------------------------------------------------------------------------

    def equal(self, left: Linear, right: Number) -> str:
        """`left == right`; version 1.0 has two inequalities for it, which every reader knows."""
        if self.version == 1:
            parts = [self.below(left - right, strict=False), self.below(right - left, strict=False)]
            return _joined("and", parts)
        return self._compared("==", left - right)

    def defined(self, entry: Linear, value: Number) -> str:
        """`entry == value` with the entry on the left, times a number where the value needs it."""
        if isinstance(value, Fraction):
            return self.equal(entry, value)
        terms, constant = self._scaled(value, entry)
        (left,), right = terms[:1], terms[1:]
        parts = [self._term(text, c) for text, c in right]
        if constant:
            parts.append(self._decimal(constant))
        return f"(== {self._term(*left)} {_added(parts)})"

    def below(self, expression: Number, *, strict: bool) -> str:
        """`expression <= 0`, or `< 0` where strict."""
        return self._compared("<" if strict else "<=", expression)

    def _compared(self, operator: str, expression: Number) -> str:
        """`expression operator 0`: positive terms stand on the left, negative ones on the right.

        A single variable stands on the left by itself, the number on the right.
        """
        if isinstance(expression, Fraction):
            return f"({operator} {self._decimal(expression)} 0.0)"
        terms, constant = self._cleared(expression)
        if len(terms) == 1:
            ((text, coefficient),) = terms
            name, number = self._term(text, abs(coefficient)), constant
            if coefficient > 0:
                return f"({operator} {name} {self._decimal(-number)})"
            return f"({_FLIPPED[operator]} {name} {self._decimal(number)})"
        left = [self._term(text, c) for text, c in terms if c > 0]
        right = [self._term(text, -c) for text, c in terms if c < 0]
        if constant:
            (left if constant > 0 else right).append(self._decimal(abs(constant)))
        return f"({operator} {_added(left)} {_added(right)})"

    def _cleared(self, expression: Linear) -> tuple[list[tuple[str, Fraction]], Fraction]:
        """Named terms and the constant, multiplied so that all numbers are finite decimals."""
        if len(expression.terms) == 1:
            # A bound reads best with the variable alone, where its number is a decimal.
            text, coefficient = self._named(expression)[0]
            if _rest(expression.constant / coefficient) == 1:
                sign = 1 if coefficient > 0 else -1
                return [(text, Fraction(sign))], expression.constant / abs(coefficient)
        return self._scaled(expression)

    def _scaled(
        self, expression: Linear, *before: Linear
    ) -> tuple[list[tuple[str, Fraction]], Fraction]:
        """The terms of `before` and of the expression, and its constant, multiplied alike."""
        terms = [term for part in (*before, expression) for term in self._named(part)]
        factor = lcm(*(_rest(c) for _, c in terms), _rest(expression.constant))
        return [(text, c * factor) for text, c in terms], expression.constant * factor

    def _named(self, expression: Linear) -> list[tuple[str, Fraction]]:
        terms: list[tuple[str, Fraction]] = []
        for (source, position), coefficient in expression.terms:
            product = self.statement.products.get(source)
            if product is None:
                terms.append((self.entry(source, position), coefficient))
            else:
                text, factor = self._product(product)
                terms.append((text, coefficient * factor))
        return terms

    def _product(self, product: Product) -> tuple[str, Fraction]:
        """`(* left right)` with finite decimals, and what it is to be multiplied by."""
        texts: list[str] = []
        factor = Fraction(1)
        for side in (product.left, product.right):
            scale = lcm(*(_rest(c) for _, c in side.terms), _rest(side.constant))
            factor /= scale
            texts.append(self._polynomial(side * Fraction(scale)))
        return f"(* {' '.join(texts)})", factor

    def _polynomial(self, expression: Number) -> str:
        """A factor of a product: its numbers are finite decimals already."""
        if isinstance(expression, Fraction):
            return self._decimal(expression)
        parts: list[str] = []
        for (source, position), coefficient in expression.terms:
            product = self.statement.products.get(source)
            if product is None:
                parts.append(self._term(self.entry(source, position), coefficient))
                continue
            text, factor = self._product(product)
            if _rest(coefficient * factor) != 1:
                what = "products of products whose coefficients are no decimals"
                raise inexpressible(self.statement.query, what)
            parts.append(self._term(text, coefficient * factor))
        if expression.constant:
            parts.append(self._decimal(expression.constant))
        return _added(parts)

    def _term(self, text: str, coefficient: Fraction) -> str:
        return text if coefficient == 1 else f"(* {self._decimal(coefficient)} {text})"

    def _decimal(self, value: Fraction) -> str:
        text = decimal(value)
        if len(text) > MAX_NUMBER_LENGTH:
            raise inexpressible(self.statement.query, f"a number of {len(text)} digits")
        return text


def decimal(value: Fraction) -> str:
    """A finite decimal in full, with a decimal point: `-0.125`, `3.0`.

    Raises ValueError where the value has none.
    """
    twos, fives, rest = _powers(value)
    if rest != 1:
        raise ValueError(f"{value} is no finite decimal")
    places = max(twos, fives, 1)
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def _powers(value: Fraction) -> tuple[int, int, int]:
    """Powers of 2 and 5 in the denominator, and what is left of it."""
    rest = value.denominator
    twos = (rest & -rest).bit_length() - 1
    rest >>= twos
    fives = 0
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    return twos, fives, rest


def _rest(value: Fraction) -> int:
    return _powers(value)[2]


def _added(parts: Sequence[str]) -> str:
    if not parts:
        return "0.0"
    return parts[0] if len(parts) == 1 else f"(+ {' '.join(parts)})"


def _joined(connective: str, lines: Sequence[str]) -> str:
    return lines[0] if len(lines) == 1 else f"({connective}\n  " + "\n  ".join(lines) + ")"
