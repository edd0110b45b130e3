"""`maximize`, `minimize`, `largest`, `smallest`: proven bounds of optima, by bisection.

Every step is an ordinary query to an ordinary backend, and its evidence is checked like that of any
other: one end of the result is proven, the other attained by a witness.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import isqrt
from typing import TYPE_CHECKING

from specdsl.backend import Backend, Deadline, Unsupported
from specdsl.diagnostics import Diagnostic, SpecError
from specdsl.language.spec import OptimizeDeclaration, SearchDeclaration
from specdsl.query.query import Query
from specdsl.run.asking import Answered, Ask
from specdsl.run.bisection import Frontier, Range, Said, bisect, within, within_gap
from specdsl.run.decide import Method, show_witness, unsupported_at
from specdsl.run.outcomes import ShownWitness
from specdsl.run.query_result import QueryResult
from specdsl.verdict import Certificate, Falsified, Unknown, Verified

if TYPE_CHECKING:
    from specdsl.query.elaboration.questions.optimum import Optimisation, Site
    from specdsl.query.elaboration.values.resources import Resources

DEFAULT_GAP = Fraction(1, 1000)
"""Relative distance of the two ends at which an optimum counts as found."""

LEAST_GAP = Fraction(1, 10**6)
"""Ends this near have met whatever their size: an optimum of zero has no relative distance."""

STEP_SHARE = 0.25
"""Of the time left, what one step may take: a value too near the optimum to be decided must not
keep the others from being asked.
"""

SPARE = (Fraction(1, 64), Fraction(1, 4), Fraction(4))
"""How far beyond the bounds, in parts of their distance, a bisection starts: there a proof has a
margin. Where rounding takes more than the first leaves, the next may do.
"""

ROOT_DIGITS = 10**15
"""Square roots are rounded outward to this many parts."""


def gap_of(declaration: OptimizeDeclaration | SearchDeclaration) -> Fraction:
    """The relative gap written in `using`, or the default one."""
    choice = declaration.backend
    written = choice.options.get("gap") if choice else None
    return written if isinstance(written, Fraction) and written > 0 else DEFAULT_GAP


def answer_site(site: Site, resources: Resources, method: Method, gap: Fraction) -> QueryResult:
    """The result of one query; never raises for what a user or a solver did wrong."""
    start = time.monotonic()
    declaration = site.declaration
    base = open_result(site, method)
    deadline = Deadline.after(method.timeout)
    counted = _Counted(method.ask)
    method = replace(method, ask=counted)
    try:
        if isinstance(declaration, OptimizeDeclaration):
            found = _Optimum(site, resources, method, deadline, gap).solve(base)
        else:
            found = _Extent(site, declaration, resources, method, deadline).solve(base)
    except SpecError as error:
        found = _refused(base, tuple(d.at(site.span) for d in error.diagnostics))
    except Unsupported as error:
        found = _refused(base, (unsupported_at(error, site.span, site.id),))
    return replace(found, seconds=time.monotonic() - start, cached=counted.all_cached)


class _Counted:
    """Puts questions on, and counts who answered."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._asked = self._cached = 0

    def __call__(
        self, query: Query, backend: Backend, timeout: float | None, since: float
    ) -> Answered:
        answered = self._ask(query, backend, timeout, since)
        self._asked += 1
        self._cached += answered.cached
        return answered

    @property
    def all_cached(self) -> bool:
        """Whether no backend had anything to do, and there was something."""
        return 0 < self._asked == self._cached


def open_result(site: Site, method: Method) -> QueryResult:
    """The result before anything is known."""
    return QueryResult(
        id=site.id,
        number=site.number,
        kind=site.declaration.kind,
        method=method.backend.name,
        span=site.span,
        sample=site.sample_of.index if site.sample_of else None,
    )


def step_seconds(deadline: Deadline) -> float | None:
    """How long the next step may take, in seconds; None without a limit."""
    return None if deadline.end is None else max(STEP_SHARE * deadline.remaining, 0.1)


def answer_step(query: Query, method: Method, deadline: Deadline) -> Answered:
    """One step of a bisection, an obligation like any other."""
    limit = step_seconds(deadline)
    return method.ask(query, method.backend, limit, time.monotonic())


@dataclass(frozen=True, slots=True, eq=False)
class _Evidence:
    """Of the proven end: the certificate, or the bytes of a witness's."""

    certificate: Certificate | None = None
    content: bytes | None = None

    @classmethod
    def of(cls, answered: Answered) -> _Evidence:
        """What a step that was answered leaves."""
        verdict = answered.answer.verdict
        return cls(verdict.certificate if isinstance(verdict, Verified) else None, answered.file)

    def on(self, base: QueryResult) -> QueryResult:
        """A result with it."""
        return replace(base, certificate=self.certificate, content=self.content)


def _refused(base: QueryResult, found: Sequence[Diagnostic]) -> QueryResult:
    reason = "not asked: " + "; ".join(d.message for d in found)
    return replace(base, diagnostics=tuple(found), reason=reason)


# --- maximize and minimize -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Limits:
    """Ends of the objective over the whole set, from bounds alone: where a bisection starts."""

    lower: Fraction
    upper: Fraction


class _Optimum:
    """Narrows the ends of one optimum. `best` is attained at the argument of the result."""

    def __init__(
        self, site: Site, resources: Resources, method: Method, deadline: Deadline, gap: Fraction
    ) -> None:
        from specdsl.query.elaboration.questions.optimum import Optimisation

        self.problem: Optimisation = Optimisation(site, resources)
        self.method = method
        self.deadline = deadline
        self.met = within_gap(gap, LEAST_GAP)
        self.frontier = Frontier()
        self.shown: ShownWitness | None = None
        self.evidence = _Evidence()
        self.reason: str | None = None

    def solve(self, base: QueryResult) -> QueryResult:
        """The result with both ends as near as time allows."""
        anything = self.problem.better(None)
        if not anything.query.cases:
            return replace(base, reason="no point satisfies the conditions", complete=True)
        limits = self._limits(anything.query, anything.row, anything.fixed)
        good, bad = (
            (limits.upper, limits.lower) if self.problem.rises else (limits.lower, limits.upper)
        )
        if self._ask(None) == "verified":
            return replace(
                self.evidence.on(base), reason="no point satisfies the conditions", complete=True
            )
        if anything.row is None:
            # A constant, whatever the network does.
            self.frontier.proven = good
        else:
            good = self._start(good, bad)
        bisect(Range(good, bad, self.met), self._ask, self._going, self.frontier)
        return self._result(base)

    def _start(self, good: Fraction, bad: Fraction) -> Fraction:
        """A value beyond the bounds, proven as every other one is; and if none is, the nearest is
        still where a bisection starts.
        """
        away = max(abs(good - bad), LEAST_GAP * (1 + abs(good)))
        away = away if self.problem.rises else -away
        for spare in SPARE:
            start = good + spare * away
            if self._ask(start) == "verified":
                self.frontier.proven = start
                return start
        return good + SPARE[0] * away

    def _going(self) -> bool:
        return not self.deadline.passed

    def _ask(self, than: Fraction | None) -> Said:
        """Is there nothing better than a value?"""
        family = self.problem.better(than)
        answered = answer_step(family.query, self.method, self.deadline)
        match answered.answer.verdict:
            case Verified():
                self.evidence = _Evidence.of(answered)
                return "verified"
            case Falsified(witness):
                measure = family.measure_at(witness.point)
                value = None if measure is None else self._value(measure)
                if value is not None and self._improves(value):
                    self.frontier.refuted = value
                    self.shown = show_witness(family.query, witness)
                return "falsified"
            case Unknown(reason=reason):
                self.reason = reason
                return "unknown"

    def _improves(self, value: Fraction) -> bool:
        best = self.frontier.refuted
        return best is None or (value > best if self.problem.rises else value < best)

    def _value(self, measure: Fraction) -> Fraction:
        """What the objective surely attains: of squares the root, rounded to the safe side."""
        if not self.problem.squared:
            return measure
        return root(max(measure, Fraction(0)), up=not self.problem.rises)

    def _limits(self, query: Query, row: int | None, fixed: Fraction | None) -> _Limits:
        from specdsl.bounds import pre_activation_bounds
        from specdsl.graph.rewrites import simplify, simplify_exactly

        if row is None:
            value = fixed if fixed is not None else Fraction(0)
            ends = [(value, value)]
        else:
            graph = simplify(simplify_exactly(query.graph))
            ends: list[tuple[Fraction, Fraction]] = []
            for inputs in {id(c.inputs): c.inputs for c in query.cases}.values():
                # Where a bisection starts: looser bounds only cost it steps.
                bounds = pre_activation_bounds(graph, inputs)[graph.output]
                low, high = bounds.lower.reshape(-1)[row], bounds.upper.reshape(-1)[row]
                ends.append((Fraction(float(low)), Fraction(float(high))))
        lower, upper = min(low for low, _ in ends), max(high for _, high in ends)
        if self.problem.squared:
            lower, upper = root(max(lower, Fraction(0)), up=False), root(upper, up=True)
        return _Limits(lower, upper)

    def _result(self, base: QueryResult) -> QueryResult:
        proven, best = self.frontier.proven, self.frontier.refuted
        lower, upper = (best, proven) if self.problem.rises else (proven, best)
        closed = proven is not None and best is not None and self.met(proven, best)
        return replace(
            self.evidence.on(base),
            lower=lower,
            upper=upper,
            argument=self.shown,
            complete=closed,
            reason=None if closed else self._why(),
            steps=self.frontier.steps,
        )

    def _why(self) -> str:
        if self.deadline.passed:
            return self.deadline.expiry
        return self.reason or "no point was found"


def root(value: Fraction, *, up: bool) -> Fraction:
    """The square root, exact where it is rational, else rounded up or down."""
    top, bottom = isqrt(value.numerator), isqrt(value.denominator)
    if top * top == value.numerator and bottom * bottom == value.denominator:
        return Fraction(top, bottom)
    scaled = value * ROOT_DIGITS**2
    floor = isqrt(scaled.numerator // scaled.denominator)
    return Fraction(floor + up, ROOT_DIGITS)


# --- largest and smallest ------------------------------------------------------------------------


class _Extent:
    """Narrows the two ends of one radius query."""

    def __init__(
        self,
        site: Site,
        declaration: SearchDeclaration,
        resources: Resources,
        method: Method,
        deadline: Deadline,
    ) -> None:
        self.site = site
        self.declaration = declaration
        self.resources = resources
        self.method = method
        self.deadline = deadline
        self.frontier = Frontier()
        self.shown: ShownWitness | None = None
        self.evidence = _Evidence()
        self.reason: str | None = None

    def solve(self, base: QueryResult) -> QueryResult:
        """The largest value that is verified and the smallest that is falsified (or the other way
        round for `smallest`).
        """
        declaration = self.declaration
        largest = declaration.kind == "largest"
        ends = (declaration.lower, declaration.upper)
        good, bad = ends if largest else ends[::-1]
        if self._ask(good) != "verified":
            word = "least" if largest else "greatest"
            reason = f"the claim is not verified at the {word} value {float(good):.6g}"
            refuted = self.frontier.refuted
            return self._result(base, None, refuted, complete=refuted is not None, reason=reason)
        self.frontier.proven = good
        if self._ask(bad) == "verified":
            return self._result(base, bad, None, complete=True, reason=None)
        met = within(declaration.tolerance)
        bisect(Range(good, bad, met), self._ask, self._going, self.frontier)
        proven, refuted = self.frontier.proven, self.frontier.refuted
        near = refuted is not None and met(proven, refuted)
        reason = None if near else self._why()
        return self._result(base, proven, refuted, complete=near, reason=reason)

    def _result(
        self,
        base: QueryResult,
        proven: Fraction | None,
        refuted: Fraction | None,
        *,
        complete: bool,
        reason: str | None,
    ) -> QueryResult:
        ends = (proven, refuted) if self.declaration.kind == "largest" else (refuted, proven)
        return replace(
            self.evidence.on(base),
            lower=ends[0],
            upper=ends[1],
            argument=self.shown,
            complete=complete,
            reason=reason,
            steps=self.frontier.steps + 2,
        )

    def _going(self) -> bool:
        return not self.deadline.passed

    def _why(self) -> str:
        if self.deadline.passed:
            return self.deadline.expiry
        return self.reason or "the ends do not meet"

    def _ask(self, value: Fraction) -> Said:
        from specdsl.query.elaboration.questions.optimum import claim_at

        query = claim_at(self.site, value).query(self.resources)
        answered = answer_step(query, self.method, self.deadline)
        verdict = answered.answer.verdict
        if isinstance(verdict, Unknown):
            self.reason = verdict.reason
            return "unknown"
        holds = isinstance(verdict, Verified) == (query.kind == "forall")
        if holds:
            self.evidence = _Evidence.of(answered)
        else:
            best = self.frontier.refuted
            if best is None or abs(value - self._good) < abs(best - self._good):
                self.frontier.refuted = value
                if isinstance(verdict, Falsified):
                    self.shown = show_witness(query, verdict.witness)
        return "verified" if holds else "falsified"

    @property
    def _good(self) -> Fraction:
        declaration = self.declaration
        return declaration.lower if declaration.kind == "largest" else declaration.upper
