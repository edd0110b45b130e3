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
    certificate, what `settle` can see; its `row.certificate` belongs to the independent checker.
    """
    match answer.verdict:
        case Falsified(witness):
            found = witness_again(query, witness)
            return None if isinstance(found, str) else replace(answer, verdict=Falsified(found))
        case Verified():
            settled = settle(query, answer)
            return settled if isinstance(settled.verdict, Verified) else None
        case Unknown():
            return answer
