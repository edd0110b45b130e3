"""A training as the script that `specdsl train` runs: the runtime's calls, in the order of the
directive.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from textwrap import wrap
from typing import Any

from specdsl.diagnostics import SpecError
from specdsl.graph.layers import LaidLayer, Layout
from specdsl.language.spec import DatasetDeclaration
from specdsl.query.elaboration.values.networks import shape_of
from specdsl.training.emit.certifying import (
    FINAL_ATTACK,
    certifications_source,
    certified_parts,
    printed,
)
from specdsl.training.emit.common import (
    WIDTH,
    Given,
    environment,
    indented,
    judged_in,
)
from specdsl.training.emit.data import (
    augment_of,
    file_from,
    has_targets,
    identifier,
    listed,
    slice_text,
)
from specdsl.training.emit.edited import UNSEALED, sealed
from specdsl.training.emit.lines import call, nested, statement
from specdsl.training.emit.loop import constraints_source, loop_of, stage_choice
from specdsl.training.emit.networks import (
    first_weights,
    initialisation,
    model_text,
    relus_of,
    teacher_source,
)
from specdsl.training.emit.numbers import number, real
from specdsl.training.emit.schedule import helpers_of, rate_of, schedule_source
from specdsl.training.emit.terms import (
    call_argument,
    calls_in,
    claim_argument,
    function_name,
    loss_source,
    number_argument,
    refuse,
)
from specdsl.training.emit.words import PROVEN, Runtime
from specdsl.training.plan.plan import Call, ClaimUse, Constant, Fixed, Part, Plan
from specdsl.version import __version__

ALWAYS = (
    "Batches",
    "Best",
    "Budget",
    "Checkpoint",
    "CpuSeconds",
    "EpochRecord",
    "Log",
    "Means",
    "Samples",
    "Trainable",
    "certify",
    "check_gradients",
    "device_named",
    "draw",
    "guarded",
    "samples",
    "seeded",
    "set_lr",
    "step",
)
"""What every script imports of the runtime."""


def script(plan: Plan, given: Given) -> str:
    """The text of the script. Raises SpecError E0901 and E1106 for what cannot be trained yet."""
    template = environment().get_template("runtime/script.py.jinja")
    return sealed(template.render(_values(plan, given)))


def _values(plan: Plan, given: Given) -> dict[str, Any]:
    judged = judged_in(plan)
    dialect = _dialect(plan, given, judged)
    # What says words comes first: the script imports what they needed.
    values = _trained(plan, given, dialect)
    certified = certified_parts(plan)
    parts = {"train": plan.data, **_validation(plan), **(certified or given.evaluation)}
    return {
        **values,
        "title": f"Trains `{plan.network}` on `{plan.data.dataset}`.",
        "directive": indented(plan.text),
        "written": _written(plan, given),
        "recipe": plan.recipe,
        "names": _imported(plan, given, dialect, [values["model"], *values["teachers"]]),
        "shape": str(given.shape),
        "data": _data(given, parts),
        "ordered": any("OrderedDict(" in t for t in (values["model"], *values["teachers"])),
        "schedule": schedule_source(plan.schedules, rate_of(plan.stages), plan.settings.epochs),
        "claims": given.claims.sources(),
        "checked": _each([function_name(stage) for stage in plan.stages]),
        "judged": [] if judged is None else _judged(judged, given),
        "end": judged is not None and "end." in "".join(_judged(judged, given)),
        "point": ", point=network_input" if given.inputs is not None else "",
        "free": dialect.free.values(),
        "balances": dialect.balances.values(),
        "eps": _radius(plan),
        "optimisers": len(_kinds(plan)) > 1,
        "clip": "None" if plan.settings.clip is None else real(plan.settings.clip),
        "budget": "None" if plan.settings.budget is None else real(plan.settings.budget),
        "final_attack": FINAL_ATTACK,
        "printed": printed(plan),
        "out": file_from(plan.folder / out_name(plan), given.folder),
        "description": repr(f"Train `{plan.network}`.").replace("'", '"'),
        "plan": plan,
    }


def _trained(plan: Plan, given: Given, dialect: Runtime) -> dict[str, Any]:
    """What is said in words of the runtime, which `dialect` collects."""
    losses = _losses(plan, given, dialect)
    teachers = [
        teacher_source(network, function, given, dialect)
        for network, function in dialect.teachers.items()
    ]
    starts = initialisation(plan, given, dialect)
    return {
        "losses": losses,
        "teachers": teachers,
        "batch_options": _batch_options(given.spec.datasets[plan.data.dataset], dialect),
        "selection": _selection(plan, dialect),
        "saves": _saves(plan, given, dialect),
        "first_weights": first_weights(plan, given, dialect),
        "loop": loop_of(plan, dialect),
        "optimiser": _optimiser(plan, dialect),
        "starts": _starts(starts),
        "started": _started(starts),
        "model": model_text(plan, given, dialect),
        "certifications": certifications_source(plan, given.claims, dialect),
    }


def _written(plan: Plan, given: Given) -> str:
    """What made the script, and what runs it."""
    made = f"Written by specdsl {__version__} from {given.source}, recipe {plan.recipe[:12]},"
    text = (
        f"{made} {UNSEALED}. `specdsl train` runs this file as it stands; a run that was stopped "
        "goes on where it was. `--check` looks for mistakes in two seconds."
    )
    return "\n".join(wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False))


def _dialect(plan: Plan, given: Given, judged: Call | None) -> Runtime:
    """The words of the plan; what the network is judged by needs some names too."""
    inside = any(call.name in {"taps", "staps"} for call in calls_in(plan.stages))
    inside |= any(call.name == "relus" for stage in plan.stages for call in stage.before)
    dialect = Runtime(
        None if judged is None else claim_argument(judged),
        relus_of(given) if inside else {},
        given.inputs is not None,
        given.joint,
        given.shape,
    )
    if judged is not None:
        dialect.names |= {"Claim", "check_bounds", "pgd", "unstable"}
    return dialect


def _starts(calls: list[str]) -> list[str]:
    """What draws first weights."""
    if len(calls) < 2:
        return [line for text in calls for line in statement(f"start = {text}")]
    return call("starts = ", [f"{text}" for text in calls])


def _started(calls: list[str]) -> str:
    """An expression of the lines that tell of it."""
    if len(calls) < 2:
        return "start.lines()" if calls else ""
    return "line for start in starts for line in start.lines()"


def _imported(plan: Plan, given: Given, dialect: Runtime, models: list[str]) -> list[str]:
    """What the script imports of the runtime, as formatters sort it, once all else is written."""
    if not plan.certifications:
        dialect.names.add("Certified")
    names = {*ALWAYS, *dialect.names, *helpers_of(plan.schedules), *given.claims.imports()}
    if any(" Normalize(" in text for text in models):
        names.add("Normalize")
    return sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))


def out_name(plan: Plan) -> str:
    """What all files of a training are called after: the first that is saved, or the network."""
    for save in plan.saves:
        file = save.arguments["file"]
        assert isinstance(file, str), "the schema says that it is a text"
        return file
    return plan.network.replace(".", "_")


def _saves(plan: Plan, given: Given, dialect: Runtime) -> list[str]:
    lines: list[str] = []
    prunings = {call.name for stage in plan.stages for call in stage.before}
    for save in plan.saves:
        if given.joint is not None and "relus" in prunings:
            text = f"`{plan.network}` is made of several networks: activations of one are pruned"
            raise SpecError.of("E0901", text, plan.span, help="leave `prune relus(...)` away")
        if save.name == "safetensors" and "relus" in prunings:
            help_ = "save `onnx(...)`"
            raise refuse(save, "holds weights alone, and no pruned activations", help_)
        what = "net" if save.name == "onnx" else "net.module"
        function = dialect.use(f"save_{save.name}")
        path = file_from(plan.folder / str(save.arguments["file"]), given.folder)
        lines += statement(f'{function}({what}, HERE / "{path}", RECIPE)')
    return lines


def _validation(plan: Plan) -> dict[str, Part]:
    return {} if plan.selection is None else {"validation": plan.selection.part}


def _judged(judged: Call, given: Given) -> list[str]:
    return statement(f"return {given.claims.call(claim_argument(judged), 'x, y', 'end')}")


def _losses(plan: Plan, given: Given, dialect: Runtime) -> list[str]:
    """Functions of losses and constraints, and those that choose between stages."""
    begin = dialect.scores if any(map(_normalises, given.layouts)) else None
    stages = plan.stages
    found = [loss_source(stage, dialect, given.claims, "Trainable", begin) for stage in stages]
    found.append(stage_choice("losses", "Losses", stages))
    if any(stage.constraints for stage in stages):
        found += [constraints_source(stage, stages, dialect, given.claims) for stage in stages]
        found.append(stage_choice("constraints", "Constraints", stages))
    return [text for text in found if text]


def _each(names: list[str]) -> list[str]:
    """The head of a loop over names."""
    comma = "," if len(names) == 1 else ""
    whole = f"        for losses in ({', '.join(names)}{comma}):"
    if len(whole) <= WIDTH:
        return [whole]
    return ["        for losses in (", *(f"            {name}," for name in names), "        ):"]


def _normalises(layout: Layout) -> bool:
    """Whether bounds need the statistics of the batch, which come from a call on it."""
    layers = [step for step in layout.steps if isinstance(step, LaidLayer)]
    return any(layer.call.kind == "batch_norm" for layer in layers)


def _radius(plan: Plan) -> str:
    """The number of a property that a schedule feeds, in the last term that has one."""
    for word in reversed(calls_in(plan.stages)):
        use = word.arguments.get("property")
        if isinstance(use, ClaimUse):
            numbers = [v for v in use.arguments.values() if not isinstance(v, Fixed | Constant)]
            if numbers:
                return number(numbers[0])
    return ""


# --- data -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Data:
    """`readers`: functions of `specdsl.data` that are used. `source`: the function `parts`."""

    readers: tuple[str, ...]
    source: str


def _data(given: Given, parts: dict[str, Part]) -> _Data:
    names = list(dict.fromkeys(part.dataset for part in parts.values()))
    lines = ["def parts() -> dict[str, Samples]:", f'    """The samples of {listed(parts)}."""']
    readers: set[str] = set()
    for name in names:
        declaration = given.spec.datasets[name]
        reader, arguments = _reading(declaration, given)
        readers.add(reader)
        parts_of_call = [
            nested(reader, arguments, 2),
            f"scale={_exact(declaration, 'scale')}",
            f"shift={_exact(declaration, 'shift')}",
            "shape=SHAPE",
        ]
        if has_targets(declaration):
            parts_of_call.append(f"target={shape_of(declaration.element[1], given.spec)}")
        lines += call(f"{identifier(name)} = samples", parts_of_call)
    lines.append("    return {")
    lines += [f'        "{n}": {identifier(p.dataset)}{slice_text(p)},' for n, p in parts.items()]
    lines.append("    }")
    return _Data(tuple(sorted(readers)), "\n".join(lines))


def _reading(declaration: DatasetDeclaration, given: Given) -> tuple[str, list[str]]:
    """The function that reads it, and its arguments."""
    paths = [f'HERE / "{file_from(path, given.folder)}"' for path in declaration.paths]
    arguments = declaration.arguments
    numbers = ["numbers=True"] if has_targets(declaration) else []
    match declaration.reader:
        case "idx":
            return "read_idx", [*paths, *numbers]
        case "npy":
            return "read_npy_pair", [*paths, *numbers]
        case "npz":
            inputs, labels = arguments.get("inputs") or "x", arguments.get("labels") or "y"
            return "read_npz", [*paths, f'"{inputs}"', f'"{labels}"', *numbers]
        case "csv":
            column = arguments["label"]
            text = f'"{column}"' if isinstance(column, str) else str(column)
            return "read_csv", [*paths, text, *numbers]
        case "cifar_binary":
            return "read_cifar", [*paths, str(arguments.get("classes") or 10)]
        case "sklearn":
            return "read_sklearn", [f'"{arguments["name"]}"']
        case reader:
            text = f"training on data from `{reader}` is not supported yet"
            raise SpecError.of("E0901", text, declaration.span)


def _exact(declaration: DatasetDeclaration, name: str) -> str:
    value = declaration.settings[name]
    assert isinstance(value, Fraction), "the schema says that it is a number"
    if value.denominator == 1:
        return str(value.numerator)
    return f"{value.numerator} / {value.denominator}"


def _batch_options(declaration: DatasetDeclaration, dialect: Runtime) -> str:
    settings = declaration.settings
    text = ""
    if settings.get("balance") is True:
        text += ', order="balanced"'
    elif settings.get("shuffle") is False:
        text += ', order="kept"'
    pixels = augment_of(declaration)
    if pixels:
        text += f", augment=({dialect.use('shift')}({pixels}),)"
    elif settings.get("augment") == "flip":
        text += f", augment=({dialect.use('flip')}(),)"
    return text


# --- the loop -------------------------------------------------------------------------------------


def _optimiser(plan: Plan, dialect: Runtime) -> list[str]:
    """The lines that make the optimiser, or those of stages that have their own."""
    kinds = _kinds(plan)
    if len(kinds) == 1:
        (first,) = kinds.values()
        options = "".join(f", {text}" for text in _options(first))
        dialect.use("optimizer")
        made = f'optimizer(module.parameters(), "{first.name}", lr=schedule(0.0).lr{options})'
        return statement(f"optimiser = {made}")
    each = [f'{first}: ("{call.name}", {_as_dict(call)})' for first, call in kinds.items()]
    lines = [f"    optimisers = {dialect.use('Optimisers')}(", "        module,", "        {"]
    lines += [f"            {text}," for text in each]
    return [*lines, "        },", "    )"]


def _as_dict(optimizer: Call) -> str:
    pairs = [text.split("=") for text in _options(optimizer)]
    return "{" + ", ".join(f'"{name}": {value}' for name, value in pairs) + "}"


def _kinds(plan: Plan) -> dict[int, Call]:
    """By first epochs, the optimizers of stages; what differs in its rate alone goes on."""
    found: dict[int, Call] = {}
    before: tuple[str, tuple[str, ...]] | None = None
    for stage in plan.stages:
        kind = stage.optimizer.name, _options(stage.optimizer)
        if kind != before:
            found[stage.first] = stage.optimizer
        before = kind
    return found


def _options(optimizer: Call) -> tuple[str, ...]:
    found: list[str] = []
    for name, keyword in (("momentum", "momentum"), ("decay", "weight_decay")):
        value = number_argument(optimizer, name)
        if isinstance(value, Constant) and value.value:
            found.append(f"{keyword}={real(value.value)}")
    return tuple(found)


def _selection(plan: Plan, dialect: Runtime) -> dict[str, Any] | None:
    if plan.selection is None:
        return None
    measure = plan.selection.measure
    least, patience = plan.selection.least_clean, plan.selection.patience
    found: dict[str, Any] = {
        "best": f"{'None' if least is None else real(least)}, {patience}",
        "bound": "",
    }
    found["comment"] = wrap(plan.selection.text, WIDTH - 10)
    part = 'data["validation"]'
    point = ", point=network_input" if dialect.normalized else ""
    match measure.name:
        case "certified":
            found["bound"] = PROVEN[call_argument(measure, "by").name]
            found["value"] = "certified"
            name = dialect.use("accuracies")
            found["call"] = f'{name}(net, {part}, judged, "{found["bound"]}"{point})'
        case "adversarial":
            found["value"] = "adversarial"
            attack = dialect.attack_text(call_argument(measure, "by"))
            name = dialect.use("attacked_accuracies")
            found["call"] = f"{name}(net, {part}, judged, {attack})"
        case _:
            found["value"] = "again"
            found["call"] = f"{dialect.use('clean_accuracies')}(net, {part}{point})"
    found["call"] = statement(f"clean, {found['value']} = {found['call']}", 2)
    return found
