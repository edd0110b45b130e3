"""Cases that share their inputs, taken together: one propagation serves them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
    return tuple(_group(query, positions) for positions in _positions(query, _hull_key))


def exact_groups(query: Query) -> tuple[tuple[int, ...], ...]:
    """Positions of the cases that have one and the same input set, to the last rational digit; in
    order of their first member.
    """
    return tuple(_positions(query, _exact_key))


def _positions(query: Query, key: Callable[[InputSet], object]) -> Iterator[tuple[int, ...]]:
    """Positions of cases whose inputs have equal keys. Inputs are shared objects most of the time,
    so that each key is made once.
    """
    keys: dict[int, object] = {}
    members: dict[object, list[int]] = {}
    for position, case in enumerate(query.cases):
        identity = id(case.inputs)
        if identity not in keys:
            keys[identity] = key(case.inputs)
        members.setdefault(keys[identity], []).append(position)
    yield from map(tuple, members.values())


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


def _exact_key(inputs: InputSet) -> object:
    box, balls = inputs.box, (ball.key() for ball in inputs.balls)
    return (tuple(box.lower), tuple(box.upper), *balls)
