"""Is what a store holds still what was written, and does its evidence still hold?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from specdsl.diagnostics import SpecError
from specdsl.query.digest import Digests
from specdsl.run.store.database import Damaged, Database
from specdsl.run.store.encoding import Undecodable, decode
from specdsl.run.store.origin import Origin
from specdsl.run.store.recheck import certificate_again, recheck
from specdsl.run.store.row import Row
from specdsl.verdict import Answer, Falsified, Unknown

if TYPE_CHECKING:
    from specdsl.query.query import Query


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with one row; `where` names its question as well as can be said."""

    where: str
    problem: str


@dataclass(frozen=True, slots=True)
class Audit:
    """`words`: rows by what they say about their query. `wrong`: what must not be believed.
    `replayed`: witnesses, and `proofs`, that were looked at beside the question itself, the latter
    by the independent checker; `elsewhere`: verdicts whose question is not found where it was: only
    the row was looked at.
    """

    words: Mapping[str, int]
    wrong: tuple[Finding, ...]
    replayed: int
    proofs: int
    elsewhere: int

    @property
    def rows(self) -> int:
        """All of them, damaged ones too."""
        return sum(self.words.values())


def audit(database: Database, folders: Sequence[Path], allowed: Sequence[Path]) -> Audit:
    """Look at every row; at its evidence too where its spec lies in one of `folders` (or is one).

    Questions are built again, with the parameters of then; nothing is solved. `allowed`: folders
    outside their own that specs may use.
    """
    tally = _Tally()
    waiting: dict[str, list[tuple[Row, Answer, Origin]]] = {}
    for row in database.rows():
        tally.look(row, waiting)
    for rows in waiting.values():
        _look_again(rows, folders, allowed, tally)
    again = tally.again
    return Audit(
        words=dict(tally.words),
        wrong=tuple(tally.wrong),
        replayed=again["witness"],
        proofs=again["proof"],
        elsewhere=tally.elsewhere,
    )


@dataclass(slots=True)
class _Tally:
    words: Counter[str] = field(default_factory=Counter[str])
    wrong: list[Finding] = field(default_factory=list[Finding])
    again: Counter[str] = field(default_factory=Counter[str])
    elsewhere: int = 0

    def look(
        self, row: Row | Damaged, waiting: dict[str, list[tuple[Row, Answer, Origin]]]
    ) -> None:
        """Count a row; put it with those of the same spec if its question can be built again."""
        if isinstance(row, Damaged):
            self._damaged("a row", str(row))
            return
        try:
            answer = decode(row.answer)
            origin = None if row.origin == "null" else Origin.read(row.origin)
        except (Undecodable, ValueError) as error:
            self._damaged(f"row {row.key.text[:12]}", f"cannot be read: {error}")
            return
        self.words[type(answer.verdict).__name__.lower()] += 1
        if isinstance(answer.verdict, Unknown):
            return
        if origin is None:
            self.elsewhere += 1
            return
        same = json.dumps([origin.spec, dict(origin.parameters)])
        waiting.setdefault(same, []).append((row, answer, origin))

    def _damaged(self, where: str, problem: str) -> None:
        self.words["damaged"] += 1
        self.wrong.append(Finding(where, problem))


def _look_again(
    rows: list[tuple[Row, Answer, Origin]],
    folders: Sequence[Path],
    allowed: Sequence[Path],
    tally: _Tally,
) -> None:
    """Rows of one spec with one set of parameters."""
    spec = Path(rows[0][2].spec)
    if not any(spec.is_relative_to(folder.resolve()) for folder in folders):
        tally.elsewhere += len(rows)
        return
    wanted = {origin.id for _, _, origin in rows}
    questions = dict(_questions(spec, rows[0][2].parameters, wanted, allowed))
    for row, answer, origin in rows:
        query = questions.get((origin.id, row.key.query))
        if query is None:
            tally.elsewhere += 1
            continue
        kind = "witness" if isinstance(answer.verdict, Falsified) else "proof"
        tally.again[kind] += 1
        found = recheck(query, answer, row)
        if found is None:
            tally.wrong.append(Finding(origin.id, f"its {kind} does not hold"))
            continue
        refused = certificate_again(query, found)
        if refused is not None:
            tally.wrong.append(Finding(origin.id, f"its certificate is refused: {refused}"))


def _questions(
    spec: Path, parameters: Mapping[str, str], wanted: set[str], allowed: Sequence[Path]
) -> Iterator[tuple[tuple[str, str], Query]]:
    """What a spec asks now under the ids that are wanted, by id and digest.

    Nothing of a spec or an obligation that cannot be read any more: their questions have gone.
    """
    from specdsl.query.elaboration.values.resources import Resources
    from specdsl.run.obligations import obligations_of
    from specdsl.run.pipeline import load_combinations

    resources, digests = Resources(), Digests()
    try:
        combinations = load_combinations(spec, parameters, allowed)
        obligations = [o for each in combinations for o in obligations_of(each, resources)]
    except SpecError:
        return
    for obligation in obligations:
        if obligation.id in wanted:
            try:
                query = obligation.query(resources)
            except SpecError:
                continue
            yield (obligation.id, digests.of(query)), query
