"""The package as a library: load a file, check it, look at the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from specdsl.language.checking.combinations import Combination
from specdsl.language.spec import Spec
from specdsl.run.pipeline import (
    Observer,
    RunOptions,
    Silent,
    load_combinations,
    verify_combinations,
)
from specdsl.run.result import Report
from specdsl.run.selection import parse_selection


@dataclass(frozen=True, slots=True, eq=False)
class Specification:
    """A spec file that has been parsed and checked. Networks are read by `check`.

    `combinations`: one, or one for each combination of the values that `params` swept.
    """

    path: Path
    combinations: tuple[Combination, ...]

    @property
    def spec(self) -> Spec:
        """The checked specification; of a sweep the first."""
        return self.combinations[0].spec

    def check(
        self,
        using: str | None = None,
        timeout: float | None = None,
        *,
        seed: int | None = None,
        select: str | None = None,
        observer: Observer | None = None,
    ) -> Report:
        """Decide every `check` of the file.

        `using`: a backend instead of those the file names. `timeout`: seconds an obligation.
        `select`: as `-k` on the command line. What is wrong with networks or data comes back as
        `report.diagnostics`. Raises SpecError for a malformed selection or unknown backend.
        """
        options = RunOptions(
            using=using,
            timeout=timeout,
            seed=seed,
            selection=None if select is None else parse_selection(select),
        )
        return verify_combinations(self.path, self.combinations, options, observer or Silent())


def load(
    path: str | Path,
    params: Mapping[str, str | int | float | Fraction] | None = None,
    *,
    allow: Sequence[str | Path] = (),
) -> Specification:
    """Parse and check a spec file.

    `params` are as `-D` on the command line: text such as `"4/255"` is exact, and may be a sweep
    (`"1/255..8/255:1/255"`); a float stands for its exact binary value. `allow`: folders outside
    the spec's own that it may use. Raises SpecError with everything that is wrong.
    """
    overrides = {name: _text(value) for name, value in (params or {}).items()}
    folders = [Path(folder) for folder in allow]
    return Specification(Path(path), load_combinations(Path(path), overrides, folders))


def _text(value: str | int | float | Fraction) -> str:
    return value if isinstance(value, str) else str(Fraction(value))
