"""A verdict `verified` gets a certificate that the independent checker accepts, or is none."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from specdsl.backend import Deadline, OutOfTime, Unsupported
from specdsl.query.query import Query
from specdsl.run.answering import crash
from specdsl.verdict import Answer, CaseProof, Certificate, Unknown, Verified

if TYPE_CHECKING:
    from specdsl.verdict import Semantics

_LOG = logging.getLogger(__name__)

LEAST_SECONDS = 5.0
"""For a certificate, however little of the time a method has left."""

SHARE = 0.5
"""Of what solving took, that a certificate may take however little is left."""

ROOM = (4.0, 32.0, 256.0)
"""Multiples of what the checker's arithmetic may take off a margin, that a proof leaves for it."""

ADVICE = "`--trust METHOD` believes a method without"


def seconds_beyond(timeout: float) -> float:
    """How long after the end of its time a certificate may come."""
    return max(LEAST_SECONDS, SHARE * timeout)


def deadline_for(answer: Answer, solving: Deadline) -> Deadline:
    """When a certificate must be there, of an answer within another deadline."""
    return Deadline.after(max(LEAST_SECONDS, SHARE * answer.seconds, solving.remaining))


def certified(query: Query, answer: Answer, semantics: Semantics, deadline: Deadline) -> Answer:
    """A verified answer with the certificate that the checker accepted, or Unknown with the reason
    why there is none; every other answer as it is. `deadline`: of the certificate.
    """
    if not isinstance(answer.verdict, Verified):
        return answer
    known = answer.verdict.certificate
    try:
        return _certified(query, answer, semantics, deadline)
    # As where a solver is asked: what breaks costs its own obligation only.
    except Exception as error:  # noqa: BLE001
        _LOG.debug("no certificate for %s", query.name, exc_info=True)
        verdict = replace(crash("the checker of certificates", error), bound=known.margin)
        return replace(answer, verdict=verdict)


def _certified(query: Query, answer: Answer, semantics: Semantics, deadline: Deadline) -> Answer:
    from specdsl.certificates.certify import certify
    from specdsl.certificates.nodes import NotCertified

    assert isinstance(answer.verdict, Verified)
    known = answer.verdict.certificate
    reason = "there was no time for it"
    try:
        for proofs in _proofs(query, known, semantics, deadline):
            try:
                found = certify(query, proofs, semantics, deadline)
            except NotCertified as error:
                reason = str(error)
                continue
            accepted = replace(
                known,
                trusted=found.trusted,
                leaves=found.leaves,
                semantics=semantics,
                accepted=True,
                content=found.content,
            )
            method = answer.method
            if proofs is not known.proofs:
                # Never silently another method: the answer says who proved it in the end.
                method = f"{method}, proven by search"
            return replace(
                answer, method=method, verdict=Verified(replace(accepted, method=method))
            )
    except (NotCertified, Unsupported, OutOfTime) as error:
        reason = f"{reason}; {error}"
    reason = f"{answer.method} verifies it, but there is no certificate: {reason}"
    return replace(answer, verdict=Unknown(reason, known.margin, ADVICE))


def _proofs(
    query: Query, known: Certificate, semantics: Semantics, deadline: Deadline
) -> Iterator[Sequence[CaseProof]]:
    """What a method knows, and then what searches find that leave more room for rounding, or go
    only where certificates do. Raises NotCertified.
    """
    yield known.proofs
    from specdsl.backends.search import Search
    from specdsl.certificates.certify import rounding_of

    rounding = rounding_of(query, semantics)
    # In real numbers there is only what the checker itself rounds.
    for room in ROOM[:1] if semantics == "real" else ROOM:
        search = Search(programs=False, above=room * rounding)
        verdict = search.answer(query, deadline).verdict
        if isinstance(verdict, Verified):
            yield verdict.certificate.proofs
