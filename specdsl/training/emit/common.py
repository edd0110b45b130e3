"""What both kinds of script are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

from jinja2 import Environment, PackageLoader, StrictUndefined

from specdsl.graph.layers import Layout
from specdsl.language.spec import Spec
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
class Given:
    """What a script is made from, besides the plan.

    `layout`: the layers, where they are written out; else the network is in `file`. `shape`: of one
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


def indented(text: str) -> str:
    """A directive as it stands in a docstring."""
    lines: list[str] = []
    for line in text.rstrip().splitlines():
        lines += wrap(line, WIDTH - 4, subsequent_indent="      ", break_long_words=False) or [""]
    return "\n".join(f"    {line}".rstrip() for line in lines)


def optimiser_text(optimizer: Call) -> str:
    """What makes the optimiser; its rate is set at every step."""
    arguments = optimizer.arguments
    decay, options = arguments["decay"], ""
    assert isinstance(decay, Constant), "it is a number"
    if decay.value:
        options += f", weight_decay={real(decay.value)}"
    if optimizer.name == "adam":
        return f"torch.optim.Adam(net.parameters(){options})"
    momentum = arguments["momentum"]
    assert isinstance(momentum, Constant), "it is a number"
    return f"torch.optim.SGD(net.parameters(), momentum={real(momentum.value)}{options})"


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
