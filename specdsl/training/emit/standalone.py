"""A training as one file of plain PyTorch, its bounds written out for the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import prod
from typing import Any

from specdsl.diagnostics import SpecError
from specdsl.graph.layers import Layout
from specdsl.language.spec import DatasetDeclaration
from specdsl.source import Span
from specdsl.training.emit.claims import ClaimFunctions
from specdsl.training.emit.common import (
    Given,
    environment,
    indented,
    is_ordered,
    judged_in,
    optimiser_text,
)
from specdsl.training.emit.data import (
    augment_of,
    file_from,
    is_labelled,
    quoted,
    standalone_data,
)
from specdsl.training.emit.lines import call as call_lines
from specdsl.training.emit.model import model_source, uses_normalize
from specdsl.training.emit.numbers import real
from specdsl.training.emit.plain import LEAVE, WHY, Plain, plain_losses
from specdsl.training.emit.plain_lines import choice
from specdsl.training.emit.plain_schedule import (
    needs_steps,
    plain_schedule,
    rate_of,
    smooth_helpers,
)
from specdsl.training.emit.schedule import helpers_of
from specdsl.training.emit.specialise import MONOTONE, BoundsText, specialised
from specdsl.training.emit.terms import (
    call_argument,
    calls_in,
    claim_argument,
    function_name,
    refuse,
    whole_argument,
)
from specdsl.training.plan.clock import Clock
from specdsl.training.plan.plan import Call, Constant, Part, Plan, Stage
from specdsl.version import __version__

DEVICES = {
    "auto": 'torch.device("cuda" if torch.cuda.is_available() else "cpu")',
    "cpu": 'torch.device("cpu")',
    "cuda": 'torch.device("cuda")',
}

# Names of functions and of variables in functions that call properties.
TAKEN = frozenset(
    {
        *("around", "bounds", "boxes", "claim", "evaluate", "initialise", "intervals", "json"),
        *("linear", "margins", "margins_at", "math", "model", "monotone", "net", "nn", "np"),
        *("crown", "fgsm", "pgd", "relu", "relu_back", "relu_stability", "robust_cross_entropy"),
        *("parts", "points", "read_idx", "rows", "s", "save", "schedule", "shi", "shifted"),
        *("lower", "offset", "small", "small_box", "smooth", "steps", "struct", "tensors"),
        *("terms", "tighter", "time", "torch", "trained", "upper", "x", "xs", "y", "ys"),
        *("adversarial_loss", "certified_loss", "clean_loss", "end", "generator", "high"),
        *("argparse", "deepcopy", "gzip", "sklearn", "given", "data", "samples", "shares"),
    }
)


def standalone(plan: Plan, given: Given) -> str:
    """The text of the script.

    Raises SpecError E0901 for what plain scripts do not do yet, E1106 for layers that cannot be
    trained.
    """
    layout = given.layout
    if layout is None:
        text = f"`{plan.network}` is in a file, and plain scripts write out its layers"
        raise SpecError.of("E0901", text, plan.span, help=LEAVE)
    _require_plain(plan, given)
    given = replace(given, claims=_renamed(given.claims))
    template = environment().get_template("standalone/script.py.jinja")
    return template.render(_values(plan, given, layout))


def _renamed(claims: ClaimFunctions) -> ClaimFunctions:
    """Properties whose names a script has for something else get others."""
    names = {n: f"{n}_holds" if n in TAKEN else n for n in claims.templates}
    templates = {names[n]: replace(t, name=names[n]) for n, t in claims.templates.items()}
    return ClaimFunctions(templates, {key: names[name] for key, name in claims.names.items()})


def _values(plan: Plan, given: Given, layout: Layout) -> dict[str, Any]:
    bounds, shape = specialised(layout), given.shape
    declaration = given.spec.datasets[plan.data.dataset]
    outputs = prod(layout.graph.shapes[layout.graph.output])
    dialect = Plain(is_labelled(declaration), outputs, bounds.no_crown)
    clock = Clock(plan.schedules)
    losses = [plain_losses(stage, dialect, given.claims, clock) for stage in plan.stages]
    parts = {"train": plan.data, **_validation(plan), **given.evaluation}
    final, rate = _final(plan, given), rate_of(plan.schedules, plan.stages)
    return {
        "title": f"Trains `{plan.network}` on `{plan.data.dataset}` to be certified.",
        # It stands in a docstring.
        "directive": indented(plan.text).replace("\\", "\\\\").replace('"""', r"\"\"\""),
        "version": __version__,
        "source": given.source,
        "recipe": plan.recipe,
        "config": plan.settings,
        "device": DEVICES[plan.settings.device],
        "data": standalone_data(given.spec, parts, shape, given.folder),
        "init": plan.settings.init.name,
        "ordered": is_ordered(layout),
        "conv_classes": f" | nn.Conv{len(shape) - 1}d" if "conv" in bounds.kinds else "",
        "normalize": uses_normalize(layout),
        "normalize_shape": f"(-1{', 1' * (len(shape) - 1)}{',' * (len(shape) == 1)})",
        "model": model_source(layout),
        "schedule": plain_schedule(plan.schedules, rate, plan.settings.epochs),
        "rate": rate.name,
        "smooth_helpers": smooth_helpers(plan.schedules),
        "linear": "linear" in helpers_of(plan.schedules),
        "steps": needs_steps(plan.schedules, plan.settings.epochs),
        "claims": given.claims.sources(standalone=True),
        **_bounds(bounds, shape),
        **_words(plan),
        "losses": losses,
        "loss_names": [function_name(stage) for stage in plan.stages],
        "stage": function_name(plan.stages[0]) if len(plan.stages) == 1 else "losses",
        "choice": _choice(plan.stages),
        "augment": augment_of(declaration),
        "optimiser": optimiser_text(plan.stages[0].optimizer),
        "clip": _real(plan.settings.clip),
        "budget": _real(plan.settings.budget),
        "threads": plan.settings.threads,
        "selection": _selection(plan, bounds),
        "stops": _stops(plan),
        "patience": plan.selection is not None and plan.selection.patience is not None,
        "final": final,
        "description": f'"Train `{plan.network}`."',
        "out": quoted(_out(plan, given)),
    }


def _bounds(bounds: BoundsText, shape: tuple[int, ...]) -> dict[str, Any]:
    sizes = ", ".join(map(str, shape))
    return {
        "kinds": bounds.kinds,
        "monotone": bool(bounds.kinds & MONOTONE),
        "forward": bounds.forward,
        "backward": bounds.backward,
        "last": bounds.last,
        "crown": not bounds.no_crown,
        "view": "" if len(shape) == 1 else f".view(-1, {sizes})",
    }


def _words(plan: Plan) -> dict[str, Any]:
    """Which helpers the words of a training need."""
    calls = calls_in(plan.stages)
    attacks = [call for call in calls if call.name in {"pgd", "fgsm"}]
    pgd = [call for call in attacks if call.name == "pgd"]
    restarts = any(whole_argument(call, "restarts") > 1 for call in pgd)
    decay = any(call.arguments.get("decay_at") for call in pgd)
    alpha = any(call.arguments.get("alpha") is not None for call in attacks)
    options = [
        *("net: Net", "claim: Claim", "generator: Generator", "*", "steps: int"),
        *(["restarts: int = 1"] if restarts else []),
        *(["alpha: float | None = None"] if alpha else []),
        *(["decay: dict[int, float] | None = None"] if decay else []),
    ]
    return {
        "words": {call.name for call in calls},
        "alpha": alpha,
        "pgd_head": "\n".join(call_lines("def pgd", options, " -> Tensor:", depth=0)),
        "small_box": any(call.name == "small_box" for call in calls),
        "fgsm": any(call.name == "fgsm" for call in calls),
        "restarts": restarts,
        "decay": decay,
    }


def _choice(stages: tuple[Stage, ...]) -> list[str]:
    """Which losses an epoch has, where stages have their own."""
    if len(stages) == 1:
        return []
    limits = [f"epoch < {stage.first + stage.epochs}" for stage in stages[:-1]]
    return choice("losses", [function_name(stage) for stage in stages], limits, depth=2)


def _real(value: Fraction | None) -> str:
    return "" if value is None else real(value)


def _validation(plan: Plan) -> dict[str, Part]:
    return {} if plan.selection is None else {"validation": plan.selection.part}


def _out(plan: Plan, given: Given) -> str:
    for save in plan.saves:
        return file_from(plan.folder / str(save.arguments["file"]), given.folder)
    return f"{plan.network.replace('.', '_')}.safetensors"


# --- what is left out -----------------------------------------------------------------------------


def _require_plain(plan: Plan, given: Given) -> None:
    """Raises SpecError E0901 for what is not said in terms."""
    _require_plain_saves(plan.saves)
    first = plan.stages[0].optimizer
    for stage in plan.stages:
        for action in stage.before:
            raise refuse(action, WHY, LEAVE)
        for constraint in stage.constraints:
            raise _refusal("`constrain`", constraint.span)
        if optimiser_text(stage.optimizer) != optimiser_text(first):
            raise _refusal("another optimizer in a later stage", stage.optimizer.span)
    network = given.spec.networks[plan.network]
    if network.weights is not None and plan.settings.init.name == "keep":
        raise _refusal("beginning with the weights of a file", network.span)
    _require_plain_points(given)
    for name in (plan.data.dataset, *(part.dataset for part in given.evaluation.values())):
        _require_plain_data(given.spec.datasets[name])


def _require_plain_saves(saves: Sequence[Call]) -> None:
    for save in saves:
        if save.name != "safetensors":
            raise refuse(save, WHY, f'{LEAVE}, or save `safetensors("net.safetensors")`')
    for save in saves[1:]:
        raise refuse(save, "for the second time " + WHY, LEAVE)


def _require_plain_points(given: Given) -> None:
    """Losses apply the network to samples as they are."""
    for template in given.claims.templates.values():
        for application in template.applications:
            factors = {c for form in application.point for _, c in form.terms}
            if factors != {1} or any(form.constant for form in application.point):
                raise _refusal("`normalize` of a space", template.span)


def _require_plain_data(declaration: DatasetDeclaration) -> None:
    settings = declaration.settings
    for word, usual in (("balance", False), ("shuffle", True)):
        if settings.get(word) not in {None, usual}:
            raise _refusal(f"`{word}` of a dataset", declaration.span)
    if settings.get("augment") not in {None, "shift"}:
        raise _refusal(f"`augment = {settings['augment']}`", declaration.span)


def _refusal(what: str, span: Span) -> SpecError:
    return SpecError.of("E0901", f"{what} {WHY}", span, help=LEAVE)


# --- how it is judged -----------------------------------------------------------------------------


def _selection(plan: Plan, bounds: BoundsText) -> dict[str, str] | None:
    """Which share of the validation samples chooses, and what else is asked for."""
    if plan.selection is None:
        return None
    least, measure = plan.selection.least_clean, plan.selection.measure
    condition = "" if least is None else f'found["clean"] >= {real(least)} and '
    return {"condition": condition, "measure": _share_name(measure, bounds)}


def _share_name(measure: Call, bounds: BoundsText) -> str:
    if measure.name == "clean_accuracy":
        return "clean"
    if measure.name != "certified":
        raise refuse(measure, WHY, LEAVE)
    by = call_argument(measure, "by")
    if by.name == "ibp":
        return "certified" if bounds.no_crown else "by_intervals"
    if by.name != "crown_ibp" or bounds.no_crown:
        raise refuse(by, WHY, LEAVE)
    beta = by.arguments.get("beta")
    if isinstance(beta, Constant) and beta.value == 1:
        return "certified"
    raise refuse(by, "with a share of intervals " + WHY, LEAVE)


def _stops(plan: Plan) -> str:
    """When training ends before its last epoch."""
    conditions: list[str] = []
    if plan.settings.budget is not None:
        conditions.append(f"time.perf_counter() - began > {real(plan.settings.budget)}")
    if plan.selection is not None and plan.selection.patience is not None:
        conditions.append(f"best >= 0 and epoch - best_epoch >= {plan.selection.patience}")
    return " or ".join(f"({c})" if " and " in c and len(conditions) > 1 else c for c in conditions)


def _final(plan: Plan, given: Given) -> dict[str, str]:
    """How the trained network is judged: as it is selected, else as it was trained at the end."""
    call = judged_in(plan)
    if call is None:
        text = "no term of this training names a property, so there is nothing to certify"
        raise SpecError.of("E0901", text, plan.span, help=LEAVE)
    claim = claim_argument(call)
    labelled = is_labelled(given.spec.datasets[plan.data.dataset])
    return {
        "claim": given.claims.call(claim, "xs, ys", "end"),
        "check_claim": given.claims.call(claim, "x, y", "end"),
        "clean": "net(xs).argmax(1) == ys"
        if labelled
        else "margins_at(net, claim, xs.flatten(1)).amin(1) > 0",
        "attack": "pgd(net, claim, generator, steps=steps)",
    }
