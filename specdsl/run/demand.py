"""What a `verified` must come with. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from specdsl.diagnostics import SpecError, suggestion

if TYPE_CHECKING:
    from specdsl.verdict import Answer, Semantics

TRUSTED = ("incomplete", "search", "lp", "milp", "sdp", "smt", "z3", "all")
"""What may be believed without a certificate: methods, the solver that one of them asks, or all."""


@dataclass(frozen=True, slots=True)
class Demand:
    """A certificate that the independent checker accepts, about `semantics`; none of answers by the
    methods in `trust`. Raises SpecError E0852 where it names others than `TRUSTED`.
    """

    semantics: Semantics = "float32_any_order"
    trust: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for name in self.trust.difference(TRUSTED):
            help = suggestion(name, TRUSTED) or f"one of {', '.join(TRUSTED)}"
            raise SpecError.of("E0852", f"there is no method `{name}` to be trusted", help=help)

    @property
    def certifies(self) -> bool:
        """Whether there may be certificates at all."""
        return "all" not in self.trust

    def believes(self, answer: Answer) -> bool:
        """Whether an answer counts without a certificate."""
        return not self.certifies or not self.trust.isdisjoint(answer.method.split("/"))

    @property
    def text(self) -> str:
        """As part of what an answer is found again by."""
        if not self.certifies:
            # What methods prove.
            return "real"
        trusted = f", trust {' '.join(sorted(self.trust))}" if self.trust else ""
        return f"{self.semantics}, certified{trusted}"


BELIEVING = Demand(trust=frozenset({"all"}))
"""The word of methods, about real numbers."""
