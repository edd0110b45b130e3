"""Which of two entries is larger, asked of what they are computed from."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import inf

from specdsl.graph import ops
from specdsl.graph.graph import Graph
from specdsl.graph.rewrites.entry_forms import ZERO, Entry, EntryForms, Form
from specdsl.graph.rewrites.share_repeats import same

_RISING = (
    ops.Sigmoid,
    ops.Tanh,
    ops.Erf,
    ops.Softsign,
    ops.Softplus,
    ops.Exp,
    ops.Log,
    ops.Sqrt,
)
"""Functions that rise strictly wherever they are defined."""

_NEVER_NEGATIVE = (ops.Square, ops.Relu, ops.Abs)

_AT_ZERO: Mapping[type[ops.Op], Fraction] = {
    ops.Sigmoid: Fraction(1, 2),
    ops.Tanh: Fraction(0),
    ops.Erf: Fraction(0),
    ops.Elu: Fraction(0),
    ops.Exp: Fraction(1),
}
"""Values at 0: for most functions the only rational number whose argument is rational too."""


@dataclass(slots=True)
class Ordering:
    """Finds simpler forms of the same sign. `_sums` holds what `_outline` has worked out."""

    graph: Graph
    forms: EntryForms
    _sums: dict[Hashable, _Sum | None] = field(default_factory=dict[Hashable, "_Sum | None"])

    def has_values_everywhere(self) -> bool:
        """Whether it is plain that every entry has a value, whatever the input is."""
        return all(
            self._is_positive(self.forms.argument((node, position)))
            for node, op, _ in self.graph
            if isinstance(op, ops.Smooth) and not _is_total(op)
            for position in range(self.graph.size(node))
        )

    def same_sign(self, form: Form) -> Form:
        """A form that is positive, zero and negative where `form` is; itself if none is simpler.

        Where ops in between have no value (the logarithm of -1), nothing is said.
        """
        found = self._step(form)
        while found is not None and not self._grows(found):
            form, found = found, self._step(found)
        return form

    def _grows(self, form: Form) -> bool:
        """Whether exponentials are added up in it: `1 / s - 1 / t` is of a better size than
        `t - s`.
        """
        return any(isinstance(self.graph.op(node), ops.Exp) for node, _ in form.terms)

    def _step(self, form: Form) -> Form | None:
        terms = list(form.terms.items())
        if len(terms) == 2 and form.constant == 0 and terms[0][1] == -terms[1][1]:
            simpler = self._difference(terms[0][0], terms[1][0])
        elif len(terms) == 1:
            simpler = self._against(terms[0][0], -form.constant / terms[0][1])
        else:
            return None
        if simpler is None:
            return None
        return simpler if terms[0][1] > 0 else simpler.times(Fraction(-1))

    def _difference(self, first: Entry, second: Entry) -> Form | None:
        """A form with the sign of `first - second`."""
        op = self.graph.op(first[0])
        if not same(op, self.graph.op(second[0])):
            return None
        if isinstance(op, ops.Multiply):
            return self._without_factor(first, second)
        if not isinstance(op, ops.Smooth | ops.LeakyRelu):
            return None
        a, b = self.forms.argument(first), self.forms.argument(second)
        direction = self._direction(op, a, b)
        return None if direction is None else self._gap(a, b).times(Fraction(direction))

    def _against(self, entry: Entry, value: Fraction) -> Form | None:
        """A form with the sign of `entry - value`."""
        op = self.graph.op(entry[0])
        at = _argument_of(op, value)
        if at is None:
            return None
        argument = self.forms.argument(entry)
        direction = self._direction(op, argument, argument)
        if direction is None:
            return None
        return argument.minus(Form({}, at)).times(Fraction(direction))

    def _direction(self, op: ops.Op, a: Form, b: Form) -> int | None:
        """1 where the op rises strictly over both arguments, -1 where it falls."""
        match op:
            case ops.LeakyRelu():
                return 1 if op.slope > 0 else None
            case ops.Elu():
                return 1 if op.alpha > 0 else None
            case ops.Power():
                return (1 if op.exponent > 0 else -1) if op.exponent else None
            case ops.Reciprocal():
                return -1 if self._is_positive(a) and self._is_positive(b) else None
            case _:
                return 1 if isinstance(op, _RISING) else None

    def _without_factor(self, first: Entry, second: Entry) -> Form | None:
        """Of `u r - v r` with a positive r the sign of `u - v`."""
        (u, r), (v, s) = (
            [self.forms.of((o, position)) for o in self.graph.operands(node)]
            for node, position in (first, second)
        )
        for a, p in ((u, r), (r, u)):
            for b, q in ((v, s), (s, v)):
                if p.key == q.key and self._is_positive(p):
                    return self._gap(a, b)
        return None

    def _is_positive(self, form: Form) -> bool:
        """Whether the form adds up numbers and entries that are never negative, one of them
        positive.
        """
        if form.constant < 0 or any(c < 0 for c in form.terms.values()):
            return False
        positive = [self._is_positive_entry(entry) for entry in form.terms]
        if not (form.constant or any(positive)):
            return False
        return all(
            known or isinstance(self.graph.op(node), _NEVER_NEGATIVE)
            for known, (node, _) in zip(positive, form.terms, strict=True)
        )

    def _is_positive_entry(self, entry: Entry) -> bool:
        op = self.graph.op(entry[0])
        if isinstance(op, ops.Reciprocal):
            return self._is_positive(self.forms.argument(entry))
        return isinstance(op, ops.Exp | ops.Sigmoid | ops.Softplus)

    # --- sums of exponentials ---------------------------------------------------------------------

    def _gap(self, a: Form, b: Form) -> Form:
        """A form with the sign of `a - b`.

        Where `b = e^d a` for a positive a, it is `-d`: of `1 / softmax_i` and `1 / softmax_j`, d is
        the difference of the logits.
        """
        first, second = self._sum(a), self._sum(b)
        if first is not None and second is not None and first.outline == second.outline:
            return first.largest.minus(second.largest)
        return a.minus(b)

    def _sum(self, form: Form) -> _Sum | None:
        """The form as a sum of exponentials, if it is one."""
        if form.key not in self._sums:
            self._sums[form.key] = self._outline(form)
        return self._sums[form.key]

    def _outline(self, form: Form) -> _Sum | None:
        weighted: list[tuple[Form, Fraction]] = []
        if form.constant:
            weighted.append((ZERO, form.constant))
        for entry, coefficient in form.terms.items():
            if not isinstance(self.graph.op(entry[0]), ops.Exp):
                return None
            weighted.append((self.forms.argument(entry), coefficient))
        if not weighted or any(coefficient <= 0 for _, coefficient in weighted):
            return None
        last = weighted[0][0]
        for exponent, _ in weighted[1:]:
            if last.comes_before(exponent):
                last = exponent
        total: dict[Hashable, Fraction] = {}
        for exponent, coefficient in weighted:
            key = exponent.minus(last).key
            total[key] = total.get(key, Fraction(0)) + coefficient
        return _Sum(frozenset(total.items()), last)


@dataclass(frozen=True, slots=True)
class _Sum:
    """`e^largest * sum of coefficient * e^exponent`: the outline holds the exponents, which are
    the same for sums that are multiples of one another by an exponential.
    """

    outline: Hashable
    largest: Form


def _is_total(op: ops.Smooth) -> bool:
    """Whether it is defined for all numbers."""
    return op.domain == (-inf, inf) and not op.poles


def _argument_of(op: ops.Op, value: Fraction) -> Fraction | None:
    """The rational argument at which the op has this value, if it is known."""
    match op:
        case ops.LeakyRelu() if op.slope > 0:
            return value if value >= 0 else value / Fraction(op.slope)
        case ops.Log() if value == 0:
            return Fraction(1)
        case ops.Reciprocal() if value > 0:
            return 1 / value
        case ops.Softsign() if abs(value) < 1:
            return value / (1 - abs(value))
        case ops.Sqrt() if value >= 0:
            return value * value
        case _:
            return Fraction(0) if _AT_ZERO.get(type(op)) == value else None
