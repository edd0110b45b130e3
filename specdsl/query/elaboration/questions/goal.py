"""Steps into a claim: through negations, names of properties and quantifiers, towards a formula."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal

from specdsl.language import syntax
from specdsl.language.spec import Spec
from specdsl.query.elaboration.expressions.interpret import Interpreter
from specdsl.query.elaboration.values.environment import Environment, clauses_of

Kind = Literal["forall", "exists"]

Step = syntax.Expr | tuple[syntax.Clause, ...]
"""What is left of a claim: an expression, or the clauses of a property block."""


@dataclass(frozen=True, slots=True, eq=False)
class Goal:
    """A claim under the names it sees. `negated`: its opposite is claimed."""

    step: Step
    environment: Environment
    negated: bool


def effective(kind: str, negated: bool) -> Kind:
    """What a quantifier is under a negation."""
    return "forall" if (kind == "forall") != negated else "exists"


def one_binder_each(clause: syntax.QuantifierClause) -> Iterator[syntax.QuantifierClause]:
    """`forall a in A, b in B` as two clauses."""
    for binder in clause.binders:
        yield syntax.QuantifierClause(clause.kind, (binder,), span=binder.span)


def has_quantifier(node: object, spec: Spec) -> bool:
    """Whether a quantifier stands in the node, or in what it names."""
    if isinstance(node, syntax.Quantifier | syntax.QuantifierClause):
        return True
    if isinstance(node, syntax.Name):
        definition = spec.properties.get(node.name) or spec.functions.get(node.name)
        return definition is not None and has_quantifier(definition, spec)
    if isinstance(node, tuple):
        return any(has_quantifier(item, spec) for item in node)
    if isinstance(node, syntax.Node):
        parts = (getattr(node, part.name) for part in fields(node) if part.name != "span")
        return any(has_quantifier(part, spec) for part in parts)
    return False


def open_expression(step: syntax.Expr, goal: Goal, interpreter: Interpreter) -> Goal | None:
    """Behind a negation, a quantifier's keyword, a property's name; None for anything else."""
    environment = goal.environment
    match step:
        case syntax.Unary(operator="not", operand=operand):
            return Goal(operand, environment, not goal.negated)
        case syntax.Quantifier():
            return Goal(clauses_of(step), environment, goal.negated)
        case syntax.Name() | syntax.Call():
            return _enter(step, goal, interpreter)
        case syntax.IfThenElse(condition=condition, yes=yes, no=no):
            decided = interpreter.truth(condition, environment)
            chosen = {True: yes, False: no, None: None}[decided]
            return None if chosen is None else Goal(chosen, environment, goal.negated)
        case _:
            return None


def _enter(step: syntax.Name | syntax.Call, goal: Goal, interpreter: Interpreter) -> Goal | None:
    found = interpreter.callee(step, goal.environment)
    if found is None:
        return None
    closure, environment = found
    definition = closure.definition
    if isinstance(definition, syntax.Property) and definition.value is None:
        return Goal(definition.clauses, environment, goal.negated)
    if definition.value is None or isinstance(definition, syntax.Region):
        return None
    return Goal(definition.value, environment, goal.negated)
