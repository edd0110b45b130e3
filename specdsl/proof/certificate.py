"""A certificate: a question, and for every case of it a proof, or for one of them a point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from specdsl.proof.container import Container, read_container
from specdsl.proof.fields import Fields
from specdsl.proof.question import Question, read_question
from specdsl.proof.refusal import NotCovered, require
from specdsl.proof.witness import Witness, read_witness

KINDS = frozenset({"boxes", "parts"})


@dataclass(frozen=True, slots=True, eq=False)
class Proof:
    """That none of some cases, by their positions in the question, has a point: `record` says how,
    and `data` is its section. `exact`: whether only rationals see it.
    """

    cases: tuple[int, ...]
    kind: str
    exact: bool
    record: Fields
    data: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Certificate:
    """`witness`: in place of proofs. `made_by`: what its maker says of itself, which nothing rests
    on.
    """

    question: Question
    proofs: tuple[Proof, ...]
    witness: Witness | None
    made_by: Mapping[str, Any]


def read_certificate(data: bytes) -> Certificate:
    """Raises Refused where a file is no whole certificate; what it proves is for `check` to see."""
    container = read_container(data)
    question = read_question(container)
    header = container.header
    proofs = tuple(_proof(each, container) for each in header.objects("proofs"))
    made_by = header.entry("made_by", dict)
    if header.record.get("witness") is not None:
        require(not proofs, "there are proofs that no case has a point, and a witness")
        record = Fields.of(header.record["witness"])
        return Certificate(question, (), read_witness(record, question, container), made_by)
    asked = set(range(len(question.cases)))
    known = [n for proof in proofs for n in proof.cases]
    require(set(known) == asked and len(known) == len(asked), "not every case has one proof")
    return Certificate(question, proofs, None, made_by)


def _proof(record: Fields, container: Container) -> Proof:
    kind, cases = record.word("kind"), record.wholes("cases")
    if kind not in KINDS:
        raise NotCovered(f"the checker has no rule for a proof by `{kind}`")
    require(bool(cases), "a proof has no cases")
    exact, data = record.flag("exact"), container.section(record.word("tree"))
    return Proof(cases, kind, exact, record, data)
