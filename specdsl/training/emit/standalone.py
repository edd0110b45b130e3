"""A training as one file of plain PyTorch, its bounds written out for the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import prod
from textwrap import wrap
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
)
from specdsl.training.emit.edited import UNSEALED, sealed
from specdsl.training.emit.lines import WIDTH
from specdsl.training.emit.lines import call as call_lines
from specdsl.training.emit.model import is_chain, model_source, uses_normalize
from specdsl.training.emit.numbers import number, real
from specdsl.training.emit.plain import LEAVE, SHI, WHY, Plain, plain_losses, unusual
from specdsl.training.emit.plain_data import standalone_data
from specdsl.training.emit.plain_lines import choice, dense
from specdsl.training.emit.plain_schedule import needs_steps, plain_schedule, rate_of
from specdsl.training.emit.specialise import MONOTONE, BoundsText, specialised
from specdsl.training.emit.terms import (
    call_argument,
    calls_in,
    calls_of,
    claim_argument,
    function_name,
    refuse,
    whole_argument,
)
from specdsl.training.plan.clock import Clock
from specdsl.training.plan.plan import Call, Constant, Part, Plan, Stage
from specdsl.training.plan.recipe import KEY
from specdsl.version import __version__

# The mean width of a box, with which ratios stay finite.
WIDTHS = "(upper - lower).mean().clamp(min=1e-12)"
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
        *("check", "clean", "counts", "load", "found", "moved", "pgd_divergence", "point", "usual"),
    }
)


def standalone(plan: Plan, given: Given) -> str:
    """The text of the script.

    Raises SpecError E0901 for what plain scripts do not do yet, E1106 for layers that cannot be
    trained.
    """
    layout = given.layout
    if given.joint is not None:
        text = f"`{plan.network}` is trained with others, and plain scripts train one network"
        raise SpecError.of("E0901", text, plan.span, help=LEAVE)
    if layout is None:
        text = f"`{plan.network}` is in a file, and plain scripts write out its layers"
        raise SpecError.of("E0901", text, plan.span, help=LEAVE)
    _require_plain(plan, given)
    given = replace(given, claims=_renamed(given.claims))
    template = environment().get_template("standalone/script.py.jinja")
    return sealed(template.render(_values(plan, given, layout)))


def _renamed(claims: ClaimFunctions) -> ClaimFunctions:
    """Properties whose names a script has for something else get others."""
    names = {n: f"{n}_holds" if n in TAKEN else n for n in claims.templates}
    templates = {names[n]: replace(t, name=names[n]) for n, t in claims.templates.items()}
    return ClaimFunctions(templates, {key: names[name] for key, name in claims.names.items()})


def _values(plan: Plan, given: Given, layout: Layout) -> dict[str, Any]:
    bounds, shape = specialised(layout), given.shape
    declaration = given.spec.datasets[plan.data.dataset]
    outputs = prod(layout.graph.shapes[layout.graph.output])
    view = _view(shape)
    dialect = Plain(is_labelled(declaration), outputs, bounds.no_crown, view)
    clock = Clock(plan.schedules)
    losses = [plain_losses(stage, dialect, given.claims, clock) for stage in plan.stages]
    parts = {"train": plan.data, **_validation(plan), **given.evaluation}
    judging, final = _judging(plan, bounds), _final(plan, given)
    rate = rate_of(plan.schedules, plan.stages)
    return {
        "title": _title(plan, given),
        # It stands in a docstring.
        "directive": indented(dense(plan.text), "").replace("\\", "\\\\").replace('"""', r"\"\"\""),
        "recipe": plan.recipe,
        "recipe_key": KEY,
        "config": plan.settings,
        "device": DEVICES[plan.settings.device],
        "data": standalone_data(given.spec, parts, shape, given.folder),
        "init": plan.settings.init.name,
        "start": _start(plan, given),
        "ordered": is_ordered(layout),
        "chain": is_chain(layout),
        "normalize": uses_normalize(layout),
        "normalize_shape": f"(-1{', 1' * (len(shape) - 1)}{',' * (len(shape) == 1)})",
        "model": model_source(layout),
        "schedule": plain_schedule(plan.schedules, rate, plan.settings.epochs),
        "rate": rate.name,
        "steps": needs_steps(plan.schedules, plan.settings.epochs),
        "claims": given.claims.sources(standalone=True),
        **_bounds(bounds),
        "view": view,
        **judging,
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
        "selection": _selection(plan, bounds, crown=judging["crown"]),
        "stops": _stops(plan),
        "patience": plan.selection is not None and plan.selection.patience is not None,
        "final": final,
        "description": f'"Train `{plan.network}`."',
        "out": quoted(_out(plan, given)),
    }


def _title(plan: Plan, given: Given) -> str:
    """What the script does and where it is from, on as many lines as it takes."""
    what = f"Trains `{plan.network}` on `{plan.data.dataset}`: plain PyTorch,"
    text = f"{what} by specdsl {__version__} from {given.source}; {UNSEALED}."
    # Three quotes come before it.
    return "\n".join(wrap(text, WIDTH - 3, break_long_words=False, break_on_hyphens=False))


def _start(plan: Plan, given: Given) -> dict[str, str] | None:
    """The file of weights that training begins with, and what stands before names there."""
    weights = given.spec.networks[plan.network].weights
    if weights is None or plan.settings.init.name != "keep":
        return None
    path = f"HERE / {quoted(file_from(weights.path, given.folder))}"
    prefix = f"{quoted(weights.prefix)} + " if weights.prefix else ""
    return {"prefix": prefix, "call": "\n".join(call_lines("load", ["net", path]))}


def _view(shape: tuple[int, ...]) -> str:
    """What gives points the shape of inputs."""
    return "" if len(shape) == 1 else f".view(-1, {', '.join(map(str, shape))})"


def _bounds(bounds: BoundsText) -> dict[str, Any]:
    return {
        "kinds": bounds.kinds,
        "monotone": bool(bounds.kinds & MONOTONE),
        "forward": bounds.forward,
        "backward": bounds.backward,
    }


def _judging(plan: Plan, bounds: BoundsText) -> dict[str, Any]:
    """What the network is judged by: CROWN where the training has it or is selected by it, an
    attack where it has one or intervals would be alone.
    """
    calls = calls_in(plan.stages)
    if plan.selection is not None:
        calls += calls_of(plan.selection.measure)
    crown = not bounds.no_crown and any(call.name == "crown_ibp" for call in calls)
    pgd = not crown or any(call.name in {"pgd", "fgsm"} for call in calls)
    shares = ["clean", *["pgd"] * pgd, *["intervals"] * crown, "certified"]
    names = f"({', '.join(quoted(share) for share in shares)})"
    values = [f"zip({names}, (counts / len(x)).tolist(), strict=True)"]
    return {
        "crown": crown,
        "pgd": pgd,
        "shares": shares,
        "returned": "\n".join(call_lines("return dict", values)),
    }


def _words(plan: Plan) -> dict[str, Any]:
    """Which helpers the words of a training need."""
    calls = calls_in(plan.stages)
    steep = [call for call in calls if call.name == "fgsm"]
    pgd = [call for call in calls if call.name == "pgd"]
    restarts = any(whole_argument(call, "restarts") > 1 for call in pgd)
    decay = any(call.arguments.get("decay_at") for call in pgd)
    alpha = any(call.arguments.get("alpha") is not None for call in pgd)
    options = [
        *("net: Net", "claim: Claim", "generator: Generator", "steps: int"),
        *(["restarts: int = 1"] if restarts else []),
        *(["alpha: float = 0"] if alpha else []),
        *(["decay: Decay = None"] if decay else []),
    ]
    return {
        "words": {call.name for call in calls},
        "alpha": alpha,
        "pgd_head": _head("pgd", options),
        "divergence_head": _divergence_head(calls, options),
        "small_box": any(call.name == "small_box" for call in calls),
        "fgsm": bool(steep),
        "fgsm_alpha": any(call.arguments.get("alpha") is not None for call in steep),
        "restarts": restarts,
        "decay": decay,
        **_shi(calls),
    }


def _head(name: str, options: Sequence[str]) -> str:
    return "\n".join(call_lines(f"def {name}", options, " -> Tensor:", depth=0))


def _divergence_head(calls: Sequence[Call], options: Sequence[str]) -> str:
    """That of the attack of TRADES, if it is used."""
    if all(call.name != "trades_loss" for call in calls):
        return ""
    return _head("pgd_divergence", [o for o in options if not o.startswith("restarts")])


def _shi(calls: Sequence[Call]) -> dict[str, Any]:
    """The regularisers of Shi, with the options that are not what they usually are."""
    names = {name for call in calls if call.name == "shi" for name in unusual(call)}
    given = [f"{name}: float = {number(Constant(SHI[name]))}" for name in SHI if name in names]
    star = ["*"] if given else []
    tau = "tau" if "tau" in names else real(SHI["tau"])
    factor = "tightness * " if "tightness" in names else ""
    return {
        "shi_head": _head("shi", ["claim: Claim", "boxes: list[Box]", *star, *given]),
        "shi_options": names,
        "tau": tau,
        "tightness": f"cost += {factor}F.relu({tau} - width / {WIDTHS})",
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
    for certification in plan.certifications:
        raise _refusal("`certify`", certification.span)
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


def _selection(plan: Plan, bounds: BoundsText, *, crown: bool) -> dict[str, str] | None:
    """Which share of the validation samples chooses, and what else is asked for."""
    if plan.selection is None:
        return None
    least, measure = plan.selection.least_clean, plan.selection.measure
    condition = "" if least is None else f'found["clean"] >= {real(least)} and '
    return {"condition": condition, "measure": _share_name(measure, bounds, crown=crown)}


def _share_name(measure: Call, bounds: BoundsText, *, crown: bool) -> str:
    if measure.name == "clean_accuracy":
        return "clean"
    if measure.name != "certified":
        raise refuse(measure, WHY, LEAVE)
    by = call_argument(measure, "by")
    if by.name == "ibp":
        return "intervals" if crown else "certified"
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
        "claim": given.claims.call(claim, "xs, ys", "schedule(EPOCHS)"),
        "check_claim": given.claims.call(claim, "x, y", "schedule(EPOCHS)"),
        "clean": "net(xs).argmax(1) == ys"
        if labelled
        else "margins_at(net, claim, xs.flatten(1)).amin(1) > 0",
    }
