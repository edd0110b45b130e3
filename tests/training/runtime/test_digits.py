"""Bounds on scikit-learn's digits against formulas written out in numpy, in float64.

An MLP 64-32-10, the class margins, boxes around samples: intervals (Gowal et al. 2018), CROWN-IBP
(Zhang et al. 2020), the dual of Wong and Kolter (2018).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from specdsl.training.runtime.bounds.lower import (
    Bound,
    crown,
    crown_ibp,
    estimate,
    fast_lin,
    forward,
    interval,
    lower,
    projections,
    wong_kolter,
)
from specdsl.training.runtime.claims.claim import (
    All,
    Any_,
    Application,
    Atom,
    Claim,
    Formula,
    ball,
    box,
    class_rows,
    intersect,
    margins_at,
    unchanged,
)
from specdsl.training.runtime.losses.losses import cross_entropy, robust_cross_entropy
from specdsl.training.runtime.networks.network import Trainable

Array = npt.NDArray[np.float64]

RADIUS = 0.05
# float32 against float64, sums of 64 terms about 1.
ROUNDING = 2e-5
COUNT = 12


class Digits:
    """The network and some samples, in torch and in numpy."""

    def __init__(self) -> None:
        torch.manual_seed(8)
        self.module = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
        self.net = Trainable.of(self.module, (64,))
        images, classes = load_digits(return_X_y=True)
        self.x = torch.as_tensor(images[:COUNT] / 16, dtype=torch.float32)
        self.y = torch.as_tensor(classes[:COUNT])
        first, last = self.module[0], self.module[2]
        self.weights = [
            tensor.detach().double().numpy()
            for layer in (first, last)
            for tensor in (layer.get_parameter("weight"), layer.get_parameter("bias"))
        ]

    def claim(self, norm: str = "linf", *, cut: bool = True) -> Claim:
        parts = [ball(self.x, RADIUS, norm)]  # pyright: ignore[reportArgumentType]
        region = intersect(*parts, box(0.0, 1.0)) if cut else intersect(*parts)
        atom = Atom((class_rows(self.y, 10),), torch.zeros(1, 9))
        return Claim(region, (Application(unchanged, region),), atom)

    def box(self, *, cut: bool = True) -> tuple[Array, Array]:
        x = self.x.double().numpy()
        low, high = x - RADIUS, x + RADIUS
        return (np.clip(low, 0, 1), np.clip(high, 0, 1)) if cut else (low, high)

    def rows(self) -> Array:
        y = self.y.numpy()
        eye = np.eye(10)
        return np.array([[eye[c] - eye[t] for t in range(10) if t != c] for c in y])


@pytest.fixture(scope="module")
def digits() -> Digits:
    return Digits()


def first_layer(digits: Digits, low: Array, high: Array) -> tuple[Array, Array]:
    w, b = digits.weights[:2]
    center, radius = (low + high) / 2, (high - low) / 2
    z, spread = center @ w.T + b, radius @ np.abs(w).T
    return z - spread, z + spread


def by_intervals(rows: Array, digits: Digits, l: Array, u: Array) -> Array:  # noqa: E741
    _, _, w, b = digits.weights
    merged = rows @ w
    low, high = np.maximum(l, 0)[:, None], np.maximum(u, 0)[:, None]
    return (np.maximum(merged, 0) * low + np.minimum(merged, 0) * high).sum(2) + rows @ b


def by_crown(rows: Array, digits: Digits, l: Array, u: Array, ends: tuple[Array, Array]) -> Array:  # noqa: E741
    v, c, w, b = digits.weights
    merged = rows @ w
    crossing = (l < 0) & (u > 0)
    above = np.where(crossing, u / np.where(crossing, u - l, 1), (l >= 0) * 1.0)
    below = np.where(crossing, (u > -l) * 1.0, above)
    charge = np.where(crossing, -above * l, 0.0)
    slopes = np.where(merged < 0, above[:, None], below[:, None])
    total = rows @ b + (np.minimum(merged, 0) * charge[:, None]).sum(2)
    passed = merged * slopes
    flat = passed @ v
    center, radius = (ends[0] + ends[1]) / 2, (ends[1] - ends[0]) / 2
    total = total + passed @ c
    return total + (flat * center[:, None]).sum(2) - (np.abs(flat) * radius[:, None]).sum(2)


def by_dual(rows: Array, digits: Digits, l: Array, u: Array) -> Array:  # noqa: E741
    """`J` of seed 1.4, for a ball that no box cuts."""
    v, c, w, b = digits.weights
    hat = -rows @ w
    crossing = (l < 0) & (u > 0)
    slope = np.where(crossing, u / np.where(crossing, u - l, 1), (l >= 0) * 1.0)
    # alpha = u / (u - l) as well: one slope for both signs.
    nu = hat * slope[:, None]
    first = nu @ v
    j = rows @ b - nu @ c - (first * digits.x.double().numpy()[:, None]).sum(2)
    j = j - RADIUS * np.abs(first).sum(2)
    return j + (np.where(crossing, l, 0.0)[:, None] * np.maximum(nu, 0)).sum(2)


def close(found: Tensor, expected: Array) -> bool:
    return bool(np.abs(found.detach().double().numpy() - expected).max() < ROUNDING)


def test_intervals(digits: Digits) -> None:
    l, u = first_layer(digits, *digits.box())  # noqa: E741
    found = lower(digits.net, digits.claim(), interval())
    assert close(found, by_intervals(digits.rows(), digits, l, u))


@pytest.mark.parametrize("beta", [1.0, 0.25, 0.0])
def test_crown_ibp(digits: Digits, beta: float) -> None:
    ends = digits.box()
    l, u = first_layer(digits, *ends)  # noqa: E741
    expected = beta * by_crown(digits.rows(), digits, l, u, ends)
    expected = expected + (1 - beta) * by_intervals(digits.rows(), digits, l, u)
    assert close(lower(digits.net, digits.claim(), crown_ibp(beta)), expected)


def test_the_dual(digits: Digits) -> None:
    ends = digits.box(cut=False)
    l, u = first_layer(digits, *ends)  # noqa: E741
    expected = by_dual(digits.rows(), digits, l, u)
    for method in (wong_kolter(), fast_lin()):
        assert close(lower(digits.net, digits.claim(cut=False), method), expected)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_balls_in_the_first_layer_are_by_dual_norms(digits: Digits, norm: str) -> None:
    w, b = digits.weights[:2]
    z = digits.x.double().numpy() @ w.T + b
    spread = RADIUS * np.linalg.norm(w, ord=np.inf if norm == "l1" else 2, axis=1)
    expected = by_intervals(digits.rows(), digits, z - spread, z + spread)
    found = lower(digits.net, digits.claim(norm, cut=False), interval())
    assert close(found, expected)


METHODS = {
    "interval": interval(),
    "crown": crown(),
    "crown_ibp": crown_ibp(),
    "fast_lin": fast_lin(),
    "forward": forward(),
    "wong_kolter": wong_kolter(),
}


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("name", sorted(METHODS))
def test_bounds_lie_below_margins_and_are_trained_through(
    digits: Digits, name: str, norm: str
) -> None:
    claim = digits.claim(norm)
    generator = torch.Generator().manual_seed(9)
    found = lower(digits.net, claim, METHODS[name])
    for _ in range(20):
        noise = torch.randn(digits.x.shape, generator=generator)
        order = {"linf": torch.inf, "l2": 2.0, "l1": 1.0}[norm]
        noise = RADIUS * noise / torch.linalg.vector_norm(noise, ord=order, dim=1, keepdim=True)
        point = (digits.x + noise).clamp(0, 1)
        assert (found <= margins_at(digits.net, claim, point) + ROUNDING).all()
    gradients = torch.autograd.grad(robust_cross_entropy(found), [*digits.module.parameters()])
    assert all(bool(g.isfinite().all()) and bool(g.any()) for g in gradients)


def test_the_margins_of_a_class_claim_give_cross_entropy(digits: Digits) -> None:
    margins = margins_at(digits.net, digits.claim(), digits.x)
    found, expected = robust_cross_entropy(margins), cross_entropy(digits.net(digits.x), digits.y)
    assert torch.allclose(found, expected, atol=ROUNDING)


def test_estimates_come_near_the_dual(digits: Digits) -> None:
    claim = digits.claim()
    generator = torch.Generator().manual_seed(10)
    found = estimate(digits.net, claim, projections(4000, generator))
    expected = lower(digits.net, claim, wong_kolter())
    assert (found - expected).abs().mean().item() < 0.02
    assert found.requires_grad


def test_an_estimate_is_no_bound(digits: Digits) -> None:
    method = projections(10, torch.Generator())
    with pytest.raises(TypeError):
        lower(digits.net, digits.claim(), method)  # pyright: ignore[reportArgumentType]


def formula(digits: Digits) -> Formula:
    """Scores of two applications against each other, or one score alone, and a third thing."""
    one = torch.eye(10)[None, :2]
    first = Atom((one, -one), torch.tensor([[0.1, 0.2]]))
    second = Atom((None, one[:, :1]), torch.tensor([[-0.3]]))
    third = Atom((class_rows(digits.y, 10), None), torch.zeros(1, 9))
    return All((Any_((first, second)), third))


@pytest.mark.parametrize("method", [interval(), crown_ibp(), crown()])
def test_claims_about_several_applications(digits: Digits, method: Bound) -> None:
    near = intersect(ball(digits.x, RADIUS), box(0.0, 1.0))
    shifted = intersect(ball(digits.x + 0.1, RADIUS))
    applications = (Application(unchanged, near), Application(lambda v: v + 0.1, shifted))
    claim = Claim(near, applications, formula(digits))
    found = lower(digits.net, claim, method)
    value = margins_at(digits.net, claim, digits.x)
    assert found.shape == value.shape == (COUNT, 10)
    assert (found <= value + ROUNDING).all()
    f, g = digits.net(digits.x), digits.net(digits.x + 0.1)
    pairs = f[:, :2] - g[:, :2] + torch.tensor([0.1, 0.2])
    expected = torch.maximum(pairs.amin(1), g[:, 0] - 0.3)
    assert torch.allclose(value[:, 0], expected, atol=ROUNDING)
    alone = Claim(
        near, (Application(unchanged, near),), Atom((class_rows(digits.y, 10),), f[:1, :1] * 0)
    )
    assert torch.allclose(found[:, 1:], lower(digits.net, alone, method), atol=ROUNDING)


def test_radii_differ_from_sample_to_sample(digits: Digits) -> None:
    radii = torch.linspace(0, 0.1, COUNT)
    rows = class_rows(digits.y, 10)
    for norm in ("linf", "l2", "l1"):
        together = interval()(digits.net, intersect(ball(digits.x, radii, norm)), rows)
        for i in (0, 5, 11):
            region = intersect(ball(digits.x[i : i + 1], float(radii[i]), norm))
            alone = interval()(digits.net, region, rows[i : i + 1])
            assert torch.allclose(together[i : i + 1], alone, atol=ROUNDING)
