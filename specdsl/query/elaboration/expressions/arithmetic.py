"""Arithmetic of what expressions stand for. What is not linear becomes a step of the scene."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from specdsl.diagnostics import SpecError
from specdsl.graph import ops
from specdsl.language import syntax
from specdsl.query.elaboration.values.meaning import Choice, Meaning
from specdsl.query.elaboration.values.networks import Composition, LoadedNetwork
from specdsl.query.elaboration.values.scene import MAX_JOINED_OPTIONS, Scene
from specdsl.query.elaboration.values.symbolic import (
    EntryArray,
    Extreme,
    Linear,
    Root,
    Tensor,
    absolute,
    scalar,
)
from specdsl.query.query import Nonlinear
from specdsl.source import Span


def numeric(value: Meaning, scene: Scene) -> Tensor | None:
    """A value as a tensor; extremes and l2 norms become steps. None for what is no number.

    Raises SpecError E0901 for choices, which only comparisons understand.
    """
    match value:
        case Tensor():
            return value
        case Extreme():
            return scalar(scene.value_of(value))
        case Root():
            return scalar(scene.root(value))
        case Choice():
            text = "`if` on quantified variables can be compared; this is not supported yet"
            raise SpecError.of("E0901", text, help="write the cases as claims, joined by `and`")
        case _:
            return None


def minus(value: Meaning, scene: Scene) -> Meaning:
    """`-value`."""
    if isinstance(value, Extreme):
        return -value
    if isinstance(value, Choice):
        return Choice(tuple((c, minus(v, scene)) for c, v in value.options))
    tensor = numeric(value, scene)
    if tensor is None:
        raise SpecError.of("E0752", "a number is needed here")
    return Tensor(np.asarray(-tensor.values, dtype=object))


def arithmetic(
    operator: str, left: Meaning, right: Meaning, scene: Scene, where: syntax.Binary
) -> Meaning:
    """`+ - * / @ >>`, entry by entry. Raises SpecError E0404, E0752, E0901."""
    for first, second, swapped in ((left, right, False), (right, left, True)):
        if isinstance(first, Choice):
            return _distributed(operator, first, second, scene, where, swapped)
    if operator == ">>":
        return _composed(left, right)
    lazy = _lazy(operator, left, right)
    if lazy is not None:
        return lazy
    a, b = numeric(left, scene), numeric(right, scene)
    if a is None or b is None:
        raise SpecError.of("E0752", "numbers are needed here")
    if operator == "@":
        return matrix_product(a, b, scene, place_of(where, a, b, scene))
    return _tensors(operator, a, b, scene, where)


def _distributed(
    operator: str, choice: Choice, other: Meaning, scene: Scene, where: syntax.Binary, swapped: bool
) -> Choice:
    def one(value: Meaning) -> Meaning:
        sides = (other, value) if swapped else (value, other)
        return arithmetic(operator, *sides, scene, where)

    return Choice(tuple((condition, one(value)) for condition, value in choice.options))


def _composed(left: Meaning, right: Meaning) -> Composition:
    if isinstance(left, LoadedNetwork | Composition) and isinstance(
        right, LoadedNetwork | Composition
    ):
        return Composition(left, right)
    raise SpecError.of("E0752", "`>>` composes two networks")


def _lazy(operator: str, left: Meaning, right: Meaning) -> Meaning | None:
    """Arithmetic that keeps an extreme or a root what it is; None where there is none."""
    if isinstance(left, Extreme) or isinstance(right, Extreme):
        return _extremes(operator, left, right)
    if isinstance(left, Root) and isinstance(right, Tensor):
        factor = right.scalar
        if isinstance(factor, Fraction) and factor and operator in {"*", "/"}:
            factor = factor if operator == "*" else 1 / factor
            return left.times(factor) if factor > 0 else None
        return left if operator in {"+", "-"} and factor == 0 else None
    if isinstance(right, Root) and isinstance(left, Tensor) and operator == "*":
        factor = left.scalar
        return right.times(factor) if isinstance(factor, Fraction) and factor >= 0 else None
    return None


def _extremes(operator: str, left: Meaning, right: Meaning) -> Meaning | None:
    if operator == "-":
        if isinstance(right, Extreme):
            return _extremes("+", left, -right)
        if isinstance(right, Tensor) and right.scalar is not None:
            return _extremes("+", left, scalar(-right.scalar))
        return None
    if operator == "*" and isinstance(right, Extreme):
        left, right = right, left
    if operator == "+" and isinstance(left, Extreme) and isinstance(right, Extreme):
        count = len(left.options) * len(right.options)
        same = left.kind == right.kind and count <= MAX_JOINED_OPTIONS
        return left.joined(right) if same else None
    if operator == "+" and isinstance(right, Extreme):
        left, right = right, left
    other = right.scalar if isinstance(right, Tensor) else None
    if not isinstance(left, Extreme) or other is None:
        return None
    if operator == "+":
        return left.plus(other)
    if operator == "*" and isinstance(other, Fraction):
        return left.times(other)
    if operator == "/" and isinstance(other, Fraction) and other:
        return left.times(1 / other)
    return None


def _tensors(
    operator: str, left: Tensor, right: Tensor, scene: Scene, where: syntax.Binary
) -> Tensor:
    a, b = left.values, right.values
    if a.size == 1 and b.size == 1:
        a, b = a.reshape(()), b.reshape(())
    if a.size > 1 and b.size > 1 and a.shape != b.shape:
        raise SpecError.of("E0752", f"shapes differ: {list(a.shape)} and {list(b.shape)}")
    if a.size == 1 and b.size > 1:
        a = a.reshape(())
    if b.size == 1 and a.size > 1:
        b = b.reshape(())
    match operator:
        case "+":
            found = a + b
        case "-":
            found = a - b
        case "*":
            first, second = np.broadcast_arrays(a, b)
            found = scene.multiply(first, second, place_of(where, left, right, scene))
        case "/":
            found = _quotient(a, b, scene, where)
        case _:
            raise SpecError.of("E0901", f"`{operator}` is not supported yet")
    values = np.asarray(found, dtype=object)
    labels = left.labels if left.labels == right.labels or not right.labels else ()
    return Tensor(values, labels=labels if values.shape == left.values.shape else ())


def _quotient(a: EntryArray, b: EntryArray, scene: Scene, where: syntax.Binary) -> EntryArray:
    if any(v == 0 for v in b.reshape(-1)):
        raise SpecError.of("E0404", "division by zero", where.right.span)
    if not any(isinstance(v, Linear) for v in b.reshape(-1)):
        return a / b
    divided, inverse = np.broadcast_arrays(a, scene.reciprocal(b, where.right.span))
    return scene.multiply(divided, inverse, Nonlinear(_text(where), where.span))


def matrix_product(left: Tensor, right: Tensor, scene: Scene, place: Nonlinear) -> Tensor:
    """`left @ right` of vectors and matrices. Raises SpecError E0752 for other shapes."""
    a, b = left.values, right.values
    if a.ndim not in (1, 2) or b.ndim not in (1, 2) or a.shape[-1] != b.shape[0]:
        text = f"shapes {list(a.shape)} and {list(b.shape)} have no matrix product"
        raise SpecError.of("E0752", text)
    rows = a.reshape(-1, a.shape[-1])
    columns = b.reshape(b.shape[0], -1)
    shape = (rows.shape[0], rows.shape[1], columns.shape[1])
    first = np.broadcast_to(rows[:, :, None], shape)
    second = np.broadcast_to(columns[None], shape)
    values = scene.multiply(first, second, place).sum(axis=1)
    return Tensor(np.asarray(values, dtype=object).reshape((*a.shape[:-1], *b.shape[1:])))


def power(base: Tensor, exponent: int, scene: Scene, place: Nonlinear) -> Tensor:
    """`base ^ exponent`, entry by entry. Raises SpecError E0404."""
    known = base.constant
    if known is not None:
        if exponent < 0 and any(v == 0 for v in known.reshape(-1)):
            raise SpecError.of("E0404", "division by zero")
        return Tensor(np.asarray(known**exponent, dtype=object))
    if exponent < 0:
        return Tensor(scene.reciprocal(power(base, -exponent, scene, place).values, place.span))
    if exponent == 0:
        return Tensor(np.full(base.values.shape, Fraction(1), dtype=object))
    # Squares are known to be convex and not negative: x^4 is (x^2)^2.
    half = power(base, exponent // 2, scene, place).values if exponent > 1 else base.values
    found = scene.multiply(half, half, place) if exponent > 1 else half
    if exponent > 1 and exponent % 2:
        found = scene.multiply(found, base.values, place)
    return Tensor(found)


def magnitude(value: Meaning, scene: Scene) -> Meaning:
    """`|x|`: of one number by cases, of tensors entry by entry."""
    tensor = numeric(value, scene)
    if tensor is None:
        raise SpecError.of("E0752", "a number is needed here")
    known = tensor.constant
    if known is not None:
        return Tensor(np.asarray(np.abs(known), dtype=object))
    if tensor.scalar is not None:
        return absolute([tensor.scalar])
    return Tensor(scene.elementwise(ops.Abs(), tensor.values))


def place_of(where: syntax.Binary, left: Tensor, right: Tensor, scene: Scene) -> Nonlinear:
    """Where a product stands, and the variables that each factor gets its variation from."""
    chains: list[tuple[Span, str]] = []
    for side, value in ((where.left, left), (where.right, right)):
        variables = scene.dependencies(value.values)
        names = ", ".join(f"`{v.name}`" for v in variables)
        chains.append((side.span, f"varies with {names}" if names else "is constant"))
        chains += [(v.span, f"`{v.name}` is quantified here") for v in variables if v.span]
    return Nonlinear(_text(where), where.span, tuple(dict.fromkeys(chains)))


def place_at(where: syntax.Expr, value: Tensor, scene: Scene) -> Nonlinear:
    """Where something is multiplied with itself."""
    variables = scene.dependencies(value.values)
    chains = ((v.span, f"`{v.name}` is quantified here") for v in variables if v.span)
    return Nonlinear(_text(where), where.span, tuple(chains))


def _text(where: syntax.Expr) -> str:
    return " ".join(where.span.text.split())
