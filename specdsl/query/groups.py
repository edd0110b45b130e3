"""Cases that share their inputs, taken together: one propagation serves them all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from specdsl.query.query import Atom, Query
from specdsl.query.sets import InputSet


@dataclass(frozen=True, slots=True, eq=False)
class CaseGroup:
    """Cases over input sets whose float64 hulls coincide.

    `members` are positions in `query.cases`; `rows` the margins any member reads, rising;
    `atoms[i]` the atoms of member i, with `index` counting into `rows`.
    """

    inputs: InputSet
    members: tuple[int, ...]
    rows: npt.NDArray[np.int64]
    atoms: tuple[tuple[Atom, ...], ...]


def group_cases(query: Query) -> tuple[CaseGroup, ...]:
    """The groups in order of their first member.

    Bounds only see the float64 hull of an input set, so cases with equal hulls may share them
    although their exact sets may differ in the last place; witnesses are judged case by case.
    """
    keys: dict[int, object] = {}
    members: dict[object, list[int]] = {}
    for position, case in enumerate(query.cases):
        identity = id(case.inputs)
        if identity not in keys:
            keys[identity] = _hull_key(case.inputs)
        members.setdefault(keys[identity], []).append(position)
    return tuple(_group(query, tuple(positions)) for positions in members.values())


def _group(query: Query, members: tuple[int, ...]) -> CaseGroup:
    read = {atom.index for m in members for atom in query.cases[m].atoms}
    rows = np.array(sorted(read), dtype=np.int64)
    position = {int(row): i for i, row in enumerate(rows)}
    atoms = tuple(
        tuple(Atom(position[a.index], a.strict) for a in query.cases[m].atoms) for m in members
    )
    return CaseGroup(query.cases[members[0]].inputs, members, rows, atoms)


def _hull_key(inputs: InputSet) -> object:
    lower, upper = inputs.box.float_bounds()
    return (lower.tobytes(), upper.tobytes(), *(ball.key() for ball in inputs.balls))
