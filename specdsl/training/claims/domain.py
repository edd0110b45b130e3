"""Where the variables of a claim range: bounds, balls and half-spaces."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from specdsl.query.elaboration.values.formula import And, Below, Formula, Or, Stated
from specdsl.query.elaboration.values.scene import OpStep
from specdsl.query.elaboration.values.symbolic import INPUT, Linear
from specdsl.source import Span
from specdsl.training.claims.clauses import Condition, Ranged
from specdsl.training.claims.points import Points
from specdsl.training.claims.scene import ClaimScene, Distance, untrainable
from specdsl.training.claims.template import POINT, Affine, Ball, HalfSpace, Variable


@dataclass(slots=True, eq=False)
class Limits:
    """What is known of each entry of the point, each bound once, as it is found."""

    lower: list[dict[Affine, None]]
    upper: list[dict[Affine, None]]
    balls: list[Ball] = field(default_factory=list[Ball])
    cuts: list[HalfSpace] = field(default_factory=list[HalfSpace])

    @classmethod
    def over(cls, size: int) -> Limits:
        """Nothing known of so many entries."""
        return cls([{} for _ in range(size)], [{} for _ in range(size)])

    def bound(self, position: int, limit: Affine, *, upper: bool) -> None:
        """One more bound, unless it is known."""
        (self.upper if upper else self.lower)[position].setdefault(limit)

    def pinned(self, position: int) -> bool:
        """Whether an entry has one value only."""
        return any(limit in self.upper[position] for limit in self.lower[position])


def shared_places(
    scene: ClaimScene, ranged: Sequence[Ranged], conditions: Sequence[Condition]
) -> dict[int, int]:
    """Each entry of the variables (from 0) to its place in the point.

    Entries that conditions make equal share the place of the first: `same_except(a, b, income)`.
    """
    count = sum(r.variable.region.size for r in ranged)
    equal = _equal_pairs(scene.given_size, [c.formula for c in conditions])
    first = list(range(count))
    for low, high in sorted(equal):
        root = first[low]
        first = [root if f == first[high] else f for f in first]
    numbers: dict[int, int] = {}
    return {entry: numbers.setdefault(root, len(numbers)) for entry, root in enumerate(first)}


def _equal_pairs(start: int, formulas: Iterable[Formula]) -> set[tuple[int, int]]:
    atoms = {atom.expression for f in formulas for atom in _conjuncts(f) if not atom.strict}
    found: set[tuple[int, int]] = set()
    for expression in atoms:
        if -expression not in atoms or expression.constant or len(expression.terms) != 2:
            continue
        ((one, p), a), ((two, q), b) = expression.terms
        if one == two == INPUT and a + b == 0 and min(p, q) >= start:
            found.add((min(p, q) - start, max(p, q) - start))
    return found


def _conjuncts(formula: Formula) -> list[Below]:
    if isinstance(formula, Below):
        return [formula]
    parts = formula.parts if isinstance(formula, And) else ()
    return [atom for part in parts for atom in _conjuncts(part)]


class Domain:
    """Gathers what bounds and conditions say of the entries of the point."""

    def __init__(self, points: Points, size: int) -> None:
        self.points = points
        self.limits = Limits.over(size)

    def bounds_of(self, ranged: Ranged) -> None:
        """The bounds of a variable's set; such as follow another variable are half-spaces."""
        region, variable = ranged.region, ranged.variable
        entries = zip(variable.positions.tolist(), region.lower, region.upper, strict=True)
        for position, low, high in entries:
            entry = Linear.entry(INPUT, position)
            if low is not None:
                self._below(low - entry, ranged.span)
            if high is not None:
                self._below(entry - high, ranged.span)

    def restrict(self, formula: Formula, span: Span) -> None:
        """A condition. Raises SpecError E0730 for alternatives and for conditions on outputs."""
        match formula:
            case Below(expression, _):
                self._below(expression, span)
            case And(parts):
                for part in parts:
                    self.restrict(part, span)
            case Stated(claim, _):
                self.restrict(claim, span)
            case Or():
                raise untrainable(
                    "a condition on variables has alternatives",
                    span,
                    help="make a property of each alternative, and a term for each",
                )

    def _below(self, expression: Fraction | Linear, span: Span) -> None:
        """`expression <= 0` of the variables."""
        if isinstance(expression, Linear) and self._is_ball(expression, span):
            return
        form = self.points.affine(expression, span)
        outputs = {a.name for a in self.points.applications} & form.sources
        if outputs:
            raise untrainable("a condition on variables speaks about outputs", span)
        over = form.only(POINT).terms
        rest = form.without(POINT)
        if len(over) != 1:
            # Without any entry: bounds of a set against each other.
            coefficients = tuple((entry.position, c) for entry, c in over)
            cut = HalfSpace(coefficients, rest.times(Fraction(-1)))
            if over and cut not in self.limits.cuts:
                self.limits.cuts.append(cut)
            return
        ((entry, coefficient),) = over
        limit = rest.times(-1 / coefficient)
        self.limits.bound(entry.position, limit, upper=coefficient > 0)

    # --- balls -----------------------------------------------------------------------------------

    def _is_ball(self, expression: Linear, span: Span) -> bool:
        """Whether a norm is in it; a ball is kept, and its hull as bounds."""
        norms = [(e, c) for e, c in expression.terms if self._norm(e[0]) is not None]
        if not norms:
            return False
        ((source, position), coefficient), *more = norms
        step, norm = self._norm(source) or (None, None)
        assert step is not None
        assert norm is not None
        others = tuple((e, c) for e, c in expression.terms if e != (source, position))
        rest = self.points.affine(
            Linear(others, expression.constant) if others else expression.constant, span
        )
        if more or coefficient <= 0 or POINT in rest.sources:
            raise untrainable("a condition on a distance is not `distance <= number`", span)
        radius = rest.times(-1 / coefficient)
        ball = self._ball(step, norm, radius, span)
        if ball not in self.limits.balls:
            self.limits.balls.append(ball)
        for place, center, scale in zip(ball.positions, ball.center, ball.scale, strict=True):
            reach = radius.times(1 / scale)
            self.limits.bound(place, center.minus(reach), upper=False)
            self.limits.bound(place, center.plus(reach), upper=True)
        return True

    def _norm(self, source: int) -> tuple[OpStep, Distance] | None:
        step = self.points.scene.step_of(source) if source != INPUT else None
        if isinstance(step, OpStep) and isinstance(step.op, Distance):
            return step, step.op
        return None

    def _ball(self, step: OpStep, op: Distance, radius: Affine, span: Span) -> Ball:
        """`norm(a * v + b) <= radius`, each entry of v once."""
        positions: list[int] = []
        centers: list[Affine] = []
        scales: list[Fraction] = []
        for value in step.operands[0]:
            form = self.points.affine(value, span)
            over = form.only(POINT).terms
            if len(over) != 1 or over[0][0].position in positions:
                raise untrainable(
                    "a distance is measured from something else than entries of a variable", span
                )
            ((entry, coefficient),) = over
            positions.append(entry.position)
            centers.append(form.without(POINT).times(-1 / coefficient))
            scales.append(abs(coefficient))
        norm = "l1" if op.norm == "l1" else "l2"
        return Ball(tuple(positions), tuple(centers), tuple(scales), radius, norm)

    # --- all together ----------------------------------------------------------------------------

    def variables(self, ranged: Sequence[Ranged]) -> tuple[Variable, ...]:
        """The variables with their bounds, each without the entries that an earlier one has.

        Raises SpecError E0730 for whole numbers that vary, E0754 where a side is open.
        """
        found: list[Variable] = []
        start, given = 0, self.points.scene.given_size
        for one in ranged:
            places = [self.points.places[int(p) - given] for p in one.variable.positions]
            self._check(one, places)
            size = len({p for p in places if p >= start})
            own = range(start, start + size)
            balls = tuple(b for b in self.limits.balls if b.positions[0] in own)
            found.append(
                Variable(
                    one.variable.name,
                    start,
                    size,
                    tuple(tuple(self.limits.lower[p]) for p in own),
                    tuple(tuple(self.limits.upper[p]) for p in own),
                    balls,
                )
            )
            start += size
        return tuple(v for v in found if v.size)

    def _check(self, one: Ranged, places: Sequence[int]) -> None:
        whole = set(one.region.whole.tolist())
        for number, place in enumerate(places):
            name = _entry_name(one, number)
            if number in whole and not self.limits.pinned(place):
                raise untrainable(
                    f"{name} takes whole numbers only",
                    one.span,
                    help="keep it as it is in the sample: `where same_except(x, z, ...)`",
                )
            if not self.limits.lower[place] or not self.limits.upper[place]:
                raise untrainable(
                    f"{name} has no bounds of its own",
                    one.span,
                    help="intersect its set with a space or a box",
                )


def _entry_name(one: Ranged, number: int) -> str:
    """An entry of a variable in the user's terms: its field, where it has one."""
    name, space = one.variable.name, one.region.space
    if one.region.size == 1:
        return f"`{name}`"
    for field_ in space.fields if space is not None and len(space.fields) > 1 else ():
        if number < field_.width:
            return f"`{name}.{field_.name}`"
        number -= field_.width
    return f"entry {number} of `{name}`"
