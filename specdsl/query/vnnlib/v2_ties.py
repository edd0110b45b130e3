"""Inputs that a VNN-LIB 2.0 file defines by others: `(== X2[0] X[0])`, `(== X2[0] Y[3])`.

Asserted unconditionally, such an equality says what the input is. Taken as a definition it leaves a
query with fewer variables, and one whose points solvers can find; taken as two inequalities it
would leave a set without an inside.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from specdsl.query.vnnlib.v2_tree import (
    Comparison,
    Connective,
    Declaration,
    Expression,
    Formula,
    Network,
    Number,
    Operation,
    Reference,
    Specification,
)

Entry = tuple[str, int]
"""One entry of a variable, by name and row-major position."""


def references(*expressions: Expression) -> Iterator[Reference]:
    """The entries that expressions read."""
    pending = list(expressions)
    while pending:
        expression = pending.pop()
        if isinstance(expression, Reference):
            yield expression
        elif isinstance(expression, Operation):
            pending.extend(expression.operands)


def isolated(formula: Comparison) -> Iterator[tuple[Reference, Expression]]:
    """Ways to solve an equality for an entry that stands in one summand, times a number at most.

    `(== (* 3.0 A[0]) (+ X[0] 1.0))` says that A[0] is `(* 1/3 (+ X[0] 1.0 ...))`.
    """
    start = formula.start
    summands = list(_summands(formula.left, Fraction(1)))
    summands += [(s, -sign) for s, sign in _summands(formula.right, Fraction(1))]
    for number, (summand, sign) in enumerate(summands):
        factor = sign * _factor(summand)
        inside = list(references(summand))
        if len(inside) != 1 or factor == 0:
            continue
        others = summands[:number] + summands[number + 1 :]
        if any(_same(inside[0], r) for other, _ in others for r in references(other)):
            continue
        # sign * factor * entry + others = 0
        scaled = (
            Operation("*", (Number(-share / factor, start), other), start)
            for other, share in others
        )
        nothing = Number(Fraction(0), start)
        yield inside[0], Operation("+", (*scaled, nothing, nothing), start)


def _same(first: Reference, second: Reference) -> bool:
    return (first.variable, first.position) == (second.variable, second.position)


def _summands(expression: Expression, sign: Fraction) -> Iterator[tuple[Expression, Fraction]]:
    """The parts of nested sums and differences, each with its sign."""
    if not isinstance(expression, Operation) or expression.operator == "*":
        yield expression, sign
        return
    negative = expression.operator == "-"
    for number, operand in enumerate(expression.operands):
        flipped = negative and (number > 0 or len(expression.operands) == 1)
        yield from _summands(operand, -sign if flipped else sign)


def _factor(summand: Expression) -> Fraction:
    """What one entry is multiplied by in a summand; 0 where it is no entry times numbers."""
    if isinstance(summand, Reference):
        return Fraction(1)
    if not isinstance(summand, Operation) or summand.operator != "*":
        return Fraction(0)
    factor, entries = Fraction(1), 0
    for operand in summand.operands:
        if isinstance(operand, Number):
            factor *= operand.value
        elif isinstance(operand, Reference):
            entries += 1
        else:
            return Fraction(0)
    return factor if entries == 1 else Fraction(0)


def conjuncts(formulas: Iterable[Formula]) -> Iterator[Formula]:
    """The formulas that all hold: conjunctions are opened."""
    pending = list(formulas)[::-1]
    while pending:
        formula = pending.pop()
        if isinstance(formula, Connective) and formula.kind == "and":
            pending.extend(reversed(formula.parts))
        else:
            yield formula


@dataclass(slots=True)
class Ties:
    """`definitions` of input entries, without cycles; `rest` are the other assertions."""

    specification: Specification
    variables: dict[str, Declaration] = field(init=False)
    owners: dict[str, Network] = field(init=False)
    definitions: dict[Entry, Expression] = field(default_factory=dict)
    rest: list[Formula] = field(default_factory=list)
    _roots: dict[str, set[Entry]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        networks = self.specification.networks
        self.variables = {d.name: d for d in self.specification.declarations}
        self.owners = {d.name: network for network in networks for d in network.declarations}
        for formula in conjuncts(self.specification.assertions):
            if not (isinstance(formula, Comparison) and self._defines(formula)):
                self.rest.append(formula)

    def defined(self, network: Network) -> Iterator[Entry]:
        """The input entries of a network that have definitions."""
        for variable in network.of("input"):
            for position in range(variable.size):
                if (variable.name, position) in self.definitions:
                    yield variable.name, position

    def order(self) -> Iterator[Entry | str]:
        """Every defined entry, and every network by name, behind all that it depends on."""
        by_name = {network.name: network for network in self.specification.networks}
        done: set[Entry | str] = set()
        stack: list[Entry | str] = [*reversed(by_name)]
        while stack:
            step = stack[-1]
            if step in done:
                stack.pop()
                continue
            needs = self.defined(by_name[step]) if isinstance(step, str) else self._needs(step)
            missing = [need for need in needs if need not in done]
            if missing:
                stack.extend(missing)
                continue
            done.add(stack.pop())
            yield step

    def _needs(self, entry: Entry) -> Iterator[Entry | str]:
        """The networks and defined entries that an entry's definition reads."""
        for reference in references(self.definitions[entry]):
            read = (reference.variable, reference.position)
            if self.variables[reference.variable].kind != "input":
                yield self.owners[reference.variable].name
            elif read in self.definitions:
                yield read

    def _defines(self, formula: Comparison) -> bool:
        """Take the equality as a definition, if it can be one."""
        if formula.comparator != "==":
            return False
        candidates = [(formula.left, formula.right), (formula.right, formula.left)]
        if all(isinstance(target, Reference) for target, _ in candidates):
            # The later variable is the copy: `(== X[0] X2[0])` defines X2.
            candidates.sort(key=lambda side: self._rank(side[0]), reverse=True)
        elif not any(isinstance(target, Reference) for target, _ in candidates):
            candidates = list(isolated(formula))
        return any(self._define(target, value) for target, value in candidates)

    def _rank(self, expression: Expression) -> int:
        return self.variables[expression.variable].start if isinstance(expression, Reference) else 0

    def _define(self, target: Expression, value: Expression) -> bool:
        if not isinstance(target, Reference) or not any(references(value)):
            return False  # an equality with a number is a bound
        entry = (target.variable, target.position)
        if self.variables[target.variable].kind != "input" or entry in self.definitions:
            return False
        if entry in self._free(references(value)):
            return False
        self.definitions[entry] = value
        # What depended on the entry depends on something else now.
        self._roots = {name: roots for name, roots in self._roots.items() if entry not in roots}
        return True

    def _free(self, read: Iterable[Reference]) -> set[Entry]:
        """The entries without a definition that others depend on, through networks too."""
        found: set[Entry] = set()
        seen: set[Entry] = set()
        networks: set[str] = set()
        pending = list(read)
        while pending:
            reference = pending.pop()
            entry = (reference.variable, reference.position)
            if self.variables[reference.variable].kind != "input":
                networks.add(self.owners[reference.variable].name)
            elif entry not in self.definitions:
                found.add(entry)
            elif entry not in seen:
                seen.add(entry)
                pending.extend(references(self.definitions[entry]))
        for name in networks:
            found |= self._free_of(name)
        return found

    def _free_of(self, name: str) -> set[Entry]:
        if name not in self._roots:
            (network,) = (n for n in self.specification.networks if n.name == name)
            entries = (
                Reference(variable.name, position, variable.start)
                for variable in network.of("input")
                for position in range(variable.size)
            )
            self._roots[name] = self._free(entries)
        return self._roots[name]
