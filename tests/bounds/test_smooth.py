"""Smooth ops: formulas are as exact as they claim; ranges and lines hold for the real function."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, pi

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from specdsl.backend import Unsupported
from specdsl.bounds.interval import Interval
from specdsl.bounds.kinds import smooth
from specdsl.bounds.kinds.elementary import UNITS, formula
from specdsl.graph import ops

FloatArray = npt.NDArray[np.floating]

EPSILON = 2.0**-52
# Below this, what a double holds has fewer digits than others.
UNDERFLOW = 1e-290

S_SHAPES = [ops.Sigmoid(), ops.Tanh(), ops.Erf(), ops.Softsign()]
CURVED_ONE_WAY = [
    *(ops.Exp(), ops.Log(), ops.Sqrt(), ops.Reciprocal(), ops.Softplus()),
    *(ops.Power(p) for p in (-0.5, 0.3, 2.5)),
]
OPS: list[ops.Smooth] = [
    *(*CURVED_ONE_WAY, *S_SHAPES, ops.Elu(1.0), ops.Elu(0.5), ops.Elu(2.0)),
    *(ops.Gelu(), ops.GeluTanh(), ops.Silu(), ops.Mish(), ops.HardSwish()),
    *(ops.Sin(), ops.Cos(), ops.Tan()),
]
every_op = pytest.mark.parametrize("op", OPS, ids=repr)


# --- points and intervals -------------------------------------------------------------------------


def special(op: ops.Smooth) -> list[float]:
    """Where something changes, in the domain, with neighbours on both sides."""
    places = {0.0, *op.knots, *op.turns} - set(op.poles)
    if op.period is not None:
        places |= {p + k * op.period for p in places for k in (-3, -1, 1, 2)}
    near = {float(np.nextafter(p, way)) for p in places for way in (-inf, inf)}
    found = sorted(p for p in places | near if op.domain[0] <= p and not at_open_end(op, p))
    return found or [1.0]


def at_open_end(op: ops.Smooth, point: float) -> bool:
    with np.errstate(all="ignore"):
        return not np.isfinite(op.value(np.array([point])))[0]


def intervals(op: ops.Smooth, count: int, seed: int = 0) -> Interval:
    """Of no width, tiny, usual and huge, around 0 and far from it, with ends at special places; in
    the domain, on one side of a pole (but for a tangent, where either may happen).
    """
    random = np.random.default_rng(seed)
    center = random.normal(size=count) * random.choice([1e-6, 0.1, 1, 3, 10, 100], count)
    width = np.abs(random.normal(size=count))
    width *= random.choice([0, 1e-15, 1e-9, 1e-3, 0.5, 2, 10, 1e3], count)
    lower, upper = center - width, center + width
    place, kind = random.choice(special(op), count), random.random(count)
    lower = np.where(kind < 0.15, np.minimum(place, upper), lower)
    upper = np.where((kind > 0.15) & (kind < 0.3), np.maximum(place, lower), upper)
    if op.domain[0] == 0 or 0.0 in op.poles:
        lower, upper = np.sort(np.abs([lower, upper]) + np.finfo(float).tiny, axis=0)
    if 0.0 in op.poles:
        left = random.random(count) < 0.5
        lower, upper = np.where(left, -upper, lower), np.where(left, -lower, upper)
    return Interval(torch.as_tensor(lower), torch.as_tensor(upper))


def points_inside(op: ops.Smooth, z: Interval, count: int, seed: int = 0) -> FloatArray:
    """Ends, midpoints, special places and random ones: (count, intervals)."""
    lower, upper = z.lower.numpy(), z.upper.numpy()
    share = np.random.default_rng(seed).random((count, len(lower)))
    share[:3] = np.array([0.0, 1.0, 0.5])[:, None]
    points = np.clip(lower + share * (upper - lower), lower, upper)
    places = special(op)[: count - 3]
    points[3 : 3 + len(places)] = np.clip(np.array(places)[:, None], lower, upper)
    return points


def reference(op: ops.Smooth, x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Values, and how far these may be off: with more digits than float64 where numpy has them."""
    with np.errstate(all="ignore"):
        if isinstance(op, ops.Erf | ops.Gelu):
            value = op.value(x)
            error = UNITS * EPSILON * (np.abs(value) + np.abs(x * op.slope(x)))
            return value.astype(np.longdouble), error
        extended = x.astype(np.longdouble)
        return op.value(extended), np.zeros(x.shape)


# --- formulas -------------------------------------------------------------------------------------


@every_op
def test_formulas_agree_with_the_facts(op: ops.Smooth) -> None:
    x = points_inside(op, intervals(op, 200), 20).reshape(-1)
    with np.errstate(all="ignore"):
        value, slope = op.value(x), op.slope(x)
    form = formula(op)
    usual = np.isfinite(value) & np.isfinite(slope) & (np.abs(slope) < 1e12)
    points = torch.as_tensor(x[usual])
    assert np.allclose(form.value(points), value[usual], rtol=1e-11, atol=1e-14)
    assert np.allclose(form.slope(points), slope[usual], rtol=1e-9, atol=1e-13)


def true_values() -> dict[ops.Smooth, Callable[..., object]]:
    mp = pytest.importorskip("mpmath")

    def sigmoid(x: object) -> object:
        return 1 / (1 + mp.exp(-x))

    def softplus(x: object) -> object:
        return mp.log1p(mp.exp(x))

    cubic = mp.mpf(0.044715)
    return {
        ops.Exp(): mp.exp,
        ops.Log(): mp.log,
        ops.Sqrt(): mp.sqrt,
        ops.Power(0.3): lambda x: x ** mp.mpf(0.3),
        ops.Power(-0.5): lambda x: x ** mp.mpf(-0.5),
        ops.Reciprocal(): lambda x: 1 / x,
        ops.Sigmoid(): sigmoid,
        ops.Tanh(): mp.tanh,
        ops.Erf(): mp.erf,
        ops.Softsign(): lambda x: x / (1 + abs(x)),
        ops.Softplus(): softplus,
        ops.Elu(2.0): lambda x: x if x >= 0 else 2 * mp.expm1(x),
        ops.Gelu(): lambda x: x * mp.erfc(-x / mp.sqrt(2)) / 2,
        ops.GeluTanh(): lambda x: x * sigmoid(2 * mp.sqrt(2 / mp.pi) * (x + cubic * x**3)),
        ops.Silu(): lambda x: x * sigmoid(x),
        ops.Mish(): lambda x: x * mp.tanh(softplus(x)),
        ops.HardSwish(): lambda x: x * min(max((x + 3) / 6, mp.mpf(0)), mp.mpf(1)),
        ops.Sin(): mp.sin,
        ops.Cos(): mp.cos,
        ops.Tan(): mp.tan,
    }


def test_formulas_are_off_by_no_more_than_they_claim() -> None:
    mp = pytest.importorskip("mpmath")
    random = np.random.default_rng(0)
    with mp.workdps(50):
        for op, true in true_values().items():
            x = random.normal(size=150) * random.choice([1e-8, 1e-3, 0.1, 1, 5, 30, 300], 150)
            x = np.abs(x) if op.domain[0] == 0 else x
            form = formula(op)
            points = torch.as_tensor(np.concatenate([x, [p for p in special(op) if p]]))
            values, slopes = form.value(points), form.slope(points)
            for point, value, slope in zip(
                points.tolist(), values.tolist(), slopes.tolist(), strict=True
            ):
                exact = true(mp.mpf(point))
                if not np.isfinite(value) or abs(exact) < UNDERFLOW:
                    continue
                moved = abs(mp.mpf(point) * mp.mpf(slope)) if form.conditioned else 0
                unit = EPSILON * (abs(exact) + moved)
                # Half of what is allowed for, since other machines have other libraries.
                assert abs(exact - mp.mpf(value)) <= UNITS / 2 * unit, (op, point)


@every_op
def test_gradients_are_slopes(op: ops.Smooth) -> None:
    x = points_inside(op, intervals(op, 100), 10).reshape(-1)
    for knot in op.knots:
        x = x[np.abs(x - knot) > 1e-12]
    points = torch.as_tensor(x).requires_grad_()
    (gradient,) = torch.autograd.grad(smooth.evaluate(op, points).sum(), points)
    slope = formula(op).slope(points.detach())
    usual = slope.isfinite() & gradient.isfinite() & (slope.abs() < 1e12)
    assert float(usual.double().mean()) > 0.8
    assert torch.allclose(gradient[usual], slope[usual], rtol=1e-9, atol=1e-12)


# --- ranges and lines -----------------------------------------------------------------------------


@every_op
def test_ranges_and_lines_hold_at_100_000_points(op: ops.Smooth) -> None:
    """Of the function itself, not up to rounding: a line is computed exactly enough here."""
    z = intervals(op, 2000, seed=1)
    inside = ~smooth.outside(op, z).numpy()
    points = points_inside(op, z, 50)
    value, error = reference(op, points)
    span, found = smooth.image(op, z), smooth.relax(op, z)
    assert found.lower_intercept is not None
    for slope, intercept, end, sign in (
        (found.lower_slope, found.lower_intercept, span.lower, 1),
        (found.upper_slope, found.upper_intercept, span.upper, -1),
    ):
        line = slope.numpy().astype(np.longdouble) * points + intercept.numpy()
        assert (sign * line <= sign * value + error)[:, inside].all()
        assert (sign * end.numpy() <= sign * value + error)[:, inside].all()


@every_op
def test_ranges_are_exact_up_to_rounding(op: ops.Smooth) -> None:
    z = intervals(op, 500, seed=2)
    # Few points on many periods do not meet the extremes.
    kept = (~smooth.outside(op, z) & (z.upper - z.lower < 10)).numpy()
    points = points_inside(op, z, 200)
    with np.errstate(all="ignore"):
        value, along = op.value(points), np.abs(points * op.slope(points))[:2].max(0)
    span = smooth.image(op, z)
    for end, extreme in ((span.lower, value.min(0)), (span.upper, value.max(0))):
        # A turn between two points has about their values.
        allowed = 2e-3 + 1e-12 * (np.abs(extreme) + along)
        usual = kept & np.isfinite(extreme) & np.isfinite(allowed)
        assert (np.abs(end.numpy()[usual] - extreme[usual]) <= allowed[usual]).all()


def hull_height(op: ops.Smooth, low: float, high: float) -> float:
    """The lower convex hull of f at the midpoint, over 4001 points."""
    x = np.linspace(low, high, 4001)
    y = op.value(x)
    middle = 2000
    left, right = x[:middle], x[middle + 1 :]
    chords = y[:middle, None] + (y[None, middle + 1 :] - y[:middle, None]) * (
        (x[middle] - left)[:, None] / (right[None, :] - left[:, None])
    )
    return min(float(chords.min()), float(y[middle]))


@pytest.mark.parametrize("op", [*S_SHAPES, ops.Elu(2.0), ops.Exp(), ops.Softplus()], ids=repr)
def test_lines_touch_the_convex_hull_at_the_midpoint(op: ops.Smooth) -> None:
    for low, high in ((-3.0, 4.0), (-0.2, 2.0), (-6.0, 0.5), (1.0, 2.0), (-5.0, -1.0)):
        z = Interval(torch.tensor([low]).double(), torch.tensor([high]).double())
        found = smooth.relax(op, z)
        assert found.lower_intercept is not None
        height = float(found.lower_slope * z.center + found.lower_intercept)
        assert height == pytest.approx(hull_height(op, low, high), abs=1e-4)


@every_op
def test_no_line_is_steeper_than_the_function(op: ops.Smooth) -> None:
    found = smooth.relax(op, intervals(op, 500, seed=3))
    for slope in (found.lower_slope, found.upper_slope):
        assert bool((slope.abs() <= op.steepest * (1 + 1e-12)).all())
        assert bool(slope.isfinite().all())


@every_op
def test_unbounded_intervals_have_bounds_without_nan(op: ops.Smooth) -> None:
    low, high = op.domain
    ends = [-inf, -1e308, -1e200, -1.0, 0.0, 1.0, 1e200, 1e308, inf]
    pairs = [(a, b) for a in ends for b in ends if a <= b and (a < b or abs(a) < inf)]
    z = Interval(*(torch.tensor(end, dtype=torch.float64) for end in zip(*pairs, strict=True)))
    span, found = smooth.image(op, z), smooth.relax(op, z)
    assert found.lower_intercept is not None
    assert bool(found.lower_slope.isfinite().all() & found.upper_slope.isfinite().all())
    assert not bool(found.lower_intercept.isnan().any() | found.upper_intercept.isnan().any())
    x = np.array([p for p in (-600.0, -2.5, -0.3, 0.4, 7.0, 600.0) if low < p < high])
    value = torch.as_tensor(op.value(x))[:, None]
    points = torch.as_tensor(x)[:, None]
    contained = (z.lower <= points) & (points <= z.upper)
    slack = 1e-9 * (1 + value.abs())
    assert bool(((span.lower <= value) & (value <= span.upper) | ~contained).all())
    below = found.lower_slope * points + found.lower_intercept
    above = found.upper_slope * points + found.upper_intercept
    assert bool(((below <= value + slack) & (value <= above + slack) | ~contained).all())


# --- where there is no value ----------------------------------------------------------------------


def interval(low: float, high: float) -> Interval:
    ends: tuple[Tensor, Tensor] = (torch.tensor([0.5, low]), torch.tensor([0.75, high]))
    return Interval(*(end.double() for end in ends))


@pytest.mark.parametrize(
    ("op", "low", "high", "words"),
    [
        (ops.Log(), -1, 2, "the `Log` of a value that may be 0 or less (it is known to lie in"),
        (ops.Log(), 0, 2, "[0, 2]"),
        (ops.Sqrt(), -1e-9, 2, "the `Sqrt` of a value that may be less than 0"),
        (ops.Power(0.5), -1, 2, "the `Power` of a value that may be less than 0"),
        (ops.Power(-0.5), 0, 2, "the `Power` of a value that may be 0 or less"),
        (ops.Reciprocal(), 0, 2, "the `Reciprocal` of a value that may be 0"),
        (ops.Reciprocal(), -2, 1, "[-2, 1]"),
        (ops.Tan(), 1, 2, "the `Tan` of a value that may be at a pole"),
        (ops.Tan(), 1, pi / 2, "at a pole"),
    ],
)
def test_what_may_have_no_value_is_refused_by_name(
    op: ops.Smooth, low: float, high: float, words: str
) -> None:
    z = interval(low, high)
    with pytest.raises(Unsupported) as found:
        smooth.require_inside(op, z)
    assert words in found.value.what
    span, lines = smooth.image(op, z), smooth.relax(op, z)
    assert lines.lower_intercept is not None
    assert (float(span.lower[1]), float(span.upper[1])) == (-inf, inf)
    assert (float(lines.lower_slope[1]), float(lines.lower_intercept[1])) == (0, -inf)
    assert (float(lines.upper_slope[1]), float(lines.upper_intercept[1])) == (0, inf)
    assert bool(span.lower[:1].isfinite().all())


@pytest.mark.parametrize("op", [ops.Sqrt(), ops.Power(0.5), ops.Power(2.5)], ids=repr)
def test_a_closed_end_belongs_to_the_domain(op: ops.Smooth) -> None:
    z = interval(0.0, 4.0)
    smooth.require_inside(op, z)
    span = smooth.image(op, z)
    assert float(span.lower[1]) == 0
    assert float(span.upper[1]) == pytest.approx(float(op.value(np.array(4.0))))


def test_straight_pieces_need_no_tighter_bound() -> None:
    z = Interval(torch.tensor([0.0, -1.0, 2.0, -9.0]), torch.tensor([2.0, 1.0, 2.0, -4.0]))
    assert smooth.is_straight(ops.Elu(1.0), z).tolist() == [True, False, True, False]
    assert smooth.is_straight(ops.HardSwish(), z).tolist() == [False, False, True, True]
    assert smooth.is_straight(ops.Sin(), z).tolist() == [False, False, True, False]
