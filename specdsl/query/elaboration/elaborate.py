"""`elaborate`: the checks of a `Spec` as obligations, one for each claim and sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from specdsl.diagnostics import SpecError
from specdsl.language import syntax
from specdsl.language.modules.wording import full_text
from specdsl.language.spec import Spec
from specdsl.query.elaboration.expressions.builtins import BUILTINS
from specdsl.query.elaboration.expressions.interpret import Interpreter
from specdsl.query.elaboration.questions.goal import (
    Goal,
    Kind,
    effective,
    has_quantifier,
    one_binder_each,
    open_expression,
)
from specdsl.query.elaboration.questions.obligation import Obligation
from specdsl.query.elaboration.values.environment import EMPTY, Sample, bind_names, let_locals
from specdsl.query.elaboration.values.regions import FiniteSet
from specdsl.query.elaboration.values.resources import Resources
from specdsl.query.elaboration.values.scene import Scene
from specdsl.source import Span

__all__ = ["Obligation", "elaborate"]


@dataclass(frozen=True, slots=True, eq=False)
class _Leaf:
    """One obligation before it has its id. `path`: members of finite sets on the way to it."""

    goal: Goal
    path: tuple[str, ...] = ()
    parts: tuple[int, ...] = ()
    sample: Sample | None = None
    name: str | None = None
    span: Span | None = None


def elaborate(spec: Spec, resources: Resources) -> tuple[Obligation, ...]:
    """One obligation for each property of each `check`, each sample, each part of a conjunction.

    Cheap: networks are not loaded, and datasets only where a slice has no end or a `where` asks
    for a sample. What is wrong with one obligation comes up in its `query`, so that the others go
    on.
    """
    planner = _Planner(spec, resources)
    found: list[Obligation] = []
    taken: dict[str, int] = {}
    for check, declaration in enumerate(spec.checks):
        for expression in declaration.properties:
            goal = Goal(expression, EMPTY, negated=False)
            start = _Leaf(goal, span=expression.span)
            for leaf in planner.leaves(start):
                found.append(_obligation(spec, check, expression, leaf, taken))
    return tuple(found)


def _obligation(
    spec: Spec, check: int, expression: syntax.Expr, leaf: _Leaf, taken: dict[str, int]
) -> Obligation:
    written = full_text(expression)
    name = leaf.name or written
    title = written if isinstance(expression, syntax.Name | syntax.Call | syntax.Unary) else name
    title += f"[{','.join(leaf.path)}]" if leaf.path else ""
    title += "".join(f".{part}" for part in leaf.parts)
    identity = f"{Path(spec.source.name).name}::{title}"
    taken[identity] = taken.get(identity, 0) + 1
    if taken[identity] > 1:
        identity = f"{identity}#{taken[identity]}"
    return Obligation(
        id=identity,
        property_name=name,
        span=leaf.span or expression.span,
        check=check,
        kind=_kind(leaf.goal),
        spec=spec,
        goal=leaf.goal,
        sample_of=leaf.sample,
    )


def _kind(goal: Goal) -> Kind:
    step = goal.step
    clauses = step if isinstance(step, tuple) else ()
    for clause in clauses:
        if isinstance(clause, syntax.QuantifierClause):
            return effective(clause.kind, goal.negated)
    return "forall"


class _Planner:
    """Takes claims apart where that needs no solving: negations, conjunctions, finite sets."""

    def __init__(self, spec: Spec, resources: Resources) -> None:
        self.spec = spec
        # Nothing is quantified here: the scene stays empty.
        self.interpreter = Interpreter(spec, Scene(), resources, BUILTINS)

    def leaves(self, leaf: _Leaf) -> Iterator[_Leaf]:
        """The obligations that make up one claim, at least one."""
        goal = leaf.goal
        if isinstance(goal.step, tuple):
            yield from self._clauses(goal.step, leaf)
            return
        parts = _conjuncts(goal)
        if parts and any(has_quantifier(part.step, self.spec) for part in parts):
            for number, part in enumerate(parts, 1):
                yield from self.leaves(replace(leaf, goal=part, parts=(*leaf.parts, number)))
            return
        opened = self._opened(goal)
        if opened is None:
            yield leaf
            return
        name = leaf.name or _entered(goal.step, self.spec)
        yield from self.leaves(replace(leaf, goal=opened, name=name))

    def _opened(self, goal: Goal) -> Goal | None:
        if isinstance(goal.step, tuple) or not has_quantifier(goal.step, self.spec):
            return None
        try:
            return open_expression(goal.step, goal, self.interpreter)
        except SpecError:
            # Reported by the obligation itself, which meets the same problem.
            return None

    def _clauses(self, clauses: tuple[syntax.Clause, ...], leaf: _Leaf) -> Iterator[_Leaf]:
        clause, rest = clauses[0], clauses[1:]
        goal = leaf.goal
        match clause:
            case syntax.Let() if rest:
                bound = goal.environment.bind(let_locals(clause, goal.environment))
                yield from self.leaves(replace(leaf, goal=Goal(rest, bound, goal.negated)))
            case syntax.ShowClause(claim=claim) if not rest:
                inner = Goal(claim, goal.environment, goal.negated)
                yield from self.leaves(replace(leaf, goal=inner))
            case syntax.QuantifierClause(binders=(binder,)):
                yield from self._quantifier(clause, binder, rest, leaf)
            case syntax.QuantifierClause():
                split = (*one_binder_each(clause), *rest)
                inner = Goal(split, goal.environment, goal.negated)
                yield from self.leaves(replace(leaf, goal=inner))
            case _:
                yield leaf

    def _quantifier(
        self,
        clause: syntax.QuantifierClause,
        binder: syntax.Binder,
        rest: tuple[syntax.Clause, ...],
        leaf: _Leaf,
    ) -> Iterator[_Leaf]:
        goal = leaf.goal
        members = self._members(clause, binder, leaf)
        if members is None:
            yield leaf
            return
        for member in members.members:
            bound = goal.environment.bind(bind_names(binder, member.value))
            inner = replace(
                leaf,
                goal=Goal(rest, bound, goal.negated),
                path=(*leaf.path, member.text),
                sample=member.value if isinstance(member.value, Sample) else leaf.sample,
            )
            yield from self._filtered(inner)

    def _members(
        self, clause: syntax.QuantifierClause, binder: syntax.Binder, leaf: _Leaf
    ) -> FiniteSet | None:
        """What a `forall` over a finite set unrolls to; None where it does not."""
        goal = leaf.goal
        if effective(clause.kind, goal.negated) != "forall" or _is_region(binder.set, self.spec):
            return None
        try:
            found = self.interpreter.set(binder.set, goal.environment)
        except SpecError:
            return None
        return found if isinstance(found, FiniteSet) else None

    def _filtered(self, leaf: _Leaf) -> Iterator[_Leaf]:
        """Without the members that a `where` right behind the finite quantifier leaves out."""
        goal = leaf.goal
        if isinstance(goal.step, tuple) and isinstance(goal.step[0], syntax.WhereClause):
            condition, rest = goal.step[0].condition, goal.step[1:]
            try:
                kept = self.interpreter.truth(condition, goal.environment)
            except SpecError:
                kept = None
            if kept is None:
                yield leaf
                return
            if not kept:
                return
            inner = replace(leaf, goal=Goal(rest, goal.environment, goal.negated))
            yield from self._filtered(inner)
            return
        yield from self.leaves(leaf)


def _conjuncts(goal: Goal) -> tuple[Goal, ...]:
    """The parts of a claim that must all hold; none where it is no conjunction."""
    step, environment, negated = goal.step, goal.environment, goal.negated
    if not isinstance(step, syntax.Binary):
        return ()
    signs = {
        ("and", False): (False, False),
        ("or", True): (True, True),
        ("=>", True): (False, True),
    }.get((step.operator, negated))
    if signs is None:
        return ()
    sides = (step.left, step.right)
    return tuple(Goal(side, environment, sign) for side, sign in zip(sides, signs, strict=True))


def _is_region(expression: syntax.Expr, spec: Spec) -> bool:
    """Whether a set is infinite by its looks: evaluating a ball would read its sample."""
    if isinstance(expression, syntax.Call):
        expression = expression.function
    if isinstance(expression, syntax.Name):
        return expression.name in {*spec.spaces, *spec.regions, "box", "norm_ball"}
    return isinstance(expression, syntax.List | syntax.Binary)


def _entered(step: syntax.Expr, spec: Spec) -> str | None:
    """The name of the property that a step goes into."""
    function = step.function if isinstance(step, syntax.Call) else step
    if isinstance(function, syntax.Name) and function.name in spec.properties:
        return function.name
    return None
