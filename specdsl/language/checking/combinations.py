"""A file under every combination of the values that `-D` sweeps over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import product
from pathlib import Path

from specdsl.diagnostics import Diagnostics, SpecError
from specdsl.language import syntax
from specdsl.language.checking.check import NO_OVERRIDES, check_expanded
from specdsl.language.modules.expand import expand
from specdsl.language.spec import DatasetDeclaration, Spec, Value


@dataclass(frozen=True, slots=True, eq=False)
class Combination:
    """One value for each parameter that is swept (`values`, none without a sweep), and the spec
    that these give.
    """

    spec: Spec
    values: Mapping[str, Value] = field(default_factory=dict[str, Value])

    @property
    def suffix(self) -> str:
        """What names of obligations end in: `{eps=2/255,p=l2}`; empty without a sweep."""
        return suffix_of(self.values)


def suffix_of(values: Mapping[str, Value]) -> str:
    """`{eps=2/255,p=l2}` for the values of swept parameters; empty where there are none."""
    pairs = ",".join(f"{name}={plain_text(value)}" for name, value in values.items())
    return f"{{{pairs}}}" if pairs else ""


def plain_text(value: Value) -> str:
    """A parameter's value as people write it: `2/255`, `true`, `l2`."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def check_combinations(
    program: syntax.Program,
    overrides: Mapping[str, str] = NO_OVERRIDES,
    *,
    base: Path,
    working_directory: Path,
    allow: tuple[Path, ...] = (),
) -> tuple[Combination, ...]:
    """`check` for each combination of swept values, the first parameter of `overrides` slowest.

    Raises one SpecError with the findings of all.
    """
    expanded = expand(program, base=base, allow=allow)
    first = check_expanded(expanded, overrides, working_directory=working_directory, allow=allow)
    if not first.sweeps:
        return (Combination(first.spec),)
    found: list[Combination] = []
    problems = Diagnostics()
    for texts in product(*first.sweeps.values()):
        single = {**overrides, **dict(zip(first.sweeps, texts, strict=True))}
        try:
            spec = check_expanded(
                expanded, single, working_directory=working_directory, allow=allow
            ).spec
        except SpecError as error:
            _add(error, dict(zip(first.sweeps, texts, strict=True)), problems)
        else:
            values = {name: spec.parameters[name] for name in first.sweeps}
            found.append(Combination(_sharing(spec, first.spec), values))
    problems.raise_errors()
    return tuple(found)


def _add(error: SpecError, texts: Mapping[str, str], problems: Diagnostics) -> None:
    """Findings that only some values give: the first of each code and place, with the values."""
    values = ", ".join(f"{name}={text}" for name, text in texts.items())
    known = {(found.code, found.primary and found.primary.span) for found in problems.found}
    for found in error.diagnostics:
        if (found.code, found.primary and found.primary.span) not in known:
            problems.add(replace(found, message=f"{found.message} (with {values})"))


def _sharing(spec: Spec, first: Spec) -> Spec:
    """With the very declarations of `first` for datasets that are the same: each is read once."""
    datasets = {
        name: first.datasets[name] if _same(mine, first.datasets[name]) else mine
        for name, mine in spec.datasets.items()
    }
    return replace(spec, datasets=datasets)


def _same(a: DatasetDeclaration, b: DatasetDeclaration) -> bool:
    """Whether two declarations from one place read the same; tensors count as different."""
    plain = all(
        isinstance(value, Fraction | bool | str)
        for each in (a, b)
        for value in (*each.arguments.values(), *each.settings.values())
    )
    return (
        plain
        and (a.name, a.element, a.reader, a.paths) == (b.name, b.element, b.reader, b.paths)
        and dict(a.arguments) == dict(b.arguments)
        and dict(a.settings) == dict(b.settings)
    )
