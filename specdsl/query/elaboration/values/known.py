"""What is known of irrational constants: `exp(1)`, a sigmoid network at a sample.

They are steps of the scene, like everything else that has no exact value; where nothing quantified
is in them, they have a value with an error bound, and comparisons far from that bound are decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import isinf

import numpy as np

from specdsl.graph import ops
from specdsl.graph.enclosure import INFLATION, TINY, Enclosed, enclose
from specdsl.graph.exact import NoValue
from specdsl.graph.graph import GraphBuilder, NodeId
from specdsl.query.elaboration.values.formula import (
    And,
    Below,
    Formula,
    Or,
    Stated,
    conjunction,
    disjunction,
    truth,
)
from specdsl.query.elaboration.values.scene import CallStep, OpStep, Scene, operands_of
from specdsl.query.elaboration.values.symbolic import (
    INPUT,
    EntryArray,
    Linear,
    Prediction,
    entries,
)

Known = tuple[Fraction, float]
"""A value, and how far off it may be."""


def decide(formula: Formula, scene: Scene) -> Formula:
    """The formula with every atom decided that constants decide beyond doubt."""
    if all(_source(number + 1, scene) is None for number in range(len(scene.sources))):
        return formula
    return _decided(formula, scene)


def _decided(formula: Formula, scene: Scene) -> Formula:
    match formula:
        case Below(expression, strict):
            found = known(expression, scene)
            if found is None or isinf(found[1]):
                return formula
            value, error = found[0], Fraction(found[1])
            least, most = value - error, value + error
            if most < 0 or (most == 0 and not strict):
                return truth(True)
            return truth(False) if least > 0 or (least == 0 and strict) else formula
        case And(parts):
            return conjunction(_decided(part, scene) for part in parts)
        case Or(parts):
            return disjunction(_decided(part, scene) for part in parts)
        case Stated(claim, _):
            found = _decided(claim, scene)
            return found if found in (truth(True), truth(False)) else formula


def winner(prediction: Prediction, scene: Scene) -> int | None:
    """The label that a prediction on constants gives, -1 where exact scores tie; None where that
    is not known.
    """
    exact = prediction.winner
    if exact is not None:
        return exact
    found = [known(score, scene) for score in prediction.rising]
    scores = [score for score in found if score is not None and not isinf(score[1])]
    if len(scores) < len(found):
        return None
    best = max(range(len(scores)), key=lambda i: scores[i][0])
    least = scores[best][0] - Fraction(scores[best][1])
    others = (value + Fraction(error) for i, (value, error) in enumerate(scores) if i != best)
    return best if all(other < least for other in others) else None


def known(expression: Fraction | Linear, scene: Scene) -> Known | None:
    """The value of an expression in which nothing varies; None where something does."""
    if isinstance(expression, Fraction):
        return expression, 0.0
    value, error = expression.constant, 0.0
    for (source, position), coefficient in expression.terms:
        found = None if source == INPUT else _source(source, scene)
        if found is None:
            return None
        value += coefficient * Fraction(found.value[position])
        error += abs(float(coefficient)) * float(found.error[position])
    return value, error * INFLATION + TINY if error else 0.0


def _source(number: int, scene: Scene) -> Enclosed | None:
    """The flat entries of a source, each source once."""
    if number not in scene.enclosed:
        scene.enclosed[number] = None
        source = scene.source(number)
        step = scene.steps[source.step]
        operands = [_operand(values, scene) for values in operands_of(step)]
        if all(operand is not None for operand in operands):
            given = [operand for operand in operands if operand is not None]
            scene.enclosed[number] = _evaluated(step, source.part, given)
    return scene.enclosed[number]


def _operand(values: EntryArray, scene: Scene) -> Enclosed | None:
    found: list[Known] = []
    for entry in values:
        one = known(entry, scene)
        if one is None:
            return None
        found.append(one)
    flat = entries([value for value, _ in found], (len(found),))
    return Enclosed(flat, np.array([error for _, error in found]))


def _evaluated(
    step: CallStep | OpStep, part: int | str, operands: Sequence[Enclosed]
) -> Enclosed | None:
    """What a step gives; None where it has no value."""
    builder = GraphBuilder()
    if isinstance(step, CallStep):
        shapes = [port.shape or (1,) for port in step.network.inputs]
    else:
        shapes = [operand.error.shape for operand in operands]
    nodes = [builder.add(ops.Input(shape), name="constant") for shape in shapes]
    node = _added(step, part, builder, nodes)
    given = {
        name: Enclosed(o.value.reshape(shape), o.error.reshape(shape))
        for name, o, shape in zip(nodes, operands, shapes, strict=True)
    }
    try:
        found = enclose(builder.build(node), given, nodes=[node])[node]
    except NoValue:
        return None
    return Enclosed(found.value.reshape(-1), found.error.reshape(-1))


def _added(
    step: CallStep | OpStep, part: int | str, builder: GraphBuilder, nodes: Sequence[NodeId]
) -> NodeId:
    if isinstance(step, OpStep):
        return builder.add(step.op, *nodes)
    if isinstance(part, int):
        return step.network.apply(builder, nodes).outputs[part]
    return dict(step.network.apply(builder, nodes, (part,)).hidden)[part]
