"""From texts of `-D name=...` to what a sweep varies, checked against the declarations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from specdsl.diagnostics import Diagnostics, SpecError
from specdsl.language import syntax
from specdsl.language.checking.check import check_expanded
from specdsl.language.checking.sweeps import constant_text
from specdsl.language.parsing.parser import parse_expression
from specdsl.language.types import TensorType
from specdsl.source import Source
from specdsl.training.sweep.space import Choices, Dimension, Interval
from specdsl.training.sweep.trainings import METHOD, Trainings

LOG = "log"


def split(
    trainings: Trainings, texts: Mapping[str, str]
) -> tuple[Trainings, tuple[Dimension, ...]]:
    """The training with what has one value, and a dimension for each parameter that has several.

    `first..last` without a step is an interval of real numbers, `first..last:log` one whose values
    are drawn by ratios. Raises one SpecError with all findings: E0206 for names that no parameter
    has, E0402 for ends outside of the declared interval, E0860 for what is no sweep, E1110 where
    nothing varies.
    """
    # Each parameter is checked by itself, so that all that is wrong is found, and each thing once.
    singles = {
        name: _first(text)
        for name, text in texts.items()
        if _first(text) == text or not _has_default(name, trainings)
    }
    found: list[Dimension] = []
    problems = Diagnostics()
    for name, text in texts.items():
        try:
            dimension = _dimension(name, text, replace(trainings, fixed=singles))
        except SpecError as error:
            problems.extend(error)
        else:
            found += [] if dimension is None else [dimension]
    problems.raise_errors()
    varied = {dimension.name for dimension in found}
    if not varied:
        help_ = "for example `-D alpha=1/100..1/2`, or `-D 'alpha=one_of(1/10, 1/2)'`"
        raise SpecError.of("E1110", "nothing varies: no parameter has several values", help=help_)
    fixed = {name: text for name, text in texts.items() if name not in varied}
    return replace(trainings, fixed=fixed), tuple(found)


def _dimension(name: str, text: str, trainings: Trainings) -> Dimension | None:
    """None for one value. Raises SpecError."""
    parameter = trainings.parameter(name)
    if parameter is None and name == METHOD:
        methods = _listed(text)
        for method in methods:
            trainings.spec({METHOD: method})
        return Choices(name, methods) if len(methods) > 1 else None
    interval = None if parameter is None else _interval(name, text, parameter)
    if interval is None:
        return _choices(name, text, trainings)
    for end in (interval.lower, interval.upper):
        trainings.spec({name: interval.text(end)})
    return interval


def _choices(name: str, text: str, trainings: Trainings) -> Choices | None:
    """What the type checker makes of the text, for all of its values."""
    texts = {**trainings.fixed, name: text}
    checked = check_expanded(
        trainings.expanded,
        {n: t for n, t in texts.items() if n != METHOD or trainings.declares(METHOD)},
        working_directory=Path.cwd(),
        allow=trainings.allow,
    )
    values = checked.sweeps.get(name, ())
    return Choices(name, tuple(values)) if values else None


def _interval(name: str, text: str, parameter: syntax.Param) -> Interval | None:
    """`first..last` or `first..last:log`; None where this is for the type checker to say."""
    ends, colon, step = text.partition(":")
    by_ratios = step.strip() == LOG
    whole = _is_whole(parameter)
    if (colon and not by_ratios) or (whole and not colon) or text.strip().startswith("one_of("):
        return None
    try:
        expression = parse_expression(Source(f"-D {name}", ends))
        if not isinstance(expression, syntax.Range):
            return None
        (lower, unit), (upper, _) = _number(expression.first), _number(expression.last)
    except SpecError:
        # File names with two dots in them, for one; the type checker finds what is wrong.
        return None
    if lower is None or upper is None:
        return None
    if upper <= lower or (by_ratios and lower <= 0):
        message = f"`-D {name}={text}` has no values: it goes up from its first end"
        if by_ratios and lower <= 0:
            message = f"`-D {name}={text}` has no ratios: they take numbers above 0"
        help_ = f"for example `-D {name}=1/100..1/2:log`"
        raise SpecError.of("E0860", message, parameter.name_span, help=help_)
    return Interval(name, lower, upper, by_ratios, whole, unit)


def _number(expression: syntax.Expr) -> tuple[Fraction | None, str | None]:
    """A number and its unit."""
    typed = constant_text(expression)
    if typed is None or not isinstance(typed.value, Fraction):
        return None, None
    return typed.value, typed.type.unit if isinstance(typed.type, TensorType) else None


def _is_whole(parameter: syntax.Param) -> bool:
    """Whether the parameter is declared as whole, by its type or, without one, by its default."""
    if isinstance(parameter.type, syntax.TypeName):
        return parameter.type.name == "int"
    default = parameter.default
    return isinstance(default, syntax.Number) and default.value.denominator == 1


def _has_default(name: str, trainings: Trainings) -> bool:
    parameter = trainings.parameter(name)
    return parameter is None or parameter.default is not None


def _first(text: str) -> str:
    """The first value of a sweep; the text itself where it is none."""
    if text.strip().startswith("one_of("):
        return _listed(text)[0]
    return text.partition("..")[0] if ".." in text and not text.startswith('"') else text


def _listed(text: str) -> tuple[str, ...]:
    """The members of `one_of(...)`; a text that is none stands for itself."""
    try:
        expression = parse_expression(Source("-D", text))
    except SpecError:
        return (text,)
    match expression:
        case syntax.Call(function=syntax.Name(name="one_of"), arguments=members) if members:
            return tuple(member.span.text for member in members)
        case _:
            return (text,)
