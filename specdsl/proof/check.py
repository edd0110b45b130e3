"""Whether a certificate proves what it says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from specdsl.proof.arithmetic import EXACT, FLOAT, Arithmetic
from specdsl.proof.boxes import boxes_of, read_tree
from specdsl.proof.cases import Cases
from specdsl.proof.certificate import Certificate, Proof
from specdsl.proof.parts import Parts
from specdsl.proof.passes import Rules
from specdsl.proof.question import Question
from specdsl.proof.refusal import Refused
from specdsl.proof.witness import check_witness


@dataclass(frozen=True, slots=True)
class Checked:
    """What an accepted certificate proves: that no case has a point, by so many `leaves`, or that
    one has, where these are None. `trusted`: what is believed without proof.
    """

    question: str
    semantics: str
    leaves: int | None
    trusted: tuple[str, ...]


def check(certificate: Certificate, how: Arithmetic = FLOAT) -> Checked:
    """Raises Refused with the first leaf that its bounds do not refute."""
    question, leaves = certificate.question, 0
    if certificate.witness is not None:
        with np.errstate(all="ignore"):
            believed = check_witness(question, certificate.witness, how)
        return Checked(question.digest, question.semantics, None, believed)
    single = question.semantics != "real"
    needed = {EXACT if proof.exact else how for proof in certificate.proofs}
    known = {each: Rules.of(question.network, each, single=single) for each in needed}
    with np.errstate(all="ignore"):
        for number, proof in enumerate(certificate.proofs):
            rules = known[EXACT if proof.exact else how]
            try:
                if proof.kind == "parts":
                    own = Parts.of(question, rules, proof.cases, proof.record, proof.data)
                    leaves += own.check()
                else:
                    leaves += _boxes(question, rules, proof)
            except Refused as refusal:
                raise type(refusal)(f"proof {number}: {refusal}") from refusal
    trusted = {name for rules in known.values() for name in rules.trusted}
    return Checked(question.digest, question.semantics, leaves, tuple(sorted(trusted)))


def _boxes(question: Question, rules: Rules, proof: Proof) -> int:
    cases = Cases.of(question, rules, proof.cases)
    network = question.network
    tree = read_tree(proof.data, network.size(network.input), cases.named)
    if cases.root is None:
        return tree.leaves
    boxes = boxes_of(tree, cases.root, question.integers, rules.how)
    weights = np.zeros((len(boxes.closes), cases.named), np.float32)
    weights[boxes.closes] = tree.weights
    found = np.zeros(len(boxes.closes), bool)
    for own, part in boxes.together():
        found[own] = cases.judge(part, weights[own])
    refuted = found[boxes.closes]
    if not refuted.all():
        first, others = int(np.flatnonzero(~refuted)[0]), int((~refuted).sum()) - 1
        raise Refused(
            f"the bounds of leaf {first} of {tree.leaves} do not refute it, nor those of "
            f"{others} others"
        )
    return tree.leaves
