"""`compile_claim`: a property of a spec as a claim about a batch of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from specdsl.diagnostics import SpecError
from specdsl.language import syntax
from specdsl.language.modules.wording import full_text
from specdsl.language.spec import Space, Spec, Value
from specdsl.language.types import EnumType, LabelType, RecordType, Type
from specdsl.query.elaboration.questions.goal import Goal
from specdsl.query.elaboration.values.environment import Environment, Fixed, Local
from specdsl.query.elaboration.values.meaning import value_meaning
from specdsl.query.elaboration.values.networks import shape_of
from specdsl.source import Span
from specdsl.training.claims.clauses import Clauses
from specdsl.training.claims.domain import Domain, shared_places
from specdsl.training.claims.formulas import Claims
from specdsl.training.claims.points import Points, python_name
from specdsl.training.claims.scene import ClaimScene, untrainable
from specdsl.training.claims.template import ClaimTemplate, Every, Parameter, Some


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What is trained: the name of the network, and the types of the parts of a sample."""

    network: str
    sample: tuple[Type, ...]
    constants: Mapping[str, Value] = field(default_factory=dict[str, Value])
    """Parameters of the property that have a value beforehand: `p = l2`."""


def compile_claim(spec: Spec, name: str, given: Sequence[str], trained: Trained) -> ClaimTemplate:
    """The property `name` as a claim.

    The parts of a sample fill, in order, the parameters that have no value; those in `given` are
    numbers that the function takes by name, schedules for example.
    Raises SpecError E0730 for what cannot be trained for, E0713 for a parameter without a value,
    and as elaboration does for values that do not fit.
    """
    definition = spec.properties[name]
    scene = ClaimScene()
    try:
        environment = _bind(definition, given, trained, spec, scene)
        clauses = Clauses(spec, scene)
        step = definition.clauses if definition.value is None else definition.value
        formula = clauses.read(Goal(step, environment, negated=False))
        places = shared_places(scene, clauses.ranged, clauses.conditions)
        points = Points(scene, trained.network, places)
        domain = Domain(points, len(set(places.values())))
        for ranged in clauses.ranged:
            domain.bounds_of(ranged)
        for condition in clauses.conditions:
            domain.restrict(condition.formula, condition.span)
        claimed = Claims(points, _claim_span(definition)).claimed(formula)
        variables = domain.variables(clauses.ranged)
        if not points.applications or claimed in (Every(()), Some(())):
            text = f"it says nothing about the outputs of `{trained.network}`"
            raise untrainable(text, _claim_span(definition))
    except SpecError as error:
        raise error.at(definition.span) from error
    # A condition on entries that are those of the sample holds, or the sample is no member.
    cuts = tuple(
        cut
        for cut in domain.limits.cuts
        if not all(domain.limits.pinned(position) for position, _ in cut.coefficients)
    )
    return ClaimTemplate(
        name=python_name(name),
        text=_text(definition),
        parameters=tuple(scene.parameters),
        variables=variables,
        cuts=cuts,
        applications=tuple(points.applications),
        formula=claimed,
        span=_claim_span(definition),
    )


def _bind(
    definition: syntax.Property,
    given: Sequence[str],
    trained: Trained,
    spec: Spec,
    scene: ClaimScene,
) -> Environment:
    """The names that the body sees: every parameter by what fills it."""
    names: dict[str, Local] = {}
    parts = list(enumerate(trained.sample))
    for parameter in definition.parameters or ():
        name = parameter.name
        if name in trained.constants:
            names[name] = Fixed(value_meaning(trained.constants[name]))
        elif name in given:
            names[name] = scene.declare(Parameter(python_name(name), "number"), None)
        elif parts:
            number, kind = parts.pop(0)
            declared = _part(python_name(name), number, kind, spec)
            names[name] = scene.declare(declared, _space(kind, spec))
        else:
            text = f"the parameter `{name}` of `{definition.name}` has no value"
            raise SpecError.of("E0713", text, definition.span)
    return Environment(names)


def _part(name: str, number: int, kind: Type, spec: Spec) -> Parameter:
    if isinstance(kind, LabelType | EnumType):
        return Parameter(name, "label")
    return Parameter(name, "target" if number else "input", shape_of(kind, spec))


def _space(kind: Type, spec: Spec) -> Space | None:
    return spec.spaces.get(kind.name) if isinstance(kind, RecordType) else None


def _claim_span(definition: syntax.Property) -> Span:
    """Where the claim itself stands."""
    step: syntax.Node = definition if definition.value is None else definition.value
    for clause in definition.clauses:
        if isinstance(clause, syntax.ShowClause):
            step = clause.claim
    while isinstance(step, syntax.Quantifier):
        step = step.body
    return step.span


def _text(definition: syntax.Property) -> str:
    """The body on one line."""
    if definition.value is not None:
        return full_text(definition.value)
    return " ".join(" ".join(clause.span.text.split()) for clause in definition.clauses)
