"""The package as a library: load a file, check it, look at the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from specdsl.diagnostics import SpecError, suggestion
from specdsl.language.checking.combinations import Combination
from specdsl.language.spec import Spec
from specdsl.run.demand import Demand
from specdsl.run.execution import Execution
from specdsl.run.pipeline import (
    Observer,
    RunOptions,
    Silent,
    load_combinations,
    verify_combinations,
)
from specdsl.run.result import Report
from specdsl.run.selection import parse_selection
from specdsl.verdict import Semantics
from specdsl.writing import make_folder


@dataclass(frozen=True, slots=True, eq=False)
class Specification:
    """A spec file that has been parsed and checked. Networks are read by `check`.

    `combinations`: one, or one for each combination of the values that `params` swept. `networks`:
    those handed over, by the names they are declared under.
    """

    path: Path
    combinations: tuple[Combination, ...]
    networks: Mapping[str, object] = field(default_factory=dict[str, object])

    @property
    def spec(self) -> Spec:
        """The checked specification; of a sweep the first."""
        return self.combinations[0].spec

    def check(  # noqa: PLR0913 - one for each option
        self,
        using: str | None = None,
        timeout: float | None = None,
        *,
        seed: int | None = None,
        select: str | None = None,
        observer: Observer | None = None,
        semantics: Semantics = "float32_any_order",
        trust: Iterable[str] = (),
        certificates: str | Path | None = None,
    ) -> Report:
        """Decide every `check` of the file.

        `using`: a backend instead of those the file names. `timeout`: seconds an obligation.
        `select`: as `-k` on the command line. Nothing is verified without a certificate about
        `semantics`, but for methods in `trust`, which are believed; `certificates`: in which folder
        the files go. What is wrong with networks or data comes back as `report.diagnostics`. Raises
        SpecError for a malformed selection, unknown backend, or folder that cannot be made.
        """
        if certificates is not None:
            make_folder(Path(certificates))
        folder = None if certificates is None else Path(certificates)
        asked = Demand(semantics, frozenset(trust))
        options = RunOptions(
            using=using,
            timeout=timeout,
            seed=seed,
            selection=None if select is None else parse_selection(select),
            execution=Execution(demand=asked, certificates=folder),
        )
        observer = observer or Silent()
        return verify_combinations(self.path, self.combinations, options, observer, self.networks)


def load(
    path: str | Path,
    params: Mapping[str, str | int | float | Fraction] | None = None,
    *,
    allow: Sequence[str | Path] = (),
    networks: Mapping[str, object] | None = None,
) -> Specification:
    """Parse and check a spec file.

    `params` are as `-D` on the command line: text such as `"4/255"` is exact, and may be a sweep
    (`"1/255..8/255:1/255"`); a float stands for its exact binary value. `allow`: folders outside
    the spec's own that it may use. `networks`: modules of PyTorch by the names of networks that the
    spec declares, `network net: real[4] -> real[2] = given`; a module also goes before the file of
    a network that has one. Modules are read by `check`. Raises SpecError with everything that is
    wrong.
    """
    overrides = {name: _text(value) for name, value in (params or {}).items()}
    folders = [Path(folder) for folder in allow]
    combinations = load_combinations(Path(path), overrides, folders)
    given = dict(networks or {})
    for name in given:
        _check_declared(name, combinations[0].spec)
    return Specification(Path(path), combinations, given)


def _check_declared(name: str, spec: Spec) -> None:
    """Raise SpecError E0652 where no network of that name takes one that is handed over."""
    declaration = spec.networks.get(name)
    if declaration is None:
        known = ", ".join(f"`{n}`" for n in spec.networks) or "none"
        help = suggestion(name, spec.networks) or f"its networks: {known}"
        raise SpecError.of("E0652", f"the spec declares no network `{name}`", help=help)
    if declaration.value is not None:
        text = f"`{name}` is made of other networks"
        raise SpecError.of("E0652", text, declaration.span, help="hand over those instead")


def _text(value: str | int | float | Fraction) -> str:
    return value if isinstance(value, str) else str(Fraction(value))
