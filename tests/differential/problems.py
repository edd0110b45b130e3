"""Problems whose answers are known by hand: each is a spec in numbers, the truth, and why.

A query asks for a point that breaks the property. `margin`: the least value, over all inputs, of
the largest margin of the case that comes nearest to having a point; positive where the property
holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

from specdsl.language.spec import Spec
from specdsl.query.query import Query
from tests.query.specs import load, obligations

NETWORKS = """spec 1.0
space Count { k: int in [0, 3]  y: real in [3/2, 3/2] }
space Image { x: real[1, 2, 2] in [-1, 1] }
network sum: real[2] -> real { layer dense(weight = [[1, 1]], bias = [0]) }
network distance: real[2] -> real {
  layer dense(weight = [[1, -1], [-1, 1]], bias = [0, 0])
  layer relu
  layer dense(weight = [[1, 1]], bias = [0])
}
network tent: real[1] -> real {
  layer dense(weight = [[1], [1]], bias = [0, -1/2])
  layer relu
  layer dense(weight = [[2, -4]], bias = [0])
}
network deep: real[2] -> real {
  layer dense(weight = [[1, 1], [1, -1]], bias = [0, 0])
  layer relu
  layer dense(weight = [[1, 1], [1, -1]], bias = [-1, -1])
  layer relu
  layer dense(weight = [[1, -2]], bias = [0])
}
network leaky: real[2] -> real {
  layer dense(weight = [[1, 1]], bias = [0])
  layer leaky_relu(1/4)
}
network clipped: real[1] -> real { layer dense(weight = [[1]], bias = [0])  layer clip(-1/2, 1) }
network largest: real[1, 2, 2] -> real[1] { layer max_pool(2, stride = 2)  layer flatten }
network scores: real[2] -> real[3] {
  layer dense(weight = [[1, 1], [1, -1]], bias = [2, 0])
  layer relu
  layer dense(weight = [[1, 0], [0, 1], [1, -1]], bias = [1/2, 0, 0])
}
"""


@dataclass(frozen=True, slots=True)
class Problem:
    """`property`: after `property p =`; `holds`: whether no point breaks it, for `exists` whether
    none is one; `why`: by hand. `margin`: None where it is not known by hand, or not what a model
    minimises. `beyond`: complete methods, some with options, that need not decide it.
    """

    property: str
    holds: bool
    why: str
    margin: Fraction | None = None
    beyond: frozenset[str] = frozenset()

    @property
    def text(self) -> str:
        """The whole spec."""
        return f"{NETWORKS}property p = {self.property}\ncheck p"

    @property
    def spec(self) -> Spec:
        """Checked."""
        return load(self.text)

    @property
    def query(self) -> Query:
        """A new one each time."""
        (obligation,), resources = obligations(self.text)
        return obligation.query(resources)


# Where a margin is exactly 0, rounding decides for all but Z3.
TIE = frozenset({"milp", "search", "portfolio"})
NO_PRODUCTS = frozenset({"milp"})
SQUARE = "forall x in box([-1, -1], [1, 1]): "
QUARTER = Fraction(1, 4)

PROBLEMS: Mapping[str, Problem] = MappingProxyType(
    {
        "box": Problem(
            f"{SQUARE}distance(x) <= 9/4", True, "|a - b| is 2 at opposite corners", QUARTER
        ),
        "box, broken": Problem(
            f"{SQUARE}distance(x) <= 7/4", False, "|a - b| is 2 at opposite corners", -QUARTER
        ),
        "tie": Problem(
            f"{SQUARE}distance(x) <= 2", True, "|a - b| is 2, and no more", Fraction(0), TIE
        ),
        "linf ball": Problem(
            "forall x in norm_ball([1, 1/3], 1/3, linf): sum(x) >= 1/2",
            True,
            "least at the lower corner, (2/3, 0)",
            Fraction(1, 6),
        ),
        "l1 ball": Problem(
            "forall x in norm_ball([0, 0], 1, l1): distance(x) <= 5/4",
            True,
            "|a - b| is at most |a| + |b|, 1 on the ball, though 2 on its box",
            QUARTER,
        ),
        "l1 ball, broken": Problem(
            "forall x in norm_ball([0, 0], 1, l1): distance(x) <= 3/4",
            False,
            "|a - b| is 1 at (1, 0)",
            -QUARTER,
        ),
        "l2 ball": Problem(
            "forall x in norm_ball([0, 0], 5, l2): 3 * x[0] + 4 * x[1] <= 101/4",
            True,
            "5 times the norm of (3, 4) is 25",
            QUARTER,
        ),
        "l2 ball, broken": Problem(
            "forall x in norm_ball([0, 0], 5, l2): 3 * x[0] + 4 * x[1] <= 99/4",
            False,
            "25 at (3, 4)",
            -QUARTER,
        ),
        "whole numbers": Problem(
            "forall c in Count: distance([c.k, c.y]) >= 1/4",
            True,
            "3/2 is at least 1/2 from every whole number",
            QUARTER,
            frozenset({"search(split = neuron)"}),
        ),
        "real instead of whole numbers": Problem(
            "forall k in [0, 3]: distance([k, 3/2]) >= 1/4", False, "0 at 3/2", -QUARTER
        ),
        "condition": Problem(
            f"{SQUARE}x[0] + x[1] <= 0 => leaky(x) <= 1/4",
            True,
            "leaky is not positive where its argument is not",
            # Of max(a + b, 1/4 - leaky): both are 1/8 at a + b = 1/8.
            Fraction(1, 8),
        ),
        "condition, broken": Problem(
            f"{SQUARE}x[0] + x[1] <= -1 => leaky(x) <= -5/16",
            False,
            "-1/4 at a + b = -1",
        ),
        "leaky": Problem(
            f"{SQUARE}leaky(x) - sum(x) <= 7/4", True, "-3/4 of a + b = -2 is 3/2", QUARTER
        ),
        "leaky, broken": Problem(
            f"{SQUARE}leaky(x) - sum(x) <= 5/4", False, "-3/4 of a + b = -2 is 3/2", -QUARTER
        ),
        "clip": Problem(
            "forall x in box([-2], [2]): clipped(x) - x[0] <= 7/4",
            True,
            "-1/2 + 2 at the lower end",
            QUARTER,
        ),
        "clip, broken": Problem(
            "forall x in box([-2], [2]): clipped(x) - x[0] >= -3/4",
            False,
            "1 - 2 at the upper end",
            -QUARTER,
        ),
        "max pool": Problem(
            "forall i in Image: largest(i.x)[0] >= i.x[0, 1, 0] - 1/4",
            True,
            "the largest is at least each of them",
            QUARTER,
        ),
        "max pool, broken": Problem(
            "forall i in Image: largest(i.x)[0] <= 3/4", False, "1", -QUARTER
        ),
        "two layers": Problem(
            "forall x in box([0], [1]): tent([tent(x)]) <= 5/4",
            True,
            "tent maps [0, 1] onto [0, 1]",
            QUARTER,
        ),
        "two layers, broken": Problem(
            "forall x in box([0], [1]): tent([tent(x)]) <= 3/4",
            False,
            "tent(1/4) is 1/2, tent(1/2) is 1",
            -QUARTER,
        ),
        "three layers": Problem(
            "forall x in box([0], [1]): tent([tent([tent(x)])]) <= 5/4",
            True,
            "tent maps [0, 1] onto [0, 1]",
            QUARTER,
        ),
        "loose": Problem(
            f"{SQUARE}deep(x) <= 5/4",
            True,
            "relu(a + b) + relu(a - b) is at most 2, and 1 is taken off",
            QUARTER,
        ),
        "loose, broken": Problem(f"{SQUARE}deep(x) <= 3/4", False, "1 at (1, 0)", -QUARTER),
        "hidden neuron": Problem(
            f'{SQUARE}distance.hidden("relu")(x)[1] <= 9/4', True, "b - a is at most 2", QUARTER
        ),
        "hidden neuron, broken": Problem(
            f'{SQUARE}distance.hidden("relu")(x)[1] <= 7/4', False, "b - a is 2", -QUARTER
        ),
        "several cases": Problem(
            f"{SQUARE}argmax(scores(x)) == 0",
            True,
            # relu(2 + a + b) + 1/2 against relu(a - b) and the difference of both.
            "least against the second, at a = 1 and b = -1: 5/2 against 2",
            Fraction(1, 2),
        ),
        "either": Problem(
            "forall x in [0, 1]: tent([x]) <= 1/2 or x >= 1/8",
            True,
            "2 x is below 1/4 where x is below 1/8",
            # The bound of x goes into the box: 1/2 - 2 x at 1/8.
            QUARTER,
        ),
        "either, broken": Problem(
            "forall x in [0, 1]: tent([x]) <= 1/2 or x >= 1/2", False, "3/4 at x = 3/8"
        ),
        "not both": Problem(
            "forall x in [0, 1]: not (tent([x]) >= 3/4 and x <= 1/4)",
            True,
            "2 x is at most 1/2 where x is at most 1/4",
            # As above: 3/4 - 2 x at 1/4.
            QUARTER,
        ),
        "exists": Problem("exists x in [0, 1]: tent([x]) >= 3/4", False, "1 at x = 1/2", -QUARTER),
        "exists nothing": Problem(
            "exists x in [0, 1]: tent([x]) >= 5/4", True, "at most 1", QUARTER
        ),
        "two copies": Problem(
            "forall x in box([0, 0], [1, 1]), y in norm_ball(x, 1/10, linf): "
            "|distance(x) - distance(y)| <= 1/4",
            True,
            "the difference of two entries moves by at most 1/5",
            # |x - y| <= 1/10 are atoms: where they are missed by m, 1/4 - 2 (1/10 + m) is left.
            Fraction(1, 60),
        ),
        "product": Problem(
            "forall x in box([-1, -3], [2, 1]): x[0] * x[1] >= -25/4",
            True,
            "bilinear: least at a corner, -6 at (2, -3)",
            QUARTER,
            NO_PRODUCTS,
        ),
        "product, broken": Problem(
            "forall x in box([-1, -3], [2, 1]): x[0] * x[1] >= -23/4",
            False,
            "-6 at (2, -3)",
            -QUARTER,
            NO_PRODUCTS,
        ),
        "square": Problem(
            "forall x in box([-1], [2]): tent(x) * tent(x) - tent(x) >= -1/2",
            True,
            "t^2 - t is least at t = 1/2, -1/4",
            QUARTER,
            NO_PRODUCTS,
        ),
    }
)
