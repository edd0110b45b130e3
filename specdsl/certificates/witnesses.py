"""Certificates of witnesses: the question and a point, which the checker has looked at."""

from __future__ import annotations

from fractions import Fraction

from specdsl.certificates.nodes import NotCertified
from specdsl.certificates.question import state
from specdsl.proof import Refused, check, read_certificate
from specdsl.query.query import Query
from specdsl.verdict import Witness


def witness_certificate(query: Query, witness: Witness) -> bytes:
    """A file that says that a query is answered, in real numbers. Raises NotCertified."""
    statement = state(query, "real")
    point = "\n".join(str(Fraction(x)) for x in witness.point.tolist()).encode("ascii")
    content = statement.answer(witness.case, point)
    try:
        check(read_certificate(content))
    except Refused as refusal:
        raise NotCertified(str(refusal)) from refusal
    return content
