"""Running trials, and the file that keeps what came of them: a run that was stopped goes on."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.soundness.judging import Said
from tests.soundness.trials import Trial

# Of progress on stderr.
SAY_EVERY = 100


@dataclass(frozen=True, slots=True)
class Row:
    """One trial and its outcome, as `Outcome` has it. `timeout`: seconds for each question."""

    suite: str
    family: str
    number: int
    method: str
    timeout: float
    said: Said
    by: str
    seconds: float
    objection: str | None

    @property
    def trial(self) -> Trial:
        """What was asked."""
        return Trial(self.suite, self.family, self.number, self.method)

    @property
    def crashed(self) -> bool:
        """Whether a solver raised, and nothing was said."""
        return self.said == "unknown" and self.by.startswith("solver crashed")


def read_rows(path: Path) -> list[Row]:
    """What was run already; nothing where there is no file. A line that a kill cut off is none."""
    if not path.exists():
        return []
    text = path.read_text()
    return [Row(**json.loads(line)) for line in text[: text.rfind("\n") + 1].splitlines()]


def run_all(trials: Iterable[Trial], path: Path, timeout: float) -> list[Row]:
    """Run what is not in the file yet; all rows of the given trials, earlier ones among them.

    Rows of questions that were given another time are run again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    done = {row.trial: row for row in read_rows(path) if row.timeout == timeout}
    kept = "".join(f"{json.dumps(asdict(row))}\n" for row in done.values())
    path.write_text(kept)
    rows: list[Row] = []
    with path.open("a") as file:
        for trial in trials:
            if trial not in done:
                done[trial] = _run(trial, timeout)
                file.write(f"{json.dumps(asdict(done[trial]))}\n")
                file.flush()
            rows.append(done[trial])
            if len(rows) % SAY_EVERY == 0:
                sys.stderr.write(f"{len(rows)} trials, now {trial.suite}/{trial.family}\n")
    return rows


def _run(trial: Trial, timeout: float) -> Row:
    outcome = trial.run(timeout)
    row = Row(
        trial.suite,
        trial.family,
        trial.number,
        trial.method,
        timeout,
        outcome.said,
        outcome.by,
        round(outcome.seconds, 4),
        outcome.objection,
    )
    if row.objection is not None:
        sys.stderr.write(f"WRONG: {trial}: {row.said}: {row.objection}\n")
    return row


def chosen(trials: Iterable[Trial], suites: frozenset[str], every: int) -> Iterator[Trial]:
    """Those of some suites (all where none is named), of every so many questions."""
    for trial in trials:
        if (not suites or trial.suite in suites) and trial.number % every == 0:
            yield trial
