"""Random draws: laws of the draws, of both kinds of answers, and of who may be asked for them."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import sqrt

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.backend import Deadline, Unsupported
from specdsl.backends.registry import CLASSES, create
from specdsl.backends.sampling import Sampling
from specdsl.backends.sampling.drawing import Uniform, generator_of
from specdsl.backends.sampling.enclosing import enclosing, sqrt_up
from specdsl.bounds.regions.projection import Projector
from specdsl.bounds.regions.region import input_region
from specdsl.diagnostics import SpecError
from specdsl.query.query import Query
from specdsl.query.sets import Box, InputSet, Norm, exact, norm_ball
from specdsl.run.answering import answer_query
from specdsl.verdict import Answer, Falsified, Unknown, Verified
from tests.backends.set_queries import sample_set, set_queries
from tests.backends.smoothed_queries import linear_query
from tests.run.fakes import query as tiny_query
from tests.strategies import queries

FOREVER = Deadline.after(None)
SIGMA = Fraction(1, 4)


def unknown(answer: Answer) -> Unknown:
    assert isinstance(answer.verdict, Unknown)
    return answer.verdict


def radius_of(verdict: Unknown, asked: Fraction) -> float:
    assert verdict.bound is not None
    return verdict.bound + float(asked)


# --- smoothed classifiers ------------------------------------------------------------------------


def halfspace(distance: float, asked: Fraction, entries: int = 2) -> Query:
    """The first class wins on a half-space whose border is so far from the center: smoothed or not,
    by Gaussian noise of any size.
    """
    normal = np.ones(entries) / sqrt(entries)
    weight = np.stack([normal, -normal])
    return linear_query(weight.tolist(), [distance, -distance], [0.0] * entries, asked, sigma=SIGMA)


def test_the_radius_of_a_half_space_is_found_from_below() -> None:
    """It is the distance to the border exactly; 100,000 draws come within 3 % of it."""
    for entries in (1, 2, 50):
        asked = Fraction(1, 5)
        verdict = unknown(Sampling().answer(halfspace(0.5, asked, entries), FOREVER))
        assert 0.485 <= radius_of(verdict, asked) <= 0.5
        assert verdict.estimate is not None
        assert verdict.estimate.confidence == Fraction(999, 1000)
        assert verdict.estimate.share is None


def test_a_radius_is_too_large_as_seldom_as_alpha_says() -> None:
    query, alpha, runs = halfspace(0.25, Fraction(0)), Fraction(1, 10), 200
    found = [
        radius_of(
            unknown(Sampling(samples=400, alpha=alpha, seed=seed).answer(query, FOREVER)),
            Fraction(0),
        )
        for seed in range(runs)
    ]
    wrong = sum(radius > 0.25 for radius in found)
    # Binomial(200, 0.1): more than 38 have a probability below 1e-4, none at all one below 1e-9.
    assert 0 < wrong <= 38
    assert np.median(found) >= 0.2


@pytest.mark.parametrize(
    ("asked", "sure"),
    [(Fraction(0), True), (Fraction(2, 5), True), (Fraction(1, 2), False), (Fraction(3), False)],
)
def test_only_a_radius_that_is_reached_has_a_confidence(asked: Fraction, sure: bool) -> None:
    verdict = unknown(Sampling(samples=10_000).answer(halfspace(0.5, asked), FOREVER))
    assert (verdict.estimate is not None) == sure
    assert verdict.bound is not None
    assert (verdict.bound > 0) == sure
    assert "noisy copies" in verdict.reason


@pytest.mark.parametrize(("norm", "sure"), [("l1", True), ("l2", True), ("linf", False)])
def test_a_ball_in_another_norm_is_asked_by_the_ball_around_it(norm: Norm, sure: bool) -> None:
    """Of four entries the corners of the box are twice as far away as its sides."""
    normal = [0.5, 0.5, 0.5, 0.5]
    query = linear_query(
        [normal, [-v for v in normal]],
        [0.5, -0.5],
        [0.0] * 4,
        Fraction(3, 10),
        sigma=SIGMA,
        norm=norm,
    )
    verdict = unknown(Sampling(samples=10_000).answer(query, FOREVER))
    assert (verdict.estimate is not None) == sure


def test_a_class_without_a_majority_is_told_by_the_first_draws() -> None:
    query = linear_query([[1.0], [-1.0]], [-0.5, 0.5], [0.0], Fraction(1, 10), sigma=SIGMA)
    answer = Sampling(selection=50).answer(query, FOREVER)
    assert answer.statistics["samples"] == 0
    assert unknown(answer).estimate is None
    assert "of 50 votes" in unknown(answer).reason
    # Three classes of a third each, or about: the first has the most votes, and no majority.
    third = linear_query(
        [[1.0, 0.0], [-0.5, 0.8], [-0.5, -0.8]], [0.0] * 3, [0.0] * 2, Fraction(0), sigma=SIGMA
    )
    assert unknown(Sampling().answer(third, FOREVER)).estimate is None


def test_more_samples_are_asked_for_where_they_may_help() -> None:
    far = unknown(Sampling(samples=100).answer(halfspace(5.0, Fraction(1, 2)), FOREVER))
    assert far.estimate is None
    assert far.advice is not None
    needed = int(far.advice.split("samples = ")[1].split("`")[0])
    enough = unknown(Sampling(samples=needed).answer(halfspace(5.0, Fraction(1, 2)), FOREVER))
    assert enough.estimate is not None
    barely = unknown(Sampling(samples=needed - 2).answer(halfspace(5.0, Fraction(1, 2)), FOREVER))
    assert barely.estimate is None


@pytest.mark.parametrize("backend", [name for name in CLASSES if name != "sampling"])
def test_every_other_backend_refuses_and_names_the_one(backend: str) -> None:
    query = halfspace(5.0, Fraction(1, 10))
    asked = create(backend, {})
    for refuse in (
        lambda: asked.answer(query, FOREVER),
        lambda: answer_query(query, asked, timeout=None),
    ):
        with pytest.raises(Unsupported, match="smoothed classifiers") as caught:
            refuse()
        assert caught.value.advice is not None
        assert "`sampling`" in caught.value.advice
    # Without the noise it is a question like others.
    assert isinstance(asked.answer(replace(query, smoothing=None), FOREVER), Answer)


# --- networks themselves -------------------------------------------------------------------------


def test_draws_without_a_violation_bound_the_share_of_them() -> None:
    """None of n: at most a share p with (1 - p)^n = alpha."""
    query = linear_query([[1.0], [-1.0]], [2.0, -2.0], [0.0], Fraction(1))
    answer = Sampling(samples=5_000, alpha=Fraction(1, 100)).answer(query, FOREVER)
    verdict = unknown(answer)
    assert verdict.estimate is not None
    assert verdict.estimate.confidence == Fraction(99, 100)
    assert verdict.estimate.share == pytest.approx(1 - 0.01 ** (1 / 5_000), rel=1e-6)
    assert "no statement about all points" in verdict.reason
    assert answer.statistics == {"samples": 5_000, "violations": 0}


def test_a_violation_that_the_replay_confirms_is_a_witness() -> None:
    query = linear_query([[1.0, 1.0], [-1.0, -1.0]], [1.0, -1.0], [0.0] * 2, Fraction(1))
    verdict = Sampling().answer(query, FOREVER).verdict
    assert isinstance(verdict, Falsified)
    point = verdict.witness.point
    assert point in query.cases[verdict.witness.case].inputs
    assert sum(point.tolist()) <= -1
    assert verdict.witness.exact_margin <= 0


def test_a_violation_of_a_small_share_is_missed_and_said_to_be_possible() -> None:
    """The claim fails on a millionth of the interval: no proof, and a share that allows for it."""
    query = linear_query([[1.0], [-1.0]], [0.999999, -0.999999], [0.0], Fraction(1))
    verdict = unknown(Sampling(samples=2_000).answer(query, FOREVER))
    assert verdict.estimate is not None
    assert verdict.estimate.share is not None
    assert verdict.estimate.share > 1e-6


@pytest.mark.parametrize("shift", [0.5, -0.5])
def test_of_an_example_only_the_find_counts(shift: float) -> None:
    """That draws miss it says nothing for it."""
    verdict = Sampling(samples=500).answer(tiny_query(shift, "exists"), FOREVER).verdict
    if shift < 0:
        assert isinstance(verdict, Falsified)
        return
    assert isinstance(verdict, Unknown)
    assert verdict.estimate is None


@settings(max_examples=25)
@given(queries())
def test_nothing_is_verified_and_no_proof_contradicted(query: Query) -> None:
    verdict = answer_query(query, Sampling(samples=300, batch=64), timeout=None).verdict
    assert not isinstance(verdict, Verified)
    proven = answer_query(query, create("incomplete", {}), timeout=10).verdict
    if isinstance(proven, Verified):
        assert isinstance(verdict, Unknown)
        assert verdict.estimate is not None


@settings(max_examples=15)
@given(set_queries())
def test_sets_cut_by_balls_are_drawn_from_as_well(query: Query) -> None:
    verdict = answer_query(query, Sampling(samples=100), timeout=None).verdict
    assert not isinstance(verdict, Verified)


# --- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", [halfspace(0.3, Fraction(1, 8)), tiny_query(0.5)])
def test_one_seed_is_one_answer(query: Query) -> None:
    first, again, other = (
        Sampling(samples=3_000, seed=seed).answer(query, FOREVER) for seed in (1, 1, 2)
    )
    assert first.statistics == again.statistics
    assert unknown(first).bound == unknown(again).bound
    if query.smoothing is not None:
        assert unknown(first).bound != unknown(other).bound


@pytest.mark.parametrize("query", [halfspace(0.5, Fraction(1, 8)), tiny_query(0.5)])
def test_out_of_time_there_is_no_confidence(query: Query) -> None:
    verdict = unknown(Sampling(samples=10**8).answer(query, Deadline.after(0.05)))
    assert verdict.timeout
    assert verdict.estimate is None


@pytest.mark.parametrize(
    "options",
    [
        {"samples": 0},
        {"batch": 0},
        {"selection": 0},
        {"alpha": Fraction(0)},
        {"alpha": Fraction(1)},
        {"seed": 2**63},
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(SpecError) as caught:
        create("sampling", options)
    assert [d.code for d in caught.value.diagnostics] == ["E0853"]


# --- sets and draws ------------------------------------------------------------------------------


@given(st.fractions(0, 10**6))
def test_square_roots_are_rounded_up_by_one_step_at_most(square: Fraction) -> None:
    found = sqrt_up(square)
    assert Fraction(found) ** 2 >= square
    assert square == 0 or Fraction(np.nextafter(found, 0)) ** 2 <= square * (1 + Fraction(1, 2**50))


@settings(max_examples=40)
@given(set_queries())
def test_the_ball_around_a_set_holds_it(query: Query) -> None:
    inputs = query.cases[0].inputs
    around = enclosing(inputs)
    points = sample_set(inputs, query.integers, 50)
    far = np.linalg.norm(points - around.center, axis=1)
    assert (far <= around.radius * (1 + 1e-9)).all()


def test_the_ball_around_a_ball_is_itself_and_around_a_box_holds_its_corners() -> None:
    center = exact([1, "1/4", -2])
    for norm in ("l1", "l2"):
        assert enclosing(norm_ball(center, Fraction(3, 8), norm)).radius == 0.375
    assert enclosing(norm_ball(center, Fraction(1), "linf")).radius == sqrt_up(Fraction(3))


def drawn(inputs: InputSet, count: int = 4_000, integers: tuple[int, ...] = ()) -> torch.Tensor:
    region = input_region(inputs, torch.empty(0, dtype=torch.float64))
    projector = Projector(region, torch.tensor(integers, dtype=torch.int64))
    return Uniform(projector, generator_of(0)).draw(count)


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("entries", [1, 3, 12])
def test_draws_from_a_ball_are_as_many_in_a_part_as_it_is_large(norm: Norm, entries: int) -> None:
    center = exact([1] * entries)
    points = drawn(norm_ball(center, Fraction(2), norm)) - 1
    size = torch.linalg.vector_norm(points, ord=1 if norm == "l1" else 2, dim=1)
    assert bool((size <= 2 + 1e-9).all())
    # A ball of t times the radius has t^n of the volume; 4,000 draws are within 0.04 of it.
    for part in (0.5, 0.8, 0.95):
        assert float((size <= 2 * part).double().mean()) == pytest.approx(part**entries, abs=0.04)
    assert float(points.mean(0).abs().max()) < 0.1


def test_draws_from_a_box_are_uniform_and_whole_numbers_equally_likely() -> None:
    points = drawn(Box(exact([0, 1, 5]), exact([4, 2, 5])), integers=(0,))
    counts = torch.bincount(points[:, 0].to(torch.int64), minlength=5)
    assert bool((points[:, 0] == points[:, 0].round()).all())
    assert bool(((counts - 800).abs() < 120).all())
    assert float(points[:, 1].mean()) == pytest.approx(1.5, abs=0.02)
    assert bool((points[:, 2] == 5).all())
