"""The law of the VNN-LIB 1.0 reader: its cases hold where the text, evaluated by itself, holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import pytest

from specdsl.files import read_bytes
from specdsl.query.sets import Box
from specdsl.query.vnnlib.v1 import Problem, read_problem
from specdsl.query.vnnlib.v1_terms import Row
from tests.query.vnnlib_evaluator import Evaluator, Sampler, Script, Values, columns, parse

POINTS = 200

FAST = 25
"""Files of the fast suite, spread over the benchmark families."""

FAST_BYTES = 50_000


@dataclass
class Judge:
    """Which points a parsed problem calls unsafe, as a mask over the same points."""

    problem: Problem
    variables: dict[str, Values]
    count: int
    boxes: dict[int, int] = field(default_factory=dict)
    rows: dict[tuple[int, bool], int] = field(default_factory=dict)

    def unsafe(self) -> int:
        mask = 0
        for case in self.problem.cases:
            assert isinstance(case.inputs, Box)
            inside = self._inside(case.inputs)
            for atom in case.atoms:
                if not inside:
                    break
                inside &= self._below(atom.index, atom.strict)
            mask |= inside
        return mask

    def _inside(self, box: Box) -> int:
        if id(box) not in self.boxes:
            mask = (1 << self.count) - 1
            for i, (low, high) in enumerate(zip(box.lower, box.upper, strict=True)):
                known = self.variables[f"X_{i}"]
                mask &= known.at_most(high) & ~known.less_than(low)
                if not mask:
                    break
            self.boxes[id(box)] = mask
        return self.boxes[id(box)]

    def _below(self, index: int, strict: bool) -> int:
        key = (index, strict)
        if key not in self.rows:
            self.rows[key] = self._row(self.problem.rows[index], strict)
        return self.rows[key]

    def _row(self, row: Row, strict: bool) -> int:
        if len(row.terms) == 1:
            (((kind, i), factor),) = row.terms
            known, bound = self.variables[f"{kind}_{i}"], -row.constant / factor
            upto = known.less_than(bound) if strict == (factor > 0) else known.at_most(bound)
            return upto if factor > 0 else (1 << self.count) - 1 & ~upto
        mask = 0
        for p in range(self.count):
            value = row.constant
            for (kind, i), factor in row.terms:
                value += factor * self.variables[f"{kind}_{i}"].values[p]
            if value < 0 or (value == 0 and not strict):
                mask |= 1 << p
        return mask


def check_file(path: Path) -> tuple[int, int]:
    """Compare at all points; how many are unsafe, and how many of those on a boundary."""
    content = read_bytes(path)
    script = Script(parse(content.decode()))
    points = Sampler(script).points(POINTS)
    variables = columns(points, script.names)
    expected = Evaluator(variables, POINTS).script(script)
    found = Judge(read_problem(content, path.name), variables, POINTS).unsafe()
    wrong = [p for p in range(POINTS) if (expected ^ found) >> p & 1]
    assert not wrong, f"{path.name}: points {wrong}"
    return expected.bit_count(), (expected & ((1 << POINTS // 2) - 1)).bit_count()


def spread(shared: Path) -> list[Path]:
    """Small files, the families taking turns."""
    root = shared / "data" / "vnncomp"
    families: dict[Path, list[Path]] = {}
    for path in sorted(root.rglob("*.vnnlib.gz")):
        families.setdefault(path.parent, []).append(path)
    turns = (p for i in range(FAST) for files in families.values() for p in files[i : i + 1])
    small = (p for p in turns if len(read_bytes(p)) <= FAST_BYTES)
    return [path for path, _ in zip(small, range(FAST), strict=False)]


def test_cases_hold_where_the_text_holds_for_files_of_every_family(shared: Path) -> None:
    unsafe = [check_file(path) for path in spread(shared)]
    assert len(unsafe) == FAST
    # The points are worth something: some hold and some do not, on boundaries and off them.
    assert sum(total for total, _ in unsafe) > FAST * POINTS / 10
    assert sum(total for total, _ in unsafe) < FAST * POINTS * 9 / 10
    assert sum(boundary for _, boundary in unsafe) > FAST * POINTS / 20


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_cases_hold_where_the_text_holds_for_every_file(shared: Path) -> None:
    paths = sorted((shared / "data" / "vnncomp").rglob("*.vnnlib.gz"))
    assert len(paths) > 200
    for path in paths:
        unsafe, boundary = check_file(path)
        assert 0 < unsafe < POINTS, path.name
        assert boundary, path.name


def test_the_evaluator_itself_knows_the_operators() -> None:
    values = {"X_0": Values([Fraction(0), Fraction(1), Fraction(2)])}
    wanted = {
        "(<= X_0 1)": 0b011,
        "(< X_0 1)": 0b001,
        "(>= X_0 1.0)": 0b110,
        "(> X_0 1e0)": 0b100,
        "(= X_0 1)": 0b010,
        "(<= 1 X_0)": 0b110,
        "(< 1 X_0)": 0b100,
        "(= 1 X_0)": 0b010,
        "(<= (+ X_0 (* 2 X_0) (- 3)) 0)": 0b011,
        "(not (<= (/ X_0 2) 0.5))": 0b100,
        "(=> (<= X_0 0) (<= X_0 -1))": 0b110,
        "(or (<= X_0 0) (and (<= 2 X_0) true))": 0b101,
    }
    for text, mask in wanted.items():
        (tree,) = parse(text)
        assert Evaluator(values, 3).truth(tree) == mask, text
