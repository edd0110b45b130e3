"""`method = mtl_ibp(robust, r = 1/10)`: the lines it stands for, in its place.

The text of a preset is parsed, and the capitals in it are replaced by what the user gave. What
comes out is checked like any other lines, so that a preset can do nothing that a user cannot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import TypeVar, cast

from specdsl.diagnostics import SpecError
from specdsl.language import syntax
from specdsl.language.checking.settings import find, match_arguments
from specdsl.language.checking.training_terms import Training, of_property
from specdsl.language.parsing.parser import parse, parse_expression
from specdsl.language.presets import WRITERS, Frame
from specdsl.language.schemas import Schema
from specdsl.language.training_schemas import PRESETS
from specdsl.language.typing.names import Context
from specdsl.language.typing.types import as_tensor
from specdsl.source import Source

_N = TypeVar("_N", bound=syntax.Node)
_Argument = syntax.Expr | syntax.NamedArgument | syntax.Comprehension


def expanded(
    lines: Sequence[syntax.TrainLine], total: int | None, training: Training
) -> tuple[syntax.TrainLine, ...]:
    """The lines with those of presets in place of `method = ...`; E08 where one is not in order."""
    found: list[syntax.TrainLine] = []
    for line in lines:
        if isinstance(line, syntax.Setting) and line.name == "method":
            found += _lines(line, lines, total, training)
        else:
            found.append(line)
    return tuple(found)


def _lines(
    setting: syntax.Setting,
    around: Sequence[syntax.TrainLine],
    total: int | None,
    training: Training,
) -> Sequence[syntax.TrainLine]:
    context = training.context
    before = len(context.session.diagnostics.errors)
    found = find(setting.value, PRESETS, "E0804", context)
    if found is None:
        return ()
    schema, arguments = found
    if any(option.kind == "property" for option in schema.options):
        of_property(schema, arguments, setting.value, training)
    else:
        match_arguments(schema, arguments, setting.value.span, context)
    if total is None or len(context.session.diagnostics.errors) > before:
        return ()
    given = _given(schema, arguments, context)
    frame = _frame(given, total, setting, context)
    return () if frame is None else _written(given, frame, around, context)


# --- what was given -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Given:
    """The arguments of a preset. `claim`: the property and those that are its own; `radius`: the
    first number among them, whose argument is called `parameter`.
    """

    schema: Schema
    claim: tuple[_Argument, ...]
    options: Mapping[str, syntax.Expr]
    parameter: str | None
    radius: syntax.Expr | None
    constant: bool


def _given(schema: Schema, arguments: Sequence[_Argument], context: Context) -> _Given:
    own = _parameters(schema, arguments, context)
    claim: list[_Argument] = []
    options: dict[str, syntax.Expr] = {}
    for index, argument in enumerate(arguments):
        if isinstance(argument, syntax.NamedArgument) and argument.name not in own:
            options[argument.name] = argument.value
        elif isinstance(argument, syntax.NamedArgument) or schema.options[0].kind == "property":
            claim.append(argument)
        elif not isinstance(argument, syntax.Comprehension):
            options[schema.options[index].name] = argument
    numbers = [a for a in claim if isinstance(a, syntax.NamedArgument) and _scalar(a, context)]
    if not numbers:
        return _Given(schema, tuple(claim), options, None, None, False)
    value = numbers[0].value
    constant = context.type_of(value).value is not None
    return _Given(schema, tuple(claim), options, numbers[0].name, value, constant)


def _parameters(
    schema: Schema, arguments: Sequence[_Argument], context: Context
) -> tuple[str, ...]:
    """The parameters of the property that a preset is for."""
    first = arguments[0] if arguments else None
    if schema.options[:1] and schema.options[0].kind == "property":
        symbol = context.lookup(first.name) if isinstance(first, syntax.Name) else None
        if symbol is not None and symbol.function is not None:
            return tuple(p.name for p in symbol.function.parameters)
    return ()


def _scalar(argument: syntax.NamedArgument, context: Context) -> bool:
    tensor = as_tensor(context.type_of(argument.value).type)
    return tensor is not None and tensor.shape == () and tensor.unit is None


def _frame(given: _Given, total: int, setting: syntax.Setting, context: Context) -> Frame | None:
    """The clock of the preset; None after E0720 where it needs more epochs than there are."""
    warm, ramp = _count(given, "warm", 1, context), _count(given, "ramp", 0, context)
    finetune = _count(given, "finetune", 2, context)
    # Of 15 epochs the recipe takes 8; the same share of any other number.
    ramp = ramp or max(1, min(round(Fraction(8, 15) * total), total - warm))
    names = {option.name for option in given.schema.options}
    needed = warm + ramp if "ramp" in names else finetune + 1 if "finetune" in names else 1
    if needed > total:
        message = f"`{given.schema.name}` needs {needed} epochs, but the training has {total}"
        shorter = " and ".join(f"`{n}`" for n in ("warm", "ramp", "finetune") if n in names)
        help = f"train longer, or give smaller {shorter}"
        context.error("E0720", message, setting.value.span, help=help)
        return None
    if given.radius is None and "rs" in names:
        message = f"`{given.schema.name}` needs a radius, and the property was given no number"
        context.error("E0805", message, setting.value.span, help="name it: `r = 1/10`")
        return None
    grows = given.radius is not None and given.constant
    known = given.radius is not None
    flags = {o.name for o in given.schema.options if o.kind == "bool"} & given.options.keys()
    on = frozenset(n for n in flags if context.type_of(given.options[n]).value is True)
    return Frame(total, warm, warm + ramp, grows, known, frozenset(given.options), finetune, on)


def _count(given: _Given, name: str, default: int, context: Context) -> int:
    value = context.type_of(given.options[name]).value if name in given.options else None
    return int(value) if isinstance(value, Fraction) else default


# --- from text to lines ---------------------------------------------------------------------------


def _written(
    given: _Given, frame: Frame, around: Sequence[syntax.TrainLine], context: Context
) -> Sequence[syntax.TrainLine]:
    name = given.schema.name
    body = WRITERS[name](frame)
    source = Source(f"preset `{name}`", f"spec 1.0\ntrain n on d {{\n{body}\n}}\n")
    train = parse(source).items[0]
    if not isinstance(train, syntax.Train):  # a preset is no text of the user
        raise TypeError(f"the preset `{name}` is no block of a training")
    return _Filling(given, frame, _fresh(_lets(train.items), around, context)).lines(train)


def _lets(lines: Sequence[syntax.TrainLine]) -> set[str]:
    """The names that the lines of a block declare."""
    return {line.name for line in lines if isinstance(line, syntax.TrainItem) and line.name}


def _fresh(
    lets: set[str], around: Sequence[syntax.TrainLine], context: Context
) -> Mapping[str, str]:
    """Other names for those that mean something else in the file or in the block.

    All of the file count: lines of the block may speak of any of them.
    """
    taken = {*_lets(around), *context.session.symbols, *context.session.later}
    renamed: dict[str, str] = {}
    for name in sorted(lets):
        new, number = name, 1
        while new in taken:
            number += 1
            new = f"{name}_{number}"
        renamed[name] = new
        taken.add(new)
    return renamed


class _Filling:
    """Replaces the capitals in a preset by what was given, and its names by those that are free."""

    def __init__(self, given: _Given, frame: Frame, names: Mapping[str, str]) -> None:
        self.given = given
        self.names = names
        self.frame = frame

    def lines(self, train: syntax.Train) -> Sequence[syntax.TrainLine]:
        """All lines of the block."""
        return [self._line(line) for line in train.items]

    def _line(self, line: syntax.TrainLine) -> syntax.TrainLine:
        filled = self._node(line)
        if isinstance(filled, syntax.TrainItem) and filled.name is not None:
            return replace(filled, name=self.names[filled.name])
        return filled

    def _node(self, node: _N) -> _N:
        match node:
            case syntax.Name(name=name):
                return cast(_N, self._name(node, name))
            case syntax.Index(base=syntax.Name(name="BY"), items=(default,)):
                attack = self.given.options.get("by", cast(syntax.Expr, default))
                return cast(_N, attack if "by" in self.given.options else self._node(attack))
            case syntax.Call(arguments=arguments):
                filled = [each for a in arguments for each in self._argument(a)]
                return cast(_N, replace(node, arguments=tuple(filled)))
            case _:
                return self._rebuilt(node)

    def _rebuilt(self, node: _N) -> _N:
        changed: dict[str, object] = {}
        for each in fields(node):
            value: object = getattr(node, each.name)
            if isinstance(value, syntax.Node):
                changed[each.name] = self._node(value)
            elif isinstance(value, tuple):
                parts = cast(tuple[object, ...], value)
                changed[each.name] = tuple(
                    self._node(part) if isinstance(part, syntax.Node) else part for part in parts
                )
        return replace(node, **changed) if changed else node

    def _argument(self, argument: _Argument) -> Sequence[_Argument]:
        """`GIVEN` and `GROWING` are several arguments."""
        match argument:
            case syntax.Name(name="GIVEN"):
                return self.given.claim
            case syntax.Name(name="GROWING"):
                return [self._growing(each) for each in self.given.claim]
            case syntax.Name(name="PROJECTIONS"):
                value = self.given.options.get("projections")
                return [] if value is None else [_named("projections", value)]
            case _:
                return [self._node(argument)]

    def _growing(self, argument: _Argument) -> _Argument:
        radius = self.given.radius if self.frame.grows else None
        if isinstance(argument, syntax.NamedArgument) and argument.value is radius:
            now = syntax.Name(self.names["eps"], span=argument.value.span)
            return replace(argument, value=now)
        return argument

    def _name(self, node: syntax.Name, name: str) -> syntax.Expr:
        if name in self.names:
            return replace(node, name=self.names[name])
        if not name.isupper():
            return node
        if name == "RADIUS" and self.given.radius is not None:
            return self.given.radius
        value = self.given.options.get(name.lower())
        return value if value is not None else self._default(name.lower(), node)

    def _default(self, name: str, node: syntax.Name) -> syntax.Expr:
        option = self.given.schema.option(name)
        if option is None or option.default is None:
            preset = self.given.schema.name
            raise SpecError.of("E0805", f"`{preset}` needs `{name}`", node.span)
        return parse_expression(Source(f"default of `{name}`", str(option.default)))


def _named(name: str, value: syntax.Expr) -> syntax.NamedArgument:
    return syntax.NamedArgument(name, value, span=value.span)
