"""Parts of values: fields, entries, slices, samples; networks applied; hidden values; subsets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import prod
from typing import Protocol

import numpy as np

from specdsl.diagnostics import SpecError, suggestion
from specdsl.language import syntax
from specdsl.language.spec import Space
from specdsl.query.elaboration.expressions.arithmetic import numeric
from specdsl.query.elaboration.expressions.unrolling import is_kept
from specdsl.query.elaboration.values import regions
from specdsl.query.elaboration.values.environment import Environment, Sample, bind_names
from specdsl.query.elaboration.values.formula import Formula
from specdsl.query.elaboration.values.meaning import (
    DatasetValue,
    FieldLabel,
    Group,
    Meaning,
    Meanings,
    misfit,
)
from specdsl.query.elaboration.values.networks import (
    Composition,
    HiddenValue,
    LoadedNetwork,
    Smoothed,
)
from specdsl.query.elaboration.values.regions import FiniteSet, Region
from specdsl.query.elaboration.values.resources import Resources
from specdsl.query.elaboration.values.samples import sliced
from specdsl.query.elaboration.values.smoothed import require_variable
from specdsl.query.elaboration.values.symbolic import Linear, Tensor, scalar


class Accessor(Meanings, Protocol):
    """What access needs beside meanings."""

    @property
    def resources(self) -> Resources:
        """Networks and data."""
        ...

    def sample(self, sample: Sample, part: str) -> Tensor:
        """The input or label of a sample."""
        ...


# --- fields and entries --------------------------------------------------------------------------


def attribute(
    expression: syntax.Attribute, environment: Environment, meanings: Accessor
) -> Meaning:
    """`base.name`: a field, a named output, a part of a sample, a named entry."""
    base, name = meanings.meaning(expression.base, environment), expression.name
    if isinstance(base, Sample) and name in ("input", "label"):
        return meanings.sample(base, name)
    if isinstance(base, Group) and name in base.names:
        return base.values[base.names.index(name)]
    known: Sequence[str] = ()
    if isinstance(base, Group):
        known = [n for n in base.names if n]
    if isinstance(base, Tensor):
        if base.space is not None and name in field_names(base.space):
            return field_of(base, name)
        if name in base.labels:
            return Tensor(np.asarray(base.flat[base.labels.index(name)]))
        known = base.labels or (field_names(base.space) if base.space else ())
    raise SpecError.of(
        "E0752",
        f"`{expression.base.span.text}` has no part `{name}`",
        expression.name_span,
        help=suggestion(name, known),
    )


def field_names(space: Space) -> list[str]:
    """In packing order."""
    return [field.name for field in space.fields]


def field_part(space: Space, name: str) -> slice:
    """Where a field's entries stand in the packed vector."""
    start = 0
    for field in space.fields:
        if field.name == name:
            return slice(start, start + field.width)
        start += field.width
    raise KeyError(name)


def field_of(record: Tensor, name: str) -> Tensor:
    """The value of a field of a record; of a one-hot category the number of its class."""
    space = record.space
    if space is None:
        raise KeyError(name)
    (field,) = (f for f in space.fields if f.name == name)
    part = record.flat[field_part(space, name)]
    if field.encode != "one_hot":
        return Tensor(part.reshape(field.type.shape))
    total: Fraction | Linear = Fraction(0)
    for position, entry in enumerate(part):
        total = total + entry * ((field.lower or 0) + Fraction(position))
    return scalar(total)


def index(expression: syntax.Index, environment: Environment, meanings: Accessor) -> Meaning:
    """`base[items]`: samples, fields by label, entries and slices of tensors."""
    base = meanings.meaning(expression.base, environment)
    items = expression.items
    if isinstance(base, DatasetValue) and len(items) == 1:
        return _samples(base, items[0], environment, meanings)
    if isinstance(base, HiddenValue) and base.index is None:
        places = [
            meanings.integer(i, environment) for i in items if not isinstance(i, syntax.Slice)
        ]
        if len(places) == len(items):
            return replace(base, index=tuple(places))
    tensor = numeric(base, meanings.scene) if not isinstance(base, tuple) else None
    if isinstance(base, tuple) and len(items) == 1 and not isinstance(items[0], syntax.Slice):
        return base[_position(items[0], len(base), environment, meanings)]
    if tensor is None:
        raise misfit("something with entries", expression.base)
    if len(items) == 1 and not isinstance(items[0], syntax.Slice):
        label = meanings.meaning(items[0], environment)
        if isinstance(label, FieldLabel) and tensor.space is not None:
            return field_of(tensor, label.name)
    return _entries(tensor, items, environment, meanings, expression)


def _entries(
    tensor: Tensor,
    items: Sequence[syntax.Expr | syntax.Slice],
    environment: Environment,
    meanings: Accessor,
    where: syntax.Index,
) -> Tensor:
    if len(items) > tensor.values.ndim:
        raise misfit(f"something with {len(items)} axes", where.base)
    places: list[int | slice] = []
    for item, extent in zip(items, tensor.values.shape, strict=False):
        if isinstance(item, syntax.Slice):
            ends = (e and meanings.integer(e, environment) for e in (item.start, item.stop))
            places.append(slice(*ends))
        else:
            places.append(_position(item, extent, environment, meanings))
    found = tensor.values[tuple(places)]
    return Tensor(np.asarray(found, dtype=object))


def _position(item: syntax.Expr, extent: int, environment: Environment, meanings: Accessor) -> int:
    place = meanings.integer(item, environment)
    if not 0 <= place < extent:
        text = f"there is no entry {place}: entries are 0 to {extent - 1}"
        raise SpecError.of("E0752", text, item.span)
    return place


def _samples(
    base: DatasetValue,
    item: syntax.Expr | syntax.Slice,
    environment: Environment,
    meanings: Accessor,
) -> Meaning:
    if not isinstance(item, syntax.Slice):
        return Sample(base.name, base.start + meanings.integer(item, environment), item.span)
    start, stop = (e and meanings.integer(e, environment) for e in (item.start, item.stop))
    return sliced(base, start, stop, item.span)


# --- networks ------------------------------------------------------------------------------------


def apply_network(
    network: LoadedNetwork | Composition | HiddenValue | Smoothed,
    arguments: Sequence[Tensor],
    meanings: Accessor,
    noise: Fraction | None = None,
) -> Meaning:
    """A network on arguments in user units; on constants its exact output, if that is rational.

    `noise`: the standard deviation of what is added to the arguments.
    """
    if isinstance(network, Smoothed):
        require_variable(arguments)
        return apply_network(network.network, arguments, meanings, network.sigma)
    if isinstance(network, Composition):
        inner = apply_network(network.first, arguments, meanings, noise)
        passed = list(inner.values) if isinstance(inner, Group) else [_as_tensor(inner, meanings)]
        return apply_network(network.second, passed, meanings)
    flat = [argument.flat for argument in arguments]
    if isinstance(network, HiddenValue):
        return _hidden(network, flat, meanings)
    network.check_arguments(flat)
    if not network.exact() or any(isinstance(v, Linear) for values in flat for v in values):
        said = meanings.scene.call(network, flat, noise)
    else:
        exact = meanings.resources.evaluate(network, flat)
        said = tuple(
            Tensor(values.reshape(port.shape), port.space, port.labels)
            for values, port in zip(exact, network.outputs, strict=True)
        )
    if len(said) == 1:
        return said[0]
    return Group(tuple(port.name for port in network.outputs), said)


def _as_tensor(value: Meaning, meanings: Accessor) -> Tensor:
    tensor = numeric(value, meanings.scene)
    if tensor is None:
        raise SpecError.of("E0752", "a network passes on numbers")
    return tensor


def hidden_value(
    base: LoadedNetwork | Composition,
    call: syntax.Call,
    environment: Environment,
    meanings: Accessor,
) -> HiddenValue:
    """`network.hidden("name")`. Raises SpecError E0651 where there is no such value."""
    network: LoadedNetwork | Composition = base
    while isinstance(network, Composition):
        network = network.first
    if len(call.arguments) != 1 or isinstance(
        call.arguments[0], syntax.NamedArgument | syntax.Comprehension
    ):
        raise SpecError.of("E0752", '`hidden` takes the name of a value: `net.hidden("relu_3")`')
    name = meanings.meaning(call.arguments[0], environment)
    if not isinstance(name, str):
        raise misfit("the name of a value", call.arguments[0])
    network.hidden_node(name)
    return HiddenValue(network, name)


def _hidden(value: HiddenValue, flat: Sequence[np.ndarray], meanings: Accessor) -> Tensor:
    network = value.network
    network.check_arguments(flat)
    varies = any(isinstance(v, Linear) for values in flat for v in values)
    if varies or not network.exact(value.name):
        found = meanings.scene.hidden(network, value.name, flat)
    else:
        (known,) = meanings.resources.evaluate(network, flat, value.name)
        found = Tensor(known.reshape(network.hidden_shape(value.name)))
    return found if value.index is None else _hidden_entry(found, value)


def _hidden_entry(found: Tensor, value: HiddenValue) -> Tensor:
    shape, places = found.values.shape, value.index or ()
    if len(places) == 1:
        # One index into a value of higher rank counts its entries in row-major order.
        shape = (prod(shape),)
    if len(places) != len(shape) or any(
        not 0 <= p < n for p, n in zip(places, shape, strict=False)
    ):
        text = f"`{value.name}` of `{value.network.name}` has the shape {list(found.values.shape)}"
        raise SpecError.of("E0752", f"{text}: there is no entry {list(places)}")
    return scalar(found.values.reshape(shape)[places])


# --- sets ----------------------------------------------------------------------------------------


def subset(expression: syntax.Subset, environment: Environment, meanings: Accessor) -> Meaning:
    """`{ x in R where condition }`. Of a finite set the condition is one that `is_kept` knows."""
    member = expression.member
    if not isinstance(member, syntax.Membership) or not isinstance(member.element, syntax.Name):
        raise SpecError.of("E0752", "write `{ x in R where condition }`", expression.span)
    name = member.element.name
    found = meanings.set(member.set, environment)
    binder = syntax.Binder((name,), member.set, span=member.span)
    if isinstance(found, FiniteSet):
        kept = (
            m
            for m in found.members
            if is_kept(
                expression.condition, environment.bind(bind_names(binder, m.value)), meanings
            )
        )
        return FiniteSet(tuple(kept))
    if not isinstance(found, Region):
        raise SpecError.of("E0901", "conditions on images are not supported yet", expression.span)

    def condition(element: Tensor) -> Formula:
        typed = Tensor(element.values, found.space, element.labels)
        return meanings.formula(expression.condition, environment.bind({name: typed}))

    return regions.with_condition(found, condition)


def loops_later() -> SpecError:
    """Closed loops are typed, but nothing answers them yet."""
    return SpecError.of(
        "E0901",
        "closed loops cannot be run by this version: `system` is checked for names and types only",
        help="leave the temporal properties out of `check` for now",
    )
