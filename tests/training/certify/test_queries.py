"""The query of a claim has a point exactly where the claim fails, for properties of every form."""

from __future__ import annotations

import random
from copy import deepcopy
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from specdsl.backend import Deadline, Unsupported
from specdsl.backends.registry import create
from specdsl.bounds.interval import Interval
from specdsl.bounds.regions.region import InputRegion
from specdsl.evidence import settle
from specdsl.graph.evaluate import evaluate
from specdsl.training.certify.queries import QuerySource, affine_of
from specdsl.training.runtime.claims.claim import (
    All,
    Any_,
    Application,
    Atom,
    Claim,
    Formula,
    ball,
    box,
    intersect,
    margins_at,
    unchanged,
)
from specdsl.training.runtime.claims.parts import decided, halfspaces
from specdsl.training.runtime.networks.graph_module import GraphModule
from specdsl.training.runtime.networks.network import Trainable
from specdsl.verdict import Falsified, Verified
from tests.training.claims.specs import claim_of, compiled, load, queries, trainable, violated
from tests.training.claims.test_laws import PROPERTIES, exactly, inside, points, samples

DRAWS = 12


@pytest.mark.parametrize("name", sorted(PROPERTIES))
def test_a_query_fails_where_the_claim_does_and_where_the_property_does(name: str) -> None:
    head, net = trainable(1)
    x, y = (part[:1] for part in samples(random.Random(name)))
    spec = load(
        f"{head}property p(x, y, r) {PROPERTIES[name]}\ncheck forall (x, y) in d[0:1]: p(x, y, 1/2)"
    )
    claim = claim_of(compiled(spec), x.double(), y, 0.5)
    own = QuerySource(net).query(claim, "own")
    (stated,) = queries(spec, x, y)
    double = Trainable.of(deepcopy(net.module), net.shape)
    double.module.double()
    generator = random.Random(name)
    for _ in range(DRAWS):
        point = points(claim.region, generator)
        (within,) = inside(claim.region, point)
        margin = float(margins_at(double, claim, point).detach().amin())
        if within is None or margin == 0:
            continue
        found = violated(own, exactly(point[0]))
        assert found == (within and margin < 0), point
        assert found == (within and violated(stated, exactly(point[0]))), point


# --- small claims, decided ------------------------------------------------------------------------


def identity() -> Trainable:
    """Two outputs that are the inputs."""
    module = nn.Linear(2, 2)
    with torch.no_grad():
        module.weight.copy_(torch.eye(2))
        module.bias.zero_()
    return Trainable.of(module.eval(), (2,))


def atom(*row: float, least: float) -> Atom:
    """`row . outputs > least`."""
    return Atom((torch.tensor([[row]]),), torch.tensor([[-least]], dtype=torch.float64))


def verdict(formula: Formula, region: InputRegion) -> object:
    claim = Claim(region, (Application(unchanged, region),), formula)
    query = QuerySource(identity()).query(claim, "c")
    return settle(query, create("milp", {}).answer(query, Deadline.after(20))).verdict


CENTER = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
HIGH, LOW = atom(1, 0, least=0.25), atom(1, 0, least=0.75)


@pytest.mark.parametrize(
    ("formula", "holds"),
    [
        (HIGH, True),
        (LOW, False),
        (All((HIGH, atom(0, 1, least=1.25))), True),
        (All((HIGH, LOW)), False),
        (Any_((HIGH, LOW)), True),
        # Each alternative fails somewhere, and both fail at the same point.
        (Any_((LOW, atom(0, 1, least=1.75))), False),
        # Where the one fails the other holds.
        (Any_((LOW, atom(-1, 0, least=-0.8))), True),
        (Any_((All((HIGH, LOW)), All((HIGH, atom(-1, 0, least=-0.8))))), True),
        (Any_((All((LOW, Any_((LOW, HIGH)))), atom(0, 1, least=3))), False),
        (Atom((None,), decided(torch.tensor([[True]]))), True),
        (Any_((Atom((None,), decided(torch.tensor([[False]]))), LOW)), False),
    ],
)
def test_formulas_are_decided_as_they_read(formula: Formula, holds: bool) -> None:
    region = intersect(ball(CENTER, 0.5), box(0.0, 2.25))
    assert isinstance(verdict(formula, region), Verified if holds else Falsified)


@pytest.mark.parametrize(("norm", "least"), [("l2", 1.3), ("l1", 1.6)])
def test_balls_bind(norm: Literal["l1", "l2"], least: float) -> None:
    """No point of the ball has what the corner of its box has: 1."""
    region = intersect(ball(CENTER, 1.0, norm))
    assert isinstance(verdict(atom(1, 1, least=least), region), Verified)
    assert isinstance(verdict(atom(1, 1, least=2.1), region), Falsified)


def test_halfspaces_bind() -> None:
    region = intersect(ball(CENTER, 1.0))
    cut = halfspaces(region, torch.tensor([[[-1.0, -1.0]]]), torch.tensor([[-2.0]]))
    assert isinstance(verdict(atom(1, 1, least=1.5), region), Falsified)
    assert isinstance(verdict(atom(1, 1, least=1.5), cut), Verified)
    assert isinstance(verdict(atom(1, 1, least=2.5), cut), Falsified)


def test_a_point_is_read_off_as_matrix_and_shift() -> None:
    matrix = torch.tensor([[2.0, 0.5], [0.0, -3.0], [1.0, 0.0]], dtype=torch.float64)
    region = intersect(ball(CENTER, 1.0))

    def point(v: Tensor) -> Tensor:
        return v @ matrix.T + 0.25

    weight, shift = affine_of(Application(point, region), region)
    np.testing.assert_array_equal(weight, matrix.numpy())
    np.testing.assert_array_equal(shift, [0.25] * 3)


def test_what_is_not_affine_is_refused() -> None:
    region = intersect(ball(CENTER, 1.0))
    application = Application(lambda v: v * v, InputRegion(Interval(CENTER, CENTER)))
    claim = Claim(region, (application,), LOW)
    with pytest.raises(Unsupported, match="no affine function"):
        QuerySource(identity()).query(claim, "c")


def test_a_query_is_about_one_sample() -> None:
    region = intersect(ball(torch.zeros(2, 2), 1.0))
    with pytest.raises(ValueError, match="one sample"):
        QuerySource(identity()).query(Claim(region, (), LOW), "c")


# --- networks -------------------------------------------------------------------------------------


def convolutional() -> nn.Sequential:
    """With a normalisation whose running statistics are not those of the start."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Sequential(
            nn.Conv2d(1, 2, 3, stride=2),
            nn.BatchNorm2d(2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(8, 3),
        )
        module.train()(torch.randn(16, 1, 5, 5))
    return module


@pytest.mark.parametrize("kind", ["module", "graph"])
def test_queries_have_the_weights_of_now(kind: str) -> None:
    """As they are after a step, of a module in training mode or of a network from a file."""
    module = convolutional()
    held: nn.Module = module
    if kind == "graph":
        held = GraphModule(Trainable.of(module.eval(), (1, 5, 5)).graph)
    net = Trainable.of(held, (1, 5, 5))
    with torch.no_grad():
        for parameter in held.parameters():
            parameter.mul_(1.25)
    held.train()
    center = torch.zeros(1, 25, dtype=torch.float64)
    region = intersect(ball(center, 1.0))
    formula = Atom((torch.eye(3)[None],), torch.zeros(1, 3))
    claim = Claim(region, (Application(unchanged, region),), formula)
    query = QuerySource(net).query(claim, "c")
    held.eval()
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        point = torch.rand(1, 25, generator=generator) * 2 - 1
        outputs = held(point.reshape(1, 1, 5, 5)).detach().flatten()
        given = {query.graph.input: point.double().numpy()}
        margins = evaluate(query.graph, given)[query.graph.output]
        np.testing.assert_allclose(margins.reshape(-1), outputs.numpy(), atol=1e-5)
