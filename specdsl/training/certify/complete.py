"""The last stage of a cascade: what no bound settles goes to a backend, one sample at a time.

A backend that splits proves what bounds alone do not, and finds the points that attacks miss. It is
the one that `specdsl check` asks, and its answers pass the same gate: a witness is tested exactly
and replayed on the network, a certificate must prove something.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType

from specdsl.backend import Backend, Deadline, Unsupported
from specdsl.backends.registry import create
from specdsl.diagnostics import SpecError
from specdsl.evidence import settle
from specdsl.training.certify.queries import QuerySource
from specdsl.training.runtime.claims.claim import Claim
from specdsl.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Complete:
    """A stage that asks a backend about each sample, for at most `timeout` seconds (None: forever).

    Made by `complete`; `options` are those of the backend.
    """

    backend: str
    timeout: float | None
    options: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))

    def decide(self, source: QuerySource, claim: Claim, name: str) -> Verdict:
        """Verified where the claim about one sample holds, Falsified where a witness breaks it.

        Raises SpecError E0855 where the backend does not take the query.
        """
        try:
            query = source.query(claim, name)
            answer = self._made().answer(query, Deadline.after(self.timeout))
        except Unsupported as error:
            text = f"`{error.method}` does not support {error.what}"
            raise SpecError.of("E0855", text, help=error.advice) from error
        return settle(query, answer).verdict

    def _made(self) -> Backend:
        return create(self.backend, self.options)


def complete(
    backend: str, *, timeout: float | None = None, **options: str | float | bool
) -> Complete:
    """A stage of a cascade: `complete("milp", timeout=60, bounds="alpha_crown")`.

    Options are called as in `using milp(...)`. Raises SpecError E0852 for a name that no backend
    has, E0853 for an option it does not take.
    """
    given = {n: v if isinstance(v, str | bool) else Fraction(v) for n, v in options.items()}
    stage = Complete(backend, timeout, MappingProxyType(given))
    create(backend, given)
    return stage
