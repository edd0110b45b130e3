"""Entries of a scene by the names of a template: parameters, the point, outputs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from keyword import iskeyword

from specdsl.diagnostics import SpecError
from specdsl.graph import ops
from specdsl.query.elaboration.values.networks import LoadedNetwork
from specdsl.query.elaboration.values.scene import CallStep, OpStep
from specdsl.query.elaboration.values.symbolic import INPUT, EntryArray, Linear
from specdsl.source import Span
from specdsl.training.claims.scene import ClaimScene, Distance, LabelEntry, LabelMargin, untrainable
from specdsl.training.claims.template import POINT, Affine, Application, Entry

OWN_WORDS = frozenset({POINT, "region", "formula", "like", "inf"})
"""Names that the emitted functions use for themselves."""


def python_name(name: str, taken: frozenset[str] | set[str] = OWN_WORDS) -> str:
    """An identifier for a name of the language."""
    found = re.sub(r"\W", "_", name)
    while iskeyword(found) or found in taken:
        found += "_"
    return found


class Points:
    """Turns expressions of a scene into those of a template; applications are named as they come.

    `places`: each entry of the variables (from 0) to its place in the point.
    """

    def __init__(self, scene: ClaimScene, network: str, places: Mapping[int, int]) -> None:
        self.scene = scene
        self.network = network
        self.places = places
        self.applications: list[Application] = []
        self._names: dict[int, str] = {}

    def affine(self, expression: Fraction | Linear, span: Span) -> Affine:
        """The expression over parameters, the point and outputs.

        Raises SpecError E0730 at `span` for what is computed otherwise.
        """
        if isinstance(expression, Fraction):
            return Affine((), expression)
        constant, terms = expression.constant, dict[Entry, Fraction]()
        for (source, position), coefficient in expression.terms:
            if source == INPUT:
                entry = self.input_entry(position)
                terms[entry] = terms.get(entry, Fraction(0)) + coefficient
                continue
            computed = self._computed(source, position, span).times(coefficient)
            constant += computed.constant
            for entry, factor in computed.terms:
                terms[entry] = terms.get(entry, Fraction(0)) + factor
        return Affine(tuple(sorted((e, c) for e, c in terms.items() if c)), constant)

    def _computed(self, source: int, position: int, span: Span) -> Affine:
        step = self.scene.step_of(source)
        if isinstance(step, CallStep):
            return self._output(step, position, span)
        assert isinstance(step, OpStep)
        if isinstance(step.op, LabelEntry):
            return self._labelled(step, span)
        raise _no_row(step, span)

    def input_entry(self, position: int) -> Entry:
        """An entry of a parameter or of a variable."""
        size = self.scene.given_size
        if position >= size:
            return Entry(POINT, self.places[position - size])
        parameter, place = self.scene.parameter_at(position)
        return Entry(parameter.name, place)

    def label_name(self, label: Fraction | Linear) -> str | int:
        """The parameter that a label is, or its class."""
        if isinstance(label, Fraction):
            return int(label)
        place = label.only
        assert place is not None
        return self.scene.parameter_at(place[1])[0].name

    # --- applications ----------------------------------------------------------------------------

    def _output(self, step: CallStep, position: int, span: Span) -> Affine:
        """An output in the user's units."""
        port = step.network.outputs[0]
        entry = Entry(self.application(step, span), position)
        scale, shift = port.affine.scale[position], port.affine.shift[position]
        return Affine(((entry, scale),), shift)

    def _labelled(self, step: OpStep, span: Span) -> Affine:
        """The entry of the outputs that a label counts."""
        vector, (label,) = step.operands
        whole = self.whole_output(vector, span)
        if whole is None:
            raise untrainable("a label selects from something else than all outputs", span)
        name, factor, shift = whole
        entry = Entry(name, -1, str(self.label_name(label)))
        return Affine(((entry, factor),), shift)

    def whole_output(self, vector: EntryArray, span: Span) -> tuple[str, Fraction, Fraction] | None:
        """(application, a, b) where the vector is `a * outputs + b`; None where it is not."""
        found = [self.affine(value, span) for value in vector]
        first = found[0]
        if len(first.terms) != 1:
            return None
        ((entry, factor),) = first.terms
        outputs = {a.name: a.outputs for a in self.applications}
        expected = [
            Affine(((Entry(entry.source, i), factor),), first.constant) for i in range(len(found))
        ]
        whole = outputs.get(entry.source) == len(found) and found == expected
        return (entry.source, factor, first.constant) if whole else None

    def application(self, step: CallStep, span: Span) -> str:
        """The name of an application of the trained network."""
        number = self.scene.steps.index(step)
        if number not in self._names:
            network = step.network
            if network.name != self.network:
                raise untrainable(
                    f"it applies `{network.name}`, and `{self.network}` is the network that is "
                    "trained",
                    span,
                )
            point = tuple(self._inputs(network, step.arguments[0], span))
            name = self._name(point)
            self._names[number] = name
            self.applications.append(Application(name, point, network.outputs[0].size))
        return self._names[number]

    def _inputs(self, network: LoadedNetwork, argument: EntryArray, span: Span) -> list[Affine]:
        affine = network.inputs[0].affine
        found: list[Affine] = []
        for value, scale, shift in zip(argument, affine.scale, affine.shift, strict=True):
            point = self.affine(value, span)
            if any(entry.source in self._names.values() for entry, _ in point.terms):
                raise untrainable(f"`{network.name}` is applied to outputs", span)
            found.append(point.times(scale).plus(Affine((), shift)))
        return found

    def _name(self, point: tuple[Affine, ...]) -> str:
        """`at_x` where a parameter or variable stands by itself, else `at_1`, `at_2`, ..."""
        taken = {a.name for a in self.applications} | {p.name for p in self.scene.parameters}
        sources = sorted({source for form in point for source in form.sources})
        name = sources[0] if len(sources) == 1 and sources[0] != POINT else ""
        if sources == [POINT]:
            name = self._variable_at(point)
        return python_name(f"at_{name or len(self.applications) + 1}", OWN_WORDS | taken)

    def _variable_at(self, point: tuple[Affine, ...]) -> str:
        places = {entry.position for form in point for entry, _ in form.terms}
        size = self.scene.given_size
        for variable in self.scene.variables:
            own = {self.places[int(p) - size] for p in variable.positions if int(p) >= size}
            if own and places == own:
                return python_name(variable.name)
        return ""


def _no_row(step: OpStep, span: Span) -> SpecError:
    """The error about what no bounding method of a training takes."""
    match step.op:
        case ops.Multiply() | ops.Square():
            why = "it multiplies two values that are no constants"
        case ops.Reciprocal():
            why = "it divides by a value that is no constant"
        case LabelMargin():
            why = "a margin is computed with further"
        case Distance(norm=norm):
            why = f"the {norm} norm of something else than a variable is no linear expression"
        case _:
            name = type(step.op).__name__.lower()
            why = f"`{name}` of a value that varies is no linear expression"
    return untrainable(
        why, step.span or span, help="state it with linear expressions of outputs, or by cases"
    )
