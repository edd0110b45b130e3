"""Expressions of a property when the sample, its label and some numbers are known by name only."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise
from types import MappingProxyType

import numpy as np

from specdsl.diagnostics import SpecError
from specdsl.language import syntax
from specdsl.language.spec import Spec
from specdsl.query.elaboration.expressions.arithmetic import magnitude
from specdsl.query.elaboration.expressions.builtins import BUILTINS, arguments_of
from specdsl.query.elaboration.expressions.comparisons import compared
from specdsl.query.elaboration.expressions.interpret import BuiltIn, Interpreter
from specdsl.query.elaboration.expressions.set_builtins import given, places_of, weights_of
from specdsl.query.elaboration.values import regions
from specdsl.query.elaboration.values.environment import Environment
from specdsl.query.elaboration.values.formula import Formula, below, conjunction, negate
from specdsl.query.elaboration.values.meaning import Claim, Meaning, misfit
from specdsl.query.elaboration.values.regions import Region
from specdsl.query.elaboration.values.symbolic import (
    EntryArray,
    Linear,
    Prediction,
    Tensor,
    entries,
    scalar,
)
from specdsl.query.sets import Norm
from specdsl.training.claims.scene import ClaimScene, UntrainedResources, label_of


class ClaimInterpreter(Interpreter):
    """The interpreter of properties, where a label is a name and a radius may be one."""

    def __init__(self, spec: Spec, scene: ClaimScene) -> None:
        super().__init__(spec, scene, UntrainedResources(), CLAIM_BUILTINS)
        self.claims = scene

    def _meaning(self, expression: syntax.Expr, environment: Environment) -> Meaning:
        match expression:
            case syntax.Comparison():
                return self._comparison(expression, environment)
            case syntax.Index(base=base, items=(item,)) if not isinstance(item, syntax.Slice):
                label = label_of(self._label(item, environment), self.claims)
                if label is None:
                    return super()._meaning(expression, environment)
                vector = self.tensor(base, environment)
                return scalar(self.claims.label_entry(vector.values, label))
            case _:
                return super()._meaning(expression, environment)

    def _label(self, item: syntax.Expr, environment: Environment) -> Meaning | None:
        """What an index may be beside a constant: a name."""
        local = environment.names.get(item.name) if isinstance(item, syntax.Name) else None
        return None if local is None else self.resolve(local)

    # --- comparisons -----------------------------------------------------------------------------

    def _comparison(self, expression: syntax.Comparison, environment: Environment) -> Meaning:
        """As for queries; predictions are compared with labels at once, not class by class."""
        sides = [self.meaning(operand, environment) for operand in expression.operands]
        if not any(isinstance(side, Prediction) for side in sides):
            return super()._meaning(expression, environment)
        parts: list[Formula] = []
        for operator, (left, right) in zip(expression.operators, pairwise(sides), strict=True):
            parts += self._compared(operator, left, right, expression)
        return Claim(conjunction(parts))

    def _compared(
        self, operator: str, left: Meaning, right: Meaning, where: syntax.Comparison
    ) -> tuple[Formula, ...]:
        if isinstance(right, Prediction) and not isinstance(left, Prediction):
            left, right = right, left
        margin = None
        if isinstance(left, Prediction) and operator in {"==", "!="}:
            margin = self._agreement(left, right)
        if margin is None:
            return compared(operator, left, right, self.scene, where)
        agree = below(-margin, strict=True)
        return (agree if operator == "==" else negate(agree),)

    def _agreement(self, prediction: Prediction, other: Meaning) -> Linear | None:
        """A number that is positive where a label, or another prediction, is predicted."""
        scores = prediction.rising
        if isinstance(other, Prediction):
            return self.claims.agreement(scores, other.rising)
        label = label_of(other, self.claims)
        if label is not None:
            return self.claims.label_margin(scores, label)
        known = other.scalar if isinstance(other, Tensor) else None
        if isinstance(known, Fraction) and known in range(len(scores)):
            return self.claims.label_margin(scores, known)
        return None


# --- functions ------------------------------------------------------------------------------------


def _margin(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
    """`margin(v, y)` with the label of the sample."""
    scores, label = arguments_of(call, environment, 2)
    scene = interpreter.scene
    if isinstance(scene, ClaimScene):
        known = label_of(interpreter.meaning(label, environment), scene)
        if known is not None:
            flat = interpreter.tensor(scores, environment).flat
            return scalar(scene.label_margin(flat, known))
    return BUILTINS["margin"](interpreter, call, environment)


def _norm(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
    """`norm(v, l1)` and `norm(v, l2)` of what varies as one number."""
    vector, name = arguments_of(call, environment, 2)
    norm, tensor = interpreter.meaning(name, environment), interpreter.tensor(vector, environment)
    if norm in ("l1", "l2") and tensor.scalar is not None:
        return magnitude(tensor, interpreter.scene)
    if norm not in ("l1", "l2") or tensor.constant is not None:
        return BUILTINS["norm"](interpreter, call, environment)
    return scalar(_distance(interpreter, "l1" if norm == "l1" else "l2", tensor.flat))


def _distance(interpreter: Interpreter, norm: Norm, vector: EntryArray) -> Linear:
    if not isinstance(interpreter.scene, ClaimScene):
        raise SpecError.of("E0752", "a norm without a claim")
    return interpreter.scene.distance(norm, vector)


def _norm_ball(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
    """`norm_ball(center, radius, norm)` with a radius that may be a named number.

    A box, and the distance as a condition where the norm is another than linf.
    """
    arguments = given(call, 3, frozenset({"scale", "only"}))
    center, radius, name = arguments.positional
    norm = interpreter.meaning(name, environment)
    middle = interpreter.tensor(center, environment)
    reach = interpreter.tensor(radius, environment).scalar
    if reach is None:
        raise misfit("a number", radius)
    if norm not in ("l1", "l2", "linf"):
        help_ = "norms are l1, l2 and linf"
        raise SpecError.of("E0752", f"`{name.span.text}` is not a norm", name.span, help=help_)
    if not isinstance(reach, Linear) and reach < 0:
        raise SpecError.of("E0751", f"the ball is empty: its radius is {reach}", radius.span)
    scale = weights_of(arguments.named.get("scale"), middle, interpreter, environment)
    only = places_of(arguments.named.get("only"), middle, interpreter, environment)
    places = np.arange(middle.flat.size) if only is None else only
    weights = entries([Fraction(1)] * middle.flat.size, (middle.flat.size,))
    weights = (weights if scale is None else scale)[places]
    lower, upper = middle.flat.copy(), middle.flat.copy()
    hull = (1 / weights) * reach  # an array first: `Linear` does not divide by one
    lower[places] = middle.flat[places] - hull
    upper[places] = middle.flat[places] + hull
    whole = regions.whole_places(middle.space)
    region = Region(middle.values.shape, middle.space, lower, upper, whole=whole)
    if norm == "linf" or places.size == 1:
        return region
    kind: Norm = "l1" if norm == "l1" else "l2"

    def condition(element: Tensor) -> Formula:
        offset = weights * (element.flat[places] - middle.flat[places])
        return below(_distance(interpreter, kind, offset) - reach, strict=False)

    return regions.with_condition(region, condition)


CLAIM_BUILTINS: Mapping[str, BuiltIn] = MappingProxyType(
    {**BUILTINS, "margin": _margin, "norm": _norm, "norm_ball": _norm_ball}
)
"""The language's functions, with those replaced that a label or a radius by name concerns."""
