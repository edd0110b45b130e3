"""Quantifiers and comprehensions over finite sets, member by member."""

from __future__ import annotations

from collections.abc import Iterator

from specdsl.diagnostics import SpecError
from specdsl.language import syntax
from specdsl.query.elaboration.values.environment import Environment, bind_names, let_locals
from specdsl.query.elaboration.values.formula import (
    Formula,
    conjunction,
    disjunction,
    negate,
    truth,
)
from specdsl.query.elaboration.values.meaning import Meaning, Meanings
from specdsl.query.elaboration.values.regions import FiniteSet

# --- claims --------------------------------------------------------------------------------------


def unrolled(
    clauses: tuple[syntax.Clause, ...],
    environment: Environment,
    meanings: Meanings,
    kind: str = "forall",
) -> Formula:
    """Clauses whose quantifiers all range over finite sets, as one formula.

    `kind`: the quantifier that the first `where` belongs to. Raises SpecError E0901 for a set that
    is not finite.
    """
    if not clauses:
        return truth(True)
    clause, rest = clauses[0], clauses[1:]
    match clause:
        case syntax.Let():
            bound = environment.bind(let_locals(clause, environment))
            return unrolled(rest, bound, meanings, kind)
        case syntax.WhereClause(condition=condition):
            assumed = meanings.formula(condition, environment)
            inner = unrolled(rest, environment, meanings, kind)
            if kind == "forall":
                return disjunction((negate(assumed), inner))
            return conjunction((assumed, inner))
        case syntax.ShowClause(claim=claim):
            shown = meanings.formula(claim, environment)
            return conjunction((shown, unrolled(rest, environment, meanings, kind)))
        case syntax.QuantifierClause(binders=binders):
            bindings = _bindings(binders, environment, meanings)
            parts = (unrolled(rest, bound, meanings, clause.kind) for bound in bindings)
            return conjunction(parts) if clause.kind == "forall" else disjunction(parts)


def _bindings(
    binders: tuple[syntax.Binder, ...], environment: Environment, meanings: Meanings
) -> list[Environment]:
    """The names bound to every combination of members; sets may depend on earlier names."""
    environments = [environment]
    for binder in binders:
        environments = [
            bound.bind(bind_names(binder, member.value))
            for bound in environments
            for member in _finite(binder, bound, meanings).members
        ]
    return environments


def _finite(binder: syntax.Binder, environment: Environment, meanings: Meanings) -> FiniteSet:
    found = meanings.set(binder.set, environment)
    if isinstance(found, FiniteSet):
        return found
    raise SpecError.of(
        "E0901",
        "a quantifier inside another claim is not supported yet",
        binder.span,
        help="move it to the front: `forall x in A, y in B: ...`",
    )


# --- comprehensions ------------------------------------------------------------------------------


def each_argument(call: syntax.Call, environment: Environment, meanings: Meanings) -> list[Meaning]:
    """The arguments of a built-in that takes any number: comprehensions become their members.

    Raises SpecError E0752 for named arguments.
    """
    found: list[Meaning] = []
    for argument in call.arguments:
        if isinstance(argument, syntax.NamedArgument):
            raise SpecError.of("E0752", "arguments are given by position", argument.span)
        if isinstance(argument, syntax.Comprehension):
            found += comprehended(argument, environment, meanings)
        else:
            found.append(meanings.meaning(argument, environment))
    return found


def comprehended(
    comprehension: syntax.Comprehension, environment: Environment, meanings: Meanings
) -> Iterator[Meaning]:
    """What the body means for every member that the condition leaves.

    Raises SpecError E0901 for a set that is not finite and for a condition that varies.
    """
    for bound in _bindings(comprehension.binders, environment, meanings):
        where = comprehension.where
        if where is None or is_kept(where, bound, meanings):
            yield meanings.meaning(comprehension.body, bound)


def is_kept(condition: syntax.Expr, environment: Environment, meanings: Meanings) -> bool:
    """Whether a member of a finite set meets the condition on it. Raises SpecError E0901 where that
    varies, or is not known: a member that is left out would be a claim that is not made.
    """
    kept = meanings.truth(condition, environment)
    if kept is None:
        text = "a condition here must be known before anything is quantified"
        raise SpecError.of("E0901", text, condition.span, help="move it into the claim")
    return kept
