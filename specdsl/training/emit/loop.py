"""What stages, constraints, prunings and replays add to the loop of a script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from specdsl.training.emit.claims import ClaimFunctions
from specdsl.training.emit.lines import INDENT, comment, statement
from specdsl.training.emit.numbers import number, real
from specdsl.training.emit.skipping import fitted
from specdsl.training.emit.terms import (
    Lines,
    call_argument,
    calls_in,
    claim_argument,
    number_argument,
    refuse,
    whole_argument,
)
from specdsl.training.emit.words import Runtime
from specdsl.training.plan.plan import Call, Constant, Constraint, Number, Plan, Scheduled, Stage

BATCH = "net, batch.x, batch.targets, s, generator"
MULTIPLIERS = {"lagrangian": "Lagrangian", "proxy_lagrangian": "ProxyLagrangian"}


@dataclass(frozen=True, slots=True)
class Loop:
    """Lines of the loop, each list in the order of the script and with its indentation.

    `setup` before the loop; `stateful`: what a checkpoint holds besides the usual, by name;
    `resumed`: after a checkpoint was read; `beginnings` of an epoch; `replays`: how often a batch
    is used, or nothing; `step`: what is done with a batch; `endings` of an epoch; `record`: what
    the log tells besides.
    """

    setup: tuple[str, ...]
    stateful: Mapping[str, str]
    resumed: tuple[str, ...]
    beginnings: tuple[str, ...]
    replays: str
    step: tuple[str, ...]
    endings: tuple[str, ...]
    record: tuple[str, ...]


def loop_of(plan: Plan, dialect: Runtime) -> Loop:
    """All of it. Raises SpecError E0901 for what cannot be trained together yet."""
    groups = _groups(plan, dialect)
    prunings = {call.name for stage in plan.stages for call in stage.before}
    replays = _replays(plan.stages)
    setup = [line for group in groups for line in group.made()]
    stateful = {group.variable: group.variable for group in groups}
    kept = [*dialect.free.values(), *dialect.balances.values()]
    stateful |= {name.lower(): name for name in kept}
    stateful["module"] = "module"
    resumed = ["    checkpoint.resume()"]
    if "weights" in prunings:
        setup.append(f"    pruning = {dialect.use('Pruning')}()")
        stateful["pruning"] = "pruning"
    if "relus" in prunings:
        stateful["module"] = f"{dialect.use('Prunable')}(module)"
        resumed = [
            "    if checkpoint.resume():",
            "        # With pruned activations it is another network than at first.",
            "        net = Trainable.of(module, SHAPE)",
        ]
    return Loop(
        setup=tuple(setup),
        stateful=stateful,
        resumed=tuple(resumed),
        beginnings=tuple(_beginnings(plan, dialect)),
        replays=replays,
        step=tuple(_step(plan, dialect, groups, 4 if replays else 3, "weights" in prunings)),
        endings=(
            *(line for group in groups for line in group.updated()),
            *(f"        {name}.update()" for name in dialect.balances.values()),
        ),
        record=tuple(_record(groups)),
    )


def _step(
    plan: Plan, dialect: Runtime, groups: Sequence[_Group], depth: int, pruned: bool
) -> list[str]:
    lines = [f"terms = {_of_stage('losses', plan.stages)}({BATCH})"]
    if groups:
        lines.append(f"found = {_of_stage('constraints', plan.stages)}({BATCH})")
        lines += [f"terms = {group.variable}.weigh(terms, found)" for group in groups]
    lines.append("step(terms, optimiser, epoch=epoch + 1, clip=CLIP)")
    if pruned:
        lines.append("pruning.apply(module)")
    lines += [f"{name}.advance()" for name in dialect.free.values()]
    lines.append("net.refresh()")
    return [f"{INDENT * depth}{line}" for line in lines]


def _of_stage(kind: str, stages: tuple[Stage, ...]) -> str:
    """The function that gives the losses, or the constraints, of a batch in this epoch."""
    return f"{kind}_{stages[0].name}" if len(stages) == 1 else f"{kind}_of(epoch)"


def stage_choice(kind: str, value: str, stages: tuple[Stage, ...]) -> str:
    """A function that gives the losses, or the constraints, of an epoch; none for one stage."""
    if len(stages) == 1:
        return ""
    lines = [f"def {kind}_of(epoch: int) -> {value}:", f'    """The {kind} of an epoch, from 0."""']
    for stage in stages[:-1]:
        lines.append(f"    if epoch < {stage.first + stage.epochs}:")
        lines.append(f"        return {kind}_{stage.name}")
    return "\n".join([*lines, f"    return {kind}_{stages[-1].name}"])


# --- replays --------------------------------------------------------------------------------------


def _replays(stages: tuple[Stage, ...]) -> str:
    """How often each batch is used: a number, or an expression of the epoch."""
    counts: list[int] = []
    for stage in stages:
        free = [call for call in calls_in([stage]) if call.name == "free"]
        found = {whole_argument(call, "replays") for call in free}
        if len(found) > 1:
            help_ = "give all of them the same `replays`"
            raise refuse(free[-1], "uses a batch as often as all others of its stage", help_)
        counts.append(found.pop() if found else 1)
    if len(set(counts)) == 1:
        return str(counts[0]) if counts[0] > 1 else ""
    text = str(counts[-1])
    for stage, count in reversed(list(zip(stages, counts, strict=True))[:-1]):
        text = f"{count} if epoch < {stage.first + stage.epochs} else {text}"
    return text


# --- prunings -------------------------------------------------------------------------------------


def _beginnings(plan: Plan, dialect: Runtime) -> list[str]:
    lines: list[str] = []
    for stage in plan.stages:
        if not stage.before:
            continue
        lines.append(f"        if epoch == {stage.first}:")
        for call in stage.before:
            lines += comment(f"prune {call.text}", 3)
            lines += _pruning(call, dialect)
        lines += comment("Weights of before are those of another network.", 3)
        lines.append("            best.clear()")
    return lines


def _pruning(call: Call, dialect: Runtime) -> list[str]:
    if call.name == "weights":
        below = number_argument(call, "below")
        assert below is not None, "it is required"
        told = f"pruning.weights(module, {number(below)})"
        return [f'            log.say("\\n".join({told}))']
    if not dialect.relus:
        raise refuse(call, "prunes ReLUs, and the network has none", "prune `weights` alone")
    radius, stable = number_argument(call, "r"), number_argument(call, "stable")
    assert radius is not None, "it has a default"
    assert isinstance(stable, Constant), "it has a default, and is no weight"
    region = dialect.around("x", radius)
    lines = ["            inputs = batches.data.inputs.split(BATCH)"]
    lines += statement(f"regions = ({region} for x in inputs)", 3)
    name = dialect.use("prune_relus")
    lines.append(f"            pruned = {name}(net, regions, {real(stable.value)})")
    return [
        *lines,
        "            net = pruned.net",
        '            log.say("\\n".join(pruned.lines()))',
    ]


# --- constraints ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Group:
    """Constraints with multipliers of one kind and rate. `open`: some stage has none of them."""

    variable: str
    by: Call
    names: tuple[str, ...]
    open: bool

    def made(self) -> list[str]:
        """What makes them."""
        names = "".join(f'"{name}", ' for name in self.names)
        names = f"({names.removesuffix(' ' if len(self.names) == 1 else ', ')})"
        rate, first = number_argument(self.by, "lr"), number_argument(self.by, "init")
        assert rate is not None, "it has a default"
        assert isinstance(first, Constant), "it has a default, and is no weight"
        text = number(rate) if isinstance(rate, Constant) else "0.0"
        begin = f", {real(first.value)}" if first.value else ""
        return statement(f"{self.variable} = {MULTIPLIERS[self.by.name]}({names}, {text}{begin})")

    def updated(self) -> list[str]:
        """What moves them after an epoch."""
        rate = number_argument(self.by, "lr")
        assert rate is not None, "it has a default"
        lines = [f"{self.variable}.update()"]
        if not isinstance(rate, Constant):
            lines.insert(0, f"{self.variable}.rate = {number(rate)}")
        if not self.open:
            return [f"        {line}" for line in lines]
        return [f"        if {self.variable}.measured:", *(f"            {line}" for line in lines)]


def _groups(plan: Plan, dialect: Runtime) -> tuple[_Group, ...]:
    names = _names(plan.stages)
    kinds: dict[str, Call] = {}
    for stage in plan.stages:
        for constraint in stage.constraints:
            by = constraint.multipliers
            first = number_argument(by, "init")
            if by.name == "proxy_lagrangian" and isinstance(first, Constant) and first.value:
                raise refuse(by, "begins with equal weights", "leave `init` away")
            kinds[by.text] = by
    found: list[_Group] = []
    for number_, (text, by) in enumerate(kinds.items(), 1):
        dialect.use(MULTIPLIERS[by.name])
        own = tuple(name for (kind, _), name in names.items() if kind == text)
        some = [any(c.multipliers.text == text for c in stage.constraints) for stage in plan.stages]
        variable = "multipliers" if number_ == 1 else f"multipliers_{number_}"
        found.append(_Group(variable, by, own, not all(some)))
    return tuple(found)


def _names(stages: Sequence[Stage]) -> dict[tuple[str, str], str]:
    """What each constraint is called, by its multipliers and its text."""
    found: dict[tuple[str, str], str] = {}
    for stage in stages:
        for constraint in stage.constraints:
            measure = constraint.measure
            of = measure.arguments.get("class")
            wanted = f"{measure.name}_{of.value}" if isinstance(of, Constant) else measure.name
            name, count = wanted, 1
            while name in found.values() and _key(constraint) not in found:
                count += 1
                name = f"{wanted}_{count}"
            found.setdefault(_key(constraint), name)
    return found


def _key(constraint: Constraint) -> tuple[str, str]:
    return constraint.multipliers.text, constraint.text


def _record(groups: Sequence[_Group]) -> list[str]:
    if not groups:
        return []
    if len(groups) == 1:
        return [f"{INDENT * 4}multipliers={groups[0].variable}.log(),"]
    parts = ", ".join(f"**{group.variable}.log()" for group in groups)
    return [f"{INDENT * 4}multipliers={{{parts}}},"]


def constraints_source(
    stage: Stage, stages: Sequence[Stage], dialect: Runtime, claims: ClaimFunctions
) -> str:
    """A function that measures all constraints of a stage on a batch, a line each."""
    lines = Lines(dialect, claims, bare=True)
    lines.names.add("found")
    names = _names(stages)
    dialect.use("Measured")
    for constraint in stage.constraints:
        stand_in, observed, count = _measure(constraint.measure, lines, dialect)
        less = _less(constraint.bound)
        ends = f"{stand_in}{less}, {observed}{less}, {count}"
        key = names[_key(constraint)]
        made = f'found["{key}"] = {dialect.use("Measured")}({ends})'
        lines.texts += [f"# {constraint.text}", made]
    head = [
        f"def constraints_{stage.name}(",
        "    net: Trainable, x: Tensor, y: Tensor, s: Schedule, generator: torch.Generator",
        ") -> dict[str, Measured]:",
        f'    """What stage `{stage.name}` constrains: at most 0 where it is kept."""',
        "    found: dict[str, Measured] = {}",
    ]
    return "\n".join([*head, *fitted(lines.texts), "    return found"])


def _less(bound: Number) -> str:
    """What is taken off: ` - 0.1`, nothing for 0."""
    if isinstance(bound, Constant) and bound.value == 0:
        return ""
    text = number(bound)
    return f" - {text}" if isinstance(bound, Constant | Scheduled) else f" - ({text})"


def _measure(measure: Call, lines: Lines, dialect: Runtime) -> tuple[str, str, str]:
    """What is differentiated, what is observed, and of how many samples."""
    match measure.name:
        case "violation":
            claim = lines.claim(claim_argument(measure))
            points = lines.points(claim, call_argument(measure, "by"))
            at = f"{dialect.use('margins_at')}(net, {claim}, {points})"
            margins = lines.define("margins", at)
            excess = lines.define("excess", f"{dialect.use('violation')}({margins})")
            return excess, excess, "len(x)"
        case "certified_error":
            picked = _picked(measure, lines)
            use = claim_argument(measure)
            made = lines.claims.call(use, f"x{picked}, y{picked}")
            claim = lines.define("claim", made)
            bounds = dialect.bounds(call_argument(measure, "by"), claim, lines)
            margins = lines.define("bounds", bounds)
        case "clean_error":
            scores = lines.define("scores", f"net.at({dialect.point('x')})")
            margins = lines.define("margins", f"{dialect.use('class_margins')}({scores}, y)")
            margins = f"{margins}{_picked(measure, lines)}"
        case _:
            excess = lines.define("excess", dialect.loss(measure, lines))
            return excess, excess, "len(x)"
    hinge, share = dialect.use("hinge"), dialect.use("error_share")
    return f"{hinge}({margins})", f"{share}({margins})", f"len({margins})"


def _picked(measure: Call, lines: Lines) -> str:
    """An index that picks the samples of one class, or nothing."""
    of = measure.arguments.get("class")
    if not isinstance(of, Constant):
        return ""
    return f"[{lines.define('chosen', f'y == {int(of.value)}')}]"
