"""Branch and bound over inner values: first bounds for every case, then a tree for each open one.

Before a part is split any further, bounds inside are sharpened where its margins may be 0 or less
(`bounds.parts.assumed`), as long as that raises its bound. Then a tree of parts grows on these
bounds, which costs little a part. Where it does not close after as many parts as `GROWN` allows, it
is given up, its root is halved, and each half has bounds inside of its own. Cases take turns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from math import inf

import torch

from specdsl.backend import Deadline
from specdsl.backends.search.confirming import Confirmer
from specdsl.backends.search.neurons.bounding import Bounder
from specdsl.backends.search.neurons.branching import (
    RULES,
    Chooser,
    halves,
)
from specdsl.backends.search.neurons.parts import Batch, gathered, whole
from specdsl.backends.search.neurons.records import neuron_proof, step_records
from specdsl.backends.search.neurons.tree import Tree
from specdsl.backends.search.problem import Problem, Progress, Searching
from specdsl.bounds.parts.assumed import Contradiction
from specdsl.bounds.regions.region import input_region
from specdsl.certificates.part_records import Emptied, PartRecord
from specdsl.graph import ops

# Bounds inside are sharpened again where that took so much of the distance to a refutation off; a
# tree that has become smaller than a part of its largest is about to close. Both as first tried.
GAIN, CLOSING = 0.1, 0.5
# A pass that took less of it off is followed by one with more entries (docs/performance.md).
RICH = 0.3
# Parts of a tree for each row that was raised before it (docs/performance.md), and at least: small
# networks close within these, and are halved for long with fewer.
GROWN, LEAST_PARTS = 4.0, 512
# The same where functions are curved: tangents are found anew on every part, which takes as long as
# raising some thirty rows, and halves are often refuted by sharpening alone.
CURVED_GROWN, CURVED_LEAST_PARTS = 1 / 16, 128
# Of the entries that are affordable, so many are sharpened first, those with the largest gaps, and
# so many times more where that gained too little. An eighth takes off what all of them do but for
# a tenth, in a fifth of the time (docs/performance.md).
FIRST_ENTRIES, MORE_ENTRIES = 1 / 8, 4


def search_neurons(
    problem: Problem,
    confirmer: Confirmer,
    deadline: Deadline,
    progress: Progress,
) -> Searching:
    """Search one group; a step is a batch of parts, or bounds inside for one of them.

    Raises OutOfTime where bounding the whole set takes longer.
    """
    progress.note_open(len(problem.group.members), -float("inf"))
    if not all(problem.group.atoms):
        # A case without atoms has a point where its inputs have one: nothing inside says more.
        region = input_region(problem.group.inputs, problem.compiled.like)
        met = confirmer.confirm_best(problem.compiled, problem.group, region.box.center)
        return "falsified" if met else "exhausted"
    with torch.no_grad():
        bounder = Bounder.of(problem, deadline, progress)
    yield
    chooser = Chooser(problem.options.rule)
    return (yield from _Search(bounder, confirmer, deadline, progress, chooser).run())


@dataclass(slots=True, eq=False)
class _Search:
    """`bounder`: for all cases of the group."""

    bounder: Bounder
    confirmer: Confirmer
    deadline: Deadline
    progress: Progress
    chooser: Chooser

    def run(self) -> Searching:
        """The whole set for every case, then the open cases in turns."""
        first = Tree(self.bounder, self.confirmer, self.deadline, self.progress, self.chooser)
        cases, atoms = self.bounder.rows.shape[:2]
        records = [PartRecord() for _ in range(cases)]
        self.progress.neurons = neuron_proof(self.bounder, records)
        if first.plant(whole(cases, atoms, self.bounder.known.compiled.like), records):
            return "falsified"
        open_cases = [_Case.of(self, first, n, records[n]) for n in first.open_cases]
        going = deque((case, case.run()) for case in open_cases)
        while going:
            self._note(first, open_cases)
            yield
            if self.deadline.passed:
                return "timeout"
            case, turns = going.popleft()
            try:
                next(turns)
            except StopIteration:
                pass
            else:
                going.append((case, turns))
            if self.confirmer.witness is not None:
                return "falsified"
        self._note(first, open_cases)
        return "exhausted" if self.progress.open_domains else "verified"

    def _note(self, first: Tree, cases: list[_Case]) -> None:
        worst = min([float("inf"), *first.stuck, *(case.worst for case in cases)])
        self.progress.note_open(len(first.stuck) + sum(case.open_parts for case in cases), worst)


@dataclass(slots=True, eq=False)
class _Root:
    """A part, alone in `batch`, its record, and what has grown from it. `share`: of the affordable
    entries, how many are sharpened next; `raised`: rows that were, until now.
    """

    batch: Batch
    record: PartRecord
    tree: Tree
    share: float = FIRST_ENTRIES
    raised: int = 0

    @classmethod
    def planted(cls, bounder: Bounder, batch: Batch, record: PartRecord, parent: _Root) -> _Root:
        """A half of another root, with a tree that has just begun."""
        # Other entries have places on other parts.
        tree = parent.tree.begun_with(replace(bounder, columns={}))
        tree.plant(batch, [record])
        return cls(batch, record, tree)

    def sharpen(self) -> bool:
        """Sharpen bounds inside and begin anew; whether it may be worth while to go on."""
        before = self.tree.worst
        after = self._sharpened()
        if not self.tree.waiting:
            return False
        gained, is_last = after - before, self.share >= 1
        if gained <= RICH * abs(before):
            self.share *= MORE_ENTRIES
        return gained > GAIN * abs(before) or not is_last

    def _sharpened(self) -> float:
        """Sharpen the entries that are due; the least bound then."""
        old, gaps = self.tree, self.tree.gaps
        assert gaps is not None
        most = min(old.bounder.affordable, gaps.off.numel())
        due = max(1, round(min(self.share, 1.0) * most))
        self.raised += 2 * due
        try:
            bounder, steps = old.bounder.sharpened(self.batch.parts, gaps.off[0], due, old.deadline)
        except Contradiction as contradiction:
            self.record.steps += step_records(old.bounder.known, contradiction.steps)
            self.record.below = Emptied()
            old.refute_all()
            return old.worst
        tree = old.begun_with(bounder)
        tree.plant(self._from_where(old), [self.record])
        # Ascent may end lower than before, on bounds inside that are no wider.
        if not tree.waiting or tree.worst >= old.worst:
            old.progress.unmeasured = True
            self.record.steps += step_records(old.bounder.known, steps)
            self.tree = tree
        return self.tree.worst

    def _from_where(self, old: Tree) -> Batch:
        """The part with the multipliers and places of an older tree to start from."""
        assert old.planted is not None
        ends = old.bounder.known.entries.pick(old.bounder.known.bounds)
        return gathered([replace(old.planted, bound=-inf)], ends).compact()

    @property
    def parts_allowed(self) -> int:
        """How far the tree may grow."""
        graph = self.tree.bounder.known.compiled.graph
        if any(isinstance(op, ops.Smooth) for _, op, _ in graph):
            return max(CURVED_LEAST_PARTS, round(CURVED_GROWN * self.raised))
        return max(LEAST_PARTS, round(GROWN * self.raised))

    def halves(self) -> list[_Root]:
        """The part cut where it looks best, each half planted on the bounds inside at hand."""
        bounder, planted = self.tree.bounder, self.tree.planted
        assert planted is not None
        ends = bounder.known.entries.pick(bounder.known.bounds)
        rule = RULES[self.tree.chooser.current]
        cut = halves(bounder, gathered([planted], ends), [planted], rule)
        found: list[_Root] = []
        for i, record in enumerate(self.record.cut(*cut.cuts[0])):
            batch = cut.batch.take(planted.numbers.new_tensor([i])).compact().begun_anew()
            found.append(_Root.planted(bounder, batch, record, self))
        return found


@dataclass(slots=True, eq=False)
class _Case:
    """One case: `roots` are left to do, `growing` is at work; `stuck`: bounds of open parts in
    which nothing is left to split.
    """

    roots: list[_Root]
    growing: _Root | None = None
    stuck: list[float] = field(default_factory=list[float])

    @classmethod
    def of(cls, search: _Search, first: Tree, position: int, record: PartRecord) -> _Case:
        """Where a first tree has left a case."""
        bounder = search.bounder.of_case(position)
        tree = first.of_case(bounder, position)
        batch = whole(1, bounder.rows.shape[1], bounder.known.compiled.like)
        return cls([_Root(batch, record, tree)])

    def _trees(self) -> list[Tree]:
        growing = [] if self.growing is None else [self.growing]
        return [root.tree for root in [*self.roots, *growing]]

    @property
    def open_parts(self) -> int:
        """How many are left."""
        return len(self.stuck) + sum(tree.open_parts for tree in self._trees())

    @property
    def worst(self) -> float:
        """The least bound of any of them; infinite where there is none."""
        return min([float("inf"), *self.stuck, *(tree.worst for tree in self._trees())])

    def run(self) -> Generator[None]:
        """Until nothing is open that can be split, or a witness is met; a step a batch of parts."""
        sharpens = self.roots[0].tree.bounder.problem.options.sharpen
        while self.roots:
            self.roots.sort(key=lambda root: -root.tree.worst)
            self.growing = root = self.roots.pop()
            yield
            while sharpens and root.tree.waiting and root.sharpen():
                yield
            yield from _grow(root.tree, root.parts_allowed)
            if root.tree.confirmer.witness is not None:
                return
            if root.tree.waiting:
                self.roots += root.halves()
            else:
                self.stuck += root.tree.stuck
            self.growing = None


def _grow(tree: Tree, parts: int) -> Generator[None]:
    """Split about so many parts, and more while the tree is about to close."""
    most = 0
    while tree.waiting and (tree.bounded < parts or tree.open_parts < CLOSING * most):
        most = max(most, tree.open_parts)
        yield
        if tree.split():
            return
