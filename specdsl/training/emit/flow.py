"""What networks make of a batch, one behind the other: as lines of a function of losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from specdsl.language.compositions import Composition, Drawn
from specdsl.training.emit.common import Joint
from specdsl.training.emit.terms import Lines
from specdsl.training.emit.together import quoted

Steps = Sequence[str | Drawn]


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """Writes lines. What stands in two losses is computed once: a code is drawn once in a step.

    `shape`: of one sample. `use` notes that a name of the runtime is imported; `fixed` gives the
    function of a network that is not trained. Each method raises SpecError E0901 where a network
    does not take what the one before gives as it is.
    """

    joint: Joint
    shape: tuple[int, ...]
    lines: Lines
    use: Callable[[str], str]
    fixed: Callable[[str], str]

    def outputs(self, found: Composition) -> str:
        """The variable of what they give."""
        return self.lines.define("outputs", self._through(found.steps, "x"))

    def code(self, found: Composition) -> str:
        """The variable of the code that they end in."""
        *before, last = found.steps
        assert isinstance(last, Drawn), "checked with the block"
        return self._drawn(last, self._through(before, "x"))

    def _drawn(self, code: Drawn, value: str) -> str:
        taken = value if value == "x" else self.lines.define("inner", value)
        both = (self._through(each.steps, taken) for each in (code.mean, code.log_deviation))
        return self.lines.define("code", f"{self.use('normal')}({', '.join(both)}, generator)")

    def _through(self, steps: Steps, value: str) -> str:
        """An expression of what the steps make of a value; `x` is the batch."""
        run: list[str] = []
        for step in steps:
            if isinstance(step, Drawn):
                value = f"{self._drawn(step, self._called(run, value))}.sample"
                run = []
            elif step not in self.joint.layouts:
                value = f"{self.fixed(step)}({self._called(run, value)})"
                run = []
            else:
                value = self._taken(step, run, value)
                run.append(step)
        return self._called(run, value)

    def _taken(self, step: str, run: Sequence[str], value: str) -> str:
        """A value as a network takes it."""
        if value != "x" or run:
            self.joint.require_behind(run[-1] if run else None, step)
            return value
        self.joint.require_first(step, self.shape)
        return "network_input(x)" if step in self.joint.normalised else value

    def _called(self, run: Sequence[str], value: str) -> str:
        """What trained networks make of a value."""
        if not run:
            return value
        networks = self.lines.define("networks", f"{self.use('Together')}.of(net)")
        return f"{networks}.through({value}, {quoted(run)})"
