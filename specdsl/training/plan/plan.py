"""`Plan`: one training, as data. The emitter writes it out, the schedule table prints it.

Everything is resolved: presets are expanded, names of attacks replaced by what they stand for,
properties named with the values of the parameters that a sample does not fill. Numbers are exact
until they are printed; what varies from epoch to epoch is an expression of named schedules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from specdsl.language.compositions import Composition
from specdsl.language.spec import Value
from specdsl.source import Span

# --- numbers that may vary ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Constant:
    """One number."""

    value: Fraction


@dataclass(frozen=True, slots=True)
class Scheduled:
    """The value of a schedule of the block, by name."""

    name: str


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`left operator right`; or `-right` where `left` is 0 and the operator `-`."""

    operator: Literal["+", "-", "*", "/", "^"]
    left: Number
    right: Number


Number = Constant | Scheduled | Arithmetic
"""A number that is a constant or follows schedules."""


@dataclass(frozen=True, slots=True)
class Ramp:
    """From `first` to `last` between two points of time, constant before and after.

    Time is counted in epochs and parts of them, from 0: after half of the third epoch it is 2.5.
    `start` and `end` are such times. Shapes: `linear`; `smooth` rises like a power first and is
    straight from `middle` of the time on (Shi et al. 2021, arXiv:2103.17268: 0.25 and 4).
    """

    first: Number
    last: Number
    start: Fraction
    end: Fraction
    shape: Literal["linear", "smooth"] = "linear"
    middle: Fraction = Fraction(1, 4)
    exponent: Fraction = Fraction(4)


@dataclass(frozen=True, slots=True)
class Steps:
    """`first`, and other values in epochs `(from, up to and including, value)`."""

    first: Fraction
    later: tuple[tuple[int, int, Fraction], ...]


@dataclass(frozen=True, slots=True)
class Tied:
    """A function of earlier schedules: `let fade = 1 - eps / eps_max`."""

    value: Number


@dataclass(frozen=True, slots=True)
class Schedule:
    """A named number on the clock of the block."""

    name: str
    curve: Ramp | Steps | Tied
    text: str
    span: Span


# --- what is minimised ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Fixed:
    """A constant that is not one number: a norm (`"l2"`), a radius for each entry (an array)."""

    value: Value


@dataclass(frozen=True, slots=True)
class ClaimUse:
    """A property, and the values of its parameters that a sample does not fill.

    `text`: the call as written, `robust(r = eps)`.
    """

    name: str
    arguments: Mapping[str, Number | Fixed] = field(default_factory=lambda: MappingProxyType({}))
    text: str = ""


@dataclass(frozen=True, slots=True)
class NetworkUse:
    """Another declared network: a teacher."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """A word of one of the closed tables with all its arguments, defaults filled in.

    Words without a value (`by = ibp`) are calls without arguments. An argument that was not given
    and has no default is None.
    """

    name: str
    arguments: Mapping[str, Argument]
    text: str
    span: Span


Argument = (
    Number
    | Call
    | ClaimUse
    | NetworkUse
    | Composition
    | str
    | tuple[Call, ...]
    | tuple[int, ...]
    | None
)
"""Strings are words, texts and names of layers: `shape = smooth`, a file name. Several calls are
the attacks of `several`; several whole numbers are counts such as `decay_at`.
"""


@dataclass(frozen=True, slots=True)
class Term:
    """`weight * call`: a line of what is minimised. `text`: as written, on one line."""

    weight: Number
    call: Call
    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Constraint:
    """`constrain measure <= bound by multipliers`."""

    measure: Call
    bound: Number
    multipliers: Call
    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Stage:
    """Some epochs with one set of terms; what a stage does not say it has from the block.

    `before`: what happens once when it begins: `weights(below)` and `relus(stable, r)` prune.
    `first` is its first epoch. A training without stages has one, called `all`.
    """

    name: str
    first: int
    epochs: int
    terms: tuple[Term, ...]
    regularizers: tuple[Term, ...]
    constraints: tuple[Constraint, ...]
    optimizer: Call
    before: tuple[Call, ...] = ()


# --- all of it ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Part:
    """Samples of a declared dataset: all, or those from `start` up to `stop`."""

    dataset: str
    start: int | None = None
    stop: int | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """`keep best by measure on part where clean_accuracy >= least_clean`."""

    measure: Call
    part: Part
    least_clean: Fraction | None
    patience: int | None
    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Certification:
    """`certify claim on part by stages`, by the usual cascade where no stage is named.

    Numbers of the claim that follow a schedule are those of the end of training. `title`: the claim
    and the samples, as written; `text`: the whole line.
    """

    claim: Call
    part: Part
    stages: tuple[Call, ...]
    title: str
    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Settings:
    """The rest of the block. `clip`: the largest norm of a gradient; `budget` in seconds;
    `init` keep, default or ibp; `threads` None leaves them as they are. The `lr` of an optimizer
    that is written out as a schedule follows one of the plan, called `lr`.
    """

    epochs: int
    batch: int
    seed: int
    device: Literal["auto", "cpu", "cuda"]
    threads: int | None
    clip: Fraction | None
    budget: Fraction | None
    init: Call


@dataclass(frozen=True, slots=True)
class Plan:
    """One `train` block. `text`: with presets expanded, as the printer would write it.

    `recipe` is a hash of that text and of the declarations it names: two trainings with one recipe,
    one seed and the same data give the same weights. `folder` is where files are looked for.
    `chain`: the declared networks that `network` is made of, in order; `parts`: all that are
    trained.
    """

    network: str
    chain: tuple[str, ...]
    parts: tuple[str, ...]
    data: Part
    settings: Settings
    schedules: tuple[Schedule, ...]
    stages: tuple[Stage, ...]
    selection: Selection | None
    certifications: tuple[Certification, ...]
    saves: tuple[Call, ...]
    text: str
    recipe: str
    folder: Path
    span: Span
