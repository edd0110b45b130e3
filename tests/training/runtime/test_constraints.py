"""Multipliers: the updates of the papers, what they can be, where they lead, and their state."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.training.runtime.losses.constraints import (
    Iterate,
    Lagrangian,
    ProxyLagrangian,
    best_iterate,
    stationary,
)
from specdsl.training.runtime.losses.measures import (
    Measured,
    class_margins,
    error_share,
    hinge,
    violation,
)

NAMES = ("certified_error(robust)", "violation(monotone)")
values = st.floats(-2, 2, allow_nan=False)
epochs = st.lists(st.tuples(values, values), min_size=1, max_size=12)


def tensor(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


@given(seen=epochs, rate=st.floats(0, 3))
@settings(max_examples=60, deadline=None)
def test_multipliers_rise_by_the_mean_violation_and_stay_at_least_0(
    seen: list[tuple[float, float]], rate: float
) -> None:
    limits = Lagrangian(NAMES, rate, decay=0.5)
    expected = np.zeros(2)
    for number, pair in enumerate(seen):
        limits.term(tensor(*pair), 2)
        limits.term(tensor(0.0, 1.0), 1)
        before = limits.multipliers.clone()
        limits.update()
        mean = (2 * np.maximum(pair, 0) + np.array([0.0, 1.0])) / 3
        expected += rate / (1 + 0.5 * number) * mean
        assert bool((limits.multipliers >= before).all())
    assert limits.multipliers.numpy() == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert bool((limits.multipliers >= 0).all())
    assert limits.log() == dict(zip(NAMES, limits.multipliers.tolist(), strict=True))


def test_the_term_weighs_what_is_broken_only() -> None:
    limits = Lagrangian(NAMES, 1.0, initial=2.0)
    constraints = tensor(0.5, -3.0).requires_grad_()
    term = limits.term(constraints)
    term.backward()
    assert term.item() == 1.0
    assert constraints.grad is not None
    assert constraints.grad.tolist() == [2.0, 0.0]


def test_multipliers_follow_what_is_observed_on_the_samples_it_was_seen_on() -> None:
    """A stand-in has the gradient; a class that no batch held leaves its multiplier."""
    limits = Lagrangian(NAMES, 1.0, initial=1.0)
    stand_ins = tensor(3.0, 5.0).requires_grad_()
    counts = torch.tensor([4, 0])
    term = limits.term(stand_ins, counts, observed=tensor(0.25, 0.5))
    limits.term(stand_ins, torch.tensor([12, 0]), observed=tensor(0.0, 0.5))
    limits.update()
    assert term.item() == 8.0
    assert limits.multipliers.tolist() == [1.0 + 0.25 * 4 / 16, 1.0]


def test_a_lagrangian_leads_to_the_constrained_minimum() -> None:
    """Minimise (x - 2)^2 where x <= 1: x = 1. From 2 on, the multiplier outweighs the slope of the
    objective there, and x goes to and fro by a step, which raises it further.
    """
    x = torch.zeros((), dtype=torch.float64, requires_grad=True)
    limits = Lagrangian(("x <= 1",), 0.5)
    optimiser = torch.optim.SGD([x], lr=0.005)
    for _ in range(60):
        for _ in range(40):
            optimiser.zero_grad()
            ((x - 2) ** 2 + limits.term((x - 1)[None])).backward()
            optimiser.step()
        limits.update()
    assert x.item() == pytest.approx(1.0, abs=0.03)
    assert 1.9 <= limits.multipliers.item() <= 3.0


@pytest.mark.parametrize("kind", [Lagrangian, ProxyLagrangian])
def test_what_a_checkpoint_holds_goes_on_the_same(
    kind: type[Lagrangian] | type[ProxyLagrangian],
) -> None:
    one, other = kind(NAMES, 0.3), kind(NAMES, 0.3)
    steps = [tensor(0.3, -0.2), tensor(-1.0, 0.7), tensor(0.1, 0.1)]

    def advance(limits: Lagrangian | ProxyLagrangian, step: torch.Tensor) -> None:
        if isinstance(limits, Lagrangian):
            limits.term(step)
        else:
            limits.term(step.sum(), step, step)
        limits.update()

    advance(one, steps[0])
    other.load_state_dict(one.state_dict())
    for step in steps[1:]:
        advance(one, step)
        advance(other, step)
    assert one.log() == other.log()
    with pytest.raises(ValueError, match="the state holds no"):
        kind(("alone",), 0.3).load_state_dict(one.state_dict())


def test_numbers_that_are_none_are_refused() -> None:
    limits = Lagrangian(NAMES, 1.0)
    with pytest.raises(ValueError, match="no constraint was measured"):
        limits.update()
    limits.term(tensor(float("nan"), 0.0))
    with pytest.raises(ValueError, match="not a finite number"):
        limits.update()
    with pytest.raises(ValueError, match="not a finite number"):
        observe(ProxyLagrangian(NAMES, 1.0), tensor(float("inf"), 0.0))


def observe(limits: ProxyLagrangian, constraints: torch.Tensor) -> None:
    limits.term(constraints.sum(), constraints, constraints)
    limits.update()


# --- proxy Lagrangian ----------------------------------------------------------------------------


@given(seen=epochs, rate=st.floats(0, 50))
@settings(max_examples=60, deadline=None)
def test_weights_are_a_stationary_distribution(
    seen: list[tuple[float, float]], rate: float
) -> None:
    """However far the matrix has gone: no weight is negative, and their sum is 1."""
    limits = ProxyLagrangian(NAMES, rate)
    for pair in seen:
        observe(limits, tensor(*pair))
    weights = limits.weights
    assert bool((weights >= 0).all())
    assert weights.sum().item() == pytest.approx(1.0, abs=1e-9)
    matrix = limits._log_matrix.exp()
    assert matrix.sum(0).numpy() == pytest.approx(np.ones(3), abs=1e-9)
    assert (matrix @ weights).numpy() == pytest.approx(weights.numpy(), abs=1e-8)


def test_updates_equal_the_papers_in_numpy() -> None:
    limits = ProxyLagrangian(NAMES, 0.7)
    matrix = np.full((3, 3), 1 / 3)
    for pair in [(0.5, -0.1), (0.4, 0.2), (-0.3, 0.6)]:
        found, vectors = np.linalg.eig(matrix)
        weights = vectors[:, np.argmax(found.real)].real
        weights = weights / weights.sum()
        assert limits.weights.numpy() == pytest.approx(weights, abs=1e-12)
        matrix = matrix * np.exp(0.7 * np.outer([0.0, *pair], weights))
        matrix = matrix / matrix.sum(0)
        observe(limits, tensor(*pair))
    assert limits._log_matrix.exp().numpy() == pytest.approx(matrix, abs=1e-12)


def test_a_proxy_lagrangian_keeps_a_constraint_that_has_no_gradient() -> None:
    """Minimise (x - 2)^2 where a step function of x is 0; its stand-in is a hinge."""
    x = torch.zeros((), dtype=torch.float64, requires_grad=True)
    limits = ProxyLagrangian(("x <= 1",), 0.05)
    optimiser = torch.optim.SGD([x], lr=0.05)
    iterates: list[Iterate] = []
    for epoch in range(400):
        optimiser.zero_grad()
        objective = (x - 2) ** 2
        broken = 1.0 if x.item() > 1 else -0.05
        iterates.append(Iterate(epoch, objective.item(), (broken,)))
        limits.term(objective, (x - 0.9).clamp(min=0)[None] * 4, tensor(broken)).backward()
        optimiser.step()
        limits.update()
    best = best_iterate(iterates)
    assert best.violation == 0
    assert 1.0 <= best.objective <= 1.1


def test_weights_carry_the_objective_and_the_stand_ins() -> None:
    limits = ProxyLagrangian(NAMES, 1.0)
    term = limits.term(torch.tensor(3.0), torch.tensor([6.0, 9.0]), tensor(1.0, -1.0), 7)
    assert term.item() == pytest.approx(6.0)
    limits.update()
    log = limits.log()
    with pytest.raises(ValueError, match="no constraint was measured"):
        limits.update()
    assert list(log) == ["objective", *NAMES]
    assert log[NAMES[0]] > log["objective"] > log[NAMES[1]]


def test_a_stationary_distribution_by_hand() -> None:
    matrix = torch.tensor([[0.9, 0.5], [0.1, 0.5]], dtype=torch.float64)
    assert stationary(matrix).tolist() == pytest.approx([5 / 6, 1 / 6])


def test_the_best_iterate_keeps_constraints_first() -> None:
    good, cheap, broken = Iterate(1, 0.9, (-0.1,)), Iterate(2, 0.5, (0.0,)), Iterate(3, 0.1, (0.2,))
    unknown = Iterate(4, 0.0, (float("nan"),))
    assert best_iterate([good, cheap, broken, unknown]) is cheap
    assert best_iterate([broken, Iterate(5, 0.0, (0.3,)), unknown]) is broken
    assert best_iterate([unknown, broken]) is broken


# --- measures ------------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**16))
@settings(max_examples=50, deadline=None)
def test_the_hinge_lies_above_the_share_of_errors(seed: int) -> None:
    margins = torch.as_tensor(np.random.default_rng(seed).normal(size=(7, 3)))
    least = margins.numpy().min(1)
    assert error_share(margins).item() == pytest.approx((least <= 0).mean())
    assert hinge(margins).item() >= error_share(margins).item()
    assert violation(margins).item() == pytest.approx(np.maximum(-least, 0).mean())


def test_an_empty_selection_breaks_nothing_and_nan_counts_as_an_error() -> None:
    nobody = torch.zeros(0, 3)
    assert [m(nobody).item() for m in (violation, error_share, hinge)] == [0, 0, 0]
    assert error_share(torch.tensor([[float("nan"), 1.0], [1.0, 2.0]])).item() == 0.5
    assert error_share(torch.zeros(1, 1)).item() == 1.0


def test_class_margins_are_positive_where_the_class_is_right() -> None:
    rng = np.random.default_rng(0)
    scores, y = rng.normal(size=(50, 4)), rng.integers(0, 4, size=50)
    found = class_margins(torch.as_tensor(scores), torch.as_tensor(y)).numpy()
    for row, label, margins in zip(scores, y, found, strict=True):
        assert margins == pytest.approx(row[label] - np.delete(row, label))
    wrong = (scores.argmax(1) != y).mean()
    assert error_share(torch.as_tensor(found)).item() == pytest.approx(wrong)


def test_what_was_measured_of_a_batch_is_weighed_by_name() -> None:
    stand_in = torch.tensor(0.5, requires_grad=True)
    found = {NAMES[1]: Measured(stand_in, torch.tensor(0.25), 4)}
    added = f"constraint {NAMES[1]}"
    limits = Lagrangian(NAMES, 2.0, initial=3.0)
    assert not limits.measured
    terms = limits.weigh({"loss": torch.tensor(3.0)}, found)
    assert {n: t.item() for n, t in terms.items()} == {"loss": 3.0, added: 1.5}
    terms[added].backward()
    assert stand_in.grad is not None
    assert stand_in.grad.item() == pytest.approx(3.0)
    assert limits.measured
    limits.update()
    assert list(limits.log().values()) == pytest.approx([3.0, 3.5])
    assert limits.weigh({}, {"another": found[NAMES[1]]}) == {}


def test_weighed_terms_add_up_to_the_mixture_of_the_proxy_lagrangian() -> None:
    one, other = ProxyLagrangian(NAMES, 2.0), ProxyLagrangian(NAMES, 2.0)
    found = {n: Measured(tensor(0.5 + i)[0], tensor(0.1 - i)[0], 4) for i, n in enumerate(NAMES)}
    for _ in range(3):
        weighed = one.weigh({"loss": tensor(1.0)[0], "l1": tensor(2.0)[0]}, found)
        expected = other.term(tensor(3.0)[0], tensor(0.5, 1.5), tensor(0.1, -0.9), 4)
        total = torch.stack(list(weighed.values())).sum()
        assert total.item() == pytest.approx(expected.item())
        one.update()
        other.update()
    assert one.log() == other.log()
