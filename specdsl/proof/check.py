"""Whether a certificate proves what it says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from specdsl.proof.arithmetic import FLOAT, Arithmetic
from specdsl.proof.boxes import leaf_boxes, read_tree
from specdsl.proof.cases import Cases
from specdsl.proof.certificate import Certificate, Proof
from specdsl.proof.parts import Parts
from specdsl.proof.passes import Rules
from specdsl.proof.question import Question
from specdsl.proof.refusal import Refused


@dataclass(frozen=True, slots=True)
class Checked:
    """What an accepted certificate proves. `trusted`: what is believed without proof."""

    question: str
    semantics: str
    leaves: int
    trusted: tuple[str, ...]


def check(certificate: Certificate, how: Arithmetic = FLOAT) -> Checked:
    """Raises Refused with the first leaf that its bounds do not refute."""
    question, leaves = certificate.question, 0
    rules = Rules.of(question.network, how, single=question.semantics != "real")
    with np.errstate(all="ignore"):
        for number, proof in enumerate(certificate.proofs):
            try:
                if proof.kind == "parts":
                    own = Parts.of(question, rules, proof.cases, proof.record, proof.data)
                    leaves += own.check()
                else:
                    leaves += _boxes(question, rules, proof)
            except Refused as refusal:
                raise type(refusal)(f"proof {number}: {refusal}") from refusal
    return Checked(question.digest, question.semantics, leaves, rules.trusted)


def _boxes(question: Question, rules: Rules, proof: Proof) -> int:
    cases = Cases.of(question, rules, proof.cases)
    tree = read_tree(proof.data, question.network.size(question.network.input))
    if cases.root is not None:
        boxes = leaf_boxes(tree, cases.root, question.integers, rules.how)
        refuted = cases.judge(boxes).refuted
        if not refuted.all():
            first, others = int(np.flatnonzero(~refuted)[0]), int((~refuted).sum()) - 1
            raise Refused(
                f"the bounds of leaf {first} of {tree.leaves} do not refute it, nor those of "
                f"{others} others"
            )
    return tree.leaves
