"""Attacks stay in their regions, reach what can be computed by hand, and disturb nothing."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import kl_div

from specdsl.backend import Unsupported
from specdsl.bounds.regions.balls import Ball
from specdsl.bounds.regions.halfspaces import HalfSpaces
from specdsl.bounds.regions.region import Balls, InputRegion
from specdsl.training.runtime.attacks.attacks import (
    GradientAttack,
    fgsm,
    friendly,
    kl,
    loss_of,
    noise,
    pgd,
    several,
    with_noise,
)
from specdsl.training.runtime.attacks.free import Free
from specdsl.training.runtime.attacks.points import Norm, direction, held, project, start
from specdsl.training.runtime.attacks.targeted import Objective, target_classes, targeted
from specdsl.training.runtime.claims.claim import (
    All,
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
from specdsl.training.runtime.networks.network import Trainable

INPUTS, CLASSES = 6, 4
NORMS: tuple[Norm, ...] = ("linf", "l2", "l1")
ATTACKS: tuple[GradientAttack, ...] = (
    fgsm(),
    fgsm(1.25, "random"),
    pgd(3, restarts=2),
    pgd(4, step=0.5, decay={2: 0.1}, loss="margin"),
    pgd(2, norm="linf"),
    pgd(2, norm="l2"),
    pgd(2, norm="l1"),
    friendly(3, 1),
    targeted(2),
    targeted(2, target="random", objective="rest"),
    targeted(1, target="least_likely", restarts=2),
    targeted(1, target="each"),
    kl(2),
    noise(0.5),
    several(fgsm(), pgd(2, norm="l1")),
    several(fgsm(), noise(1.0), pick="draw"),
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@cache
def traced(*kinds: type[nn.Module]) -> Trainable:
    """Tracing takes a second: the same network serves all tests, each with its own weights."""
    made = [nn.BatchNorm1d(8) if kind is nn.BatchNorm1d else kind() for kind in kinds]
    module = nn.Sequential(nn.Linear(INPUTS, 8), *made, nn.Linear(8, CLASSES))
    return Trainable.of(module.eval(), (INPUTS,))


def network(seed: int = 0, *kinds: type[nn.Module]) -> Trainable:
    net = traced(*(kinds or (nn.ReLU,)))
    torch.manual_seed(seed)
    for part in net.module.modules():
        if isinstance(part, nn.Linear | nn.BatchNorm1d):
            part.reset_parameters()
    return net


def varied(seed: int) -> Trainable:
    """A network that gives all classes, as untrained ones hardly do."""
    net = network(seed)
    with torch.no_grad():
        first, _, last = net.module  # type: ignore[misc]
        first.weight *= 6
        first.bias.copy_(-first.weight.sum(1) / 2)
        last.bias.zero_()
    return net


def claim_in(region: InputRegion, y: Tensor, classes: int = CLASSES) -> Claim:
    rows = class_rows(y, classes).to(region.box.lower.dtype)
    atom = Atom((rows,), rows.new_zeros(1, classes - 1))
    return Claim(region, (Application(unchanged, region),), atom)


def robust(x: Tensor, y: Tensor, r: float, norm: Norm = "linf", *, cut: bool = True) -> Claim:
    parts = (ball(x, r, norm), box(0.0, 1.0)) if cut else (ball(x, r, norm),)
    return claim_in(intersect(*parts), y)


def samples(seed: int, batch: int = 5) -> tuple[Tensor, Tensor]:
    drawn = generator(seed)
    x = torch.rand(batch, INPUTS, generator=drawn)
    # Some entries at the faces of the box, as pixels are.
    x = x.where(torch.rand(x.shape, generator=drawn) < 0.7, x.round())
    return x, torch.randint(CLASSES, (batch,), generator=drawn)


# --- regions --------------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 10_000), norm=st.sampled_from(NORMS), radius=st.sampled_from((0, 0.1, 2))
)
@settings(max_examples=20, deadline=None)
@pytest.mark.parametrize("attack", ATTACKS, ids=range(len(ATTACKS)))
def test_attacks_stay_in_the_region(
    attack: GradientAttack, seed: int, norm: Norm, radius: float
) -> None:
    x, y = samples(seed)
    claim = robust(x, y, radius, norm)
    found = attack.find(network(seed), claim, generator(seed))
    points, region = found.points, claim.region
    assert points.shape == x.shape
    assert bool(points.isfinite().all())
    assert bool((points >= region.box.lower).all())
    assert bool((points <= region.box.upper).all())
    sizes = torch.linalg.vector_norm(
        points - x, ord=float("inf") if norm == "linf" else int(norm[1]), dim=1
    )
    # float32: offsets of entries up to 1, added up.
    assert float(sizes.max()) <= radius + 1e-5
    assert found.steps.shape == (len(x),)


@given(seed=st.integers(0, 10_000), norm=st.sampled_from(("l2", "l1")))
@settings(max_examples=25, deadline=None)
def test_balls_of_some_entries_are_kept_and_the_others_move_on_their_own(
    seed: int, norm: Literal["l2", "l1"]
) -> None:
    drawn = generator(seed)
    x = torch.rand(4, INPUTS, generator=drawn)
    order = torch.randperm(INPUTS, generator=drawn)
    # Two balls that share an entry, and entries that no ball speaks about.
    parts = (order[:3], order[2:4])
    balls = tuple(Ball(at, x[:, at], torch.ones(len(at)), 0.2, norm) for at in parts)
    region = InputRegion(intersect(ball(x, 0.15), box(0.0, 1.0)).box, Balls.of(balls, INPUTS))
    net, y = network(seed), torch.randint(CLASSES, (4,), generator=drawn)
    points = pgd(3)(net, claim_in(region, y), drawn)
    assert bool(held(region, points).all())
    for at in parts:
        sizes = torch.linalg.vector_norm((points - x)[:, at], ord=int(norm[1]), dim=1)
        assert float(sizes.max()) <= 0.2 + 1e-5
    free = fgsm()(net, claim_in(region, y), drawn)[:, order[4:]]
    low, high = (end[:, order[4:]] for end in (region.box.lower, region.box.upper))
    at_corner = torch.isclose(free, low) | torch.isclose(free, high)
    assert bool((at_corner | torch.isclose(free, (low + high) / 2)).all())


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_projections_keep_linear_constraints_too(seed: int) -> None:
    drawn = generator(seed)
    x = torch.rand(4, INPUTS, generator=drawn, dtype=torch.float64)
    plain = intersect(ball(x, 0.3, "l2"), box(0.0, 1.0))
    matrix = torch.randn(4, 2, INPUTS, generator=drawn, dtype=torch.float64)
    # Every constraint holds at the sample, with room for a ball of 0.05.
    limits = (matrix @ x[:, :, None])[..., 0] + 0.05 * matrix.norm(dim=2)
    region = InputRegion(plain.box, plain.balls, HalfSpaces(matrix, limits))
    points = project(region, x + torch.randn(x.shape, generator=drawn, dtype=torch.float64))
    assert bool(((matrix @ points[:, :, None])[..., 0] <= limits + 1e-9).all())
    assert bool(((points - x).norm(dim=1) <= 0.3 + 1e-9).all())
    assert bool(held(region, points).all())


@pytest.mark.parametrize("norm", NORMS)
def test_points_inside_are_not_moved(norm: Norm) -> None:
    x, y = samples(1)
    region = robust(x, y, 0.2, norm).region
    points = start(region, "random", generator())
    assert torch.equal(project(region, points), points)


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_random_starts_are_uniform_in_balls(norm: Norm) -> None:
    x = torch.zeros(20_000, 3)
    region = intersect(ball(x, 2.0, norm))
    points = start(region, "random", generator())
    sizes = torch.linalg.vector_norm(points, ord=int(norm[1]), dim=1)
    # In n dimensions a ball of half the radius holds 2^-n of the volume.
    assert float((sizes <= 1).double().mean()) == pytest.approx(1 / 8, abs=0.01)
    assert float(sizes.max()) <= 2 + 1e-5
    assert float(points.mean().abs()) < 0.02


@pytest.mark.parametrize("region_norm", NORMS)
@pytest.mark.parametrize("norm", [None, *NORMS])
def test_moves_are_as_long_as_the_radius_and_lead_upwards(
    region_norm: Norm, norm: Norm | None
) -> None:
    x, y = samples(2)
    region = robust(x, y, 0.3, region_norm, cut=False).region
    gradient = torch.randn(x.shape, generator=generator())
    move = direction(region, gradient, norm)
    order = float("inf") if region_norm == "linf" else int(region_norm[1])
    sizes = torch.linalg.vector_norm(move, ord=order, dim=1)
    assert torch.allclose(sizes, torch.full_like(sizes, 0.3))
    assert bool(((move * gradient).sum(1) > 0).all())


# --- what can be computed by hand -----------------------------------------------------------------


@pytest.mark.parametrize("norm", NORMS)
def test_one_step_attains_the_closed_form_of_a_linear_model(norm: Norm) -> None:
    torch.manual_seed(3)
    module = nn.Linear(INPUTS, 2, dtype=torch.float64).eval()
    net = Trainable.of(module.float(), (INPUTS,))
    net.module.double()
    x = torch.rand(7, INPUTS, dtype=torch.float64)
    y = torch.randint(2, (7,))
    claim = claim_in(intersect(ball(x, 0.1, norm)), y, 2)
    sign = 1 - 2 * y.double()
    row = module.weight[0] - module.weight[1]
    margin = sign * (x @ row + module.bias[0] - module.bias[1])
    dual = torch.linalg.vector_norm(row, ord={"linf": 1, "l2": 2, "l1": float("inf")}[norm])
    # Danskin: the loss of the worst point is that of the margin less radius times dual norm.
    worst = torch.nn.functional.softplus(-(margin - 0.1 * dual))
    points = fgsm()(net, claim, generator())
    assert torch.allclose(loss_of(margins_at(net, claim, points)), worst, atol=1e-12)


def test_more_restarts_never_find_less() -> None:
    net = network(4)
    x, y = samples(4, 20)
    claim = robust(x, y, 0.3)

    def reached(restarts: int) -> Tensor:
        points = pgd(2, restarts=restarts)(net, claim, generator(5))
        return loss_of(margins_at(net, claim, points)).detach()

    losses = [reached(n) for n in (1, 2, 4, 8)]
    assert all(bool((b >= a - 1e-6).all()) for a, b in pairwise(losses))
    assert float((losses[-1] - losses[0]).max()) > 1e-4


def test_more_steps_find_more_on_average() -> None:
    net = network(6)
    x, y = samples(6, 200)
    claim = robust(x, y, 0.3)

    def mean(points: Tensor) -> float:
        return float(loss_of(margins_at(net, claim, points)).detach().mean())

    means = [mean(pgd(n, step=0.25)(net, claim, generator())) for n in (1, 3, 10)]
    assert mean(x) < means[0]
    assert means == sorted(means)


def test_steps_shrink_at_the_points_of_decay() -> None:
    moves = pgd(8, step=0.5, decay={4: 0.1, 7: 0.1}).moves
    region = robust(*samples(0), 0.1).region
    lengths = [moves.length(i, region) for i in range(8)]
    assert lengths == pytest.approx([0.5] * 4 + [0.05] * 3 + [0.005])
    assert pgd(10).moves.step == 0.25


def test_the_same_generator_finds_the_same_points() -> None:
    net = network(7)
    claim = robust(*samples(7), 0.2)
    for attack in ATTACKS:
        assert torch.equal(attack(net, claim, generator(1)), attack(net, claim, generator(1)))


# --- what attacks must not touch ------------------------------------------------------------------


def test_modes_and_parameters_are_as_before() -> None:
    net = network(8, nn.BatchNorm1d, nn.ReLU, nn.Dropout)
    net.module.train()
    net.module[3].eval()  # type: ignore[index]
    before = {k: v.clone() for k, v in net.module.state_dict().items()}
    claim = robust(*samples(8), 0.2)
    for attack in ATTACKS:
        points = attack(net, claim, generator())
        assert not points.requires_grad
    assert [part.training for part in net.module] == [True, True, True, False, True]  # type: ignore[union-attr]
    assert all(p.grad is None for p in net.module.parameters())
    assert all(torch.equal(before[k], v) for k, v in net.module.state_dict().items())


def test_a_network_that_does_not_read_its_input_is_not_followed() -> None:
    net = network(9)
    with torch.no_grad():
        net.module[0].weight.zero_()  # type: ignore[index]
    claim = robust(*samples(9), 0.2)
    assert torch.equal(fgsm()(net, claim, generator()), claim.region.anchor)


# --- friendly adversaries -------------------------------------------------------------------------


def test_friendly_attacks_stop_a_while_after_the_first_violation() -> None:
    net = network(10)
    x, _ = samples(10, 100)
    y = net.at(x).argmax(1)
    claim = robust(x, y, 0.4)
    means = [
        friendly(10, tau, step=0.1).find(net, claim, generator()).mean_steps for tau in range(4)
    ]
    assert means == sorted(means)
    assert means[0] < means[-1] < 10
    patient = friendly(10, 10, step=0.1)(net, claim, generator())
    assert torch.equal(patient, pgd(10, step=0.1)(net, claim, generator()))
    # Where the property fails at the end of the long way, the short one stops where it fails too.
    failed = margins_at(net, claim, patient).amin(1) <= 0
    kind = margins_at(net, claim, friendly(10, 0, step=0.1)(net, claim, generator())).amin(1)
    assert bool((kind[failed] <= 0).all())
    assert bool(kind.mean() > margins_at(net, claim, patient).amin(1).mean())


# --- targets --------------------------------------------------------------------------------------


def test_the_second_objective_fools_less_but_misses_its_target_less() -> None:
    net = varied(11)
    x, _ = samples(11, 300)
    y = net.at(x).argmax(1)
    claim = robust(x, y, 0.2)
    margin = margins_at(net, claim, claim.region.anchor).argmin(1)
    goal = target_classes(claim, margin)
    assert bool((goal != y).all())

    def fooled_and_hit(objective: Objective) -> tuple[float, float]:
        answers = net.at(targeted(10, objective=objective)(net, claim, generator())).argmax(1)
        return float((answers != y).double().mean()), float((answers == goal).double().mean())

    # Here 81 % and 70 % by the margin, 58 % and 57 % by the rest.
    fooled, hit = fooled_and_hit("margin")
    fooled_by_rest, hit_by_rest = fooled_and_hit("rest")
    assert fooled > fooled_by_rest
    assert hit / fooled < hit_by_rest / fooled_by_rest
    assert min(hit, hit_by_rest) > 0.5


def test_every_target_in_turn_finds_at_least_what_one_does() -> None:
    net = network(12)
    x, y = samples(12, 50)
    claim = robust(x, y, 0.3)

    def reached(attack: GradientAttack) -> float:
        margins = margins_at(net, claim, attack(net, claim, generator()))
        return float((margins.amin(1) <= 0).double().mean())

    assert reached(targeted(5, target="each")) >= reached(targeted(5, target="least_likely"))


def test_a_target_class_needs_classes() -> None:
    x, y = samples(13)
    claim = robust(x, y, 0.1)
    both = Claim(claim.region, claim.applications, All((claim.formula,)))
    assert targeted(1)(network(13), both, generator()).shape == x.shape
    with pytest.raises(Unsupported):
        targeted(1, objective="rest")(network(13), both, generator())


# --- the others -----------------------------------------------------------------------------------


def test_the_divergence_grows_from_the_sample() -> None:
    net = network(14)
    x, y = samples(14, 50)
    claim = robust(x, y, 0.3)
    natural = net.at(x).log_softmax(1).detach()

    def divergence(points: Tensor) -> float:
        log = net.at(points).log_softmax(1).detach()
        return float(kl_div(log, natural, reduction="batchmean", log_target=True))

    points = kl(10).find(net, claim, generator(), natural=(net.at(x),)).points
    assert divergence(points) > 2 * divergence(noise(1.0)(net, claim, generator()))
    # Labels play no part.
    other = robust(x, (y + 1) % CLASSES, 0.3)
    assert torch.equal(kl(3)(net, other, generator()), kl(3)(net, claim, generator()))


def test_several_attacks_do_at_least_as_badly_as_each() -> None:
    net = network(15)
    claim = robust(*samples(15, 50), 0.3)

    def reached(attack: GradientAttack) -> Tensor:
        return loss_of(margins_at(net, claim, attack(net, claim, generator()))).detach()

    one, other = fgsm(), targeted(3, target="least_likely")
    both = reached(several(one, other))
    assert torch.allclose(both, torch.maximum(reached(one), reached(other)))


def test_drawn_attacks_all_have_their_turn() -> None:
    net = network(16)
    claim = robust(*samples(16), 0.3)
    drawn, both = generator(), several(fgsm(), pgd(3), pick="draw")
    steps = {both.find(net, claim, drawn).mean_steps for _ in range(20)}
    assert steps == {1.0, 3.0}


def test_noise_has_its_deviation() -> None:
    x = torch.zeros(1000, 10)
    assert float(with_noise(x, 0.25, generator()).std()) == pytest.approx(0.25, abs=0.01)


def test_free_perturbations_climb_from_replay_to_replay() -> None:
    net = network(17)
    claim = robust(*samples(17, 8), 0.3)
    short = robust(*samples(18, 3), 0.3)
    free = Free(step=0.25)
    losses: list[float] = []
    for _ in range(8):
        points = free.points(claim)
        loss = loss_of(margins_at(net, claim, points)).mean()
        loss.backward()
        free.advance()
        losses.append(float(loss.detach()))
    assert losses[0] < losses[3] <= losses[-1] + 1e-6
    assert free.kept is not None
    kept = free.kept.clone()
    points = free.points(short)
    loss_of(margins_at(net, short, points)).sum().backward()
    free.advance()
    assert torch.equal(free.kept[3:], kept[3:])
    assert free.kept.shape == kept.shape
    other = Free(step=0.25)
    other.load_state_dict(free.state_dict())
    assert torch.equal(other.points(claim), free.points(claim))
    free.points(claim)
    with pytest.raises(ValueError, match="no gradient"):
        free.advance()


@pytest.mark.parametrize("norm", NORMS)
def test_absolute_steps_are_as_long_whatever_the_radius(norm: Norm) -> None:
    net = network(19)
    x, y = samples(19)
    for radius in (0.2, 0.4):
        claim = robust(x, y, radius, norm, cut=False)
        absolute = fgsm(alpha=0.1)(net, claim, generator())
        assert torch.allclose(absolute, fgsm(0.1 / radius)(net, claim, generator()), atol=1e-6)
        for moved, told in (
            (pgd(2, alpha=0.1, decay={1: 0.5}), pgd(2, step=0.1 / radius, decay={1: 0.5})),
            (targeted(2, alpha=0.1), targeted(2, step=0.1 / radius)),
            (friendly(2, alpha=0.1), friendly(2, step=0.1 / radius)),
            (kl(2, alpha=0.1), kl(2, step=0.1 / radius)),
        ):
            found, expected = (a(net, claim, generator()) for a in (moved, told))
            assert torch.allclose(found, expected, atol=1e-6)


def test_absolute_steps_in_a_point_lead_nowhere() -> None:
    x, y = samples(20)
    for norm in NORMS:
        found = pgd(2, alpha=0.1)(network(20), robust(x, y, 0.0, norm), generator())
        assert torch.equal(found, x.clamp(0, 1))


def test_free_steps_may_be_absolute() -> None:
    net = network(21)
    claim = robust(*samples(21), 0.4, cut=False)
    one, other = Free(), Free(step=0.25)
    for free, alpha in ((one, 0.1), (other, None)):
        points = free.points(claim, alpha=alpha)
        loss_of(margins_at(net, claim, points)).sum().backward()
        free.advance()
    found, expected = one.points(claim), other.points(claim)
    assert torch.allclose(found, expected, atol=1e-6)
    assert not torch.equal(found, claim.region.anchor)


def test_attacks_of_no_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        pgd(0)
    with pytest.raises(ValueError, match="at least one"):
        pgd(3, restarts=0)
    with pytest.raises(ValueError, match="at least one"):
        targeted(0)
    with pytest.raises(ValueError, match="at least one"):
        several()
