"""Kept evidence, looked at again before it is believed."""

from __future__ import annotations

from dataclasses import replace

from specdsl.evidence import settle, witness_again
from specdsl.query.query import Query
from specdsl.run.store.row import Row
from specdsl.verdict import Answer, Falsified, Unknown, Verified


def recheck(query: Query, answer: Answer, row: Row) -> Answer | None:
    """The kept answer, its evidence found anew; None where that does not hold any more.

    A witness is judged again in exact rationals and by the original network as it is now. Of a
    proof, what `settle` can see: its certificate is as it was written, or the row would be damaged,
    and has been accepted by the same code for the same question, or the key would be another.
    """
    match answer.verdict:
        case Falsified(witness):
            found = witness_again(query, witness)
            return None if isinstance(found, str) else replace(answer, verdict=Falsified(found))
        case Verified(certificate) if certificate.accepted and row.certificate is None:
            return None
        case Verified(certificate):
            kept = Verified(replace(certificate, content=row.certificate))
            settled = settle(query, replace(answer, verdict=kept))
            return settled if isinstance(settled.verdict, Verified) else None
        case Unknown():
            return answer


def certificate_of(answer: Answer) -> bytes | None:
    """What the independent checker has accepted, where there is such a thing."""
    verdict = answer.verdict
    return verdict.certificate.content if isinstance(verdict, Verified) else None


def certificate_again(query: Query, answer: Answer) -> str | None:
    """Why a certificate does not prove what it is kept for; None where it does, or is none."""
    from specdsl.certificates.question import state
    from specdsl.proof import Refused, check, read_certificate

    verdict = answer.verdict
    if not isinstance(verdict, Verified) or verdict.certificate.content is None:
        return None
    asked = state(query, verdict.certificate.semantics)
    try:
        found = check(read_certificate(verdict.certificate.content))
    except Refused as refusal:
        return str(refusal)
    return None if found.question == asked.digest else "it answers another question"
