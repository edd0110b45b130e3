"""What an emitted claim says of points is what the property says, and its region is their set."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from specdsl.bounds.regions.region import InputRegion
from specdsl.query.query import Query
from specdsl.query.sets import ExactArray, exact
from specdsl.training.runtime.bounds.lower import interval, lower
from specdsl.training.runtime.claims.claim import Claim, margins_at
from specdsl.training.runtime.networks.network import Trainable
from tests.training.claims.specs import (
    claim_of,
    compiled,
    load,
    queries,
    trainable,
    violated,
)

SAMPLES, DRAWS = 3, 25
# Balls are rounded: points so near to a sphere may be on either side of it.
NEAR = 1e-4

# Sets, and claims over them. Every set takes `x`, `y` and `r`.
SETS = {
    "linf": "forall z in near(x, r)",
    "l2": "forall z in norm_ball(x, r, l2, only = [a, b]) & Point",
    "l1": "forall z in norm_ball(x, r + 1/4, l1, only = [b]) & near(x, r)",
    "weighted": "forall z in norm_ball(x, r, linf, scale = normalized, only = [a, b]) & Point",
    "weighted l2": "forall z in norm_ball(x, r, l2, scale = normalized, only = [a, b]) & Point",
    "pinned": "forall z in Point where same_except(x, z, b)",
    "ordered": "forall z in near(x, r) where z.b[0] <= z.b[1] + 1",
    "bounded": "forall z in near(x, r) where z.a >= x.a and 2 * z.a <= x.a + 3",
    "radius": "forall z in norm_ball(x, x.n / 4, l2, only = [a, b]) & Point",
    "radius of some": "forall z in norm_ball(x, x.n / 4, linf, only = b) & Point",
    "two balls": "forall z in norm_ball(x, r, l1, only = [a, b]) & near(x, r) "
    "where norm(z.b - x.b, l2) <= r / 2",
    "distance": "forall z in Point where same_except(x, z, a, b) and norm(z.b - x.b, l2) <= r",
}
CLAIMS = {
    "robust": "argmax(net(z)) == y",
    "never": "argmax(net(z)) != y",
    "margin": "margin(net(z), y) >= 1/2",
    "lowest": "argmin(net(z)) == y",
    "constant": "argmax(net(z)) == middle",
    "range": "-2 <= net(z).left - net(z)[1] / 2 < 3",
    "chosen": "net(z)[y] >= r and all(net(z) <= 5)",
    "either": "net(z)[0] > 1 or (net(z)[1] > -2 and net(z)[2] < 3)",
    "implied": "y == right => argmax(net(z)) == right",
    "unless": "not (net(z)[0] > 1 and not net(z)[1] <= 2)",
    "finite": "forall i in 0..2 where i != y: net(z)[y] >= net(z)[i] - 1",
    "some": "exists i in 0..1: net(z)[i] >= 1",
    "some other": "exists i in 0..2 where i != y: net(z)[i] >= 1",
    "not called": "not close(net(z), net(x), 1/2)",
    "not all": "not (forall i in 0..2 where i != y: net(z)[i] <= 1)",
    "near output": "norm(net(z) - net(x), linf) <= r",
    "near in l1": "norm(net(z) - net(x), l1) <= 2",
    "far in l1": "norm(net(z), l1) >= 2",
    "largest": "max(net(z)) <= 3 and min(net(z)) < 1",
    "same": "argmax(net(z)) == argmax(net(x))",
    "other": "argmax(net(z)) != argmax(net(x))",
    "not the same": "not argmin(net(z)) == argmax(net(x))",
    "of some": "argmax(net(z)[0:2]) == 1",
    "not of some": "argmin(net(z)[0:2]) != 1 or margin(net(z), middle) <= -1/2",
    "called": "close(twice(net(z)), net(x), 2)",
    "absolute": "|net(z)[0] - 1| <= 2",
    "by cases": "if y == left then net(z)[0] >= 0 else net(z)[1] >= 0",
    "sum": "sum(net(z)) <= 4",
    "member": "argmax(net(z)) in one_of(left, right)",
    "let": "net(replace(z, a = x.a)).left <= net(z).left + 1",
}
BLOCKS = {
    "moved": (
        "forall d in [-1/4, 1/2] where replace(x, a = x.a + d) in Point: "
        "net(replace(x, a = x.a + d)).left >= net(x).left"
    ),
    "pair": "forall z in near(x, r), w in near(x, 1/4): net(z)[0] - net(w)[0] <= 2",
    "tied": (
        "forall z in near(x, r), w in near(x, r) where same_except(z, w, a) and z.a <= w.a: "
        "net(z)[0] <= net(w)[0]"
    ),
    "shifted": "forall z in near(x, r), d in [-1/4, 1/4]: net(replace(z, a = 2 * d))[0] <= 1",
    "premise": "forall z in near(x, r) where y != left: argmax(net(z)) == y",
    "block": "{ let s = net(x) forall z in near(x, r) show net(z)[0] <= s[0] + 1 and s[1] <= 9 }",
    "two parts": (
        "(forall z in near(x, r): net(z)[0] <= 1) or forall w in near(x, r): net(w)[1] > 0"
    ),
}
PROPERTIES = {
    **{f"{name} set": f"= {text}: argmax(net(z)) == y" for name, text in SETS.items()},
    **{name: f"= {SETS['linf']}: {text}" for name, text in CLAIMS.items()},
    **{name: text if text.startswith("{") else f"= {text}" for name, text in BLOCKS.items()},
}


def samples(generator: random.Random) -> tuple[Tensor, Tensor]:
    """In quarters, within the space."""
    rows = [
        [
            generator.randint(-4, 8) / 4,
            generator.randint(-8, 4) / 4,
            generator.randint(-8, 4) / 4,
            float(generator.randint(0, 4)),
        ]
        for _ in range(SAMPLES)
    ]
    labels = [generator.randint(0, 2) for _ in range(SAMPLES)]
    return torch.tensor(rows), torch.tensor(labels)


def points(region: InputRegion, generator: random.Random) -> Tensor:
    """In eighths, about the region: entries with one value mostly have it."""
    lower, upper = region.box.lower, region.box.upper
    wide = torch.where(upper > lower, 0.25 * torch.ones_like(lower), torch.zeros_like(lower))
    drawn = torch.tensor([[generator.random() for _ in row] for row in lower.tolist()])
    found = lower - wide + drawn * (upper - lower + 2 * wide)
    return torch.where(wide > 0, (8 * found).round() / 8, found)


def exactly(row: Tensor) -> ExactArray:
    return exact([Fraction(value) for value in row.double().tolist()])


def inside(region: InputRegion, point: Tensor) -> list[bool | None]:
    """Whether each point lies in the region; None where rounding decides."""
    box = ((region.box.lower <= point) & (point <= region.box.upper)).all(1)
    excess = torch.full((len(point),), -1.0)
    for ball in region.balls.all if region.balls else ():
        distance = ball.size((point[:, ball.positions] - ball.center) * ball.scale)
        excess = torch.maximum(excess, distance - ball.radius)
    if region.halfspaces is not None:
        cut = region.halfspaces.excess(point[:, None])[:, 0].amax(1)
        excess = torch.maximum(excess, torch.where(cut > 0, 1.0, -1.0))
    return [
        None if in_box and abs(e) < NEAR else in_box and e <= 0
        for in_box, e in zip(box.tolist(), excess.tolist(), strict=True)
    ]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A claim of a batch, and for each sample the query of the property and of its set alone."""

    claim: Claim
    net: Trainable
    queries: Sequence[Query]
    sets: Sequence[Query]


def prepared(name: str, seed: int) -> Prepared:
    generator = random.Random(f"{name} {seed}")
    head, net = trainable(seed)
    x, y = samples(generator)
    r = generator.choice([0.25, 0.5, 1.0])
    body = PROPERTIES[name]
    alone = body.replace(": argmax(net(z)) == y", ": false")
    spec = load(
        f"{head}property p(x, y, r) {body}\nproperty q(x, y, r) {alone}\n"
        f"check forall (x, y) in d[0:{SAMPLES}]: p(x, y, {Fraction(r)})\n"
        f"check forall (x, y) in d[0:{SAMPLES}]: q(x, y, {Fraction(r)})"
    )
    found = queries(spec, x, y)
    claim = claim_of(compiled(spec), x, y, r)
    return Prepared(claim, net, found[:SAMPLES], found[SAMPLES:])


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", sorted(PROPERTIES))
def test_margins_are_positive_where_the_property_holds(name: str, seed: int) -> None:
    made = prepared(name, seed)
    claim, net = made.claim, made.net
    generator = random.Random(seed)
    seen = 0
    for _ in range(DRAWS):
        point = points(claim.region, generator)
        margins = margins_at(net, claim, point).amin(1).tolist()
        within = inside(claim.region, point)
        for k, query in enumerate(made.queries):
            if within[k] and margins[k] != 0:
                seen += 1
                assert violated(query, exactly(point[k])) == (margins[k] < 0), (k, point[k])
    assert seen


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", [f"{name} set" for name in SETS])
def test_regions_are_the_sets_of_the_queries(name: str, seed: int) -> None:
    made = prepared(name, seed)
    claim = made.claim
    generator = random.Random(seed)
    for _ in range(DRAWS):
        point = points(claim.region, generator)
        for k, within in enumerate(inside(claim.region, point)):
            if within is not None:
                assert violated(made.sets[k], exactly(point[k])) == within, (k, point[k])


@pytest.mark.parametrize("name", sorted(PROPERTIES))
def test_regions_of_applications_hold_their_points_and_bounds_are_sound(name: str) -> None:
    made = prepared(name, 1)
    claim, net = made.claim, made.net
    generator = random.Random(name)
    least = lower(net, claim, interval())
    for _ in range(DRAWS):
        point = points(claim.region, generator)
        within = torch.tensor([bool(w) for w in inside(claim.region, point)])
        for application in claim.applications:
            at, box = application.point(point), application.region.box
            held = ((box.lower - 1e-5 <= at) & (at <= box.upper + 1e-5)).all(1)
            assert bool((held | ~within).all())
        margins = margins_at(net, claim, point)
        assert bool(((least - 1e-4 <= margins).all(1) | ~within).all())
