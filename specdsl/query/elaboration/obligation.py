"""`Obligation`: one claim to decide. Its query is built when it is asked for, and not kept."""

from __future__ import annotations

from dataclasses import dataclass

from specdsl.diagnostics import Diagnostic, SpecError, diagnostic
from specdsl.language import syntax
from specdsl.language.spec import ExactArray, Spec
from specdsl.query.elaboration.assemble import MAX_CASES, Assembly, joint_region
from specdsl.query.elaboration.builtins import BUILTINS
from specdsl.query.elaboration.environment import Environment, Sample, let_locals
from specdsl.query.elaboration.formula import Formula, TooManyClauses, conjunction, negate
from specdsl.query.elaboration.goal import (
    Goal,
    Kind,
    effective,
    has_quantifier,
    one_binder_each,
    open_expression,
)
from specdsl.query.elaboration.interpret import Interpreter
from specdsl.query.elaboration.regions import FiniteSet, Unbounded
from specdsl.query.elaboration.resources import Resources
from specdsl.query.elaboration.scene import Scene
from specdsl.query.query import Case, Query
from specdsl.source import Span


@dataclass(frozen=True, slots=True, eq=False)
class Obligation:
    """One claim of a `check`.

    `id` is unique in a run and names file, property and sample; `check` is the position in
    `spec.checks`. `sample_of`: the dataset sample it is about, if any. `kind` as in `Query`.
    """

    id: str
    property_name: str
    span: Span
    check: int
    kind: Kind
    spec: Spec
    goal: Goal
    sample_of: Sample | None = None

    @property
    def sample(self) -> int | None:
        """The position of the sample in its dataset."""
        return self.sample_of.index if self.sample_of else None

    def query(self, resources: Resources) -> Query:
        """The question to answer.

        Raises SpecError for what is wrong with this obligation: files, samples, sizes (E05xx,
        E06xx), constructs that are not supported (E0901), too many cases (E0750).
        """
        try:
            return _Prefix(self, resources).query()
        except SpecError as error:
            raise error.at(self.span, f"in `{self.id}`") from error

    def sample_point(self, resources: Resources) -> ExactArray | None:
        """The unperturbed sample, flat and exact; None where the obligation is about none."""
        if self.sample_of is None:
            return None
        data = resources.dataset(self.spec, self.sample_of.dataset)
        if not 0 <= self.sample_of.index < len(data):
            return None
        return data.input(self.sample_of.index).reshape(-1)


class _Prefix:
    """Goes through the quantifiers in front of a claim, then turns what they govern into cases."""

    def __init__(self, obligation: Obligation, resources: Resources) -> None:
        self.obligation = obligation
        self.scene = Scene(resources)
        self.interpreter = Interpreter(obligation.spec, self.scene, BUILTINS)
        self.kind: Kind | None = None
        self.outer: Span | None = None
        self.conditions: list[tuple[syntax.Expr, Environment]] = []

    def query(self) -> Query:
        goal = self._innermost(self.obligation.goal)
        assumed = conjunction(self.interpreter.formula(e, env) for e, env in self.conditions)
        claim = self._claim(goal)
        # A `forall` asks for a point where the claim fails, an `exists` for one where it holds.
        wanted = negate(claim) if self.kind != "exists" else claim
        return self._assemble(assumed, conjunction((assumed, wanted)))

    def _innermost(self, goal: Goal) -> Goal:
        """The goal behind all leading quantifiers, which become variables of the scene."""
        while True:
            following = self._open(goal)
            if following is None:
                return goal
            goal = following

    def _open(self, goal: Goal) -> Goal | None:
        """One step inwards, or None where a formula begins."""
        step = goal.step
        if isinstance(step, tuple):
            return self._clause(step, goal)
        opened = open_expression(step, goal, self.interpreter)
        if opened is not None:
            return opened
        if isinstance(step, syntax.Binary):
            return self._decided(step, goal)
        return None

    def _decided(self, step: syntax.Binary, goal: Goal) -> Goal | None:
        """The right side of a connective whose left side is constant and leaves it open."""
        spec = self.obligation.spec
        if step.operator not in {"and", "or", "=>"} or not has_quantifier(step.right, spec):
            return None
        if has_quantifier(step.left, spec):
            return None
        left = self.interpreter.truth(step.left, goal.environment)
        if left is None:
            return None
        open_side = left if step.operator in {"and", "=>"} else not left
        return Goal(step.right, goal.environment, goal.negated) if open_side else None

    def _clause(self, clauses: tuple[syntax.Clause, ...], goal: Goal) -> Goal | None:
        clause, rest = clauses[0], clauses[1:]
        environment = goal.environment
        match clause:
            case syntax.Let():
                bound = environment.bind(let_locals(clause, environment))
                return Goal(rest, bound, goal.negated)
            case syntax.WhereClause(condition=condition):
                self.conditions.append((condition, environment))
                return Goal(rest, environment, goal.negated)
            case syntax.ShowClause(claim=claim):
                return None if rest else Goal(claim, environment, goal.negated)
            case syntax.QuantifierClause(kind=kind, binders=(binder,)):
                bound = self._quantify(kind, binder, goal)
                return None if bound is None else Goal(rest, bound, goal.negated)
            case syntax.QuantifierClause():
                return Goal((*one_binder_each(clause), *rest), environment, goal.negated)

    def _quantify(self, kind: str, binder: syntax.Binder, goal: Goal) -> Environment | None:
        """The names with a new variable; None where a finite set begins a formula."""
        region = self.interpreter.set(binder.set, goal.environment)
        if isinstance(region, FiniteSet):
            return None
        self._check_kind(effective(kind, goal.negated), binder)
        if len(binder.names) != 1:
            raise SpecError.of("E0752", "a variable over a region has one name", binder.span)
        (name,) = binder.names
        try:
            variable = self.scene.quantify(name, region)
        except SpecError as error:
            raise error.at(binder.span) from error
        return goal.environment.bind({name: variable})

    def _check_kind(self, kind: Kind, binder: syntax.Binder) -> None:
        if self.kind not in (None, kind):
            raise SpecError.of(
                "E0901",
                "alternating quantifiers are not supported yet",
                binder.span,
                secondary=[(self.outer, "inside this one")] if self.outer else [],
            )
        self.kind, self.outer = kind, binder.span

    def _claim(self, goal: Goal) -> Formula:
        step = goal.step
        if isinstance(step, tuple):
            formula = self.interpreter.unrolled(step, goal.environment)
        else:
            formula = self.interpreter.formula(step, goal.environment)
        return negate(formula) if goal.negated else formula

    def _assemble(self, assumed: Formula, wanted: Formula) -> Query:
        obligation, scene = self.obligation, self.scene
        try:
            region = joint_region(scene)
        except ValueError:
            text = "several variables of which one ranges over an l1 or l2 ball"
            raise SpecError.of("E0901", f"{text} are not supported yet", self.outer) from None
        assembly = Assembly(scene, region)
        cases = self._guarded(assembly, wanted)
        warnings: tuple[Diagnostic, ...] = ()
        if not cases and scene.variables and not self._guarded(Assembly(scene, region), assumed):
            warnings = (self._vacuous(),)
        return Query(
            name=obligation.id,
            graph=assembly.graph(),
            cases=cases,
            variables=scene.shown_variables(),
            calls=tuple(scene.calls),
            kind=self.kind or "forall",
            property_name=obligation.property_name,
            span=obligation.span,
            warnings=warnings,
        )

    def _guarded(self, assembly: Assembly, formula: Formula) -> tuple[Case, ...]:
        try:
            return assembly.cases(formula)
        except TooManyClauses as error:
            raise SpecError.of(
                "E0750",
                f"the negated claim multiplies out to {error.count} cases; the limit is "
                f"{MAX_CASES}",
                self.obligation.span,
                help="split it into several properties, or state it with fewer alternatives",
            ) from error
        except Unbounded as error:
            raise self._unbounded(error.position) from error

    def _unbounded(self, position: int) -> SpecError:
        shown = [v for v in self.scene.shown_variables() if v.start <= position]
        name = shown[-1].name if shown else "input"
        return SpecError.of(
            "E0754",
            f"`{name}` is unbounded: nothing can be proven over an infinite set",
            self.outer,
            help=f"give it bounds in its space, or add `where {name} >= ... and {name} <= ...`",
        )

    def _vacuous(self) -> Diagnostic:
        conditions = [expression for expression, _ in self.conditions]
        return diagnostic(
            "W0750",
            f"`{self.obligation.id}` says nothing: no input satisfies its conditions",
            conditions[0].span if conditions else self.outer,
            label="never true within the bounds" if conditions else "this set is empty",
        )
