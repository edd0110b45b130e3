"""What is minimised, line by line: every term of a stage as one statement under its own text.

The two kinds of script say the same things differently; `Dialect` holds the difference.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from specdsl.diagnostics import SpecError
from specdsl.training.emit.claims import ClaimFunctions
from specdsl.training.emit.numbers import factor, is_one, number
from specdsl.training.emit.skipping import Part, skipping
from specdsl.training.plan.plan import (
    Call,
    ClaimUse,
    Constant,
    Number,
    Stage,
    Term,
)

# Names that functions of losses have from elsewhere.
RESERVED = frozenset({"net", "x", "y", "s", "generator", "terms", "torch"})
# Characters of a term besides `terms[""] = ` and what it is indented by.
ROOM = 79


@dataclass(slots=True)
class Lines:
    """The body of a function of losses.

    `texts`: statements and remarks, each on a line however long. `defined`: variables by what they
    hold, so that a claim or the points of an attack are worked out once. `bare`: no step follows
    what is computed, so that attacks which climb from step to step have no place.
    """

    dialect: Dialect
    claims: ClaimFunctions
    texts: list[str] = field(default_factory=list[str])
    defined: dict[str, str] = field(default_factory=dict[str, str])
    names: set[str] = field(default_factory=lambda: set(RESERVED))
    keys: set[str] = field(default_factory=set[str])
    parts: list[Part] = field(default_factory=list[Part])
    bare: bool = False

    def define(self, wanted: str, value: str) -> str:
        """The variable that holds a value; a new one, called like `wanted`, where none does."""
        if value not in self.defined:
            name = self.fresh(wanted)
            self.texts.append(f"{name} = {value}")
            self.defined[value] = name
        return self.defined[value]

    def fresh(self, wanted: str) -> str:
        """A name that nothing has yet."""
        name, count = wanted, 1
        while name in self.names:
            count += 1
            name = f"{wanted}_{count}"
        self.names.add(name)
        return name

    def named(self, wanted: str) -> str:
        """A key of the terms that no other has: they are no variables."""
        name, count = wanted, 1
        while name in self.keys:
            count += 1
            name = f"{wanted}_{count}"
        self.keys.add(name)
        return name

    def claim(self, use: ClaimUse) -> str:
        """The variable of a property on the batch."""
        return self.define("claim", self.claims.call(use, "x, y"))

    def points(self, claim: str, attack: Call) -> str:
        """The variable of the points that an attack finds."""
        return self.define("points", self.dialect.attack(attack, claim, self))


class Dialect(ABC):
    """How a kind of script says what a word means. Each raises SpecError where it cannot."""

    @abstractmethod
    def attack(self, call: Call, claim: str, lines: Lines) -> str:
        """The points of an attack on a claim."""

    @abstractmethod
    def margins(self, loss: Call, lines: Lines) -> str:
        """The margins that a loss is about: bounds of them, or those at points."""

    @abstractmethod
    def loss(self, call: Call, lines: Lines) -> str:
        """The value of a loss."""

    @abstractmethod
    def regularizer(self, call: Call, lines: Lines) -> str:
        """The value of a regulariser."""


def loss_source(
    stage: Stage,
    dialect: Dialect,
    claims: ClaimFunctions,
    network_type: str,
    begin: Callable[[Lines], object] | None = None,
) -> str:
    """A function that gives all terms of a stage by name; those of weight 0 it leaves out.

    `begin`: writes what comes first.
    """
    lines = Lines(dialect, claims)
    if begin is not None:
        begin(lines)
    for term in stage.terms:
        _term(term, lines, dialect.loss)
    for term in stage.regularizers:
        _term(term, lines, dialect.regularizer)
    body = skipping(lines.texts, lines.parts)
    head = [
        f"def {function_name(stage)}(",
        f"    net: {network_type}, x: Tensor, y: Tensor, s: Schedule, generator: torch.Generator",
        ") -> dict[str, Tensor]:",
        f'    """What stage `{stage.name}` minimises, term by term."""',
        "    terms: dict[str, Tensor] = {}",
    ]
    return "\n".join([*head, *body, "    return terms"])


def function_name(stage: Stage) -> str:
    """`losses_` and the name of the stage."""
    return f"losses_{stage.name}"


def calls_in(stages: Iterable[Stage]) -> list[Call]:
    """Every word of every term, with those in its arguments."""
    words = [
        word
        for stage in stages
        for word in (
            *(term.call for term in (*stage.terms, *stage.regularizers)),
            *(constraint.measure for constraint in stage.constraints),
        )
    ]
    return [call for word in words for call in calls_of(word)]


def calls_of(word: Call) -> list[Call]:
    """A word with all in its arguments."""
    found = [word]
    for value in word.arguments.values():
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, Call):
                found += calls_of(each)
    return found


def call_argument(call: Call, name: str) -> Call:
    """An argument that is a word."""
    found = call.arguments[name]
    assert isinstance(found, Call), f"the schema says that `{name}` of `{call.name}` is a word"
    return found


def claim_argument(call: Call, name: str = "property") -> ClaimUse:
    """An argument that is a property."""
    found = call.arguments[name]
    assert isinstance(found, ClaimUse), f"the schema says that `{name}` is a property"
    return found


def number_argument(call: Call, name: str) -> Number | None:
    """An argument that is a number, or was not given."""
    found = call.arguments.get(name)
    assert found is None or not isinstance(found, Call | ClaimUse | str | tuple), name
    return found  # pyright: ignore[reportReturnType]


def whole_argument(call: Call, name: str) -> int:
    """An argument that is a whole number."""
    found = call.arguments[name]
    assert isinstance(found, Constant), f"the schema says that `{name}` is a whole number"
    return int(found.value)


def is_fused(by: Call) -> bool:
    """Whether a bound method bounds the loss as a whole."""
    fused = by.arguments.get("fused")
    return isinstance(fused, Constant) and fused.value == 1


def refuse(call: Call, why: str, help: str) -> SpecError:
    """E0901 at a word."""
    return SpecError.of("E0901", f"`{call.name}` {why}", call.span, help=help)


def _term(term: Term, lines: Lines, say: Callable[[Call, Lines], str]) -> None:
    start = len(lines.texts)
    value = say(term.call, lines)
    name = lines.named(term.call.name)
    weight = "" if is_one(term.weight) else factor(term.weight)
    if weight and len(weight) + len(value) + len(name) > ROOM:
        value = lines.define("loss", value)
        if len(weight) + len(value) + len(name) > ROOM:
            weight = lines.define("weight", weight)
    if weight:
        value = f"{weight} * {value}"
    elif value.startswith("("):
        # A sum: it needs its parentheses beside a weight alone.
        value = value[1:-1]
    lines.texts += [f"# {term.text}", f'terms["{name}"] = {value}']
    condition = "" if isinstance(term.weight, Constant) else number(term.weight)
    lines.parts.append(Part(start, len(lines.texts), condition))
