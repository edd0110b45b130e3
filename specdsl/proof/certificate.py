"""A certificate: a question, and for every case of it a proof."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from specdsl.proof.boxes import Tree, read_tree
from specdsl.proof.container import field, read_container, whole_numbers
from specdsl.proof.question import Question, read_question
from specdsl.proof.refusal import NotCovered, Refused


@dataclass(frozen=True, slots=True, eq=False)
class Proof:
    """That none of some cases, by their positions in the question, has a point."""

    cases: tuple[int, ...]
    tree: Tree


@dataclass(frozen=True, slots=True, eq=False)
class Certificate:
    """`made_by`: what its maker says of itself, which nothing rests on."""

    question: Question
    proofs: tuple[Proof, ...]
    made_by: Mapping[str, Any]


def read_certificate(data: bytes) -> Certificate:
    """Raises Refused where a file is no whole certificate; what it proves is for `check` to see."""
    container = read_container(data)
    question = read_question(container)
    proofs: list[Proof] = []
    for record in field(container.header, "proofs", list):
        kind = field(record, "kind", str)
        if kind != "boxes":
            raise NotCovered(f"the checker has no rule for a proof by `{kind}`")
        cases = tuple(whole_numbers(record, "cases"))
        section = field(record, "tree", str)
        if section not in container.sections or not cases:
            raise Refused("a proof has no tree, or no cases")
        size = question.network.size(question.network.input)
        proofs.append(Proof(cases, read_tree(container.sections[section], size)))
    proven = {case for proof in proofs for case in proof.cases}
    if proven != set(range(len(question.cases))):
        raise Refused("some case of the question has no proof, or some proof no case")
    return Certificate(question, tuple(proofs), field(container.header, "made_by", dict))
