"""Several networks that are trained together: what a script makes of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from specdsl.diagnostics import SpecError
from specdsl.graph.layers import Layout
from specdsl.language.compositions import Composition
from specdsl.language.spec import NetworkDeclaration, Spec
from specdsl.language.types import RecordType, Type
from specdsl.query.elaboration.values.networks import normalisation
from specdsl.training.emit.common import Joint
from specdsl.training.emit.data import identifier
from specdsl.training.emit.lines import statement
from specdsl.training.emit.model import model_source
from specdsl.training.emit.terms import calls_in
from specdsl.training.plan.plan import Plan


def is_joint(plan: Plan) -> bool:
    """Whether more than one declared network takes part, as a part of others or in losses."""
    alone = (plan.network,)
    return plan.parts != alone or any(found.steps != alone for found in _compositions(plan))


def _compositions(plan: Plan) -> Iterator[Composition]:
    for call in calls_in(plan.stages):
        for argument in call.arguments.values():
            if isinstance(argument, Composition):
                yield argument


def joint_of(plan: Plan, spec: Spec, layouts: Sequence[Layout | None]) -> Joint:
    """The networks that a plan trains together; `layouts` are those of its parts.

    Raises SpecError E0901 for networks in files, for outputs in a space with normalisation, and for
    networks that do not take what the one before gives as it is.
    """
    declared = {name: spec.networks[name] for name in plan.parts}
    known: dict[str, Layout] = {}
    for (name, declaration), layout in zip(declared.items(), layouts, strict=True):
        if layout is None:
            text = f"`{name}` is in a file: training it together with others is not supported yet"
            raise SpecError.of("E0901", text, declaration.span, help="write its layers out")
        if _is_normalised(declaration.output, spec):
            text = f"outputs in `{declaration.output}`, which has `normalize`, are not supported"
            help_ = "declare the output as `real[...]`"
            raise SpecError.of("E0901", f"{text} yet", declaration.span, help=help_)
        known[name] = layout
    normalised = frozenset(n for n, d in declared.items() if _is_normalised(d.input, spec))
    joint = Joint(known, declared, plan.chain, normalised)
    for first, second in zip(plan.chain, plan.chain[1:], strict=False):
        joint.require_behind(first, second)
    return joint


def _is_normalised(kind: Type, spec: Spec) -> bool:
    space = spec.spaces.get(kind.name) if isinstance(kind, RecordType) else None
    return space is not None and not normalisation(space).identity


def as_one(plan: Plan, spec: Spec) -> Spec:
    """The spec as properties see it: what is trained is one network, whatever it is made of."""
    if plan.chain == (plan.network,):
        return spec
    first, last = (spec.networks[plan.chain[i]] for i in (0, -1))
    whole = NetworkDeclaration(plan.network, first.input, last.output, None, (), plan.span)
    lets = {name: let for name, let in spec.functions.items() if name != plan.network}
    return replace(spec, networks={**spec.networks, plan.network: whole}, functions=lets)


# --- the module -----------------------------------------------------------------------------------


def joint_source(plan: Plan, joint: Joint) -> str:
    """A function for each network, and `model()`, which gives all of them."""
    texts = [model_source(layout, _function(name)) for name, layout in joint.layouts.items()]
    comma = "," if len(joint.chain) == 1 else ""
    lines = [
        "def model() -> Together:",
        f'    """Networks that are trained together; as a module they are `{plan.network}`."""',
        "    networks: dict[str, nn.Module] = {",
        *(f'        "{name}": {_function(name)}(),' for name in joint.layouts),
        "    }",
        *statement(f"return Together(networks, ({quoted(joint.chain)}{comma}))"),
    ]
    return "\n\n\n".join([*texts, "\n".join(lines)])


def _function(name: str) -> str:
    return f"model_{identifier(name)}"


def quoted(names: Sequence[str]) -> str:
    """Names as texts of Python, with commas between them."""
    return ", ".join(f'"{name}"' for name in names)
