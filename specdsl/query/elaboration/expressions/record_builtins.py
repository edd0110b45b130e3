"""Functions on records and images: fields, copies that differ in some, patches, files."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from types import MappingProxyType

import numpy as np

from specdsl.diagnostics import SpecError
from specdsl.language import syntax
from specdsl.language.spec import Space
from specdsl.query.elaboration.expressions.access import field_part
from specdsl.query.elaboration.expressions.interpret import BuiltIn, Interpreter
from specdsl.query.elaboration.expressions.set_builtins import field_name, given
from specdsl.query.elaboration.values.environment import Environment, Fixed
from specdsl.query.elaboration.values.formula import compare, conjunction
from specdsl.query.elaboration.values.meaning import Claim, FieldLabel, Meaning
from specdsl.query.elaboration.values.networks import normalisation
from specdsl.query.elaboration.values.regions import FiniteSet, Member
from specdsl.query.elaboration.values.symbolic import Tensor, constant, entries


def _record(written: syntax.Expr, interpreter: Interpreter, environment: Environment) -> Tensor:
    found = interpreter.tensor(written, environment)
    if found.space is None:
        text = f"`{written.span.text}` is no value of a space, so it has no fields"
        raise SpecError.of("E0752", text, written.span)
    return found


def _space(record: Tensor) -> Space:
    if record.space is None:
        raise SpecError.of("E0752", "a value of a space is needed here")
    return record.space


def _fields(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
    (written,) = given(call, 1, frozenset()).positional
    name = written.name if isinstance(written, syntax.Name) else ""
    if name not in interpreter.spec.spaces:
        raise SpecError.of("E0752", f"`{written.span.text}` is no space", written.span)
    labels = (field.name for field in interpreter.spec.spaces[name].fields)
    return FiniteSet(tuple(Member(Fixed(FieldLabel(label)), label) for label in labels))


def _same_except(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
    """`same_except(a, b, field, ...)`: all other entries agree."""
    if len(call.arguments) < 2:
        raise SpecError.of(
            "E0752", "`same_except` takes two records and the fields that may differ"
        )
    arguments = given(call, len(call.arguments), frozenset()).positional
    first, second = (_record(a, interpreter, environment) for a in arguments[:2])
    space = _space(first)
    if _space(second).name != space.name:
        text = f"`{space.name}` and `{_space(second).name}` have different fields"
        raise SpecError.of("E0752", text, call.span)
    free = {field_name(a, space, interpreter, environment) for a in arguments[2:]}
    kept = [f.name for f in space.fields if f.name not in free]
    parts = (
        compare("==", x, y)
        for name in kept
        for x, y in zip(
            first.flat[field_part(space, name)], second.flat[field_part(space, name)], strict=True
        )
    )
    return Claim(conjunction(parts))


def _replace(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
    """`replace(record, field = value, ...)`: a copy with other values in some fields."""
    if not call.arguments or isinstance(call.arguments[0], syntax.NamedArgument):
        raise SpecError.of("E0752", "`replace` takes a record and `field = value`")
    written = call.arguments[0]
    if isinstance(written, syntax.Comprehension):
        raise SpecError.of("E0752", "a comprehension has no place here", written.span)
    record = _record(written, interpreter, environment)
    space = _space(record)
    named = given(call, 1, frozenset(f.name for f in space.fields)).named
    values = record.flat.copy()
    for name, value in named.items():
        (field,) = (f for f in space.fields if f.name == name)
        new = interpreter.tensor(value, environment)
        part = field_part(space, name)
        if field.encode == "one_hot":
            values[part] = _one_hot(new, field.width, int(field.lower or 0), value)
        elif new.values.size in {1, field.width}:
            values[part] = new.flat if new.values.size == field.width else new.flat[0]
        else:
            text = f"`{name}` has {field.width} entries, not {new.values.size}"
            raise SpecError.of("E0752", text, value.span)
    return Tensor(values.reshape(record.values.shape), space, record.labels)


def _one_hot(value: Tensor, width: int, lowest: int, where: syntax.Expr) -> np.ndarray:
    known = value.scalar
    if not isinstance(known, Fraction):
        text = "a one-hot category can only be replaced by a constant for now"
        raise SpecError.of("E0901", text, where.span)
    if known.denominator != 1 or not lowest <= known < lowest + width:
        text = f"{known} is no class: they are {lowest} to {lowest + width - 1}"
        raise SpecError.of("E0752", text, where.span)
    return entries((Fraction(int(known == lowest + i)) for i in range(width)), (width,))


def _normalized(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
    """The packed vector of `(x - mean) / range`: what the network sees."""
    (written,) = given(call, 1, frozenset()).positional
    record = _record(written, interpreter, environment)
    affine = normalisation(_space(record))
    values = record.flat * affine.scale + affine.shift
    return Tensor(np.asarray(values, dtype=object).reshape(record.values.shape))


def _paste(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
    """`paste(image, patch, row, column)`: the patch replaces entries of the last two axes."""
    image, patch, row, column = given(call, 4, frozenset()).positional
    base = interpreter.tensor(image, environment)
    new = interpreter.tensor(patch, environment)
    top, left = interpreter.integer(row, environment), interpreter.integer(column, environment)
    if base.values.ndim < 2 or new.values.ndim < 2:
        raise SpecError.of("E0752", "images and patches have at least two axes", call.span)
    height, width = new.values.shape[-2:]
    if (
        top < 0
        or left < 0
        or top + height > base.values.shape[-2]
        or (left + width > base.values.shape[-1])
    ):
        text = f"a patch of {height} x {width} at ({top}, {left}) does not fit the image"
        raise SpecError.of("E0752", text, call.span)
    values = base.values.copy()
    values[..., top : top + height, left : left + width] = new.values
    return Tensor(values, base.space)


def _npy(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
    """The array in a `.npy` file; the checker knows which."""
    (written,) = given(call, 1, frozenset()).positional
    name = interpreter.meaning(written, environment)
    if not isinstance(name, str):
        raise SpecError.of("E0752", "`npy` takes the name of a file", written.span)
    path = interpreter.spec.arrays[written.span, name]
    values = interpreter.resources.array(path, written.span)
    return Tensor(values) if values.size > 1 else constant(Fraction(values.reshape(-1)[0]))


RECORD_BUILTINS: Mapping[str, BuiltIn] = MappingProxyType(
    {
        "fields": _fields,
        "same_except": _same_except,
        "replace": _replace,
        "normalized": _normalized,
        "paste": _paste,
        "npy": _npy,
    }
)
