"""What results are made of: proofs, witnesses in the user's terms, and judged expectations."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from specdsl.verdict import SEMANTICS, CallReplay, Certificate, Semantics


class Proven:
    """What a result with a `certificate`, or without one, is about."""

    __slots__ = ()
    certificate: Certificate | None

    @property
    def semantics(self) -> Semantics:
        """The network in real numbers, or as float32 computes it."""
        return self.certificate.semantics if self.certificate else SEMANTICS

    @property
    def trusted(self) -> tuple[str, ...]:
        """What is believed without checking."""
        return self.certificate.trusted if self.certificate else ()


@dataclass(frozen=True, slots=True, eq=False)
class ShownVariable:
    """One quantified variable (or field of a space) of a witness, in the user's unit.

    `values` are exact, flat in row-major order.
    """

    name: str
    shape: tuple[int, ...]
    unit: str | None
    values: tuple[Fraction, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ShownWitness:
    """A witness in the user's terms.

    Margins are the largest over the atoms of the case (<= 0: all hold): `exact_margin` over the
    exact graph, `replayed_margin` with the network's own float32 outputs. `error`: how far both may
    be off, because of elementary functions.
    """

    variables: tuple[ShownVariable, ...]
    calls: tuple[CallReplay, ...]
    exact_margin: Fraction
    replayed_margin: Fraction
    replayed_with: str
    notes: tuple[str, ...] = ()
    error: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class ExpectOutcome:
    """One `expect`: its text and whether it is met; None where it could not be evaluated."""

    text: str
    met: bool | None
    reason: str | None = None
