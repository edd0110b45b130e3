"""From a spec and one of its plans to what scripts are made from."""

from __future__ import annotations

from pathlib import Path

from specdsl.diagnostics import SpecError
from specdsl.graph.layer_weights import NoWeights
from specdsl.graph.layers import Layout, lay_out
from specdsl.language import syntax
from specdsl.language.checking.selection import same_samples, tested_parts
from specdsl.language.evaluation import evaluate
from specdsl.language.spec import NetworkDeclaration, Spec, Value
from specdsl.language.types import RecordType
from specdsl.query.elaboration.values.networks import Affine, normalisation, shape_of
from specdsl.training.emit.claims import claim_functions
from specdsl.training.emit.common import Given
from specdsl.training.emit.together import as_one, is_joint, joint_of
from specdsl.training.plan.plan import Part, Plan


def given_for(plan: Plan, spec: Spec, folder: Path) -> Given:
    """What the script of a plan is made from; it will lie in `folder`.

    Raises SpecError: E0620 to E0622 for layers, E0730 for properties that cannot be trained for,
    E0901 for networks that are neither written out nor in a file.
    """
    joint = None
    if is_joint(plan):
        parts = [layout_of(spec.networks[name], spec) for name in plan.parts]
        joint = joint_of(plan, spec, parts)
    declaration = spec.networks[plan.chain[0]]
    file = declaration.onnx if joint is None else None
    return Given(
        spec=spec,
        layout=layout_of(declaration, spec) if joint is None else None,
        file=file.path if file else None,
        shape=shape_of(declaration.input, spec),
        inputs=affine_of(declaration, spec),
        claims=claim_functions(plan, as_one(plan, spec)),
        evaluation=_tested(plan, spec),
        folder=folder,
        source=Path(spec.source.name).name,
        joint=joint,
    )


def layout_of(declaration: NetworkDeclaration, spec: Spec) -> Layout | None:
    """The layers of a network, its weights left open; None where it is in a file.

    Raises SpecError E0901 for other networks, E0620 to E0622 for layers.
    """
    if declaration.onnx is not None:
        return None
    if not declaration.layers:
        text = f"`{declaration.name}` is handed over"
        help_ = "train a network that is written out layer by layer, or `onnx(...)`"
        raise SpecError.of("E0901", f"{text}: training it is not supported yet", help=help_)

    def value(expression: syntax.Expr) -> Value:
        return evaluate(expression, spec.values, spec.functions)

    return lay_out(declaration.layers, shape_of(declaration.input, spec), value, NoWeights())


def affine_of(declaration: NetworkDeclaration, spec: Spec) -> Affine | None:
    """From the units of samples to what a network takes; None where these are the same.

    Raises SpecError E0901 where outputs have other units than targets.
    """
    onnx = declaration.onnx
    if onnx is not None and (onnx.scale, onnx.shift) != (1, 0):
        text = f"outputs of `{declaration.name}` are scaled: training them is not supported yet"
        raise SpecError.of("E0901", text, onnx.span, help="leave `denormalize` away")
    kind = declaration.input
    space = spec.spaces.get(kind.name) if isinstance(kind, RecordType) else None
    if space is None:
        return None
    affine = normalisation(space)
    return None if affine.identity else affine


def _tested(plan: Plan, spec: Spec) -> dict[str, Part]:
    """A whole dataset that a `check` of the spec reads and nothing was trained or selected on."""
    seen = {plan.data.dataset}
    if plan.selection is not None:
        seen.add(plan.selection.part.dataset)
    for part in tested_parts(spec.program, spec.datasets, spec.values):
        if not any(same_samples(part.dataset, name, spec.datasets) for name in seen):
            return {"test": Part(part.dataset)}
    return {}
