"""What the functions of the language mean in a property."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from types import MappingProxyType

from specdsl.diagnostics import SpecError
from specdsl.language import syntax
from specdsl.query.elaboration import regions
from specdsl.query.elaboration.environment import Environment, thunks
from specdsl.query.elaboration.formula import Formula, conjunction, disjunction
from specdsl.query.elaboration.interpret import BuiltIn, Interpreter
from specdsl.query.elaboration.meaning import Claim, Meaning, Truths
from specdsl.query.elaboration.operators import magnitude
from specdsl.query.elaboration.regions import FiniteSet, Member
from specdsl.query.elaboration.symbolic import (
    Extreme,
    Linear,
    Prediction,
    Tensor,
    absolute,
    constant,
    entries,
)


def _arguments(
    interpreter: Interpreter, call: syntax.Call, environment: Environment, count: int
) -> list[syntax.Expr]:
    found = [thunk.expression for thunk in thunks(call, environment)]
    if len(found) != count:
        raise SpecError.of("E0752", f"{count} arguments are needed here, not {len(found)}")
    return found


def _prediction(kind: str) -> BuiltIn:
    def apply(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
        (scores,) = _arguments(interpreter, call, environment, 1)
        flat = interpreter.tensor(scores, environment).flat
        return Prediction("argmax" if kind == "argmax" else "argmin", flat)

    return apply


def _margin(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
    """`margin(v, y)`: how far the score of y is above the best other one."""
    scores, label = _arguments(interpreter, call, environment, 2)
    flat, chosen = (
        interpreter.tensor(scores, environment).flat,
        interpreter.integer(label, environment),
    )
    if not 0 <= chosen < len(flat):
        text = f"there is no class {chosen}: classes are 0 to {len(flat) - 1}"
        raise SpecError.of("E0752", text, label.span)
    return _extreme("min", [flat[chosen] - s for i, s in enumerate(flat) if i != chosen])


def _extreme(kind: str, options: list[Fraction | Linear]) -> Meaning:
    known = [o for o in options if isinstance(o, Fraction)]
    if len(known) == len(options):
        return constant(min(known) if kind == "min" else max(known))
    return Extreme("min" if kind == "min" else "max", tuple(options))


def _smallest_or_largest(kind: str) -> BuiltIn:
    def apply(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
        tensors = (interpreter.tensor(t.expression, environment) for t in thunks(call, environment))
        options = [entry for tensor in tensors for entry in tensor.flat]
        if not options:
            raise SpecError.of("E0752", f"`{kind}` needs an argument")
        return _extreme(kind, options)

    return apply


def _sum(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
    (terms,) = _arguments(interpreter, call, environment, 1)
    total: Fraction | Linear = Fraction(0)
    for entry in interpreter.tensor(terms, environment).flat:
        total = total + entry
    return Tensor(entries([total], ()))


def _abs(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
    (operand,) = _arguments(interpreter, call, environment, 1)
    return magnitude(interpreter.tensor(operand, environment))


def _norm(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
    """`norm(v, linf)`; of constants `norm(v, l1)` too, whose value is rational."""
    vector, name = _arguments(interpreter, call, environment, 2)
    tensor, norm = interpreter.tensor(vector, environment), interpreter.meaning(name, environment)
    known = tensor.constant
    if norm == "linf":
        if known is None:
            return absolute(list(tensor.flat))
        return constant(max(abs(v) for v in known.reshape(-1)))
    if norm == "l1" and known is not None:
        return constant(sum((abs(v) for v in known.reshape(-1)), Fraction(0)))
    raise SpecError.of("E0901", f"`norm(..., {norm})` is not supported yet here")


def _quantify(join: Callable[[tuple[Formula, ...]], Formula]) -> BuiltIn:
    def apply(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
        (claims,) = _arguments(interpreter, call, environment, 1)
        found = interpreter.meaning(claims, environment)
        if isinstance(found, Truths):
            return Claim(join(found.parts))
        return Claim(interpreter.formula(claims, environment))

    return apply


def _box(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
    corners = _arguments(interpreter, call, environment, 2)
    lower, upper = (interpreter.tensor(corner, environment) for corner in corners)
    return regions.box(lower, upper)


def _norm_ball(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
    center, radius, name = _arguments(interpreter, call, environment, 3)
    norm = interpreter.meaning(name, environment)
    middle, reach = (interpreter.tensor(e, environment) for e in (center, radius))
    return regions.ball(middle, reach, norm if isinstance(norm, str) else name.span.text)


def _one_of(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
    members: list[Member] = []
    for thunk in thunks(call, environment):
        tensor = interpreter.tensor(thunk.expression, environment)
        members.append(Member(tensor, " ".join(thunk.expression.span.text.split())))
    return FiniteSet(tuple(members))


BUILTINS: Mapping[str, BuiltIn] = MappingProxyType(
    {
        "argmax": _prediction("argmax"),
        "argmin": _prediction("argmin"),
        "margin": _margin,
        "min": _smallest_or_largest("min"),
        "max": _smallest_or_largest("max"),
        "sum": _sum,
        "abs": _abs,
        "norm": _norm,
        "all": _quantify(conjunction),
        "any": _quantify(disjunction),
        "box": _box,
        "norm_ball": _norm_ball,
        "one_of": _one_of,
    }
)
"""Every function that can be called without declaring it."""
