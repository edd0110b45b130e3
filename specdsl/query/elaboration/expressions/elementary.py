"""`exp`, `log`, `sqrt`, `sin`, ... and `softmax` of what varies: steps of the scene.

Constants with a rational value give it. Other constants are steps as well, on constants: their
values are irrational, and whoever bounds the query encloses them.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from types import MappingProxyType

import numpy as np

from specdsl.diagnostics import SpecError
from specdsl.graph import ops
from specdsl.language import syntax
from specdsl.language.elementary import ELEMENTARY, SOFTMAX, rational_value
from specdsl.query.elaboration.expressions.interpret import BuiltIn, Interpreter
from specdsl.query.elaboration.values.environment import Environment, thunks
from specdsl.query.elaboration.values.meaning import Meaning
from specdsl.query.elaboration.values.scene import Scene
from specdsl.query.elaboration.values.symbolic import EntryArray, Linear, Tensor, entries
from specdsl.source import Span

OPS: Mapping[str, ops.Smooth] = MappingProxyType(
    {
        "exp": ops.Exp(),
        "log": ops.Log(),
        "sqrt": ops.Sqrt(),
        "sin": ops.Sin(),
        "cos": ops.Cos(),
        "tan": ops.Tan(),
        "tanh": ops.Tanh(),
        "sigmoid": ops.Sigmoid(),
        "softplus": ops.Softplus(),
    }
)

MAX_SCORES = 128
"""A softmax compares every two of its scores: of more, it is a network's business."""


def _of_tensor(function: str) -> BuiltIn:
    def apply(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
        given = [thunk.expression for thunk in thunks(call, environment)]
        if len(given) != 1:
            raise SpecError.of("E0752", f"`{function}` takes one argument, not {len(given)}")
        tensor = interpreter.tensor(given[0], environment)
        if function == SOFTMAX:
            values = softmax(tensor.values, interpreter.scene, call.span)
        else:
            values = elementary(function, tensor.values, interpreter.scene, call.span)
        return Tensor(values, labels=tensor.labels)

    return apply


def elementary(function: str, values: EntryArray, scene: Scene, span: Span) -> EntryArray:
    """The function, entry by entry. Raises SpecError E0405 where a constant has no value."""
    flat = values.reshape(-1)
    result = np.empty(flat.shape, dtype=object)
    open_: list[int] = []
    for i, entry in enumerate(flat):
        known = rational_value(function, entry) if isinstance(entry, Fraction) else None
        if known is None:
            open_.append(i)
        else:
            result[i] = known
    if open_:
        result[open_] = scene.smooth(OPS[function], flat[open_], span)
    return result.reshape(values.shape)


def softmax(scores: EntryArray, scene: Scene, span: Span) -> EntryArray:
    """`1 / (1 + sum over j != i of e^(x_j - x_i))`, where nothing overflows and bounds know of
    differences alone; of two scores a sigmoid. Raises SpecError E0901 beyond MAX_SCORES.
    """
    count = scores.size
    if count > MAX_SCORES:
        text = f"`softmax` of {count} scores is not supported yet; {MAX_SCORES} are"
        raise SpecError.of("E0901", text, span, help="let the network end in a layer `softmax`")
    if count == 1:
        return entries([Fraction(1)], scores.shape)
    flat = scores.reshape(-1)
    if count == 2:
        difference = entries([flat[0] - flat[1], flat[1] - flat[0]], (2,))
        return elementary("sigmoid", difference, scene, span).reshape(scores.shape)
    gaps = [x - own for i, own in enumerate(flat) for j, x in enumerate(flat) if i != j]
    powers = elementary("exp", entries(gaps, (len(gaps),)), scene, span).reshape(count, count - 1)
    totals: list[Fraction | Linear] = []
    for row in powers:
        total: Fraction | Linear = Fraction(1)
        for entry in row:
            total = total + entry
        totals.append(total)
    return scene.reciprocal(entries(totals, (count,)), span).reshape(scores.shape)


ELEMENTARY_BUILTINS: Mapping[str, BuiltIn] = MappingProxyType(
    {name: _of_tensor(name) for name in ELEMENTARY}
)
"""The functions of this module by name."""
