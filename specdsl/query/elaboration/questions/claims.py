"""From a claim to the formula of the points a query looks for, quantifiers and all.

A query asks whether a point exists. So every quantifier must come down to "some point" once the
claim is read under its negations: `forall` where the claim is to be proven (a point where it
fails), `exists` where a witness is wanted. Both in one claim alternate, which is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from specdsl.diagnostics import SpecError
from specdsl.language import syntax
from specdsl.language.spec import Spec
from specdsl.query.elaboration.expressions.builtins import BUILTINS
from specdsl.query.elaboration.expressions.interpret import Interpreter
from specdsl.query.elaboration.questions.goal import (
    Goal,
    Kind,
    Step,
    has_quantifier,
    one_binder_each,
    open_expression,
)
from specdsl.query.elaboration.questions.hulls import fixed_hull, has_point, is_empty
from specdsl.query.elaboration.values.environment import (
    Environment,
    Fixed,
    Local,
    bind_names,
    let_locals,
)
from specdsl.query.elaboration.values.formula import (
    FALSE,
    Formula,
    conjunction,
    disjunction,
    negate,
)
from specdsl.query.elaboration.values.meaning import ImageSet
from specdsl.query.elaboration.values.membership import conditions_on
from specdsl.query.elaboration.values.regions import FiniteSet, Region
from specdsl.query.elaboration.values.resources import Resources
from specdsl.query.elaboration.values.scene import Scene
from specdsl.source import Span


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """Is there a point where `wanted` holds? For a `forall` that is where the claim fails."""

    claims: Claims
    wanted: Formula
    kind: Kind


Leaf = Callable[[syntax.Expr, Environment], Formula]


class Alternating(Exception):
    """A quantifier that does not come down to "some point". `kind`: what would make it so."""

    def __init__(self, span: Span, outer: Span | None) -> None:
        self.span = span
        self.outer = outer
        super().__init__("alternating quantifiers")


def ask(goal: Goal, spec: Spec, resources: Resources) -> Question:
    """The question that decides a claim. Raises SpecError E0705 where quantifiers alternate."""
    refused: Alternating | None = None
    for kind in ("forall", "exists"):
        claims = Claims(spec, resources)
        opposite = goal.negated if kind == "exists" else not goal.negated
        try:
            wanted = claims.points(goal.step, goal.environment, opposite)
        except Alternating as found:
            refused = found if refused is None or found.outer else refused
            continue
        return Question(claims, wanted, "forall" if kind == "forall" else "exists")
    assert refused is not None
    raise alternation(refused)


def alternation(found: Alternating) -> SpecError:
    """The error that says what to do instead."""
    return SpecError.of(
        "E0705",
        "alternating quantifiers: an `exists` stands inside a `forall`, or the other way round",
        found.span,
        secondary=[(found.outer, "inside this one")] if found.outer else [],
        help="name the value that should exist, `let z = ...`, or quantify over a finite set",
    )


class Claims:
    """Reads claims; variables gather in `scene`.

    `assumed` holds what is known on the way to the innermost claim, `conditions` where that was
    written, `outer` the last variable.
    """

    def __init__(self, spec: Spec, resources: Resources) -> None:
        self.spec = spec
        self.scene = Scene()
        self.interpreter = Interpreter(spec, self.scene, resources, BUILTINS)
        self.assumed: list[Formula] = []
        self.conditions: list[syntax.Expr] = []
        self.outer: Span | None = None
        self._aside = 0
        self._leaf: Leaf | None = None

    @contextmanager
    def _alternatives(self, applies: bool) -> Generator[None]:
        """While inside, the claim is one of several: nothing of it is known for all points."""
        self._aside += applies
        try:
            yield
        finally:
            self._aside -= applies

    def points_of(
        self, clauses: tuple[syntax.Clause, ...], environment: Environment, leaf: Leaf
    ) -> Formula:
        """The points that quantifiers and conditions leave; `leaf` says what the end means."""
        self._leaf = leaf
        return self._clauses(clauses, environment, opposite=False, universal=False)

    def points(self, step: Step, environment: Environment, opposite: bool) -> Formula:
        """Where the step holds, or fails if `opposite`; its variables are somewhere."""
        if isinstance(step, tuple):
            return self._clauses(step, environment, opposite, universal=False)
        if not has_quantifier(step, self.spec):
            found = self.interpreter.formula(step, environment)
            return negate(found) if opposite else found
        opened = open_expression(step, Goal(step, environment, opposite), self.interpreter)
        if opened is not None:
            return self.points(opened.step, opened.environment, opened.negated)
        if isinstance(step, syntax.Binary) and step.operator in {"and", "or", "=>"}:
            return self._connective(step, environment, opposite)
        found = self.interpreter.formula(step, environment)
        return negate(found) if opposite else found

    def _connective(self, step: syntax.Binary, environment: Environment, opposite: bool) -> Formula:
        flipped = step.operator == "=>"
        both = (step.operator == "and") != opposite
        join = conjunction if both else disjunction
        known = self._known(step.left, environment)
        if known is not None:
            holds = known != (opposite != flipped)
            if holds != both:  # decides alone: the other side need not even make sense
                return join((FALSE, FALSE)) if both else conjunction(())
            return self.points(step.right, environment, opposite)
        with self._alternatives(not both):
            left = self.points(step.left, environment, opposite != flipped)
            right = self.points(step.right, environment, opposite)
        return join((left, right))

    def _known(self, side: syntax.Expr, environment: Environment) -> bool | None:
        if has_quantifier(side, self.spec):
            return None
        return self.interpreter.truth(side, environment)

    # --- clauses ---------------------------------------------------------------------------------

    def _clauses(
        self,
        clauses: tuple[syntax.Clause, ...],
        environment: Environment,
        opposite: bool,
        universal: bool,
    ) -> Formula:
        """`universal`: the quantifier that a `where` belongs to ranges over a finite set and must
        hold for all of it (as seen under `opposite`).
        """
        if not clauses:
            return FALSE if opposite else conjunction(())
        clause, rest = clauses[0], clauses[1:]
        match clause:
            case syntax.Let():
                bound = environment.bind(let_locals(clause, environment))
                return self._clauses(rest, bound, opposite, universal)
            case syntax.WhereClause(condition=condition):
                return self._where(condition, rest, environment, opposite, universal)
            case syntax.ShowClause(claim=claim) if self._leaf is not None:
                return self._leaf(claim, environment)
            case syntax.ShowClause(claim=claim):
                shown = self.points(claim, environment, opposite)
                if not rest:
                    return shown
                join = disjunction if opposite else conjunction
                return join((shown, self._clauses(rest, environment, opposite, universal)))
            case syntax.QuantifierClause(kind=kind, binders=(binder,)):
                return self._quantifier(kind, binder, rest, environment, opposite)
            case syntax.QuantifierClause():
                split = (*one_binder_each(clause), *rest)
                return self._clauses(split, environment, opposite, universal)

    def _where(
        self,
        condition: syntax.Expr,
        rest: tuple[syntax.Clause, ...],
        environment: Environment,
        opposite: bool,
        universal: bool,
    ) -> Formula:
        assumed = self.interpreter.formula(condition, environment)
        if universal:
            if assumed == FALSE:
                return conjunction(())
            with self._alternatives(True):
                inner = self._clauses(rest, environment, opposite, universal)
            return disjunction((negate(assumed), inner))
        if not self._aside:
            self.assumed.append(assumed)
            self.conditions.append(condition)
        if assumed == FALSE:
            return FALSE
        return conjunction((assumed, self._clauses(rest, environment, opposite, universal)))

    # --- quantifiers -----------------------------------------------------------------------------

    def _quantifier(
        self,
        kind: str,
        binder: syntax.Binder,
        rest: tuple[syntax.Clause, ...],
        environment: Environment,
        opposite: bool,
    ) -> Formula:
        found = self.interpreter.set(binder.set, environment)
        some = (kind == "exists") != opposite
        if isinstance(found, FiniteSet):
            join = disjunction if some else conjunction
            with self._alternatives(len(found.members) > 1):
                parts = [
                    self._clauses(
                        rest, environment.bind(bind_names(binder, m.value)), opposite, not some
                    )
                    for m in found.members
                ]
            return join(parts)
        if not some:
            raise Alternating(binder.span, self.outer)
        self.outer = binder.span
        if isinstance(found, ImageSet):
            return self._image(found, binder, rest, environment, opposite)
        bound, conditions = self._variable(binder, found)
        if bound is None:
            return FALSE
        if not self._aside:
            self.assumed.append(conditions)
        inner = self._clauses(rest, environment.bind(bound), opposite, universal=False)
        return conjunction((conditions, inner))

    def _variable(
        self, binder: syntax.Binder, region: Region
    ) -> tuple[dict[str, Local] | None, Formula]:
        """The name with its new variable (None where the set is empty), and its conditions."""
        if len(binder.names) != 1:
            raise SpecError.of("E0752", "a variable over a region has one name", binder.span)
        (name,) = binder.names
        hull = fixed_hull(region, self.scene)
        if self._aside and is_empty(hull):
            return None, FALSE
        if self._aside and not has_point(hull):
            # The other alternatives need the joint set to have points whatever this one says.
            text = f"it is not plain that the set of `{name}` has a point"
            raise SpecError.of("E0901", text, binder.span, help="move the quantifier to the front")
        try:
            variable = self.scene.quantify(name, hull, binder.span)
        except SpecError as error:
            raise error.at(binder.span) from error
        return {name: variable}, conditions_on(region, variable, self.scene)

    def _image(
        self,
        image: ImageSet,
        binder: syntax.Binder,
        rest: tuple[syntax.Clause, ...],
        environment: Environment,
        opposite: bool,
    ) -> Formula:
        """A variable over `{ f(t) for t in T }` is f of a variable over T."""
        if len(binder.names) != 1:
            raise SpecError.of("E0752", "a variable over an image has one name", binder.span)
        inner, parts = image.environment, list[Formula]()
        for source in image.expression.binders:
            found = self.interpreter.set(source.set, inner)
            if not isinstance(found, Region):
                text = "an image over a finite and an infinite set is not supported yet"
                raise SpecError.of("E0901", text, source.span)
            bound, conditions = self._variable(source, found)
            if bound is None:
                return FALSE
            inner = inner.bind(bound)
            parts.append(conditions)
        if image.expression.where is not None:
            parts.append(self.interpreter.formula(image.expression.where, inner))
        if not self._aside:
            self.assumed += parts
        value = Fixed(self.interpreter.meaning(image.expression.body, inner))
        named = environment.bind({binder.names[0]: value})
        return conjunction((*parts, self._clauses(rest, named, opposite, universal=False)))
