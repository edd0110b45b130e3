"""What a property claims, over outputs: rows that a bounding method takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import product

from specdsl.graph import ops
from specdsl.query.elaboration.values.formula import (
    And,
    Below,
    Formula,
    Or,
    Stated,
    negate,
    same_prediction,
)
from specdsl.query.elaboration.values.scene import OpStep
from specdsl.query.elaboration.values.symbolic import INPUT, Linear, Prediction, weighted
from specdsl.source import Span
from specdsl.training.claims import template
from specdsl.training.claims.points import Points
from specdsl.training.claims.scene import Agreement, Distance, LabelMargin, untrainable
from specdsl.training.claims.template import (
    POINT,
    ClassMargins,
    Decided,
    Every,
    Margin,
    Relation,
    SameClass,
    Some,
)

MAX_SIGNED = 6
"""An l1 norm of so many entries is 64 linear functions; of more it is too many to bound."""


class Claims:
    """Turns formulas of a scene into those of a template. Errors are placed at `span`."""

    def __init__(self, points: Points, span: Span) -> None:
        self.points = points
        self.span = span

    def claimed(self, formula: Formula) -> template.Formula:
        """The formula over outputs. Raises SpecError E0730 for what is not linear in them."""
        match formula:
            case Below(expression, strict):
                return self._atom(-expression, strict)
            case And(parts):
                return every(self.claimed(part) for part in parts)
            case Or(parts):
                return some(self.claimed(part) for part in parts)
            case Stated(claim, _):
                return self.claimed(claim)

    def _atom(self, margin: Linear, strict: bool) -> template.Formula:
        """`margin > 0`, or `>= 0`."""
        for (source, position), coefficient in margin.terms:
            step = self.points.scene.step_of(source) if source != INPUT else None
            if not isinstance(step, OpStep):
                continue
            others = tuple((e, c) for e, c in margin.terms if e != (source, position))
            rest = Linear(others, margin.constant) if others else margin.constant
            if isinstance(step.op, LabelMargin):
                return self._class_margins(step, coefficient, rest, strict)
            if isinstance(step.op, Agreement):
                return self._same_class(step, agree=coefficient > 0)
            options = self._options(step, position)
            if options is not None:
                parts = [self._part(coefficient * o + rest, strict) for o in options]
                # Less than a largest value: each of them counts. More than one: some does.
                return every(parts) if coefficient < 0 else some(parts)
        form = self.points.affine(margin, self.span)
        outputs = {a.name for a in self.points.applications} & form.sources
        if POINT in form.sources and not outputs:
            raise untrainable("a part of it is about variables alone", self.span)
        if POINT in form.sources:
            raise untrainable(
                "it compares outputs with variables, and bounds of a network are of outputs alone",
                self.span,
                help="bound the variable by a number",
            )
        return Margin(form, strict) if outputs else Decided(form, ">" if strict else ">=")

    def _class_margins(
        self, step: OpStep, coefficient: Fraction, rest: Fraction | Linear, strict: bool
    ) -> template.Formula:
        """`coefficient * (score of the label - best other score) + rest`."""
        scores, (label,) = step.operands
        whole = self.points.whole_output(scores, self.span)
        if whole is None and isinstance(label, Fraction):
            own = scores[int(label)]
            others = (s for t, s in enumerate(scores) if t != label)
            parts = [self._part(coefficient * (own - s) + rest, strict) for s in others]
            return every(parts) if coefficient > 0 else some(parts)
        if whole is None:
            raise untrainable(
                "a label is compared with the best of other values than all outputs", self.span
            )
        name, factor, _ = whole
        beside = self.points.affine(rest, self.span)
        outputs = {a.name for a in self.points.applications} & beside.sources
        if outputs or POINT in beside.sources:
            raise untrainable("a margin is added to other outputs or to variables", self.span)
        return ClassMargins(
            application=name,
            label=self.points.label_name(label),
            classes=len(scores),
            factor=coefficient * factor,
            rest=beside,
            every=coefficient > 0,
        )

    def _same_class(self, step: OpStep, *, agree: bool) -> template.Formula:
        """Two predictions, which agree or do not."""
        first, second = step.operands
        one, two = (self.points.whole_output(scores, self.span) for scores in (first, second))
        if agree and one and two and one[1] == two[1] == 1 and len(first) == len(second):
            return SameClass(one[0], two[0], len(first))
        same = same_prediction(Prediction("argmax", first), Prediction("argmax", second))
        return self.claimed(same if agree else negate(same))

    def _part(self, margin: Fraction | Linear, strict: bool) -> template.Formula:
        if isinstance(margin, Linear):
            return self._atom(margin, strict)
        holds = margin > 0 if strict else margin >= 0
        return Every(()) if holds else Some(())

    def _options(self, step: OpStep, position: int) -> list[Fraction | Linear] | None:
        """What a value is the largest of; None where it is none of few linear functions."""
        match step.op:
            case ops.Abs():
                one = step.operands[0][position]
                return [one, -one]
            case ops.Relu():
                return [step.operands[0][position], Fraction(0)]
            case Distance(norm="l1") if len(step.operands[0]) <= MAX_SIGNED:
                vector = step.operands[0]
                signs = product((Fraction(1), Fraction(-1)), repeat=len(vector))
                return [weighted(s, vector, Fraction(0)) for s in signs]
            case Distance(norm=norm):
                few = f" of more than {MAX_SIGNED} values" if norm == "l1" else ""
                raise untrainable(
                    f"an {norm} norm{few} is no small number of linear functions",
                    self.span,
                    help="`linf` compares entry by entry",
                )
            case _:
                return None


def every(parts: Iterable[template.Formula]) -> template.Formula:
    """All of them, nested conjunctions flattened."""
    flat: list[template.Formula] = []
    for part in parts:
        if part == Some(()):
            return part
        flat += part.parts if isinstance(part, Every) else (part,)
    kept = _paired(flat, ">=", "==")
    return kept[0] if len(kept) == 1 else Every(kept)


def some(parts: Iterable[template.Formula]) -> template.Formula:
    """Any of them, nested disjunctions flattened."""
    flat: list[template.Formula] = []
    for part in parts:
        if part == Every(()):
            return part
        flat += part.parts if isinstance(part, Some) else (part,)
    kept = _paired(flat, ">", "!=")
    return kept[0] if len(kept) == 1 else Some(kept)


def _paired(
    parts: Sequence[template.Formula], one: Relation, both: Relation
) -> tuple[template.Formula, ...]:
    """Each part once; `a >= 0` and `-a >= 0` as `a == 0`."""
    kept = dict.fromkeys(parts)
    for part in parts:
        if not isinstance(part, Decided) or part.relation != one or part not in kept:
            continue
        mirrored = Decided(part.form.times(Fraction(-1)), one)
        if mirrored in kept:
            kept = {
                (Decided(part.form, both) if p == part else p): None for p in kept if p != mirrored
            }
    return tuple(kept)
