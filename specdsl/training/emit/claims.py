"""The properties that a training names, each as a function of a batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from specdsl.language.spec import Spec
from specdsl.training.claims.compile import Trained, compile_claim
from specdsl.training.claims.source import names_in, source
from specdsl.training.claims.template import (
    ClaimTemplate,
    ClassMargins,
    Every,
    Formula,
    SameClass,
    Some,
)
from specdsl.training.emit.names import free_name
from specdsl.training.emit.numbers import number
from specdsl.training.plan.plan import Argument, Call, ClaimUse, Fixed, Plan

Key = tuple[str, str, tuple[str, ...]]
"""A property, its constants, and the names of its numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class ClaimFunctions:
    """`templates` by the names of their functions; `names`: which function a use calls."""

    templates: Mapping[str, ClaimTemplate]
    names: Mapping[Key, str]

    def call(self, use: ClaimUse, batch: str, schedules: str = "s") -> str:
        """The property on a batch, of which it takes what it names: `robust(x, y, r=s.eps)`."""
        name = self.names[_key(use)]
        # Without any it takes the inputs, whose dtype and device its region has.
        count = max(1, self.templates[name].parts)
        taken = ", ".join(batch.split(", ")[:count])
        numbers = {n: v for n, v in use.arguments.items() if not isinstance(v, Fixed)}
        given = "".join(f", {n}={number(v, schedules)}" for n, v in numbers.items())
        return f"{name}({taken}{given})"

    def has_alternatives(self, use: ClaimUse) -> bool:
        """Whether the property holds where one of several parts does."""
        return _has_alternatives(self.templates[self.names[_key(use)]].formula)

    def sources(self, *, standalone: bool = False) -> list[str]:
        """The functions, for scripts that use the runtime or stand alone.

        Raises SpecError E0731 for properties that plain scripts have no bounds for.
        """
        return [source(t, standalone=standalone).rstrip() for t in self.templates.values()]

    def imports(self) -> set[str]:
        """What those use of the runtime."""
        return {name for text in self.sources() for name in names_in(text)}


def _has_alternatives(formula: Formula) -> bool:
    match formula:
        case Some() | SameClass() | ClassMargins(every=False):
            return True
        case Every(parts=parts):
            return any(_has_alternatives(part) for part in parts)
        case _:
            return False


def claim_functions(plan: Plan, spec: Spec) -> ClaimFunctions:
    """A function for each property with each choice of its constants.

    Raises SpecError E0730 for a property that cannot be trained for.
    """
    sample = spec.datasets[plan.data.dataset].element
    templates: dict[str, ClaimTemplate] = {}
    names: dict[Key, str] = {}
    for use in uses_in(plan):
        key = _key(use)
        if key in names:
            continue
        fixed = {n: v.value for n, v in use.arguments.items() if isinstance(v, Fixed)}
        given = tuple(n for n in use.arguments if n not in fixed)
        made = compile_claim(spec, use.name, given, Trained(plan.network, sample, fixed))
        own = free_name(made.name)
        name, count = own, 1
        while name in templates:
            count += 1
            name = f"{own}_{count}"
        templates[name] = replace(made, name=name)
        names[key] = name
    return ClaimFunctions(templates, names)


def uses_in(plan: Plan) -> Iterator[ClaimUse]:
    """Every property that the plan names, as often as it does."""
    calls = [t.call for s in plan.stages for t in (*s.terms, *s.regularizers)]
    calls += [c.measure for s in plan.stages for c in s.constraints]
    if plan.selection is not None:
        calls.append(plan.selection.measure)
    calls += [each.claim for each in plan.certifications]
    for call in calls:
        yield from _uses(call)


def _uses(value: Argument) -> Iterator[ClaimUse]:
    if isinstance(value, ClaimUse):
        yield value
    elif isinstance(value, Call):
        for argument in value.arguments.values():
            yield from _uses(argument)


def _key(use: ClaimUse) -> Key:
    fixed = {n: str(v.value) for n, v in use.arguments.items() if isinstance(v, Fixed)}
    return use.name, str(sorted(fixed.items())), tuple(n for n in use.arguments if n not in fixed)
