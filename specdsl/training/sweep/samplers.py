"""Which trial comes next: from a list made beforehand, or by what came of those before it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from specdsl.training.sweep.journal import Trial
from specdsl.training.sweep.space import Values


class Sampler(Protocol):
    """Where trials come from."""

    def ask(self) -> Values | None:
        """The next trial, None where there is none left."""
        ...

    def tell(self, values: Values, trial: Trial) -> None:
        """What came of a trial that was asked for."""
        ...


class Listed:
    """Trials from a list, whatever comes of them."""

    def __init__(self, points: Iterable[Values]) -> None:
        self._points: Iterator[Values] = iter(points)

    def ask(self) -> Values | None:
        """The next of the list."""
        return next(self._points, None)

    def tell(self, values: Values, trial: Trial) -> None:
        """Nothing: the list stands."""
