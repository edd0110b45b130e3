"""Verdicts and what they rest on. No `Verified` without a certificate, no `Falsified` without a
witness; everything else is `Unknown` with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import numpy as np
import numpy.typing as npt

Semantics = Literal["real", "float32_any_order"]
"""What a verdict is about: the network in real numbers, or as float32 computes it in any order."""

SEMANTICS: Semantics = "real"
"""What methods prove: something about the network in real arithmetic."""


@dataclass(frozen=True, slots=True, eq=False)
class CaseProof:
    """What a method knows of why some cases, by their positions, have no point."""

    cases: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Certificate:
    """Why no case of the query has a point.

    `margin`: the proven lower bound that decided it (the smallest over cases of the best margin),
    None where the method gives none (SMT; search, where all it knows of some parts is "positive").
    `trusted`: what is believed rather than checked, for example `float64 rounding` or `z3`.
    `leaves`: number of pieces the input set was split into. `proofs`: of some of its cases, from
    which a file for the independent checker is written. `details`: what else there is to say.
    `semantics`: what the verdict is about. `accepted`: whether the checker has accepted such a
    file, else the method is believed; `content`: the file, where it is at hand.
    """

    method: str
    margin: float | None
    trusted: tuple[str, ...]
    leaves: int = 1
    above_rounding: bool = False
    proofs: tuple[CaseProof, ...] = ()
    details: Mapping[str, object] = field(default_factory=dict)
    semantics: Semantics = SEMANTICS
    accepted: bool = False
    content: bytes | None = None


@dataclass(frozen=True, slots=True, eq=False)
class CallReplay:
    """What one network saw and said. Flat float32 arrays. `text`: `net(a)`, where it has a name."""

    network: str
    inputs: npt.NDArray[np.float32]
    outputs: npt.NDArray[np.float32]
    labels: tuple[str, ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Witness:
    """A point of one case, exactly inside the set as written, replayed on the original network.

    `point`: flat, exact, in the user's coordinates. `exact_margin`, `replayed_margin`: the largest
    atom margin (<= 0: all atoms hold) over the exact graph in rationals, and with the network's own
    float32 outputs. `notes` says what a reader must know (for example that a coordinate has no
    float32 inside its interval and was replayed at the nearest one). `error`: how far the margins
    may be off; 0 where they are rational, else what float64 leaves open of elementary functions.
    """

    point: npt.NDArray[np.object_]
    case: int
    exact_margin: Fraction
    replayed_margin: Fraction
    calls: tuple[CallReplay, ...]
    replayed_with: str
    notes: tuple[str, ...] = ()
    error: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Verified:
    """No case has a point."""

    certificate: Certificate


@dataclass(frozen=True, slots=True, eq=False)
class Falsified:
    """A case has this point."""

    witness: Witness


@dataclass(frozen=True, slots=True, eq=False)
class OpenCases:
    """Where a method settled some cases of a query and not all.

    `cases`: positions of the others, which may have a point. `closed_bound`: the least proven lower
    bound on the deciding margin of those settled, infinite where there are none.
    """

    cases: tuple[int, ...]
    closed_bound: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """What samples say of a claim that they cannot prove.

    `confidence`: whoever draws anew comes to say such a thing of a claim that is not so with a
    probability of at most `1 - confidence`. `share`: the claim may fail at up to this share of the
    points drawn, which is then all that is said of it; None where it is the claim itself that
    holds with this confidence.
    """

    confidence: Fraction
    share: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Unknown:
    """Not decided. `reason` is one sentence part ("timeout after 30 s; 412 domains open");
    `bound` the best proven lower bound on the deciding margin; `advice` what to try. `left`: which
    cases may have a point, None where all may. `crashed`: the solver broke down, which says nothing
    about the question: asked again it may be decided. `estimate`: what samples say of it; of a
    smoothed classifier `bound` is then the radius they give, less the one that was asked for.
    """

    reason: str
    bound: float | None = None
    advice: str | None = None
    timeout: bool = False
    left: OpenCases | None = None
    crashed: bool = False
    estimate: Estimate | None = None


Verdict = Verified | Falsified | Unknown


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """A verdict and how it came about. `method` like `search/input`; statistics for the report."""

    verdict: Verdict
    method: str
    seconds: float
    statistics: Mapping[str, float] = field(default_factory=dict)
