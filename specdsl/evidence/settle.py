"""The last gate before an answer is reported: evidence is checked again, by other means than the
ones that found it. What contradicts itself becomes Unknown.
"""

from __future__ import annotations

from dataclasses import replace
from math import isnan

from specdsl.evidence.placement import Placement
from specdsl.evidence.replay import Replayer
from specdsl.query.query import Query
from specdsl.verdict import Answer, Certificate, Falsified, Unknown, Verified, Witness


def settle(query: Query, answer: Answer) -> Answer:
    """The answer as it is where its evidence holds, else Unknown with the reason.

    Verdicts here are about the query itself: Falsified says that a case has a point. A witness is
    tested for membership, exact margins and replay; a certificate for a margin that could not
    prove anything. A bound that is no number is none.
    """
    match answer.verdict:
        case Falsified() | Verified() if query.smoothing is not None:
            objection = "no evidence decides a question about a smoothed classifier"
        case Falsified(witness):
            found = witness_again(query, witness)
            objection = found if isinstance(found, str) else None
        case Verified(certificate):
            objection = _certificate_objection(query, certificate)
        case Unknown(bound=bound) as verdict if bound is not None and isnan(bound):
            return replace(answer, verdict=replace(verdict, bound=None))
        case Unknown():
            objection = None
    if objection is None:
        return answer
    return replace(answer, verdict=Unknown(f"{answer.method}: {objection}"))


def witness_again(query: Query, witness: Witness) -> Witness | str:
    """The witness as it is found at its point now, or what is wrong with it."""
    if not 0 <= witness.case < len(query.cases):
        return f"its witness names case {witness.case} of {len(query.cases)}"
    if witness.point.shape != (query.graph.size(query.graph.input),):
        return "its witness has the wrong number of entries"
    if witness.point not in query.cases[witness.case].inputs:
        return "its witness lies outside the input set"
    whole = witness.point[query.integers].tolist()
    if any(value.denominator != 1 for value in whole):
        return "its witness has a fraction where a whole number must be"
    found = Replayer(query).judge(Placement(witness.point), witness.case)
    if found is None:
        return "its witness does not violate the property"
    if not isinstance(found, Witness):
        return found.reason
    if found.exact_margin != witness.exact_margin:
        return "its witness has another exact margin than it says"
    # How the point came into the set is noted in front, and cannot be found anew.
    before = witness.notes[: max(0, len(witness.notes) - len(found.notes))]
    return replace(found, notes=before + found.notes)


def _certificate_objection(query: Query, certificate: Certificate) -> str | None:
    margin = certificate.margin
    if margin is None:
        return None
    if isnan(margin):
        return "its certificate has no number as margin"
    strict = any(a.strict for c in query.cases for a in c.atoms)
    if margin < 0 or (margin == 0 and not strict):
        return f"its certificate's margin {margin:.3g} proves nothing"
    return None
