"""The techniques, how each is left out, and which instances it has a part in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from specdsl.run.instances.outcome import Key

BOXES, NEURONS, SOLVER, ATTACK = "search/input", "search/neuron", "milp", "attack"


@dataclass(frozen=True, slots=True)
class Technique:
    """`without`: options of `portfolio` that leave it out. `methods`: how answers begin of those
    instances that it has a part in.
    """

    name: str
    doc: str
    without: str
    methods: tuple[str, ...]

    @property
    def using(self) -> str:
        """Everything but this."""
        return f"portfolio({self.without})"

    def concerns(self, method: str) -> bool:
        """Whether it has a part in an answer by this method."""
        return method.startswith(self.methods)


ALL = Technique("all", "everything", "", ("",))
TECHNIQUES = (
    Technique("clip", "boxes clipped by half-spaces", "clip = false", (BOXES,)),
    Technique("learn", "trials of inputs", "learn = false", (BOXES,)),
    Technique("reduce", "boxes over reduced graphs", "reduce = false", (BOXES,)),
    Technique("points", "points tried inside boxes", "points = false", (BOXES,)),
    Technique("boxes", "boxes where few inputs vary", "split = neuron", (BOXES,)),
    Technique("neurons", "neurons where many inputs vary", "split = input", (NEURONS,)),
    Technique("gap", "halves tried before a split", "rule = gap", (NEURONS,)),
    Technique("width", "gaps, not widths, to choose by", "rule = width", (NEURONS,)),
    Technique("auto", "one rule of branching, not three by turns", "rule = auto", (NEURONS,)),
    Technique("tighten", "alpha-CROWN before the first split", "tighten = false", (NEURONS,)),
    Technique("sharpen", "bounds where margins are 0 or less", "sharpen = false", (NEURONS,)),
    Technique("ascent", "multipliers of split constraints", "steps = 0", (NEURONS,)),
    Technique("programs", "linear programs at leaves", "programs = false", (NEURONS,)),
    Technique("milp", "exact MILP after the search", "milp = false", (SOLVER, NEURONS)),
    Technique("attack", "attacks before and after bounds", "attack = false", (ATTACK, "search")),
)


def concerned(technique: Technique, methods: Mapping[Key, str]) -> list[Key]:
    """The instances, by the methods that decided them, in which a technique has a part."""
    return [key for key, method in methods.items() if technique.concerns(method)]
