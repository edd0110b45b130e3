"""`box`, `norm_ball`, `one_of`: sets written out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from specdsl.diagnostics import SpecError
from specdsl.language import syntax
from specdsl.language.spec import ExactArray, Space
from specdsl.query.elaboration.expressions.access import field_part
from specdsl.query.elaboration.expressions.interpret import BuiltIn, Interpreter
from specdsl.query.elaboration.expressions.unrolling import each_argument
from specdsl.query.elaboration.values import regions
from specdsl.query.elaboration.values.environment import Environment, Fixed
from specdsl.query.elaboration.values.meaning import FieldLabel, Meaning
from specdsl.query.elaboration.values.networks import normalisation
from specdsl.query.elaboration.values.regions import BallShape, FiniteSet, Member
from specdsl.query.elaboration.values.symbolic import Tensor


@dataclass(frozen=True, slots=True)
class Given:
    """The arguments of a call, by position and by name."""

    positional: tuple[syntax.Expr, ...]
    named: Mapping[str, syntax.Expr]


def given(call: syntax.Call, count: int, names: frozenset[str]) -> Given:
    """Exactly `count` positional arguments and some named ones. Raises SpecError E0752."""
    positional: list[syntax.Expr] = []
    named: dict[str, syntax.Expr] = {}
    for argument in call.arguments:
        if isinstance(argument, syntax.Comprehension):
            raise SpecError.of("E0752", "a comprehension has no place here", argument.span)
        if isinstance(argument, syntax.NamedArgument):
            if argument.name not in names:
                raise SpecError.of("E0752", f"there is no option `{argument.name}`", argument.span)
            named[argument.name] = argument.value
        else:
            positional.append(argument)
    if len(positional) != count:
        text = f"{count} arguments are needed here, not {len(positional)}"
        raise SpecError.of("E0752", text, call.span)
    return Given(tuple(positional), named)


def _box(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
    arguments = given(call, 2, frozenset({"shape"}))
    lower, upper = (interpreter.tensor(corner, environment) for corner in arguments.positional)
    like = arguments.named.get("shape")
    if like is None:
        return regions.box(lower, upper)
    model = interpreter.tensor(like, environment)
    return regions.box(lower, upper, model.values.shape)


def _norm_ball(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
    arguments = given(call, 3, frozenset({"scale", "only"}))
    center, radius, name = arguments.positional
    norm = interpreter.meaning(name, environment)
    middle = interpreter.tensor(center, environment)
    reach = interpreter.number(radius, environment)
    how = BallShape(
        norm if isinstance(norm, str) else name.span.text,
        weights_of(arguments.named.get("scale"), middle, interpreter, environment),
        places_of(arguments.named.get("only"), middle, interpreter, environment),
    )
    return regions.ball(middle, reach, how)


def weights_of(
    written: syntax.Expr | None,
    center: Tensor,
    interpreter: Interpreter,
    environment: Environment,
) -> ExactArray | None:
    """Weights: `normalized` divides every field by its range."""
    if written is None:
        return None
    if isinstance(written, syntax.Name) and written.name == "normalized":
        if center.space is None:
            text = "`scale = normalized` needs a center that is a value of a space"
            raise SpecError.of("E0752", text, written.span)
        return np.asarray(np.abs(normalisation(center.space).scale), dtype=object)
    weights = interpreter.tensor(written, environment)
    known = weights.constant
    if known is None or any(v <= 0 for v in known.reshape(-1)):
        raise SpecError.of("E0752", "weights of a norm are positive constants", written.span)
    wide = np.broadcast_to(known, center.values.shape) if known.size == 1 else known
    if wide.size != center.values.size:
        text = f"{known.size} weights for {center.values.size} entries"
        raise SpecError.of("E0752", text, written.span)
    return wide.reshape(-1)


def places_of(
    written: syntax.Expr | None,
    center: Tensor,
    interpreter: Interpreter,
    environment: Environment,
) -> npt.NDArray[np.int64] | None:
    """Entries of the named fields."""
    if written is None:
        return None
    if center.space is None:
        text = "`only` names fields, but the center is no value of a space"
        raise SpecError.of("E0752", text, written.span)
    items = written.items if isinstance(written, syntax.List) else (written,)
    names = [field_name(item, center.space, interpreter, environment) for item in items]
    places = np.arange(center.space.width, dtype=np.int64)
    parts = [places[field_part(center.space, name)] for name in names]
    return np.sort(np.concatenate(parts))


def field_name(
    written: syntax.Expr, space: Space, interpreter: Interpreter, environment: Environment
) -> str:
    """A field by its bare name, or by a variable over `fields(...)`."""
    known = [field.name for field in space.fields]
    if isinstance(written, syntax.Name):
        local = environment.names.get(written.name)
        meaning = interpreter.resolve(local) if local is not None else None
        name = meaning.name if isinstance(meaning, FieldLabel) else written.name
        if name in known:
            return name
    listed = ", ".join(f"`{name}`" for name in known)
    text = f"`{written.span.text}` is no field of `{space.name}`"
    raise SpecError.of("E0752", text, written.span, help=f"its fields are {listed}")


def _one_of(interpreter: Interpreter, call: syntax.Call, environment: Environment) -> Meaning:
    arguments = [a for a in call.arguments if not isinstance(a, syntax.NamedArgument)]
    values = each_argument(call, environment, interpreter)
    plain = len(values) == len(arguments)
    written = [" ".join(a.span.text.split()) for a in arguments]
    texts = written if plain else [str(number) for number in range(len(values))]
    return FiniteSet(tuple(Member(Fixed(v), t) for v, t in zip(values, texts, strict=True)))


SET_BUILTINS: Mapping[str, BuiltIn] = MappingProxyType(
    {"box": _box, "norm_ball": _norm_ball, "one_of": _one_of}
)
