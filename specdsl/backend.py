"""What a backend is: something that answers a `Query` and says beforehand what it can answer."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from specdsl.query.query import Query
from specdsl.source import Span
from specdsl.verdict import Answer


def threads() -> int:
    """How many threads a backend may use: OMP_NUM_THREADS, which `--jobs` sets for every worker,
    or else the processors that this process may run on.
    """
    said = os.environ.get("OMP_NUM_THREADS", "")
    if said.isdecimal() and int(said) > 0:
        return int(said)
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Unsupported(Exception):
    """A method has no rule for something in the query. Raised before any solving.

    `method`: who; `what`: the op, set or construct, in the user's terms; `advice`: what to use.
    `place`: where in the spec; `chains`: other places that explain it, with words.
    """

    def __init__(
        self,
        method: str,
        what: str,
        advice: str | None = None,
        place: Span | None = None,
        chains: tuple[tuple[Span, str], ...] = (),
    ) -> None:
        self.method = method
        self.what = what
        self.advice = advice
        self.place = place
        self.chains = chains
        super().__init__(f"{method} does not support {what}")


def require_plain(method: str, query: Query) -> None:
    """Raise Unsupported for a question about a smoothed classifier, whose graph is that of the
    network itself.
    """
    if query.smoothing is not None:
        advice = "use `sampling`: what is known of them is known from samples"
        raise Unsupported(method, "smoothed classifiers", advice)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend can answer. `verifies`/`falsifies`: which verdicts it can reach.

    `complete`: given time it decides every query it accepts. `norms`: balls it takes beside boxes.
    `nonlinear`: whether it takes products of varying terms. `smoothed`: whether it takes smoothed
    classifiers.
    """

    verifies: bool
    falsifies: bool
    complete: bool
    norms: frozenset[str] = frozenset()
    nonlinear: bool = False
    smoothed: bool = False

    def require(self, method: str, query: Query) -> None:
        """Raise Unsupported where the query is outside the capabilities."""
        if not self.smoothed:
            require_plain(method, query)
        for case in query.cases:
            for ball in case.inputs.balls:
                if ball.norm not in self.norms:
                    advice = "use `incomplete`, `attack` or `portfolio`"
                    raise Unsupported(method, f"{ball.norm} balls", advice)
        if query.nonlinear and not self.nonlinear:
            first = query.nonlinear[0]
            raise Unsupported(
                method,
                f"products of varying terms such as `{first.text}`",
                "use `search`, `smt` or `portfolio`",
                first.span,
                first.chains,
            )


class OutOfTime(Exception):
    """A deadline has passed in the middle of a computation that gives nothing before its end."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in time; None never comes."""

    end: float | None
    seconds: float | None

    @classmethod
    def after(cls, seconds: float | None) -> Deadline:
        """The deadline `seconds` from now."""
        return cls(None if seconds is None else time.monotonic() + seconds, seconds)

    @property
    def remaining(self) -> float:
        """Seconds left, at least 0; infinity without an end."""
        return float("inf") if self.end is None else max(0.0, self.end - time.monotonic())

    @property
    def expiry(self) -> str:
        """How a reason says that the time was not enough: `timeout after 30 s`."""
        return "timeout" if self.seconds is None else f"timeout after {self.seconds:.3g} s"

    @property
    def passed(self) -> bool:
        """Whether the time is over."""
        return self.remaining <= 0

    def check(self) -> None:
        """Raise OutOfTime where the time is over."""
        if self.passed:
            raise OutOfTime(self.expiry)


FOREVER = Deadline(None, None)
"""A deadline that never comes."""


class Backend(Protocol):
    """Options are the fields of the implementing dataclass; `answer` never guesses.

    `name` is the word used in `using`.
    """

    name: ClassVar[str]
    capabilities: ClassVar[Capabilities]

    def answer(self, query: Query, deadline: Deadline) -> Answer:
        """Decide the query before the deadline, or say Unknown.

        Raises Unsupported before solving where a rule is missing.
        """
        ...


def require_one_of(words: Sequence[str], what: str, said: str) -> None:
    """Raise ValueError for an option's value that is none of `words`: `the bounds are ...`."""
    if said not in words:
        *others, last = words
        raise ValueError(f"the {what} {', '.join(others)} or {last}, not {said}")
