"""One Z3 solver for all cases over one input set: the network is asserted once, atoms come and go.

All solvers live in Z3's main context, one after another: many contexts crash some versions.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import z3

from specdsl.backend import Deadline
from specdsl.backends.smt.formula import logic
from specdsl.backends.smt.terms import Formula
from specdsl.verdict import Unknown

# Z3 takes the timeout as a 32-bit number of milliseconds.
LONGEST_TIMEOUT = 2**32 - 2


class Z3Session:
    """`lasting`: what holds for every case; `whole`, `polynomial`: what kind of formulas are asked.

    Linear formulas over reals share one incremental solver. The others get a fresh one for each
    scope: what decides polynomials in Z3 (nlsat) starts anew for every question anyway, and with
    whole numbers the incremental solver overlooks its timeout, by 10 s where it had 2.
    """

    def __init__(self, lasting: Sequence[Formula], whole: bool, polynomial: bool) -> None:
        self._logic = logic(whole, polynomial)
        self._fresh = whole or polynomial
        self._lasting = list(lasting)
        self._solver: Any = self._start()

    def _start(self) -> Any:
        solver = z3.SolverFor(self._logic)
        solver.add(self._lasting)
        return solver

    @contextmanager
    def scope(self, formulas: Sequence[Formula]) -> Generator[None]:
        """With these formulas, and whatever is added inside, until the end of the block."""
        if self._fresh:
            self._solver = self._start()
        else:
            self._solver.push()
        try:
            self._solver.add(list(formulas))
            yield
        finally:
            if not self._fresh:
                self._solver.pop()

    def add(self, formulas: Sequence[Formula]) -> None:
        """Further formulas, to the end of the scope."""
        self._solver.add(list(formulas))

    def keep(self, formulas: Sequence[Formula]) -> None:
        """Outside of scopes: further formulas that hold for every case."""
        self._lasting += formulas
        self._solver.add(list(formulas))

    def check(self, deadline: Deadline) -> Any:
        """Z3's answer, `unknown` where the deadline interrupts it."""
        if deadline.end is not None:
            milliseconds = max(1, int(deadline.remaining * 1000))
            self._solver.set("timeout", min(milliseconds, LONGEST_TIMEOUT))
        return self._solver.check()

    def model(self) -> Any:
        """After `sat`."""
        return self._solver.model()

    def gave_up(self, deadline: Deadline) -> Unknown:
        """Why, after `unknown`."""
        reason = str(self._solver.reason_unknown())
        if deadline.passed or reason in ("timeout", "canceled"):
            return timeout(deadline)
        return Unknown(f"Z3 gave up: {reason}")


def timeout(deadline: Deadline) -> Unknown:
    """That the time is over."""
    spent = "timeout" if deadline.seconds is None else f"timeout after {deadline.seconds:g} s"
    advice = "use `search` or `milp`, which are faster but round"
    return Unknown(f"{spent}; Z3 has no answer yet", advice=advice, timeout=True)
