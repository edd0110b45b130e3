"""From what a method knows of a proof to a certificate that the checker has accepted.

The checker judges every leaf by bounds of its own, which are a little looser here and there than
those that refuted it. Leaves that it does not accept are halved until it does, or until that takes
too long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from specdsl.backend import FOREVER, Deadline, OutOfTime
from specdsl.certificates.files import write_tree
from specdsl.certificates.halving import accepted_tree
from specdsl.certificates.neurons import parts_proof
from specdsl.certificates.nodes import NoMargin, NotCertified
from specdsl.certificates.part_records import NeuronProof
from specdsl.certificates.parts import PartsProof
from specdsl.certificates.programs import ProgramProof, program_proof
from specdsl.certificates.question import Statement, state
from specdsl.certificates.recording import NO_WEIGHTS, BoxProof
from specdsl.proof.arithmetic import EXACT, FLOAT
from specdsl.proof.boxes import Tree
from specdsl.proof.cases import Cases
from specdsl.proof.container import read_container
from specdsl.proof.fields import Fields
from specdsl.proof.parts import Parts
from specdsl.proof.passes import Bounds, Rules
from specdsl.proof.question import read_question
from specdsl.proof.refusal import Refused
from specdsl.query.groups import group_cases
from specdsl.query.query import Query
from specdsl.verdict import CaseProof, Semantics

# Leaves that may come of halving those that are not accepted, besides as many as the tree had.
MORE_LEAVES = 4096
# Part of the time that linear programs get, of seconds at most.
PROGRAMS_SHARE, LONGEST = 0.3, 200.0
# The tree of a set that is refuted as it is.
WHOLE = Tree(np.zeros(1, np.uint8), np.zeros(0, np.uint32), np.zeros(0), NO_WEIGHTS)


@dataclass(frozen=True, slots=True)
class Certified:
    """An accepted certificate: its bytes, its leaves, and what is believed without proof."""

    content: bytes
    leaves: int
    semantics: str
    trusted: tuple[str, ...]


def certify(
    query: Query,
    proofs: Sequence[CaseProof],
    semantics: Semantics,
    deadline: Deadline,
    more_leaves: int = MORE_LEAVES,
) -> Certified:
    """`proofs`: of some cases; the others are tried on their sets as they are. `more_leaves`: that
    may come of halving what the checker does not accept, besides as many as there were.

    Raises NotCertified with the reason where no certificate comes of it, OutOfTime.
    """
    statement = state(query, semantics)
    proven = {case for proof in proofs for case in proof.cases}
    groups = [[m for m in group.members if m not in proven] for group in group_cases(query)]
    whole = [BoxProof(tuple(members), WHOLE) for members in groups if members]
    try:
        with np.errstate(all="ignore"):
            return _Checking(query, statement, deadline, more_leaves).run([*proofs, *whole])
    except Refused as refusal:
        raise NotCertified(str(refusal)) from refusal


def rounding_of(query: Query, semantics: Semantics) -> float:
    """What rounding may take off a margin on the way back to the inputs, at most, by the checker's
    first bounds on the sets as they are. Raises NotCertified.
    """
    try:
        checking = _Checking(query, state(query, semantics), FOREVER, 0)
        with np.errstate(all="ignore"):
            found = [checking.rounding(group.members) for group in group_cases(query)]
    except Refused as refusal:
        raise NotCertified(str(refusal)) from refusal
    return max(found, default=0.0)


@dataclass(frozen=True, slots=True, eq=False)
class _Accepted:
    """A proof that the checker accepts, in a file."""

    record: Mapping[str, object]
    section: bytes
    leaves: int


class _Checking:
    def __init__(
        self, query: Query, statement: Statement, deadline: Deadline, more_leaves: int
    ) -> None:
        self.query, self.statement = query, statement
        self.deadline, self.more_leaves = deadline, more_leaves
        self.question = read_question(read_container(statement.certificate([], {})))
        single = self.question.semantics != "real"
        self.rules = Rules.of(self.question.network, FLOAT, single=single)

    def run(self, proofs: Sequence[CaseProof]) -> Certified:
        """A file with all of them."""
        accepted = [self._accepted(proof, f"proof {i}") for i, proof in enumerate(proofs)]
        names = [str(each.record["tree"]) for each in accepted]
        sections = {n: each.section for n, each in zip(names, accepted, strict=True)}
        content = self.statement.certificate([each.record for each in accepted], sections)
        leaves = sum(each.leaves for each in accepted)
        return Certified(content, leaves, self.question.semantics, self.rules.trusted)

    def rounding(self, numbers: Sequence[int]) -> float:
        """As `rounding_of` says, of cases with the same set."""
        cases = Cases.of(self.question, self.rules, numbers)
        if cases.root is None:
            return 0.0
        bounds = Bounds(self.rules, cases.region(cases.root))
        bounds.propagate(bounds.tighten)
        every = cases.margins(np.eye(len(cases.read)))
        start = {self.question.network.output: every[None]}
        return float(bounds.back(start).slack.max(initial=0.0))

    def _accepted(self, proof: CaseProof, section: str) -> _Accepted:
        if isinstance(proof, NeuronProof):
            found = parts_proof(proof, self.query.graph, self.statement.numbers)
            return self._parts(found, section)
        if isinstance(proof, ProgramProof):
            return self._by_programs(proof.cases, section)
        assert isinstance(proof, BoxProof)
        cases = Cases.of(self.question, self.rules, proof.cases)
        most = proof.tree.leaves + self.more_leaves
        tree = accepted_tree(proof.tree, cases, most, self.deadline)
        record: dict[str, object] = {"kind": "boxes", "cases": list(proof.cases)}
        record |= {"tree": section, "exact": False}
        return _Accepted(record, write_tree(tree), tree.leaves)

    def _by_programs(self, numbers: Sequence[int], section: str) -> _Accepted:
        """In a part of the time that is left: a search may do where programs are too large."""
        own = Deadline.after(PROGRAMS_SHARE * min(self.deadline.remaining, LONGEST))
        try:
            try:
                found = program_proof(self.question, self.rules, numbers, own)
                return self._parts(found, section)
            except NoMargin:
                # In real numbers a margin of 0 may be enough, which takes exact ones to see.
                if self.question.semantics != "real":
                    raise
                found = program_proof(self.question, self.rules, numbers, own, exact=True)
                return self._parts(found, section, exact=True)
        except OutOfTime as error:
            self.deadline.check()
            raise NotCertified(f"linear programs leave a case open: {error}") from error

    def _parts(self, proof: PartsProof, section: str, *, exact: bool = False) -> _Accepted:
        record, content = proof.record(section, exact=exact), proof.content
        fields = Fields.of(record)
        rules = Rules.of(self.question.network, EXACT, single=False) if exact else self.rules
        parts = Parts.of(self.question, rules, proof.cases, fields, content)
        return _Accepted(record, content, parts.check(self.deadline.check))
