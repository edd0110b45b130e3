"""Rules of branching: all of them decide alike, and which is kept does not depend on time."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from specdsl.backend import Deadline
from specdsl.backends.prepared import Prepared
from specdsl.backends.search.confirming import Confirmer
from specdsl.backends.search.neurons.branching import (
    PROBED,
    RULES,
    TRIED,
    Chooser,
    candidates,
    gained,
)
from specdsl.backends.search.neurons.search import search_neurons
from specdsl.backends.search.options import RuleChoice, RuleName, SearchOptions
from specdsl.backends.search.problem import Outcome, Problem, Progress
from specdsl.bounds.parts.gaps import Gaps
from specdsl.evidence import Replayer
from specdsl.graph import ops
from specdsl.query.query import Query
from tests.backends.test_neuron_search import query

CHOICES: tuple[RuleChoice, ...] = get_args(RuleChoice)


def decided(asked: Query, rule: RuleChoice) -> tuple[Outcome, int]:
    """The outcome of a search by one rule, and how many parts it bounded."""
    prepared = Prepared(asked)
    (group,) = prepared.groups
    problem = Problem(prepared, group, 0.0, SearchOptions(rule=rule))
    progress = Progress()
    confirmer = Confirmer(Replayer(asked))
    search = search_neurons(problem, confirmer, Deadline.after(60), progress)
    while True:
        try:
            next(search)
        except StopIteration as stopped:
            return stopped.value, progress.domains


@pytest.mark.parametrize("op", [ops.Relu(), ops.LeakyRelu(0.1)], ids=repr)
@pytest.mark.parametrize("seed", range(6))
def test_all_rules_decide_alike(seed: int, op: ops.Op) -> None:
    asked = query(seed, op)
    outcomes = {decided(asked, rule)[0] for rule in CHOICES}
    assert outcomes in ({"verified"}, {"falsified"})


@pytest.mark.parametrize("rule", CHOICES)
def test_two_searches_bound_the_same_parts(rule: RuleChoice) -> None:
    asked = query(5, ops.Relu())
    assert decided(asked, rule) == decided(asked, rule)


def test_each_rule_is_probed_and_the_best_is_kept() -> None:
    chooser = Chooser("auto")
    gains: dict[RuleName, float] = {"gap": 1.0, "filtered": 3.0, "width": 2.0}
    for _ in range(len(RULES) * PROBED):
        rule = chooser.current
        chooser.note(rule, 1, gains[rule], 1.0)
    assert {record.parts for record in chooser.records.values()} == {PROBED}
    assert chooser.current == "filtered"
    # A rule that no longer gains what it did loses its place.
    chooser.note("filtered", PROBED, 0.0, 2.0 * PROBED)
    assert chooser.current == "width"


@pytest.mark.parametrize("rule", list(RULES))
def test_a_rule_that_is_named_is_the_only_one(rule: RuleName) -> None:
    chooser = Chooser(rule)
    chooser.note(rule, 2 * PROBED, 0.0, 1.0)
    assert chooser.current == rule


def test_candidates_are_ranked_by_both_orders_and_closed_entries_are_none() -> None:
    off = torch.tensor([[0.0, 3.0, 1.0, 2.0, 0.5, 0.25], [0.0] * 6])
    spans = torch.tensor([[0.0, 1.0, 5.0, 0.5, 2.0, 4.0], [0.0] * 6])
    (by_gap, by_span), nothing = candidates(Gaps(off, spans))
    assert by_gap.tolist() == [1, 3, 2, 4]
    assert by_span.tolist() == [2, 5, 4, 1]
    assert len(by_gap) == TRIED
    assert [len(order) for order in nothing] == [0, 0]


def test_what_is_gained_is_a_part_of_the_way_and_a_refutation_all_of_it() -> None:
    before = torch.tensor([-2.0, -1.0])
    assert gained(before, torch.tensor([0.5, 9.0, -1.0, -1.0])) == pytest.approx(1.5)
    assert gained(before, torch.tensor([-1.0, -1.0, -0.5, 1.0])) == pytest.approx(0.75 + 1.0)
    assert gained(torch.tensor([-torch.inf]), torch.tensor([-1.0, 0.0])) == 0.0
