"""VNN-LIB 1.0 evaluated by itself: an own tokeniser, exact Fractions, many points at once.

It shares no code with the reader under test. Truth over N points is an N-bit integer, bit i for
point i, so that `and` and `or` over thousands of comparisons cost nothing; a comparison of one
variable with a number is a search in the variable's sorted values.
"""

from __future__ import annotations

import random
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from math import prod

Tree = str | list["Tree"]
Point = dict[str, Fraction]

_TOKEN = re.compile(r";[^\n]*|[()]|[^\s();]+")
_VARIABLE = re.compile(r"[XY]_\d+")


def parse(text: str) -> list[Tree]:
    """The top-level forms as nested lists of words."""
    words: dict[str, str] = {}
    root: list[Tree] = []
    stack = [root]
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token == "(":
            stack.append([])
        elif token == ")":
            done = stack.pop()
            stack[-1].append(done)
        elif token[0] != ";":
            stack[-1].append(words.setdefault(token, token))
    assert len(stack) == 1
    return root


@dataclass
class Script:
    """The names that a file declares, and what it asserts."""

    forms: list[Tree]

    @cached_property
    def names(self) -> list[str]:
        return [f[1] for f in self.forms if f[0] == "declare-const"]

    @cached_property
    def assertions(self) -> list[Tree]:
        return [f[1] for f in self.forms if f[0] == "assert"]


class Values:
    """The values of one variable at all points, and masks of those below or above a number."""

    def __init__(self, values: list[Fraction]) -> None:
        self.values = values
        places: dict[int, int] = {}
        for i, value in enumerate(values):
            places[id(value)] = places.get(id(value), 0) | 1 << i
        distinct: dict[Fraction, int] = {}
        for value in values:
            if id(value) in places:
                distinct[value] = distinct.get(value, 0) | places.pop(id(value))
        self.sorted = sorted(distinct)
        self.prefixes = [0]
        for value in self.sorted:
            self.prefixes.append(self.prefixes[-1] | distinct[value])

    def at_most(self, bound: Fraction) -> int:
        return self.prefixes[bisect_right(self.sorted, bound)]

    def less_than(self, bound: Fraction) -> int:
        return self.prefixes[bisect_left(self.sorted, bound)]


@dataclass
class Evaluator:
    """Which of `count` points satisfy a formula, as a mask."""

    variables: dict[str, Values]
    count: int
    memory: dict[tuple[str, str, str], int] = field(default_factory=dict)

    @property
    def everywhere(self) -> int:
        return (1 << self.count) - 1

    def script(self, script: Script) -> int:
        mask = self.everywhere
        for assertion in script.assertions:
            mask &= self.truth(assertion)
        return mask

    def truth(self, tree: Tree) -> int:
        if isinstance(tree, str):
            return {"true": self.everywhere, "false": 0}[tree]
        head, *operands = tree
        if head == "and":
            mask = self.everywhere
            for operand in operands:
                mask &= self.truth(operand)
            return mask
        if head == "or":
            mask = 0
            for operand in operands:
                mask |= self.truth(operand)
            return mask
        if head == "not":
            return self.everywhere & ~self.truth(operands[0])
        if head == "=>":
            return (self.everywhere & ~self.truth(operands[0])) | self.truth(operands[1])
        return self.compare(head, *operands)

    def compare(self, operator: str, left: Tree, right: Tree) -> int:
        if isinstance(left, str) and isinstance(right, str):
            key = (operator, left, right)
            if key not in self.memory:
                self.memory[key] = self._compare(operator, left, right)
            return self.memory[key]
        return self._compare(operator, left, right)

    def _compare(self, operator: str, left: Tree, right: Tree) -> int:
        if operator in (">", ">="):
            operator, left, right = operator.replace(">", "<"), right, left
        if isinstance(left, str) and isinstance(right, str):
            if left in self.variables and right not in self.variables:
                known, bound = self.variables[left], Fraction(right)
                below, upto = known.less_than(bound), known.at_most(bound)
                return {"<": below, "<=": upto, "=": upto & ~below}[operator]
            if right in self.variables and left not in self.variables:
                known, bound = self.variables[right], Fraction(left)
                below, upto = known.less_than(bound), known.at_most(bound)
                everywhere = self.everywhere
                return {"<": everywhere & ~upto, "<=": everywhere & ~below, "=": upto & ~below}[
                    operator
                ]
        mask = 0
        for i, (a, b) in enumerate(zip(self.numbers(left), self.numbers(right), strict=True)):
            if (a < b) or (a == b and operator != "<") if operator != "=" else a == b:
                mask |= 1 << i
        return mask

    def numbers(self, tree: Tree) -> list[Fraction]:
        if isinstance(tree, str):
            known = self.variables.get(tree)
            return [Fraction(tree)] * self.count if known is None else known.values
        head, *operands = tree
        columns = zip(*(self.numbers(operand) for operand in operands), strict=True)
        return [_apply(str(head), column) for column in columns]


def _apply(operator: str, numbers: tuple[Fraction, ...]) -> Fraction:
    first, *rest = numbers
    if operator == "-" and not rest:
        return -first
    for number in rest:
        match operator:
            case "+":
                first += number
            case "-":
                first -= number
            case "*":
                first *= number
            case "/":
                first /= number
            case _:
                raise ValueError(operator)
    return first


# --- points --------------------------------------------------------------------------------------


@dataclass
class Disjunct:
    """Comparisons; the numbers that single variables are compared with, and all others."""

    atoms: list[list[Tree]]
    bounds: dict[str, list[Fraction]]
    others: list[list[Tree]]

    @cached_property
    def outputs(self) -> list[list[Tree]]:
        return [atom for atom in self.atoms if "Y_" in str(atom)]


@dataclass
class Sampler:
    """Points of a script: one disjunct is chosen at every `or`, and a point made to fit it."""

    script: Script
    seed: int = 0
    numbers: dict[str, Fraction] = field(default_factory=dict)
    disjuncts: dict[int, Disjunct] = field(default_factory=dict)

    @cached_property
    def count(self) -> int:
        """How many disjuncts there are."""
        return prod(self._count(assertion) for assertion in self.script.assertions)

    def _count(self, tree: Tree) -> int:
        counts = [self._count(part) for part in tree[1:] if isinstance(part, list)]
        return sum(counts) if tree[0] == "or" else prod(counts)

    def points(self, count: int) -> list[Point]:
        """`count` points, the first half on a boundary of their disjunct.

        The disjuncts take turns, in the order of the file.
        """
        random_ = random.Random(self.seed)
        return [self.point(i, random_, boundary=2 * i < count) for i in range(count)]

    def point(self, turn: int, random_: random.Random, *, boundary: bool) -> Point:
        number = turn % self.count
        if number not in self.disjuncts:
            chosen = list(self._chosen(number))
            self.disjuncts[number] = Disjunct(chosen, *self._bounds(chosen))
        disjunct = self.disjuncts[number]
        chosen, bounds = disjunct.atoms, disjunct.bounds
        # Free values: integers over a large prime are on no boundary by accident.
        point = {
            name: self._inside(bounds.get(name), random_, boundary) for name in self.script.names
        }
        for atom in disjunct.others:
            if random_.random() < 0.9:
                self._fit(atom, point, Fraction(0) if random_.random() < 0.5 else None, random_)
        if boundary:
            # One atom of the disjunct is met exactly; those of outputs say what the network may do.
            self._fit(random_.choice(disjunct.outputs or chosen), point, Fraction(0), random_)
        elif chosen and random_.random() < 0.5:
            self._fit(random_.choice(chosen), point, None, random_)
        return point

    def _chosen(self, turn: int) -> Iterator[list[Tree]]:
        """The comparisons of disjunct number `turn`."""
        stack = list(self.script.assertions)
        while stack:
            tree = stack.pop()
            if isinstance(tree, str):
                continue
            if tree[0] == "or":
                turn, choice = divmod(turn, len(tree) - 1)
                stack.append(tree[1 + choice])
            elif tree[0] == "and":
                stack.extend(tree[1:])
            else:
                yield tree

    def _bounds(
        self, chosen: list[list[Tree]]
    ) -> tuple[dict[str, list[Fraction]], list[list[Tree]]]:
        """Numbers that single variables are compared with, and the other comparisons."""
        bounds: dict[str, list[Fraction]] = {}
        others: list[list[Tree]] = []
        for atom in chosen:
            _, left, right = atom
            if isinstance(left, str) and isinstance(right, str):
                if _VARIABLE.match(left) is None:
                    left, right = right, left
                if _VARIABLE.match(left) and not _VARIABLE.match(right):
                    bounds.setdefault(left, []).append(self._number(right))
                    continue
            others.append(atom)
        return bounds, others

    def _number(self, text: str) -> Fraction:
        if text not in self.numbers:
            self.numbers[text] = Fraction(text)
        return self.numbers[text]

    def _inside(
        self, bounds: list[Fraction] | None, random_: random.Random, boundary: bool
    ) -> Fraction:
        if bounds is None:
            return Fraction(random_.randrange(-5000, 5000), 997)
        if len(bounds) > 1 and bounds[0] == bounds[1]:
            return bounds[0]
        if boundary or random_.random() < 0.5:
            return bounds[0] if random_.random() < 0.5 else bounds[-1]
        return (bounds[0] + 3 * bounds[-1]) / 4

    def _variables(self, tree: Tree) -> list[str]:
        if isinstance(tree, str):
            return [tree] if _VARIABLE.fullmatch(tree) else []
        return [name for part in tree for name in self._variables(part)]

    def _fit(
        self, atom: list[Tree], point: Point, slack: Fraction | None, random_: random.Random
    ) -> None:
        """Move one variable of a linear comparison so that left - right is `slack`.

        Without a slack it becomes a small number of either sign.
        """
        names = self._variables(atom)
        if not names:
            return
        name = random_.choice([n for n in names if n[0] == "Y"] or names)
        old = point[name]
        at_old = self._difference(atom, point)
        slope = self._difference(atom, {**point, name: old + 1}) - at_old
        if slack is None:
            slack = Fraction(random_.choice([-1, 1]), random_.choice([10**3, 10**9, 10**20]))
        if slope:
            point[name] = old + (slack - at_old) / slope

    def _difference(self, atom: list[Tree], point: Point) -> Fraction:
        single = Evaluator({n: Values([point[n]]) for n in set(self._variables(atom))}, 1)
        return single.numbers(atom[1])[0] - single.numbers(atom[2])[0]


def columns(points: list[Point], names: list[str]) -> dict[str, Values]:
    """The points variable by variable."""
    return {name: Values([point[name] for point in points]) for name in names}
