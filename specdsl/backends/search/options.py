"""What may be asked of a search, and which of its techniques it does without."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

Split = Literal["auto", "input", "neuron"]
RuleName = Literal["gap", "filtered", "width"]
RuleChoice = Literal["auto", "gap", "filtered", "width"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """The same names in `search(...)` and `portfolio(...)`; techniques are on unless left out, and
    no verdict depends on them but by the time it takes, and on `points` and `programs` by whether
    there is one.

    ValueError for a word that is none of its choices.

    `split`: what to split, decided by the number of inputs that vary where it is `auto`.
    `seed`: there for rules that draw at random; none does.

    Of boxes of inputs: `batch`, how many are bounded at once, fewer on large graphs and more on
    small ones; `clip` them to where their bounds allow a violation; `learn` by trials which input
    to halve; `reduce` their graphs to what is unstable in them; `points`: whether centres and
    corners of the worst are tried as witnesses, without which none is met.

    Of neurons: by which `rule` one is chosen, of `neurons.branching`; `tighten` bounds inside by
    ascent before the first split; `sharpen` them where margins may be 0 or less; `steps` of ascent
    on every part; `programs`: whether a linear program decides where nothing is left to split.
    """

    split: Split = "auto"
    batch: int = 128
    clip: bool = True
    learn: bool = True
    reduce: bool = True
    points: bool = True
    rule: RuleChoice = "filtered"
    tighten: bool = True
    sharpen: bool = True
    steps: int = 10
    programs: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.split not in get_args(Split):
            listed = ", ".join(get_args(Split))
            raise ValueError(f"`{self.split}` is nothing that can be split; there are {listed}")
        if self.rule not in get_args(RuleChoice):
            listed = ", ".join(get_args(RuleChoice))
            raise ValueError(f"`{self.rule}` is no rule of branching; there are {listed}")

    @property
    def as_arguments(self) -> dict[str, Any]:
        """To ask another method for the same."""
        return {item.name: getattr(self, item.name) for item in fields(SearchOptions)}
