"""One training with some of its values left open, and the script that each choice of them gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from hashlib import sha256
from pathlib import Path

from specdsl.diagnostics import SpecError
from specdsl.files import read_source
from specdsl.language import syntax
from specdsl.language.checking.check import check_expanded
from specdsl.language.modules.expand import Expanded, expand
from specdsl.language.parsing.parser import parse, parse_expression
from specdsl.language.spec import Spec
from specdsl.source import Source
from specdsl.training.claims.source import source
from specdsl.training.emit.common import Given, judged_in
from specdsl.training.emit.data import is_labelled
from specdsl.training.emit.given import given_for
from specdsl.training.emit.script import out_name, script
from specdsl.training.emit.terms import claim_argument
from specdsl.training.plan.choose import chosen_plan
from specdsl.training.plan.clock import Clock
from specdsl.training.plan.plan import Call, Fixed, Part, Plan
from specdsl.training.plan.resolve import plans_of
from specdsl.training.sweep.held_out import held_out
from specdsl.training.sweep.space import Values

METHOD = "method"
"""What `-D method=...` replaces: the preset of the block, where no parameter is called so."""
HELD_OUT = "held_out"
"""What scripts call the samples of `--on`."""


@dataclass(frozen=True, slots=True)
class Task:
    """A trial to run.

    `text`: its script, the same wherever it lies below the folder of the sweep; `key`: a hash of
    it. `judged`: by what trials are compared, as people read it, and `measure` a hash of all that.
    `out`: what its files are called after. `least_clean`: of `keep best ... where`.
    """

    values: Values
    text: str
    key: str
    recipe: str
    judged: str
    measure: str
    out: str
    least_clean: Fraction | None

    @property
    def folder(self) -> str:
        """Where it runs, below the folder of the sweep: no number, since sweeps grow."""
        return f"trial-{self.key[:8]}"


@dataclass(frozen=True, slots=True, eq=False)
class Trainings:
    """The `train` block of a file for all values of its parameters.

    `fixed`: of `-D`, what has one value. `network`: whose training, None where there is but one.
    `on`: the samples that trials are judged by, None for those of `keep best`. `folder`: of the
    sweep; trials lie right below it.
    """

    path: Path
    expanded: Expanded
    fixed: Values
    network: str | None
    on: str | None
    folder: Path
    allow: tuple[Path, ...] = ()

    def spec(self, values: Mapping[str, str]) -> Spec:
        """The file with these values. Raises SpecError as `check`."""
        texts = {**self.fixed, **values}
        method = None if self.declares(METHOD) else texts.pop(METHOD, None)
        expanded = self.expanded if method is None else self._with(method)
        checked = check_expanded(expanded, texts, working_directory=Path.cwd(), allow=self.allow)
        checked.refuse_sweeps()
        return checked.spec

    def plan(self, spec: Spec) -> Plan:
        """Its training. Raises SpecError E0859 where it is not clear which."""
        return chosen_plan(plans_of(spec), self.network, self.path)

    def task(self, values: Values) -> Task:
        """The trial of these values.

        Raises SpecError: as `check` and `script` for what cannot be trained so; E1110 where nothing
        is there to judge it by, E0721 where that is what a check tests.
        """
        spec = self.spec(values)
        plan = _placed(self.plan(spec), self.folder)
        part = held_out(plan, spec, self.on)
        given = given_for(plan, spec, self.folder / "trial")
        # No trial sees a tested sample: the script does not even name them.
        given = replace(given, evaluation={HELD_OUT: part} if self.on else {})
        text = script(plan, given)
        judged, measure = _judged(plan, given, part)
        return Task(
            values=values,
            text=text,
            key=sha256(text.encode()).hexdigest(),
            recipe=plan.recipe,
            judged=judged,
            measure=measure,
            out=out_name(plan),
            least_clean=None if plan.selection is None else plan.selection.least_clean,
        )

    def declares(self, name: str) -> bool:
        """Whether the file has a parameter of that name."""
        return self.parameter(name) is not None

    def parameter(self, name: str) -> syntax.Param | None:
        """The declaration of a parameter."""
        items = self.expanded.program.items
        found = (i for i in items if isinstance(i, syntax.Param) and i.name == name)
        return next(found, None)

    def _with(self, method: str) -> Expanded:
        """The program with another preset in the block."""
        value = parse_expression(Source(f"-D {METHOD}", method))
        program = self.expanded.program
        items = tuple(self._replaced(item, value) for item in program.items)
        if not any(new is not old for new, old in zip(items, program.items, strict=True)):
            message = "`-D method=...` replaces the preset of a block, but there is none"
            help_ = "write `method = ...` in the `train` block instead of its terms"
            raise SpecError.of("E1110", message, help=help_)
        return replace(self.expanded, program=replace(program, items=items))

    def _replaced(self, item: syntax.Item, value: syntax.Expr) -> syntax.Item:
        """Another block with the value in place of its preset; anything else as it is."""
        if not isinstance(item, syntax.Train) or not self._is_meant(item):
            return item
        lines = tuple(
            replace(line, value=value)
            if isinstance(line, syntax.Setting) and line.name == METHOD
            else line
            for line in item.items
        )
        changed = any(new is not old for new, old in zip(lines, item.items, strict=True))
        return replace(item, items=lines) if changed else item

    def _is_meant(self, item: syntax.Train) -> bool:
        name = item.network.name if isinstance(item.network, syntax.Name) else None
        return self.network in {None, name}


def read_trainings(
    path: Path,
    fixed: Values,
    *,
    network: str | None,
    on: str | None,
    folder: Path,
    allow: tuple[Path, ...] = (),
) -> Trainings:
    """The file, parsed, with what it imports. Raises SpecError E01 and E05."""
    expanded = expand(parse(read_source(path)), base=path.parent, allow=allow)
    return Trainings(path, expanded, fixed, network, on, folder, allow)


def _placed(plan: Plan, folder: Path) -> Plan:
    """The training with its files right in the folder of its trial, on one thread.

    Trials run side by side, one on a core: more threads would only wait for one another.
    """
    saves = tuple(_beside(save) for save in plan.saves)
    settings = replace(plan.settings, threads=1)
    return replace(plan, saves=saves, settings=settings, folder=folder / "trial")


def _beside(save: Call) -> Call:
    name = Path(str(save.arguments["file"])).name
    return replace(save, arguments={**save.arguments, "file": name})


def _judged(plan: Plan, given: Given, part: Part) -> tuple[str, str]:
    """By which property on which samples the trial is judged: for people, and as a hash.

    Raises SpecError E1110 where there is no property, or no classes to be right about.
    """
    call = judged_in(plan)
    if call is None:
        message = f"the training of `{plan.network}` names no property to certify"
        help_ = "add `keep best by certified(PROPERTY) on PART`: trials are judged by it too"
        raise SpecError.of("E1110", message, plan.span, help=help_)
    if not is_labelled(given.spec.datasets[part.dataset]):
        message = f"`{part.dataset}` has no classes, so that no trial has a clean accuracy"
        raise SpecError.of("E1110", message, plan.span, help="sweep the training of a classifier")
    use, clock = claim_argument(call), Clock(plan.schedules)
    end = Fraction(plan.settings.epochs)
    numbers = {
        name: clock.number(value, end)
        for name, value in use.arguments.items()
        if not isinstance(value, Fixed)
    }
    listed = ", ".join(f"{name} = {value}" for name, value in numbers.items())
    judged = f"{use.name}({listed})" if listed else use.name
    ends = ":".join("" if end is None else str(end) for end in (part.start, part.stop))
    samples = part.dataset if ends == ":" else f"{part.dataset}[{ends}]"
    template = given.claims.templates[given.claims.call(use, "").partition("(")[0]]
    # Parameters of the spec stand in the source of the property as numbers.
    whole = "\n".join((judged, samples, source(template)))
    return f"{judged} on {samples}", sha256(whole.encode()).hexdigest()
