"""What all rules of the exact encoding share: numbered variables and assertions about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import z3

from specdsl.backend import Deadline
from specdsl.backends.smt.backward import Backward, Between
from specdsl.backends.smt.forms import ExactRange, LinearForm, form_range
from specdsl.backends.smt.terms import Formula, Term, number, rational
from specdsl.graph import ops


@dataclass(frozen=True, slots=True, eq=False)
class Enclosed:
    """An entry `y` of a curve at `x` that the assertions only enclose."""

    name: str
    op: ops.Smooth
    x: Term
    y: Term

    def gap(self, model: Any) -> float:
        """How far the model's value is from the curve."""
        x, y = (float(rational(model.eval(t, model_completion=True))) for t in (self.x, self.y))
        with np.errstate(all="ignore"):
            return abs(float(self.op.value(np.array([x]))[0]) - y)


class Encoder:
    """Numbered variables with their symbols and exact ranges, and the assertions about them.

    `whole`: some variable is of Z3's sort Int; `products`: some assertion multiplies variables;
    `enclosed`: what the assertions do not state exactly.
    """

    def __init__(self, prefix: str, deadline: Deadline) -> None:
        self.prefix = prefix
        self.deadline = deadline
        self.symbols: list[Term] = []
        self.ranges: list[ExactRange] = []
        self.assertions: list[Formula] = []
        self.whole = False
        self.products = False
        self.enclosed: list[Enclosed] = []
        self._backward = Backward()
        self._names: set[str] = set()

    def check_time(self) -> None:
        """Raise OutOfTime at the deadline."""
        self.deadline.check()

    def variable(self, name: str, known: ExactRange, whole: bool = False) -> LinearForm:
        """A new variable, asserted to lie in its range; `whole`: of Z3's sort Int.

        A name that is taken gets primes: to Z3, equal names are one variable.
        """
        while name in self._names:
            name += "'"
        self._names.add(name)
        symbol: Term = z3.ToReal(z3.Int(name)) if whole else z3.Real(name)
        self.whole = self.whole or whole
        self.symbols.append(symbol)
        self.ranges.append(known)
        self.assertions += [symbol >= number(known.lower), symbol <= number(known.upper)]
        return LinearForm.of_variable(len(self.symbols) - 1)

    def expression(self, form: LinearForm) -> Term:
        """The form as a Z3 term."""
        terms: list[Any] = [number(c) * self.symbols[v] for v, c in form.terms.items()]
        if form.constant or not terms:
            terms.append(number(form.constant))
        return terms[0] if len(terms) == 1 else z3.Sum(terms)

    def range_of(self, form: LinearForm) -> ExactRange:
        """What the ranges of its variables imply, exactly: interval arithmetic."""
        return form_range(form, self.ranges)

    def narrow_range_of(self, form: LinearForm) -> ExactRange:
        """The same, narrower where substitution back to the inputs tells more."""
        known = self.range_of(form)
        found = self._backward.range_of(form, self.ranges)
        if found is None:
            return known
        return ExactRange(max(known.lower, found.lower), min(known.upper, found.upper))

    def know_between(self, below: LinearForm, above: LinearForm) -> None:
        """That the newest variable lies between two forms over earlier ones, for
        `narrow_range_of`.
        """
        self._backward.know(len(self.symbols) - 1, Between(below, above))

    def named(self, name: str, x: LinearForm, known: ExactRange) -> LinearForm:
        """The form as a variable of its own, unless it is one up to a factor."""
        if len(x.terms) == 1 and not x.constant:
            return x
        named = self.variable(name, known)
        self.assertions.append(self.expression(named) == self.expression(x))
        self.know_between(x, x)
        return named
