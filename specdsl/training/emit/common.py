"""What both kinds of script are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

from jinja2 import Environment, PackageLoader, StrictUndefined

from specdsl.diagnostics import SpecError
from specdsl.graph.layers import Layout
from specdsl.language.spec import NetworkDeclaration, Spec
from specdsl.query.elaboration.values.networks import Affine
from specdsl.training.emit.claims import ClaimFunctions
from specdsl.training.emit.model import is_chain, parts_of
from specdsl.training.emit.numbers import real
from specdsl.training.emit.terms import calls_in, function_name
from specdsl.training.plan.plan import (
    Call,
    Constant,
    Part,
    Plan,
    Stage,
)

WIDTH = 100


@dataclass(frozen=True, slots=True, eq=False)
class Joint:
    """Networks that are trained together, by their names.

    `layouts`: the layers of each. `chain`: those of them that are verified, one behind the other.
    `normalised`: those that take samples normalised as their space says.
    """

    layouts: Mapping[str, Layout]
    declared: Mapping[str, NetworkDeclaration]
    chain: tuple[str, ...]
    normalised: frozenset[str]

    @property
    def verified(self) -> tuple[Layout, ...]:
        """The layers of the chain, network by network."""
        return tuple(self.layouts[name] for name in self.chain)

    def require_behind(self, first: str | None, second: str) -> None:
        """E0901 where a network does not take what another gives as it is.

        `first` None: what is no network that is trained gives it.
        """
        if second in self.normalised:
            raise self._refused(second, "takes a space with `normalize` behind another network")
        if first is not None:
            self._require(second, _output_shape(self.layouts[first]), f"`{first}` gives")

    def require_first(self, name: str, shape: tuple[int, ...]) -> None:
        """E0901 where a network does not take samples as the first of the chain does."""
        self._require(name, shape, "samples are")
        if name in self.normalised and self.chain[0] not in self.normalised:
            raise self._refused(name, f"takes samples normalised, and `{self.chain[0]}` does not")

    def _require(self, name: str, given: tuple[int, ...], who: str) -> None:
        graph = self.layouts[name].graph
        taken = graph.shapes[graph.input][1:]
        if taken != given:
            raise self._refused(name, f"takes {list(taken)}, and {who} {list(given)}")

    def _refused(self, name: str, why: str) -> SpecError:
        text, span = f"`{name}` {why}: this is not supported yet", self.declared[name].span
        return SpecError.of("E0901", text, span, help="declare both as the same `real[...]`")


def _output_shape(layout: Layout) -> tuple[int, ...]:
    return layout.graph.shapes[layout.graph.output][1:]


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """What a script is made from, besides the plan.

    `layout`: the layers, where they are written out; else the network is in `file`, or `joint`
    says of which it is made. `shape`: of one
    input. `claims`: a function for each property used. `evaluation`: the samples that the finished
    network is tried on, by the names they get. `folder`: where the script will lie. `source`: what
    the spec is called. `inputs`: from samples to what the network takes, None where it takes these.
    """

    spec: Spec
    layout: Layout | None
    file: Path | None
    shape: tuple[int, ...]
    claims: ClaimFunctions
    evaluation: Mapping[str, Part]
    folder: Path
    source: str
    inputs: Affine | None = None
    joint: Joint | None = None

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The layers of what is verified, as far as they are written out."""
        if self.joint is not None:
            return self.joint.verified
        return () if self.layout is None else (self.layout,)


def environment() -> Environment:
    """Templates beside this file; a name that is missing is an error."""
    loader = PackageLoader("specdsl.training.emit", "templates")
    # What is written is Python, not HTML.
    return Environment(
        loader=loader,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def indented(text: str, indent: str = "    ") -> str:
    """A directive as it stands in a docstring."""
    width, lines = WIDTH - len(indent), list[str]()
    for line in text.rstrip().splitlines():
        lines += wrap(line, width, subsequent_indent="      ", break_long_words=False) or [""]
    return "\n".join(f"{indent}{line}".rstrip() for line in lines)


def optimiser_text(optimizer: Call) -> str:
    """What makes the optimiser; its rate is set at every step."""
    arguments = optimizer.arguments
    decay, options = arguments["decay"], ""
    assert isinstance(decay, Constant), "it is a number"
    if decay.value:
        options += f", weight_decay={real(decay.value)}"
    if optimizer.name == "adam":
        return f"torch.optim.Adam(net.to(DEVICE).parameters(){options})"
    momentum = arguments["momentum"]
    assert isinstance(momentum, Constant), "it is a number"
    return f"torch.optim.SGD(net.to(DEVICE).parameters(), momentum={real(momentum.value)}{options})"


def is_ordered(layout: Layout) -> bool:
    """Whether parts of a chain have names, so that they stand in an ordered mapping."""
    named = any(part.name != str(i) for i, part in enumerate(parts_of(layout)))
    return is_chain(layout) and named


def stage_choice(stages: tuple[Stage, ...]) -> str:
    """An expression that gives the losses of the epoch."""
    text = function_name(stages[-1])
    for stage in reversed(stages[:-1]):
        text = f"{function_name(stage)} if epoch < {stage.first + stage.epochs} else {text}"
    return text if len(stages) == 1 else f"({text})"


def judged_in(plan: Plan) -> Call | None:
    """How the trained network is judged: as it is selected, else by the last certified loss, else
    by the last word that names a property; None where none does.
    """
    if plan.selection is not None and "property" in plan.selection.measure.arguments:
        return plan.selection.measure
    named = [c for c in calls_in(plan.stages) if "property" in c.arguments and "by" in c.arguments]
    certified = [c for c in named if c.name == "certified_loss"]
    return (certified or named or [None])[-1]
