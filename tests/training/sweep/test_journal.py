"""A journal is read as it was written, and what a killed sweep left of a line is taken out."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from specdsl.diagnostics import SpecError
from specdsl.training.sweep.journal import Journal
from tests.training.sweep.trials import trial


def test_trials_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "sweep.jsonl"
    journal = Journal.begun(path, resume=False)
    written = [trial(1), trial(2, None, None), trial(3, least_clean=0.9)]
    for each in written:
        journal.write(each)
    again = Journal.begun(path, resume=True)
    assert list(again.trials.values()) == written
    assert again.next_number == 4


def test_of_two_runs_of_a_trial_the_later_counts(tmp_path: Path) -> None:
    path = tmp_path / "sweep.jsonl"
    journal = Journal.begun(path, resume=False)
    journal.write(trial(1, None, None))
    journal.write(trial(1))
    assert list(Journal.begun(path, resume=True).trials.values()) == [trial(1)]


@pytest.mark.parametrize("left", [1, 20, -2])
def test_an_unfinished_last_line_is_taken_out_and_others_follow(tmp_path: Path, left: int) -> None:
    path = tmp_path / "sweep.jsonl"
    journal = Journal.begun(path, resume=False)
    journal.write(trial(1))
    whole = path.read_bytes()
    journal.write(trial(2))
    last = path.read_bytes().removeprefix(whole)
    path.write_bytes(whole + last[:left])
    again = Journal.begun(path, resume=True)
    assert list(again.trials.values()) == [trial(1)]
    again.write(trial(3))
    assert list(Journal.begun(path, resume=True).trials.values()) == [trial(1), trial(3)]


def test_a_folder_holds_one_sweep(tmp_path: Path) -> None:
    path = tmp_path / "sweep.jsonl"
    Journal.begun(path, resume=False).write(trial(1))
    with pytest.raises(SpecError, match=r"E1111: .* holds a sweep already"):
        Journal.begun(path, resume=False)


WRITTEN = json.dumps(asdict(trial(1)))


@pytest.mark.parametrize(
    "line",
    [
        *("[1]", "no json", '{"trial": 1}', "[" * 5_000, "9" * 5_000),
        *(WRITTEN.replace('"trial": 1', f'"trial": {wrong}') for wrong in ('"1"', "null", "[1]")),
        WRITTEN.replace('"parameters": {', '"parameters": {"more": 1, '),
    ],
    ids=range(9),
)
def test_another_file_is_no_journal(tmp_path: Path, line: str) -> None:
    path = tmp_path / "sweep.jsonl"
    path.write_text(f"{line}\n")
    with pytest.raises(SpecError, match=r"E1111: line 1 of .* is no trial"):
        Journal.begun(path, resume=True)
