"""The table and the picture of a sweep say what its trials are."""

from __future__ import annotations

from pathlib import Path

import pytest

from specdsl.diagnostics import SpecError
from specdsl.training.sweep import picture
from specdsl.training.sweep.picture import render, require
from specdsl.training.sweep.table import on_front, table
from tests.conftest import Golden
from tests.training.sweep.trials import JUDGED, trial

TRIALS = [
    trial(1, 0.97, 0.80),
    trial(2, 0.95, 0.86),
    trial(3, 0.94, 0.85),
    trial(4, None, None),
    trial(5, 0.89, 0.88, alpha="0.5", method="ibp(robust)"),
]
ASKED = [trial(each.trial, each.clean, each.certified, least_clean=0.9) for each in TRIALS]


def test_the_table_marks_the_front(golden: Golden) -> None:
    assert [each.trial for each in on_front(TRIALS)] == [5, 2, 1]
    golden.check("training/sweep_table.txt", table(TRIALS) + "\n\n" + table(ASKED))


def test_the_picture_names_the_trials_of_the_front_and_no_other() -> None:
    text = render(TRIALS, Path("sweep.svg")).decode()
    for shown in ("alpha = 0.1", "alpha = 0.2", "alpha = 0.5, method = ibp(robust)", JUDGED):
        assert shown in text
    assert "alpha = 0.3" not in text
    assert "clean &gt;=" not in text


def test_the_picture_shows_the_accuracy_that_is_asked_for() -> None:
    assert "clean &gt;= 90 %" in render(ASKED, Path("sweep.svg")).decode()


@pytest.mark.parametrize("name", ["sweep.svg", "sweep.png"])
def test_one_sweep_gives_the_same_bytes(name: str) -> None:
    assert render(TRIALS, Path(name)) == render(TRIALS, Path(name))


def test_one_trial_alone_is_a_picture_too() -> None:
    assert b"<svg" in render(TRIALS[:1], Path("sweep.svg"))


def test_pictures_that_cannot_be_drawn_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match=r"E1104: .* no trial has a result"):
        render(TRIALS[3:4], Path("sweep.svg"))
    with pytest.raises(SpecError, match=r"E1104: `sweep\.gif` is no picture"):
        require(Path("sweep.gif"))
    monkeypatch.setattr(picture, "find_spec", lambda name: None)
    with pytest.raises(SpecError, match=r"E1104: .* matplotlib is not installed"):
        require(Path("sweep.svg"))
