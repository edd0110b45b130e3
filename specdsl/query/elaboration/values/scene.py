"""What a query speaks about while it is being built: variables, and values computed from them.

A scene is a straight-line program. Every source is one step: a network applied to expressions, or
an op applied to expressions; its entries can stand in the expressions of later steps. Nothing is
added twice. `emission` turns the steps that are needed into a graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod

import numpy as np
import numpy.typing as npt

from specdsl.diagnostics import SpecError
from specdsl.graph import ops
from specdsl.graph.enclosure import Enclosed
from specdsl.language.elementary import rational_value
from specdsl.query.elaboration.values.networks import LoadedNetwork
from specdsl.query.elaboration.values.regions import Region
from specdsl.query.elaboration.values.symbolic import (
    INPUT,
    Entry,
    EntryArray,
    Extreme,
    Linear,
    Root,
    Tensor,
    entries,
    variable,
)
from specdsl.query.query import Nonlinear
from specdsl.source import Span


@dataclass(frozen=True, slots=True, eq=False)
class Quantified:
    """A variable of the query, its set, and where it starts in the flat input."""

    name: str
    region: Region
    start: int
    span: Span | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the variable's value."""
        return self.region.shape or ()

    @property
    def positions(self) -> npt.NDArray[np.int64]:
        """Of its entries in the flat input."""
        return np.arange(self.start, self.start + prod(self.shape), dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class CallStep:
    """A network applied to arguments in user units, one flat vector for each of its inputs.

    `noise`: the standard deviation of the Gaussian noise on them, of a smoothed classifier. What
    the step gives are then the scores at one draw of it.
    """

    network: LoadedNetwork
    arguments: tuple[EntryArray, ...]
    noise: Fraction | None = None


@dataclass(frozen=True, slots=True, eq=False)
class OpStep:
    """An op on flat vectors of one length; the result is flat. `span`: where it was written."""

    op: ops.Op
    operands: tuple[EntryArray, ...]
    span: Span | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One value: `step` is a number of a step, `part` an output of a call (a number) or the name
    of a hidden value; 0 for ops. `size`: number of entries.
    """

    step: int
    part: int | str
    size: int


MAX_JOINED_OPTIONS = 64
"""Sums of extremes multiply their options out up to this many; beyond it they become nodes."""


class Scene:
    """Collects variables and steps. Entry p of source 0 is entry p of all variables together."""

    def __init__(self) -> None:
        self.variables: list[Quantified] = []
        self.steps: list[CallStep | OpStep] = []
        self.sources: list[Source] = []
        self.nonlinear: list[Nonlinear] = []
        # Kept by `known`: the values of sources in which nothing varies, None where something does.
        self.enclosed: dict[int, Enclosed | None] = {}
        self._known: dict[object, int] = {}
        self._steps: dict[object, int] = {}

    @property
    def input_size(self) -> int:
        """Number of entries of all variables."""
        return sum(prod(v.shape) for v in self.variables)

    def source(self, number: int) -> Source:
        """What the entries `(number, position)` belong to; `number` is not the input's."""
        return self.sources[number - 1]

    # --- variables -------------------------------------------------------------------------------

    def quantify(self, name: str, region: Region, span: Span | None = None) -> Tensor:
        """A new variable over a region. Raises SpecError E0752 for a set without a shape."""
        if region.shape is None:
            help_ = "intersect its set with one that has a shape, for example `& Image`"
            raise SpecError.of("E0752", f"`{name}` has no shape", help=help_)
        start = self.input_size
        self.variables.append(Quantified(name, region, start, span))
        return variable(INPUT, region.shape, region.space, start)

    def dependencies(self, values: EntryArray) -> tuple[Quantified, ...]:
        """The variables that expressions depend on, through any number of steps."""
        found: set[int] = set()
        seen: set[int] = set()
        pending = [values]
        while pending:
            for entry in pending.pop().reshape(-1):
                if not isinstance(entry, Linear):
                    continue
                for (source, position), _ in entry.terms:
                    if source == INPUT:
                        found.add(position)
                    elif source not in seen:
                        seen.add(source)
                        pending.extend(operands_of(self.steps[self.source(source).step]))
        places = np.array(sorted(found), dtype=np.int64)
        return tuple(
            v
            for v in self.variables
            if bool(((places >= v.start) & (places < v.start + prod(v.shape))).any())
        )

    def is_whole(self, value: Fraction | Linear) -> bool:
        """Whether a value is a whole number at every point, by what it is made of: whole constants
        and whole multiples of whole variables.
        """
        if isinstance(value, Fraction):
            return value.denominator == 1
        return value.constant.denominator == 1 and all(
            coefficient.denominator == 1 and self._is_whole_entry(source, position)
            for (source, position), coefficient in value.terms
        )

    def _is_whole_entry(self, source: int, position: int) -> bool:
        if source != INPUT:
            return False
        variable = next(v for v in reversed(self.variables) if v.start <= position)
        return position - variable.start in variable.region.whole

    # --- steps -----------------------------------------------------------------------------------

    def call(
        self,
        network: LoadedNetwork,
        arguments: Sequence[EntryArray],
        noise: Fraction | None = None,
    ) -> tuple[Tensor, ...]:
        """The network's outputs in their declared shapes and the user's units.

        Raises SpecError E0752 where an argument has another size than the network takes.
        """
        step = self._call(network, arguments, noise)
        return tuple(
            Tensor(
                self._entries(step, number, port.size).reshape(port.shape), port.space, port.labels
            )
            for number, port in enumerate(network.outputs)
        )

    def hidden(self, network: LoadedNetwork, name: str, arguments: Sequence[EntryArray]) -> Tensor:
        """A hidden value of the network, in the model's own units, without its batch axis."""
        step = self._call(network, arguments)
        shape = network.hidden_shape(name)
        return Tensor(self._entries(step, name, prod(shape)).reshape(shape))

    def _call(
        self,
        network: LoadedNetwork,
        arguments: Sequence[EntryArray],
        noise: Fraction | None = None,
    ) -> int:
        network.check_arguments(arguments)
        flat = tuple(argument.reshape(-1) for argument in arguments)
        key = (id(network), tuple(map(tuple, flat)), noise)
        return self._step(key, CallStep(network, flat, noise))

    def apply(self, op: ops.Op, *operands: EntryArray, span: Span | None = None) -> EntryArray:
        """An elementwise op on flat vectors of one length."""
        key = (type(op), repr(op), tuple(map(tuple, operands)))
        step = self._step(key, OpStep(op, operands, span))
        return self._entries(step, 0, operands[0].size)

    def _step(self, key: object, step: CallStep | OpStep) -> int:
        if key not in self._steps:
            self._steps[key] = len(self.steps)
            self.steps.append(step)
        return self._steps[key]

    def _entries(self, step: int, part: int | str, size: int) -> EntryArray:
        key = (step, part)
        if key not in self._known:
            self.sources.append(Source(step, part, size))
            self._known[key] = len(self.sources)
        return variable(self._known[key], (size,), None).values

    # --- what is not linear ----------------------------------------------------------------------

    def elementwise(self, op: ops.PiecewiseLinear, values: EntryArray) -> EntryArray:
        """A piecewise linear op on every entry; constants are computed at once."""
        flat = values.reshape(-1)
        varying = np.array([isinstance(v, Linear) for v in flat], dtype=bool)
        result = np.empty(flat.shape, dtype=object)
        for i in np.flatnonzero(~varying):
            result[i] = piece_value(op, flat[i])
        if varying.any():
            result[varying] = self.apply(op, flat[varying])
        return result.reshape(values.shape)

    def multiply(self, left: EntryArray, right: EntryArray, place: Nonlinear) -> EntryArray:
        """Entrywise products of two arrays of one shape; only what varies on both sides is a step.

        `place` is noted for backends that cannot multiply.
        """
        a, b = left.reshape(-1), right.reshape(-1)
        pairs = zip(a, b, strict=True)
        both = np.array([isinstance(x, Linear) and isinstance(y, Linear) for x, y in pairs], bool)
        result = np.empty(a.shape, dtype=object)
        for i in np.flatnonzero(~both):
            result[i] = a[i] * b[i]
        if both.any():
            self.nonlinear.append(place)
            same = all(x == y for x, y in zip(a[both], b[both], strict=True))
            operands = (a[both],) if same else (a[both], b[both])
            result[both] = self.apply(ops.Square() if same else ops.Multiply(), *operands)
        return result.reshape(left.shape)

    def smooth(self, op: ops.Smooth, values: EntryArray, span: Span | None = None) -> EntryArray:
        """A smooth op on every entry. What it gives of constants is irrational: a step too."""
        return self.apply(op, values.reshape(-1), span=span).reshape(values.shape)

    def reciprocal(self, values: EntryArray, span: Span | None = None) -> EntryArray:
        """`1 / x`, entry by entry; of constants at once, which are not 0."""
        flat = values.reshape(-1)
        varying = np.array([isinstance(v, Linear) for v in flat], dtype=bool)
        result = np.empty(flat.shape, dtype=object)
        for i in np.flatnonzero(~varying):
            result[i] = 1 / flat[i]
        if varying.any():
            result[varying] = self.smooth(ops.Reciprocal(), flat[varying], span)
        return result.reshape(values.shape)

    def root(self, value: Root) -> Fraction | Linear:
        """An l2 norm as a step."""
        if isinstance(value.square, Fraction):
            known = rational_value("sqrt", value.square)
            if known is not None:
                return known
        return self.smooth(ops.Sqrt(), entries([value.square], (1,)))[0]

    def value_of(self, extreme: Extreme) -> Fraction | Linear:
        """The extreme as steps: `max(a, b) = b + relu(a - b)`, in a balanced tree."""
        if extreme.kind == "min":
            return -self.value_of(-extreme)
        rising = list(extreme.options)
        while len(rising) > 1:
            half = len(rising) // 2
            first = entries(rising[:half], (half,))
            second = entries(rising[half : 2 * half], (half,))
            larger = second + self.elementwise(ops.Relu(), first - second)
            rising = [*larger, *rising[2 * half :]]
        return rising[0]

    def norm1(self, values: EntryArray) -> Fraction | Linear:
        """Sum of absolute values."""
        total: Fraction | Linear = Fraction(0)
        for entry in self.elementwise(ops.Abs(), values.reshape(-1)):
            total = total + entry
        return total

    def norm2(self, values: EntryArray, place: Nonlinear) -> Root:
        """Euclidean length."""
        flat = values.reshape(-1)
        total: Fraction | Linear = Fraction(0)
        for entry in self.multiply(flat, flat, place):
            total = total + entry
        return Root(total)


def call_text(scene: Scene, call: CallStep) -> str:
    """`net(a)`, `net(enc(a))`; empty where an argument is computed otherwise."""
    shown = [_argument_text(scene, argument) for argument in call.arguments]
    return f"{call.network.name}({', '.join(shown)})" if all(shown) else ""


def _argument_text(scene: Scene, argument: EntryArray) -> str:
    """What the entries are in order: a whole variable or a whole output."""
    places: list[Entry] = []
    for value in argument:
        if not isinstance(value, Linear) or value.constant or len(value.terms) != 1:
            return ""
        ((entry, coefficient),) = value.terms
        if coefficient != 1:
            return ""
        places.append(entry)
    if not places:
        return ""
    number, start = places[0]
    if places != [(number, start + i) for i in range(len(places))]:
        return ""
    if number == INPUT:
        same = (v for v in scene.variables if list(v.positions) == [p for _, p in places])
        return next((v.name for v in same), "")
    source = scene.source(number)
    step = scene.steps[source.step]
    whole = start == 0 and source.size == len(places) and source.part == 0
    return call_text(scene, step) if whole and isinstance(step, CallStep) else ""


def operands_of(step: CallStep | OpStep) -> tuple[EntryArray, ...]:
    """The expressions that a step takes."""
    return step.arguments if isinstance(step, CallStep) else step.operands


def piece_value(op: ops.PiecewiseLinear, x: Fraction) -> Fraction:
    """The op's exact value at one number."""
    knots = [Fraction(p) for p in op.breakpoints]
    value, before = Fraction(op.anchor), knots[0]
    if x <= before:
        return value + Fraction(op.slopes[0]) * (x - before)
    for slope, end in zip(op.slopes[1:], [*knots[1:], None], strict=True):
        reach = x if end is None or x <= end else end
        value += Fraction(slope) * (reach - before)
        if reach == x:
            break
        before = reach
    return value
