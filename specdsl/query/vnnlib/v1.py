"""VNN-LIB 1.0 (the format of VNN-COMP 2021 to 2025): an unsafe set as cases over linear rows.

Reading and binding are apart: `read_problem` needs only the text, `bind` joins the problem to a
network. Decimals are taken exactly. The file already states the unsafe set, so nothing is negated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Literal

import numpy as np

from specdsl.diagnostics import SpecError
from specdsl.graph.graph import GraphBuilder
from specdsl.graph.ops import Array, Dense, Input
from specdsl.query.query import Atom, Case, NetworkCall, Query, Variable
from specdsl.query.sets import Box, EmptySet, ExactArray
from specdsl.query.vnnlib.forms import (
    Form,
    Node,
    PlainComparison,
    Word,
    not_a_command,
    not_a_formula,
    too_many_cases,
)
from specdsl.query.vnnlib.reading import decode, without_collection
from specdsl.query.vnnlib.v1_syntax import commands
from specdsl.query.vnnlib.v1_terms import FORMULAS, Bound, Constraint, Row, RowAtom, Terms
from specdsl.source import Source

if TYPE_CHECKING:
    from specdsl.graph.onnx_import.load import ImportedNetwork

MAX_CASES = 500_000
"""The largest file of the benchmarks has 120,000 disjuncts."""

MAX_ENTRIES = 20_000_000
"""Bounds over all cases, or weights of all rows: 160 MB of pointers or numbers."""

_IGNORED = frozenset({"set-logic", "set-info", "set-option", "check-sat", "get-model", "exit"})

Clause = tuple[Constraint, ...]
"""A conjunction of constraints; a list of clauses is their disjunction."""


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """What a file says, before any network is known.

    Atom `index` counts into `rows`; row values are margins (unsafe where <= 0).
    """

    name: str
    inputs: int
    outputs: int
    rows: tuple[Row, ...]
    cases: tuple[Case, ...]


def read(content: bytes | str, network: ImportedNetwork, name: str) -> Query:
    """Read a file and join it to a network. Raises SpecError: E0505, E10xx."""
    return bind(read_problem(content, name), network)


def read_problem(content: bytes | str, name: str) -> Problem:
    """Read a file. Cases whose inputs are empty are dropped.

    Raises SpecError: E0505 not UTF-8; E1000 to E1008 with the place in the file.
    """
    with without_collection():
        return _Reader(decode(content, name)).read()


def bind(problem: Problem, network: ImportedNetwork) -> Query:
    """The query whose graph is the network followed by the problem's rows.

    Raises SpecError E1009 where the numbers of inputs or outputs differ.
    """
    counts = (network.input_size, network.output_size)
    if (problem.inputs, problem.outputs) != counts:
        message = (
            f"`{problem.name}` declares {problem.inputs} inputs and {problem.outputs} outputs, "
            f"but the network `{network.name}` has {counts[0]} and {counts[1]}"
        )
        raise SpecError.of("E1009", message, help="check that network and query belong together")
    builder = GraphBuilder()
    raw = builder.add(Input(network.graph.shapes[network.graph.input]), name="X")
    nodes = builder.splice(network.graph, {network.graph.input: raw})
    output = nodes[network.graph.output]
    over_inputs = any(kind == "X" for row in problem.rows for (kind, _), _ in row.terms)
    joined = builder.concat_flat(*([raw, output] if over_inputs else [output]))
    offset = problem.inputs if over_inputs else 0
    weight, bias = _matrix(problem, builder.shape(joined)[0], offset)
    margins = builder.add(Dense(weight, bias), joined, name="margins")
    return Query(
        name=problem.name,
        graph=builder.build(margins),
        cases=problem.cases,
        variables=(Variable.at("X", 0, (problem.inputs,)),),
        calls=(NetworkCall(network.name, network.model, (raw,), (output,)),),
        property_name=problem.name,
    )


def _matrix(problem: Problem, width: int, offset: int) -> tuple[Array, Array]:
    # A query without any row still has a graph; no case reads this margin, which is always 0.
    rows = problem.rows or (Row((), Fraction(0)),)
    if len(rows) * width > MAX_ENTRIES:
        raise SpecError.of("E1007", f"`{problem.name}`: {len(rows)} rows of {width} entries")
    position = {"X": 0, "Y": offset}
    entries = [
        (i, position[kind] + j, value)
        for i, row in enumerate(rows)
        for (kind, j), value in row.terms
    ]
    exact = all(_is_float(value) for _, _, value in entries)
    weight = np.zeros((len(rows), width), dtype=np.float64 if exact else object)
    if not exact:
        weight.fill(Fraction(0))
    for i, j, value in entries:
        weight[i, j] = float(value) if exact else value
    return weight, _vector([row.constant for row in rows])


def _vector(values: Sequence[Fraction]) -> Array:
    """float64 where that is exact, else `Fraction`s."""
    if all(_is_float(v) for v in values):
        return np.array([float(v) for v in values], dtype=np.float64)
    result = np.empty(len(values), dtype=object)
    result[:] = values
    return result


def _is_float(value: Fraction) -> bool:
    try:
        return Fraction(float(value)) == value
    except OverflowError:
        return False


@dataclass(slots=True)
class _Reader:
    """Goes through the commands once; `plain` and `choices` are the assertions so far."""

    source: Source
    terms: Terms = field(init=False)
    plain: list[Constraint] = field(default_factory=list)
    choices: list[list[Clause]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.terms = Terms(self.source)

    def read(self) -> Problem:
        for command in commands(self.source):
            self._command(command)
        inputs, outputs = self.terms.counts()
        cases = tuple(_Cases(self, inputs).build())
        rows = tuple(self.terms.rows)
        return Problem(self.source.name, inputs, outputs, rows, cases)

    def _command(self, command: PlainComparison | Form) -> None:
        head = command.operator if isinstance(command, PlainComparison) else command.head
        if isinstance(command, Form) and head == "assert" and len(command.items) == 2:
            self._assert(command.items[1])
        elif isinstance(command, Form) and head in ("declare-const", "declare-fun"):
            self.terms.declare(command)
        elif head not in _IGNORED:
            raise not_a_command(self.source, command, "1.0", "(declare-const X_0 Real)")

    def _assert(self, formula: Node) -> None:
        clauses = self._expand(formula, negated=False)
        if len(clauses) == 1:
            self.plain.extend(clauses[0])
        else:
            self.choices.append(clauses)

    def _expand(self, formula: Node, *, negated: bool) -> list[Clause]:
        """The formula in disjunctive normal form; depth is capped by the reader of the text."""
        if isinstance(formula, PlainComparison):
            return self.terms.compare_words(formula, negated)
        if isinstance(formula, Word):
            if formula.text not in ("true", "false"):
                raise not_a_formula(self.source, formula, FORMULAS)
            return [()] if (formula.text == "true") != negated else []
        head, operands = formula.head, formula.items[1:]
        if head == "not" and len(operands) == 1:
            return self._expand(operands[0], negated=not negated)
        if head == "=>" and len(operands) == 2:
            parts = [(operands[0], not negated), (operands[1], negated)]
            return self._join(parts, formula, disjunction=not negated)
        if head in ("and", "or"):
            parts = [(operand, negated) for operand in operands]
            return self._join(parts, formula, disjunction=(head == "or") != negated)
        return self.terms.compare_forms(formula, negated)

    def _join(
        self, parts: list[tuple[Node, bool]], formula: Form, *, disjunction: bool
    ) -> list[Clause]:
        expanded = (self._expand(node, negated=negated) for node, negated in parts)
        if disjunction:
            return [clause for clauses in expanded for clause in clauses]
        plain: list[Constraint] = []
        choices: list[list[Clause]] = []
        for clauses in expanded:
            if len(clauses) == 1:
                plain.extend(clauses[0])
            else:
                choices.append(clauses)
        if not choices:
            return [tuple(plain)]
        self.check_count(choices, formula.start)
        return [(*plain, *(c for clause in chosen for c in clause)) for chosen in product(*choices)]

    def check_count(self, choices: list[list[Clause]], start: int) -> None:
        """Raise E1007 where the product of the choices is too large, before it is built."""
        count = prod(len(clauses) for clauses in choices)
        if count > MAX_CASES:
            raise too_many_cases(self.source, count, MAX_CASES, start)


@dataclass(slots=True)
class _Cases:
    """Cases from the assertions: common bounds tightened clause by clause, equal boxes shared."""

    reader: _Reader
    inputs: int
    lower: list[Fraction | None] = field(init=False)
    upper: list[Fraction | None] = field(init=False)
    boxes: dict[tuple[int, ...], Box] = field(default_factory=dict)

    def build(self) -> Iterator[Case]:
        reader = self.reader
        self.lower, self.upper = [None] * self.inputs, [None] * self.inputs
        common = self._tighten(reader.plain, self.lower, self.upper)
        reader.check_count(reader.choices, 0)
        for chosen in product(*reader.choices):
            lower, upper = self.lower, self.upper
            constraints = [c for clause in chosen for c in clause]
            if any(isinstance(c, Bound) for c in constraints):
                lower, upper = lower.copy(), upper.copy()
            atoms = dict.fromkeys((*common, *self._tighten(constraints, lower, upper)))
            box = self._box(lower, upper)
            if box is not None:
                yield Case(box, tuple(atoms))

    def _tighten(
        self,
        constraints: Iterable[Constraint],
        lower: list[Fraction | None],
        upper: list[Fraction | None],
    ) -> list[Atom]:
        """Intersect the bounds in place; what is no bound comes back as atoms."""
        atoms: list[Atom] = []
        for constraint in constraints:
            if isinstance(constraint, RowAtom):
                atoms.append(Atom(constraint.row, constraint.strict))
                continue
            side = lower if constraint.is_lower else upper
            old = side[constraint.index]
            if old is None or (
                constraint.value > old if constraint.is_lower else constraint.value < old
            ):
                side[constraint.index] = constraint.value
        return atoms

    def _box(self, lower: list[Fraction | None], upper: list[Fraction | None]) -> Box | None:
        """The box, shared with earlier equal ones; None where it is empty. Raises E1006, E1007."""
        # Equal literals are one object (the reader caches numbers by their text), so identities
        # make a cheap key: hashing a Fraction costs a modular inverse.
        key = (*map(id, lower), *map(id, upper))
        if key not in self.boxes:
            if (len(self.boxes) + 1) * self.inputs > MAX_ENTRIES:
                message = f"more than {MAX_ENTRIES} input bounds over all cases"
                raise self.reader.terms.error("E1007", message, 0)
            low, high = self._bounded(lower, "lower"), self._bounded(upper, "upper")
            try:
                self.boxes[key] = Box(low, high)
            except EmptySet:
                return None
        return self.boxes[key]

    def _bounded(
        self, values: list[Fraction | None], side: Literal["lower", "upper"]
    ) -> ExactArray:
        # `None in values` would ask every Fraction whether it equals None.
        for index, value in enumerate(values):
            if value is None:
                raise self.reader.terms.unbounded(index, side)
        result = np.empty(len(values), dtype=object)
        result[:] = values
        return result
