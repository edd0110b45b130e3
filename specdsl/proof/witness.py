"""A point that answers the question: it lies in the set of a case, and all atoms hold there."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from specdsl.proof.arithmetic import EXACT, Arithmetic
from specdsl.proof.container import Container
from specdsl.proof.fields import Fields
from specdsl.proof.passes import Bounds, Rules
from specdsl.proof.question import BallSet, Question, rationals
from specdsl.proof.refusal import Refused, require
from specdsl.proof.regions import Region
from specdsl.proof.relaxations import Interval


@dataclass(frozen=True, slots=True)
class Witness:
    """`point`: of the set of the case at this position."""

    case: int
    point: tuple[Fraction, ...]


def read_witness(record: Fields, question: Question, container: Container) -> Witness:
    """Raises Refused where it is none of the question's."""
    case, data = record.whole("case"), container.section(record.word("point"))
    require(0 <= case < len(question.cases), "a witness is of no case")
    try:
        point = tuple(rationals(data).tolist())
    except (ValueError, ZeroDivisionError) as error:
        raise Refused(f"the point of a witness: {error}") from error
    size = question.network.size(question.network.input)
    require(len(point) == size, f"a witness has {len(point)} entries, not {size}")
    return Witness(case, point)


def check_witness(question: Question, witness: Witness, how: Arithmetic) -> tuple[str, ...]:
    """What is believed besides. In floats, and where they are not enough in rationals.

    Raises Refused where the point lies outside, or an atom may not hold.
    """
    own = question.sets[question.cases[witness.case].set]
    inside = zip(own.lower, witness.point, own.upper, strict=True)
    whole = all(witness.point[i].denominator == 1 for i in question.integers)
    fits = whole and all(low <= x <= high for low, x, high in inside)
    fits = fits and all(_holds(ball, witness.point) for ball in own.balls)
    require(fits, "the point of a witness lies outside of its set")
    for arithmetic in dict.fromkeys((how, EXACT)):
        rules = Rules.of(question.network, arithmetic, single=question.semantics != "real")
        if _answers(question, witness, rules):
            return rules.trusted
    raise Refused("at the point of a witness some atom does not hold, or may not")


def _holds(ball: BallSet, point: tuple[Fraction, ...]) -> bool:
    at = zip(ball.scale, ball.positions.tolist(), ball.center, strict=True)
    gaps = [scale * abs(point[i] - center) for scale, i, center in at]
    if ball.norm == "l1":
        return sum(gaps) <= ball.radius
    return sum(gap * gap for gap in gaps) <= ball.radius**2


def _answers(question: Question, witness: Witness, rules: Rules) -> bool:
    """Whether all atoms hold by bounds of the margins at the point."""
    low, high = rules.how.bounds(witness.point, witness.point)
    bounds = Bounds(rules, Region(rules.how, Interval(low[None], high[None])))
    bounds.propagate(None)
    if bounds.failed:
        return False
    most = bounds.found[rules.network.output].upper.reshape(-1).tolist()
    atoms = question.cases[witness.case].atoms
    return all(most[i] < 0 if strict else most[i] <= 0 for i, strict in atoms)
