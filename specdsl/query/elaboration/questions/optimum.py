"""Optimisation and radius queries as families of yes-no questions.

`maximize e over x in R where c` asks, for a number t: is there a point of R with c and e > t?
`largest r in [a, b] such that p(r)` asks, for a number r: does p(r) hold? What the answers say of
the optimum is drawn by those who ask.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isinf
from pathlib import Path

import numpy as np

from specdsl.diagnostics import SpecError
from specdsl.graph.enclosure import enclose
from specdsl.graph.exact import NoValue
from specdsl.graph.graph import Graph
from specdsl.language import syntax
from specdsl.language.modules.wording import full_text
from specdsl.language.spec import ExactArray, OptimizeDeclaration, SearchDeclaration, Spec
from specdsl.query.elaboration.expressions.builtins import BUILTINS
from specdsl.query.elaboration.expressions.comparisons import compared
from specdsl.query.elaboration.expressions.interpret import Interpreter
from specdsl.query.elaboration.questions.claims import Alternating, Claims, Question, alternation
from specdsl.query.elaboration.questions.goal import Goal
from specdsl.query.elaboration.questions.obligation import Assembler, Obligation
from specdsl.query.elaboration.values.environment import EMPTY, Environment, Sample, bind_names
from specdsl.query.elaboration.values.formula import Formula, conjunction
from specdsl.query.elaboration.values.meaning import Meaning
from specdsl.query.elaboration.values.regions import FiniteSet
from specdsl.query.elaboration.values.resources import Resources
from specdsl.query.elaboration.values.scene import Scene
from specdsl.query.elaboration.values.symbolic import Extreme, Linear, Root, Tensor, constant
from specdsl.query.query import Query
from specdsl.source import Span


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """One query of a spec, for one member of its `for` sets.

    `id` is unique in a run; `number` is the position in `spec.queries`; `sample_of` the sample that
    it is about, if any.
    """

    id: str
    number: int
    spec: Spec
    declaration: OptimizeDeclaration | SearchDeclaration
    environment: Environment
    sample_of: Sample | None = None

    @property
    def span(self) -> Span:
        """Where it was written."""
        return self.declaration.span


def sites(spec: Spec, resources: Resources) -> tuple[Site, ...]:
    """Every query of the spec, `for` sets unrolled. Raises SpecError for what is wrong there."""
    interpreter = Interpreter(spec, Scene(), resources, BUILTINS)
    found: list[Site] = []
    taken: dict[str, int] = {}
    for number, declaration in enumerate(spec.queries):
        for path, environment, sample in _members(declaration.per, interpreter):
            title = declaration.name or _title(declaration)
            title += f"[{','.join(path)}]" if path else ""
            name = f"{Path(spec.source.name).name}::{title}"
            taken[name] = taken.get(name, 0) + 1
            unique = name if taken[name] == 1 else f"{name}#{taken[name]}"
            found.append(Site(unique, number, spec, declaration, environment, sample))
    return tuple(found)


def _title(declaration: OptimizeDeclaration | SearchDeclaration) -> str:
    if isinstance(declaration, SearchDeclaration):
        return f"{declaration.kind} {declaration.variable}"
    return f"{declaration.kind} {full_text(declaration.objective)}"


def _members(
    binders: Sequence[syntax.Binder], interpreter: Interpreter
) -> Iterator[tuple[tuple[str, ...], Environment, Sample | None]]:
    """The members of all `for` sets together: their texts, names, and the innermost sample."""
    states: list[tuple[tuple[str, ...], Environment, Sample | None]] = [((), EMPTY, None)]
    for binder in binders:
        following: list[tuple[tuple[str, ...], Environment, Sample | None]] = []
        for path, environment, sample in states:
            members = interpreter.set(binder.set, environment)
            if not isinstance(members, FiniteSet):
                text = "`for` goes through a finite set: a dataset, a range, `one_of(...)`"
                raise SpecError.of("E0752", text, binder.span)
            for member in members.members:
                bound = environment.bind(bind_names(binder, member.value))
                about = member.value if isinstance(member.value, Sample) else sample
                following.append(((*path, member.text), bound, about))
        states = following
    yield from states


# --- optimisation --------------------------------------------------------------------------------


class Optimisation:
    """One `maximize` or `minimize`. Objectives that are l2 norms are measured by their squares."""

    def __init__(self, site: Site, resources: Resources) -> None:
        declaration = site.declaration
        if not isinstance(declaration, OptimizeDeclaration):
            raise TypeError(f"{site.id} is no optimisation")
        self.site = site
        self.declaration = declaration
        try:
            self._build(resources)
        except SpecError as error:
            raise error.at(site.span, f"in `{site.id}`") from error

    def _build(self, resources: Resources) -> None:
        site, declaration = self.site, self.declaration
        self.claims = Claims(site.spec, resources)
        self._taken: list[Meaning] = []
        clauses: list[syntax.Clause] = []
        for binder in declaration.binders:
            clauses.append(syntax.QuantifierClause("exists", (binder,), span=binder.span))
        if declaration.where is not None:
            where = declaration.where
            clauses.append(syntax.WhereClause(where, span=where.span))
        clauses.append(syntax.ShowClause(declaration.objective, span=declaration.objective.span))
        try:
            self._inside = self.claims.points_of(tuple(clauses), site.environment, self._take)
        except Alternating as found:
            raise alternation(found) from found
        if not self._taken:
            raise SpecError.of("E0752", "nothing is in the set", declaration.span)
        self.objective = self._taken[-1]
        self.squared = isinstance(self.objective, Root)

    def _take(self, expression: syntax.Expr, environment: Environment) -> Formula:
        """At the end of the clauses: the objective's value, and no further condition."""
        self._taken.append(self.claims.interpreter.meaning(expression, environment))
        return conjunction(())

    @property
    def rises(self) -> bool:
        """Whether larger is better."""
        return self.declaration.kind == "maximize"

    def better(self, than: Fraction | None) -> Family:
        """The query for a point better than a value (strictly), or for any point of the set."""
        wanted = self._inside
        if than is not None:
            operator = ">" if self.rises else "<"
            parts = compared(
                operator,
                self.objective,
                constant(than),
                self.claims.scene,
                self.declaration.objective,
            )
            wanted = conjunction((wanted, conjunction(parts)))
        question = Question(self.claims, wanted, "forall")
        assembler = Assembler(question, self.site.span)
        cases = assembler.cases(assembler.assembly, wanted)
        measure = self._measure()
        row = None
        if isinstance(measure, Linear):
            placed = measure.renamed(assembler.layout.places)
            if isinstance(placed, Linear):
                row, measure = assembler.assembly.row(placed), placed
            else:
                measure = placed
        query = assembler.finish(self.site.id, self.declaration.kind, cases)
        fixed = measure if isinstance(measure, Fraction) else None
        return Family(query, row, fixed, self.rises)

    def _measure(self) -> Fraction | Linear:
        """The objective as one expression; of an l2 norm its square."""
        objective = self.objective
        if isinstance(objective, Root):
            return objective.square
        if isinstance(objective, Extreme):
            return self.claims.scene.value_of(objective)
        if isinstance(objective, Tensor) and objective.scalar is not None:
            return objective.scalar
        text = "an objective is one number"
        raise SpecError.of("E0752", text, self.declaration.objective.span)


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """A query, and where its graph computes the measure of the objective: margin `row`, or the
    constant `fixed`. `rises`: whether larger is better.
    """

    query: Query
    row: int | None
    fixed: Fraction | None
    rises: bool

    def measure_at(self, point: ExactArray) -> Fraction | None:
        """What the measure surely attains at an exact flat point: its exact value, or the worse end
        of where an elementary function leaves it. None where it has no value, or any.
        """
        if self.row is None:
            return self.fixed if self.fixed is not None else Fraction(0)
        graph: Graph = self.query.graph
        shaped = np.asarray(point, dtype=object).reshape(graph.shapes[graph.input])
        try:
            found = enclose(graph, {graph.input: shaped}, nodes=[graph.output])[graph.output]
        except NoValue:
            return None
        value, error = found.value.reshape(-1)[self.row], float(found.error.reshape(-1)[self.row])
        if isinf(error):
            return None
        return Fraction(value) + (-1 if self.rises else 1) * Fraction(error)


# --- radius queries ------------------------------------------------------------------------------


def claim_at(site: Site, value: Fraction) -> Obligation:
    """The claim of a `largest` or `smallest` query with its variable at a value."""
    declaration = site.declaration
    if not isinstance(declaration, SearchDeclaration):
        raise TypeError(f"{site.id} has no variable")
    environment = site.environment.bind({declaration.variable: constant(value)})
    return Obligation(
        id=f"{site.id} at {value}",
        property_name=declaration.kind,
        span=declaration.claim.span,
        check=0,
        kind="forall",
        spec=site.spec,
        goal=Goal(declaration.claim, environment, negated=False),
        sample_of=site.sample_of,
    )
