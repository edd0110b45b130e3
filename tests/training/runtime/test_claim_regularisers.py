"""Regularisers of claims: over all applications, gradients in the weights of the module."""

from __future__ import annotations

import pytest
import torch

from specdsl.bounds.passes.first_layer import interval_pass
from specdsl.training.runtime.bounds.lower import crown, interval, lower
from specdsl.training.runtime.claims.claim import (
    Application,
    Atom,
    Claim,
    ball,
    box,
    class_rows,
    intersect,
    unchanged,
)
from specdsl.training.runtime.networks.network import Trainable
from specdsl.training.runtime.regularisers.claims import (
    averaged,
    bound_gap,
    everywhere,
    gap,
    inside,
    lipschitz,
)
from specdsl.training.runtime.regularisers.intervals import relu_stability, shi_relu, shi_tightness
from specdsl.training.runtime.regularisers.tightness import output_gap, pre_activation_gap
from tests.training.runtime.digits import batch, network


@pytest.fixture
def net() -> Trainable:
    return Trainable.of(network(0, (64, 32, 20, 10)), (64,))


def twice(radius: float) -> Claim:
    """The network at x and at x moved a little; a third application is not read."""
    x, y = batch(5)
    first = intersect(ball(x, radius), box(0.0, 1.0))
    second = intersect(ball(x + 0.1, 2 * radius))
    rows = class_rows(y, 10)
    one = Atom((rows, -rows, None), x.new_zeros(1, 9))
    applications = (
        Application(unchanged, first),
        Application(lambda v: v + 0.1, second),
        Application(unchanged, first),
    )
    return Claim(first, applications, one)


def test_terms_are_means_over_the_applications_that_are_read(net: Trainable) -> None:
    claim = twice(0.05)
    found = inside(net, claim)
    compiled = net.compiled()
    assert len(found) == 2
    for term in (shi_tightness, shi_relu, relu_stability):
        each = [
            term(compiled, interval_pass(compiled, a.region).bounds).item()
            for a in claim.applications[:2]
        ]
        assert averaged(term, found).item() == pytest.approx(sum(each) / 2, rel=1e-5)


def test_gaps_are_those_of_the_rows_that_are_read(net: Trainable) -> None:
    claim = twice(0.02)
    rows = class_rows(batch(5)[1], 10)[:, :, None]
    compiled = net.compiled()
    regions = [a.region for a in claim.applications[:2]]
    outputs = [output_gap(compiled, r, s * rows) for r, s in zip(regions, (1, -1), strict=True)]
    inner = [
        pre_activation_gap(compiled, r, s * rows) for r, s in zip(regions, (1, -1), strict=True)
    ]
    assert gap(net, claim, "outputs").item() == pytest.approx(sum(outputs).item() / 2, rel=1e-5)
    assert gap(net, claim, "pre_activations").item() == pytest.approx(
        sum(inner).item() / 2, rel=1e-5
    )


def test_gradients_reach_the_module(net: Trainable) -> None:
    claim = twice(0.05)
    terms = {
        "stability": lambda: averaged(relu_stability, inside(net, claim)),
        "crown": lambda: averaged(relu_stability, inside(net, claim, by="crown")),
        "gap": lambda: gap(net, claim, "outputs", "wong_kolter"),
        "lipschitz": lambda: lipschitz(inside(net, claim), "l2"),
    }
    for term in terms.values():
        net.module.zero_grad()
        term().backward()
        gradient = net.module.get_parameter("0.weight").grad
        assert gradient is not None
        assert float(gradient.abs().sum()) > 0
        assert bool(gradient.isfinite().all())


def test_crown_leaves_fewer_neurons_unstable(net: Trainable) -> None:
    """The sum of -tanh is at most that of intervals where bounds are tighter, up to rounding."""
    claim = twice(0.05)
    by_crown, by_intervals = (
        sum(
            int(((z.lower < 0) & (z.upper > 0)).sum())
            for part in inside(net, claim, by=by)
            for node, z in part.bounds.items()
            if node in part.compiled.pre_activations
        )
        for by in ("crown", "interval")
    )
    assert by_crown <= by_intervals


def test_descent_on_stability_makes_neurons_stable(net: Trainable) -> None:
    claim = twice(0.05)

    def unstable() -> int:
        return sum(
            int(((z.lower < 0) & (z.upper > 0)).sum())
            for part in inside(net, claim)
            for node, z in part.bounds.items()
            if node in part.compiled.pre_activations
        )

    before = unstable()
    optimiser = torch.optim.Adam(net.module.parameters(), lr=5e-3)
    for _ in range(30):
        optimiser.zero_grad()
        averaged(relu_stability, inside(net, claim)).backward()
        optimiser.step()
    assert unstable() < 0.5 * before


def test_the_gap_between_methods_is_that_of_their_bounds(net: Trainable) -> None:
    claim = twice(0.03)
    tighter, looser = lower(net, claim, crown()), lower(net, claim, interval())
    found = bound_gap(net, claim, interval(), crown()).item()
    assert found == pytest.approx((tighter - looser).clamp(min=0).mean().item(), rel=1e-6)
    assert found > 0
    assert bound_gap(net, claim, crown(), crown()).item() == 0


def test_a_claim_about_all_outputs_reads_each_once(net: Trainable) -> None:
    region = twice(0.05).region
    (part,) = inside(net, everywhere(region, net.outputs))
    assert part.rows.reshape(10, 10).tolist() == torch.eye(10).tolist()
    other = averaged(shi_tightness, [part], 0.25).item()
    assert other == shi_tightness(part.compiled, part.bounds, 0.25).item()
