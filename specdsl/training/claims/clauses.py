"""From a property to its variables, what is known of them, and what is claimed for all of them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from specdsl.diagnostics import SpecError
from specdsl.language import syntax
from specdsl.language.spec import Spec
from specdsl.query.elaboration.questions.goal import (
    Goal,
    effective,
    has_quantifier,
    one_binder_each,
    open_expression,
)
from specdsl.query.elaboration.values.environment import bind_names, let_locals
from specdsl.query.elaboration.values.formula import (
    And,
    Below,
    Formula,
    Or,
    Stated,
    conjunction,
    disjunction,
    negate,
    truth,
)
from specdsl.query.elaboration.values.meaning import ImageSet
from specdsl.query.elaboration.values.regions import FiniteSet, Region
from specdsl.query.elaboration.values.scene import Quantified
from specdsl.query.elaboration.values.symbolic import INPUT, Linear, Tensor
from specdsl.source import Span
from specdsl.training.claims.reading import ClaimInterpreter
from specdsl.training.claims.scene import ClaimScene, untrainable


@dataclass(frozen=True, slots=True, eq=False)
class Ranged:
    """A variable, the set it ranges over as written, and where that was written."""

    variable: Quantified
    region: Region
    span: Span


@dataclass(frozen=True, slots=True)
class Condition:
    """What the variables satisfy, and where it was written."""

    formula: Formula
    span: Span


class Clauses:
    """Reads a property; variables and what restricts them gather on the way.

    Every quantifier over an infinite set must be a `forall` once the claim is read under its
    negations: a training makes claims true at all points of a set.
    """

    def __init__(self, spec: Spec, scene: ClaimScene) -> None:
        self.spec = spec
        self.scene = scene
        self.interpreter = ClaimInterpreter(spec, scene)
        self.ranged: list[Ranged] = []
        self.conditions: list[Condition] = []
        self._aside: Span | None = None

    def read(self, goal: Goal) -> Formula:
        """What holds for all values of the variables. Raises SpecError, E0730 among them."""
        step = goal.step
        if isinstance(step, tuple):
            return self._clauses(step, goal, universal=not goal.negated)
        if not has_quantifier(step, self.spec):
            found = self.interpreter.formula(step, goal.environment)
            return negate(found) if goal.negated else found
        opened = open_expression(step, goal, self.interpreter)
        if opened is not None:
            return self.read(opened)
        if isinstance(step, syntax.Binary) and step.operator in {"and", "or", "=>"}:
            return self._connective(step, goal)
        found = self.interpreter.formula(step, goal.environment)
        return negate(found) if goal.negated else found

    @contextmanager
    def _beside(self, span: Span | None) -> Generator[None]:
        """While inside, the claim is one of several: a condition would restrict the others too."""
        before = self._aside
        self._aside = before or span
        try:
            yield
        finally:
            self._aside = before

    def _connective(self, step: syntax.Binary, goal: Goal) -> Formula:
        first = Goal(step.left, goal.environment, goal.negated != (step.operator == "=>"))
        second = Goal(step.right, goal.environment, goal.negated)
        join = conjunction if (step.operator == "and") != goal.negated else disjunction
        with self._beside(step.span):
            return join((self.read(first), self.read(second)))

    # --- clauses ---------------------------------------------------------------------------------

    def _clauses(
        self, clauses: tuple[syntax.Clause, ...], goal: Goal, *, universal: bool
    ) -> Formula:
        """`universal`: the quantifier that a condition belongs to is a `forall` as written."""
        environment, negated = goal.environment, goal.negated
        if not clauses:
            return truth(not negated)
        clause, rest = clauses[0], clauses[1:]
        match clause:
            case syntax.Let():
                bound = environment.bind(let_locals(clause, environment))
                return self._clauses(rest, Goal(rest, bound, negated), universal=universal)
            case syntax.WhereClause(condition=condition):
                return self._where(condition, rest, goal, universal)
            case syntax.ShowClause(claim=claim):
                shown = self.read(Goal(claim, environment, negated))
                if not rest:
                    return shown
                join = disjunction if negated else conjunction
                return join((shown, self._clauses(rest, goal, universal=universal)))
            case syntax.QuantifierClause(kind=kind, binders=(binder,)):
                return self._quantifier(kind, binder, rest, goal)
            case syntax.QuantifierClause():
                return self._clauses((*one_binder_each(clause), *rest), goal, universal=universal)

    def _where(
        self,
        condition: syntax.Expr,
        rest: tuple[syntax.Clause, ...],
        goal: Goal,
        universal: bool,
    ) -> Formula:
        """Conditions on variables restrict the region; those on the sample alone are premises."""
        assumed = self.interpreter.formula(condition, goal.environment)
        premises: list[Formula] = []
        every = universal != goal.negated
        for part in assumed.parts if isinstance(assumed, And) else (assumed,):
            if not self._varies(part):
                premises.append(part)
            elif self._aside is not None or not every:
                raise untrainable(
                    "a condition on variables stands in one part of a claim, and all parts share "
                    "one region",
                    condition.span,
                    help="make it a property of its own, and a term for each",
                )
            else:
                self.conditions.append(Condition(part, condition.span))
        inner = self._clauses(rest, goal, universal=universal)
        premise = conjunction(premises)
        return disjunction((negate(premise), inner)) if every else conjunction((premise, inner))

    def _varies(self, formula: Formula) -> bool:
        """Whether a formula speaks about more than the sample and named numbers."""
        match formula:
            case Below(expression, _):
                return self.depends(expression)
            case Stated(claim, _):
                return self._varies(claim)
            case And(parts) | Or(parts):
                return any(self._varies(part) for part in parts)

    def depends(self, expression: Linear) -> bool:
        """Whether variables or computed values are in an expression."""
        size = self.scene.given_size
        return any(
            source != INPUT or position >= size for (source, position), _ in expression.terms
        )

    # --- quantifiers -----------------------------------------------------------------------------

    def _quantifier(
        self, kind: str, binder: syntax.Binder, rest: tuple[syntax.Clause, ...], goal: Goal
    ) -> Formula:
        every = effective(kind, goal.negated) == "forall"
        found = self.interpreter.set(binder.set, goal.environment)
        if isinstance(found, FiniteSet):
            with self._beside(binder.span if len(found.members) > 1 else None):
                parts = [
                    self._clauses(
                        rest,
                        Goal(
                            rest, goal.environment.bind(bind_names(binder, m.value)), goal.negated
                        ),
                        universal=kind == "forall",
                    )
                    for m in found.members
                ]
            return conjunction(parts) if every else disjunction(parts)
        if not every:
            raise untrainable(
                "it claims that some value exists in an infinite set",
                binder.span,
                help="claim it for all values of a set, or for some of finitely many",
            )
        if isinstance(found, ImageSet):
            raise untrainable("a variable ranges over an image", binder.span)
        bound = goal.environment.bind({binder.names[0]: self._variable(binder, found)})
        return self._clauses(rest, Goal(rest, bound, goal.negated), universal=not goal.negated)

    def _variable(self, binder: syntax.Binder, region: Region) -> Tensor:
        if len(binder.names) != 1:
            raise SpecError.of("E0752", "a variable over a region has one name", binder.span)
        try:
            variable = self.scene.quantify(binder.names[0], region, binder.span)
        except SpecError as error:
            raise error.at(binder.span) from error
        self.ranged.append(Ranged(self.scene.variables[-1], region, binder.span))
        for condition in region.conditions:
            self.conditions.append(Condition(condition(variable), binder.set.span))
        return variable
