"""Small trainings on digits: what each method is for does happen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from specdsl.training.runtime.bounds.latent import LatentAttack, latent_margins
from specdsl.training.runtime.bounds.lower import crown_ibp, interval, lower, wong_kolter
from specdsl.training.runtime.bounds.small_boxes import small_claim
from specdsl.training.runtime.claims.claim import (
    Application,
    Atom,
    Claim,
    ball,
    box,
    class_rows,
    intersect,
    margins_at,
    unchanged,
)
from specdsl.training.runtime.losses.combine import (
    balanced_weights,
    convex_margins,
    geometric,
    product,
    random_subset,
)
from specdsl.training.runtime.losses.constraints import (
    Iterate,
    Lagrangian,
    ProxyLagrangian,
    best_iterate,
)
from specdsl.training.runtime.losses.losses import robust_cross_entropy
from specdsl.training.runtime.losses.measures import error_share, hinge
from specdsl.training.runtime.networks.initialise import ibp
from specdsl.training.runtime.networks.network import Trainable
from specdsl.training.runtime.networks.prune import prune_weights
from specdsl.training.runtime.networks.prune_relus import prune_relus, unstable_neurons
from specdsl.training.runtime.regularisers.claims import averaged, gap, inside
from specdsl.training.runtime.regularisers.intervals import relu_stability, shi_relu, shi_tightness
from specdsl.training.runtime.regularisers.weights import l1
from tests.training.emit.scripts import HEAD, NETWORK, REST, loaded, of_text
from tests.training.runtime.digits import batch, network, trained

RADIUS = 0.1
TRAIN = batch(1200)
TEST = batch(500, 1200)


def robust(x: Tensor, y: Tensor, radius: float = RADIUS) -> Claim:
    region = intersect(ball(x, radius), box(0.0, 1.0))
    return Claim(
        region, (Application(unchanged, region),), Atom((class_rows(y, 10),), x.new_zeros(1, 9))
    )


def worst(net: Trainable, claim: Claim) -> Tensor:
    """Three signed steps from the middle: near enough for what is tried here."""
    ends = claim.region.box
    points = ends.center
    for _ in range(3):
        points = points.detach().requires_grad_()
        loss = robust_cross_entropy(margins_at(net, claim, points))
        (gradient,) = torch.autograd.grad(loss, points)
        points = points + ends.radius * gradient.sign()
        points = points.maximum(ends.lower).minimum(ends.upper)
    return points.detach()


Loss = Callable[[Trainable, Tensor, Tensor, float], Tensor]


def train(net: Trainable, loss: Loss, epochs: int = 15, rate: float = 5e-3) -> None:
    """Adam; the last argument of the loss rises from 0 to 1 over the first half."""
    for _ in steps(net, loss, epochs, rate):
        pass


def steps(net: Trainable, loss: Loss, epochs: int, rate: float = 5e-3) -> Iterator[int]:
    optimiser = torch.optim.Adam(net.module.parameters(), lr=rate)
    x, y = TRAIN
    order = torch.Generator().manual_seed(0)
    for epoch in range(epochs):
        ramp = min(1.0, 2 * epoch / epochs)
        for part in torch.randperm(len(x), generator=order).split(100):
            optimiser.zero_grad()
            loss(net, x[part], y[part], ramp).backward()
            optimiser.step()
        yield epoch


def accuracy(net: Trainable) -> float:
    x, y = TEST
    with torch.no_grad():
        return float((net(x).argmax(1) == y).double().mean())


def certified(net: Trainable, part: tuple[Tensor, Tensor] = TEST) -> float:
    with torch.no_grad():
        return 1 - error_share(lower(net, robust(*part), crown_ibp())).item()


def unstable(net: Trainable) -> float:
    with torch.no_grad():
        return float(unstable_neurons(net.compiled(), robust(*TEST).region).mean())


@pytest.fixture(scope="module")
def clean() -> Trainable:
    return Trainable.of(trained(epochs=25), (64,))


def by_intervals(net: Trainable, x: Tensor, y: Tensor, ramp: float) -> Tensor:
    claim = robust(x, y, RADIUS * ramp)
    loss = robust_cross_entropy(lower(net, claim, interval()))
    found = inside(net, claim)
    shi = averaged(shi_tightness, found) + averaged(shi_relu, found)
    return ramp * loss + (1 - ramp) * F.cross_entropy(net(x), y) + 0.5 * (1 - ramp) * shi


def adversarial(net: Trainable, claim: Claim) -> Tensor:
    return margins_at(net, claim, worst(net, claim))


def by_convex_margins(net: Trainable, x: Tensor, y: Tensor, ramp: float) -> Tensor:
    claim = robust(x, y, RADIUS * ramp)
    bounds = lower(net, claim, interval())
    return robust_cross_entropy(convex_margins(0.3, bounds, adversarial(net, claim)))


def by_geometric_mean(net: Trainable, x: Tensor, y: Tensor, ramp: float) -> Tensor:
    claim = robust(x, y, RADIUS * ramp)
    bounds = lower(net, claim, interval())
    losses = (robust_cross_entropy(m) for m in (bounds, adversarial(net, claim)))
    return geometric(0.3, *losses)


def by_small_boxes(net: Trainable, x: Tensor, y: Tensor, ramp: float) -> Tensor:
    claim = robust(x, y, RADIUS * ramp)
    small = small_claim(claim, worst(net, claim), 0.6)
    return robust_cross_entropy(lower(net, small, interval()))


def by_latent_attacks(net: Trainable, x: Tensor, y: Tensor, ramp: float) -> Tensor:
    claim = robust(x, y, RADIUS * ramp)
    attack = LatentAttack(1, torch.Generator().manual_seed(0), steps=3)
    latent = robust_cross_entropy(latent_margins(net, claim, attack))
    return product(latent, robust_cross_entropy(lower(net, claim, interval())), scale=5.0)


def by_subsets(net: Trainable, x: Tensor, y: Tensor, ramp: float) -> Tensor:
    """MixTrain: Wong-Kolter bounds of a quarter of the batch."""
    part = random_subset(len(x), 0.25, torch.Generator().manual_seed(int(1e6 * x.sum())))
    claim = robust(x[part], y[part], RADIUS * ramp)
    hard = robust_cross_entropy(lower(net, claim, wong_kolter()))
    easy = F.cross_entropy(net(x), y)
    first, second = balanced_weights(0.8, hard, easy)
    return first * hard + second * easy


METHODS = {
    "intervals, Shi": by_intervals,
    "CC-IBP": by_convex_margins,
    "Exp-IBP": by_geometric_mean,
    "SABR": by_small_boxes,
    "TAPS": by_latent_attacks,
    "MixTrain": by_subsets,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_what_is_trained_to_be_certified_is(name: str, clean: Trainable) -> None:
    net = Trainable.of(network(0), (64,))
    ibp(net.module, (64,), torch.Generator().manual_seed(0))
    train(net, METHODS[name], epochs=30)
    assert accuracy(net) >= 0.82
    assert certified(net) >= certified(clean) + 0.2


def stable_loss(net: Trainable, x: Tensor, y: Tensor, ramp: float) -> Tensor:
    claim = robust(x, y)
    extra = 2e-2 * averaged(relu_stability, inside(net, claim))
    return robust_cross_entropy(adversarial(net, claim)) + extra


def sparse_loss(net: Trainable, x: Tensor, y: Tensor, ramp: float) -> Tensor:
    return robust_cross_entropy(adversarial(net, robust(x, y))) + 1e-3 * l1(net.module)


def plain_loss(net: Trainable, x: Tensor, y: Tensor, ramp: float) -> Tensor:
    return robust_cross_entropy(adversarial(net, robust(x, y)))


@pytest.fixture(scope="module")
def plain() -> Trainable:
    net = Trainable.of(network(0), (64,))
    train(net, plain_loss)
    return net


@pytest.mark.slow
def test_the_stability_loss_halves_unstable_neurons(plain: Trainable) -> None:
    net = Trainable.of(network(0), (64,))
    train(net, stable_loss)
    assert unstable(net) <= 0.5 * unstable(plain)
    assert accuracy(net) >= accuracy(plain) - 0.02


@pytest.mark.slow
def test_sparse_networks_lose_weights_and_relus_and_little_else(plain: Trainable) -> None:
    net = Trainable.of(network(0), (64,))
    train(net, sparse_loss)
    before = accuracy(net)
    mask = prune_weights(net.module, 1e-3)
    zeros, total = (sum(c[i] for c in mask.counts().values()) for i in (0, 1))
    assert zeros >= 0.3 * total
    assert accuracy(net) >= before - 0.01
    dense = prune_weights(trained(epochs=5), 1e-3).counts()
    assert sum(c[0] for c in dense.values()) <= 0.05 * total
    few = unstable(net)
    assert few < unstable(plain)
    done = prune_relus(net, [robust(*TRAIN).region], 0.9)
    assert sum(p.identity + p.zero for p in done.layers) > 0
    assert unstable(done.net) <= few
    assert accuracy(done.net) >= before - 0.02


def with_gap(weight: float, of: Literal["outputs", "pre_activations"]) -> Trainable:
    net = Trainable.of(network(0), (64,))

    def loss(net: Trainable, x: Tensor, y: Tensor, ramp: float) -> Tensor:
        claim = robust(x, y, RADIUS * ramp)
        bounds = robust_cross_entropy(lower(net, claim, crown_ibp()))
        return bounds + weight * gap(net, claim, of)

    train(net, loss)
    return net


@pytest.mark.slow
def test_the_gap_of_outputs_closes_and_costs_little() -> None:
    without, with_it = (with_gap(weight, "outputs") for weight in (0.0, 1.0))
    claim = robust(*TEST)
    assert gap(with_it, claim, "outputs").item() < 0.5 * gap(without, claim, "outputs").item()
    assert certified(with_it) >= certified(without) - 0.02


@pytest.mark.slow
def test_the_gap_of_pre_activations_falls_at_the_neurons_that_are_unstable() -> None:
    """It makes more of them: where a neuron becomes unstable it jumps, which no gradient sees."""
    claim = robust(*TEST)
    each = [
        gap(net, claim, "pre_activations").item() / unstable(net)
        for net in (with_gap(weight, "pre_activations") for weight in (0.0, 5.0, 30.0))
    ]
    assert each[2] < each[1] < each[0]


# --- constraints ---------------------------------------------------------------------------------

HARD = 8
"""One of the two classes that are certified least often without a constraint."""


def of_class(part: tuple[Tensor, Tensor], wanted: int) -> tuple[Tensor, Tensor]:
    x, y = part
    return x[y == wanted], y[y == wanted]


def error_of_class(net: Trainable) -> float:
    return 1 - certified(net, of_class(TRAIN, HARD))


def objective(net: Trainable, x: Tensor, y: Tensor) -> Tensor:
    claim = robust(x, y)
    return F.cross_entropy(net(x), y) + 0.02 * robust_cross_entropy(lower(net, claim, interval()))


@pytest.fixture(scope="module")
def unconstrained() -> float:
    net = Trainable.of(network(0), (64,))
    train(net, lambda net, x, y, _: objective(net, x, y), epochs=30)
    return error_of_class(net)


@pytest.mark.slow
def test_multipliers_keep_the_certified_error_of_a_class(unconstrained: float) -> None:
    bound = unconstrained / 2
    limits = Lagrangian(("certified_error(robust, where class 8)",), 2.0)

    def loss(net: Trainable, x: Tensor, y: Tensor, ramp: float) -> Tensor:
        chosen = of_class((x, y), HARD)
        margins = lower(net, robust(*chosen), crown_ibp()) if len(chosen[1]) else x.new_zeros(0, 9)
        extra = limits.term(
            (hinge(margins) - bound)[None], len(margins), (error_share(margins) - bound)[None]
        )
        return objective(net, x, y) + extra

    net = Trainable.of(network(0), (64,))
    for _ in steps(net, loss, 40):
        limits.update()
    assert error_of_class(net) <= bound + 0.01
    assert accuracy(net) >= 0.85


@pytest.mark.slow
def test_the_best_iterate_of_a_proxy_lagrangian_keeps_it_too(unconstrained: float) -> None:
    bound = unconstrained / 2
    limits = ProxyLagrangian(("certified_error(robust, where class 8)",), 2.0)

    def loss(net: Trainable, x: Tensor, y: Tensor, ramp: float) -> Tensor:
        chosen = of_class((x, y), HARD)
        margins = lower(net, robust(*chosen), crown_ibp()) if len(chosen[1]) else x.new_zeros(0, 9)
        measured = (error_share(margins) - bound)[None]
        stand_in = (hinge(margins) - bound)[None]
        return limits.term(objective(net, x, y), stand_in, measured, len(margins))

    net = Trainable.of(network(0), (64,))
    iterates: list[Iterate] = []
    for epoch in steps(net, loss, 40):
        broken = error_of_class(net) - bound
        limits.update()
        with torch.no_grad():
            iterates.append(Iterate(epoch, objective(net, *TRAIN).item(), (broken,)))
    assert best_iterate(iterates).violation == 0
    assert unconstrained > bound


CONSTRAINED = """train net on digits[0:1200] {
  epochs = 40  batch = 100  threads = 1  device = cpu  optimizer = adam(lr = 5e-3)
  minimize clean_loss() + 1/50 * certified_loss(robust, r = eps)
"""


def by_script(lines: str, folder: Path) -> Trainable:
    """What a block with these lines trains."""
    wide = NETWORK.replace("dense(12)", "dense(32)")
    text = f"{HEAD.replace('1/20', '1/10')}{wide}{REST}{CONSTRAINED}{lines}\n}}\n"
    module = loaded(of_text(text, folder), folder)
    return module.train(folder / "net.onnx", torch.device("cpu"))


@pytest.fixture(scope="module")
def free(tmp_path_factory: pytest.TempPathFactory) -> Trainable:
    return by_script("", tmp_path_factory.mktemp("free"))


@pytest.mark.slow
@pytest.mark.parametrize("by", ["lagrangian(lr = 1/2)", "proxy_lagrangian(lr = 2)"])
def test_blocks_with_a_constraint_meet_it_within_a_point(
    by: str, free: Trainable, tmp_path: Path
) -> None:
    """Without it the class is far from its bound; the others pay, and little is lost."""
    bound = 0.2
    measure = f"certified_error(robust, r = eps, by = crown_ibp, class = {HARD})"
    kept = by_script(f"constrain {measure} <= 1/5 by {by}", tmp_path)
    assert error_of_class(free) > bound + 0.2
    assert error_of_class(kept) <= bound + 0.01
    assert accuracy(kept) >= accuracy(free) - 0.1
