"""Multi-objective TPE learns from trials, those of an earlier run too. optuna is an extra."""

from __future__ import annotations

import sys
from dataclasses import replace
from fractions import Fraction

import pytest

from specdsl.diagnostics import SpecError
from specdsl.training.sweep.journal import Trial
from specdsl.training.sweep.space import Choices, Interval, Values
from specdsl.training.sweep.tpe import Tpe
from tests.training.sweep.trials import trial

SPACE = [
    Interval("alpha", Fraction(0), Fraction(1)),
    Choices("method", ("good", "bad")),
]


def outcome(number: int, values: Values) -> Trial:
    """A trade of clean for certified accuracy, spoiled by a bad method."""
    alpha, loss = float(values["alpha"]), 0.3 * (values["method"] == "bad")
    found = trial(number, 1 - 0.4 * alpha - loss, 0.5 + 0.4 * alpha - loss, least_clean=0.7)
    return replace(found, parameters=values)


def run(sampler: Tpe, start: int = 1) -> list[Trial]:
    found: list[Trial] = []
    while (values := sampler.ask()) is not None:
        found.append(outcome(start + len(found), values))
        sampler.tell(values, found[-1])
    return found


def test_without_optuna_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SpecError, match=r"E1111: .* needs optuna") as caught:
        Tpe(SPACE, 3, seed=0)
    assert "specdsl[sweep]" in (caught.value.diagnostics[0].help or "")


def test_trials_follow_the_seed_and_learn() -> None:
    pytest.importorskip("optuna")
    first = run(Tpe(SPACE, 40, seed=1))
    assert [t.parameters for t in first] == [t.parameters for t in run(Tpe(SPACE, 40, seed=1))]
    assert len(first) == 40
    bad = [t.parameters["method"] == "bad" for t in first]
    assert sum(bad[20:]) < 10


def test_what_is_known_counts_and_is_not_drawn_once_more() -> None:
    pytest.importorskip("optuna")
    first = run(Tpe(SPACE, 12, seed=1))
    others = [trial(90, None, None, alpha="0.5", method="good"), trial(91, alpha="1", method="x")]
    more = run(Tpe(SPACE, 30, seed=1, known=[*first, *others]), start=13)
    assert len(more) == 18
    assert more[0].parameters != first[0].parameters


def test_a_trial_that_failed_is_told_too() -> None:
    pytest.importorskip("optuna")
    sampler = Tpe(SPACE, 2, seed=0)
    values = sampler.ask()
    assert values is not None
    sampler.tell(values, trial(1, None, None))
    assert sampler.ask() is not None
    assert sampler.ask() is None
