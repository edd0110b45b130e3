"""Which obligations of a spec certificates are about: those that ask the same question."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from specdsl.backend import Unsupported
from specdsl.certificates.nodes import NotCertified
from specdsl.certificates.question import state
from specdsl.language.checking.combinations import Combination
from specdsl.query.elaboration.values.resources import Resources
from specdsl.run.obligations import obligations_of
from specdsl.verdict import Semantics

SEMANTICS: tuple[Semantics, ...] = ("real", "float32_any_order")


@dataclass(frozen=True, slots=True)
class Asked:
    """An obligation, by its id. `kind`: what a proof says of it, and what a witness."""

    id: str
    kind: Literal["forall", "exists"]

    def verdict(self, *, witness: bool) -> Literal["verified", "falsified"]:
        """What an accepted certificate of its question says."""
        return "verified" if witness == (self.kind == "exists") else "falsified"


@dataclass(frozen=True, slots=True)
class Questions:
    """`ids`: of all obligations, in the order of the file; `asked`: by digest of a question. What
    certificates cannot state is in the first alone.
    """

    ids: tuple[str, ...]
    asked: dict[str, list[Asked]]


def questions_of(combinations: Sequence[Combination], semantics: Iterable[str]) -> Questions:
    """What the obligations of a spec ask, under each of these semantics. Raises SpecError."""
    resources, wanted = Resources(), frozenset(semantics)
    ids: list[str] = []
    found: dict[str, list[Asked]] = {}
    for combination in combinations:
        for obligation in obligations_of(combination, resources):
            ids.append(obligation.id)
            try:
                query = obligation.query(resources)
                digests = [state(query, each).digest for each in SEMANTICS if each in wanted]
            except (NotCertified, Unsupported):
                continue
            for digest in digests:
                found.setdefault(digest, []).append(Asked(obligation.id, query.kind))
    return Questions(tuple(ids), found)
