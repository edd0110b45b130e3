"""A backend that counts, and stores to try it with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from specdsl.backend import Capabilities, Deadline
from specdsl.evidence import confirm
from specdsl.query.query import Query
from specdsl.run.demand import BELIEVING
from specdsl.verdict import Answer, Certificate, Falsified, Unknown, Verdict, Verified, Witness
from tests.run.fakes import ALL

ASKED: list[str] = []
"""Names of the queries that reached `Counting`, emptied by the test."""


@dataclass
class Counting:
    """Decides queries over `x` alone by looking at their least margin at both ends."""

    says: str = "decides"
    timeout: float | None = None
    name: ClassVar[str] = "counting"
    capabilities: ClassVar[Capabilities] = ALL

    def answer(self, query: Query, deadline: Deadline) -> Answer:
        ASKED.append(query.name)
        return Answer(self._verdict(query), "counting/ends", 0.25, {"domains": np.float64(3)})  # type: ignore[dict-item]

    def _verdict(self, query: Query) -> Verdict:
        if self.says == "crashes":
            raise RuntimeError("a crash")
        if self.says == "timeout":
            return Unknown("timeout after 1 s", -0.5, "more time", timeout=True)
        for end in (0.0, 1.0):
            witness = confirm(query, np.array([end]))
            if isinstance(witness, Witness):
                return Falsified(witness)
        return Verified(Certificate("ends", 0.125, ("two points",), leaves=2))


@dataclass
class Keeps:
    """A folder, and what is asked of it."""

    folder: Path
    backend: Counting = field(default_factory=Counting)

    def ask(self, query: Query, timeout: float | None = 1.0, **options: Any) -> Any:
        """One answer of a keeper that is opened for it; `options` of the backend."""
        from specdsl.run.store.keeping import keeping

        with keeping(self.folder, BELIEVING) as keeper:
            backend = Counting(**options) if options else self.backend
            return keeper.ask(query, backend, timeout, since=0.0), keeper.problem
