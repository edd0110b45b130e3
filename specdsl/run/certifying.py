"""A verdict `verified` gets a certificate that the independent checker accepts, or is none."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

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

UNLIMITED_SECONDS, UNLIMITED_SHARE = 60.0, 4.0
"""The same where solving has all the time there is."""

FEW_LEAVES = 256
"""That may come of halving the set where a method left no proof."""

ROOM = (4.0, 32.0, 256.0)
"""Multiples of what the checker's arithmetic may take off a margin, that a proof leaves for it."""

ADVICE = "`--trust METHOD` believes a method without"
REAL_ADVICE = f"`--semantics real` has certificates of some margins of 0; {ADVICE}"


def seconds_beyond(timeout: float) -> float:
    """How long after the end of its time a certificate may come."""
    return max(LEAST_SECONDS, SHARE * timeout)


def deadline_for(answer: Answer, solving: Deadline) -> Deadline:
    """When a certificate must be there, of an answer within another deadline."""
    if solving.end is None:
        return Deadline.after(max(UNLIMITED_SECONDS, UNLIMITED_SHARE * answer.seconds))
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
    from specdsl.certificates.nodes import NoMargin, NotCertified

    assert isinstance(answer.verdict, Verified)
    known = answer.verdict.certificate
    reason, advice = "there was no time for it", ADVICE
    try:
        for way in _ways(query, known, semantics, deadline):
            try:
                found = certify(query, way.proofs, semantics, deadline, way.more_leaves)
            except NoMargin as error:
                reason, advice = str(error), REAL_ADVICE if semantics != "real" else ADVICE
                break
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
            if way.proven_by:
                # Never silently another method: the answer says who proved it in the end.
                method = f"{method}, proven by {way.proven_by}"
            return replace(
                answer, method=method, verdict=Verified(replace(accepted, method=method))
            )
    except (NotCertified, Unsupported, OutOfTime) as error:
        reason = reason if str(error) in reason else f"{reason}; {error}"
    reason = f"{answer.method} verifies it, but there is no certificate: {reason}"
    return replace(answer, verdict=Unknown(reason, known.margin, advice))


class _Way(NamedTuple):
    """Proofs that may become a certificate. `proven_by`: where it is not the method, who else."""

    proofs: Sequence[CaseProof]
    more_leaves: int
    proven_by: str = ""


def _ways(
    query: Query, known: Certificate, semantics: Semantics, deadline: Deadline
) -> Iterator[_Way]:
    """What a method knows; what linear programs find; and what searches find that leave more room
    for rounding, or go only where certificates do. Raises NotCertified.
    """
    from specdsl.backends.search import Search
    from specdsl.certificates.certify import MORE_LEAVES, rounding_of
    from specdsl.certificates.programs import ProgramProof
    from specdsl.query.groups import group_cases

    yield _Way(known.proofs, MORE_LEAVES if known.proofs else FEW_LEAVES)
    members = [group.members for group in group_cases(query)]
    yield _Way([ProgramProof(own) for own in members], 0, "linear programs")
    rounding = rounding_of(query, semantics)
    # In real numbers there is only what the checker itself rounds.
    for room in ROOM[:1] if semantics == "real" else ROOM:
        search = Search(programs=False, above=room * rounding)
        verdict = search.answer(query, deadline).verdict
        if isinstance(verdict, Verified):
            yield _Way(verdict.certificate.proofs, MORE_LEAVES, "search")
