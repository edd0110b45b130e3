"""Whether a certificate proves what it says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from specdsl.proof.arithmetic import FLOAT, Arithmetic
from specdsl.proof.boxes import Cases, leaf_boxes
from specdsl.proof.certificate import Certificate
from specdsl.proof.passes import Rules
from specdsl.proof.question import Semantics
from specdsl.proof.refusal import Refused


@dataclass(frozen=True, slots=True)
class Checked:
    """What an accepted certificate proves. `trusted`: what is believed without proof."""

    question: str
    semantics: Semantics
    leaves: int
    trusted: tuple[str, ...]


def check(certificate: Certificate, how: Arithmetic = FLOAT) -> Checked:
    """Raises Refused with the first leaf that its bounds do not refute."""
    question = certificate.question
    single = question.semantics == "float32_any_order"
    rules = Rules.of(question.network, how, single=single)
    leaves = 0
    with np.errstate(all="ignore"):
        for number, proof in enumerate(certificate.proofs):
            cases = Cases.of(question, rules, proof.cases)
            leaves += proof.tree.leaves
            if cases.root is None:
                continue
            boxes = leaf_boxes(proof.tree, cases.root, question.integers, how)
            refuted = cases.judge(boxes).refuted
            if not refuted.all():
                first = int(np.flatnonzero(~refuted)[0])
                raise Refused(
                    f"proof {number}: the bounds of leaf {first} of {proof.tree.leaves} do not "
                    f"refute it, nor those of {int((~refuted).sum()) - 1} others"
                )
    return Checked(question.digest, question.semantics, leaves, rules.trusted)
