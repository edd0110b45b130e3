"""What the functions of the language mean in a property: predictions, numbers, truth.

Sets are in `set_builtins`, records and images in `record_builtins`, `exp` and its like in
`elementary`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType
from typing import Literal

import numpy as np

from specdsl.diagnostics import SpecError
from specdsl.graph import ops
from specdsl.language import syntax
from specdsl.query.elaboration.expressions.access import loops_later
from specdsl.query.elaboration.expressions.arithmetic import (
    magnitude,
    matrix_product,
    numeric,
    place_at,
)
from specdsl.query.elaboration.expressions.elementary import ELEMENTARY_BUILTINS
from specdsl.query.elaboration.expressions.interpret import BuiltIn, Interpreter
from specdsl.query.elaboration.expressions.record_builtins import RECORD_BUILTINS
from specdsl.query.elaboration.expressions.set_builtins import SET_BUILTINS
from specdsl.query.elaboration.expressions.unrolling import each_argument
from specdsl.query.elaboration.values.environment import Environment, thunks
from specdsl.query.elaboration.values.formula import Formula, conjunction, disjunction
from specdsl.query.elaboration.values.meaning import Claim, Meaning, Truths, misfit
from specdsl.query.elaboration.values.networks import Composition, LoadedNetwork, Smoothed
from specdsl.query.elaboration.values.symbolic import (
    Extreme,
    Linear,
    Prediction,
    Tensor,
    absolute,
    extreme,
    scalar,
)


def arguments_of(call: syntax.Call, environment: Environment, count: int) -> list[syntax.Expr]:
    """Exactly so many positional arguments. Raises SpecError E0752."""
    found = [thunk.expression for thunk in thunks(call, environment)]
    if len(found) != count:
        raise SpecError.of("E0752", f"{count} arguments are needed here, not {len(found)}")
    return found


def _prediction(kind: Literal["argmax", "argmin"]) -> BuiltIn:
    def apply(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
        (scores,) = arguments_of(call, environment, 1)
        return Prediction(kind, interpreter.tensor(scores, environment).flat)

    return apply


def _margin(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
    """`margin(v, y)`: how far the score of y is above the best other one."""
    scores, label = arguments_of(call, environment, 2)
    flat = interpreter.tensor(scores, environment).flat
    chosen = interpreter.integer(label, environment)
    if not 0 <= chosen < len(flat):
        text = f"there is no class {chosen}: classes are 0 to {len(flat) - 1}"
        raise SpecError.of("E0752", text, label.span)
    return _value(extreme("min", [flat[chosen] - s for i, s in enumerate(flat) if i != chosen]))


def _value(found: Extreme | Fraction | Linear) -> Meaning:
    return found if isinstance(found, Extreme) else scalar(found)


def _smooth(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
    network, noise = arguments_of(call, environment, 2)
    found = interpreter.meaning(network, environment)
    sigma = interpreter.number(noise, environment)
    if not isinstance(found, LoadedNetwork | Composition):
        raise misfit("a network", network)
    if sigma <= 0:
        raise SpecError.of("E0316", f"the noise is positive, not {sigma}", noise.span)
    return Smoothed(found, sigma)


# --- numbers -------------------------------------------------------------------------------------


def _numbers(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> list[Tensor]:
    """All arguments as tensors, comprehensions expanded. Raises SpecError E0752 without any."""
    values = each_argument(call, environment, interpreter)
    tensors = [numeric(value, interpreter.scene) for value in values]
    found = [tensor for tensor in tensors if tensor is not None]
    if len(found) < len(values):
        raise SpecError.of("E0752", "numbers are needed here")
    return found


def _smallest_or_largest(kind: Literal["min", "max"]) -> BuiltIn:
    def apply(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
        options: list[Fraction | Linear] = []
        for value in each_argument(call, environment, interpreter):
            if isinstance(value, Extreme) and value.kind == kind:
                options += value.options
                continue
            tensor = numeric(value, interpreter.scene)
            if tensor is None:
                raise SpecError.of("E0752", "numbers are needed here")
            options += list(tensor.flat)
        if not options:
            raise SpecError.of("E0752", f"`{kind}` of nothing has no value")
        return _value(extreme(kind, options))

    return apply


def _sum(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
    values = each_argument(call, environment, interpreter)
    joined = _joined_extremes(values)
    if joined is not None:
        return joined
    total: Fraction | Linear = Fraction(0)
    for tensor in _numbers(interpreter, call, environment):
        for entry in tensor.flat:
            total = total + entry
    return scalar(total)


def _joined_extremes(values: Sequence[Meaning]) -> Meaning | None:
    """One extreme stays one; several become steps."""
    return values[0] if len(values) == 1 and isinstance(values[0], Extreme) else None


def _mean(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
    flat = [e for tensor in _numbers(interpreter, call, environment) for e in tensor.flat]
    if not flat:
        raise SpecError.of("E0752", "the mean of nothing has no value")
    total: Fraction | Linear = Fraction(0)
    for entry in flat:
        total = total + entry
    return scalar(total * Fraction(1, len(flat)))


def _abs(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
    (operand,) = arguments_of(call, environment, 1)
    return magnitude(interpreter.meaning(operand, environment), interpreter.scene)


def _norm(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
    """`norm(v, l1 | l2 | linf)`."""
    vector, name = arguments_of(call, environment, 2)
    tensor, norm = interpreter.tensor(vector, environment), interpreter.meaning(name, environment)
    scene = interpreter.scene
    if norm == "linf":
        found = absolute(list(tensor.flat))
        return _value(extreme("max", found.options))
    if norm == "l1":
        if tensor.scalar is not None:
            return magnitude(tensor, scene)
        return scalar(scene.norm1(tensor.values))
    if norm == "l2":
        root = scene.norm2(tensor.values, place_at(call, tensor, scene))
        return scalar(Fraction(0)) if root.square == 0 else root
    raise SpecError.of("E0752", f"`{name.span.text}` is not a norm", name.span)


def _dot(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
    sides = [interpreter.tensor(a, environment) for a in arguments_of(call, environment, 2)]
    first, second = (Tensor(side.flat) for side in sides)
    place = place_at(call, sides[0], interpreter.scene)
    return matrix_product(first, second, interpreter.scene, place)


def _relu(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
    (operand,) = arguments_of(call, environment, 1)
    value = interpreter.meaning(operand, environment)
    tensor = numeric(value, interpreter.scene)
    if tensor is None:
        raise SpecError.of("E0752", "numbers are needed here", operand.span)
    if tensor.scalar is not None:
        return _value(extreme("max", [tensor.scalar, Fraction(0)]))
    return Tensor(interpreter.scene.elementwise(ops.Relu(), tensor.values), labels=tensor.labels)


def _clip(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
    """`clip(x, low, high)` with constant ends: `min(max(x, low), high)`, entry by entry."""
    operand, low, high = arguments_of(call, environment, 3)
    tensor = interpreter.tensor(operand, environment)
    least, most = interpreter.number(low, environment), interpreter.number(high, environment)
    if least > most:
        raise SpecError.of("E0403", f"nothing lies between {least} and {most}", call.span)
    scene = interpreter.scene
    # Exact ends may be no floats, so the clip is written as two rectifiers around them.
    above = scene.elementwise(ops.Relu(), tensor.flat - least)
    beyond = scene.elementwise(ops.Relu(), tensor.flat - most)
    found = np.asarray(above - beyond + least, dtype=object)
    return Tensor(found.reshape(tensor.values.shape), labels=tensor.labels)


def _flatten(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
    (operand,) = arguments_of(call, environment, 1)
    return Tensor(interpreter.tensor(operand, environment).flat)


# --- truth ---------------------------------------------------------------------------------------


def _quantify(join: Callable[[Sequence[Formula]], Formula]) -> BuiltIn:
    def apply(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
        parts: list[Formula] = []
        for value in each_argument(call, environment, interpreter):
            if isinstance(value, Truths):
                parts += value.parts
            elif isinstance(value, Claim):
                parts.append(value.formula)
            else:
                raise SpecError.of("E0752", "claims are needed here")
        return Claim(join(parts))

    return apply


# --- what other versions bring -------------------------------------------------------------------


def _temporal(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
    raise loops_later()


TEMPORAL = ("always", "eventually", "until", "at")

BUILTINS: Mapping[str, BuiltIn] = MappingProxyType(
    {
        "argmax": _prediction("argmax"),
        "argmin": _prediction("argmin"),
        "margin": _margin,
        "smooth": _smooth,
        "min": _smallest_or_largest("min"),
        "max": _smallest_or_largest("max"),
        "sum": _sum,
        "mean": _mean,
        "abs": _abs,
        "norm": _norm,
        "dot": _dot,
        "relu": _relu,
        "clip": _clip,
        "flatten": _flatten,
        "all": _quantify(conjunction),
        "any": _quantify(disjunction),
        **ELEMENTARY_BUILTINS,
        **SET_BUILTINS,
        **RECORD_BUILTINS,
        **dict.fromkeys(TEMPORAL, _temporal),
    }
)
"""Every function that can be called without declaring it."""
