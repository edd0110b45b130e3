"""Words of the closed tables with their arguments, from syntax to the values of a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import Literal, cast

from specdsl.diagnostics import SpecError
from specdsl.language import syntax
from specdsl.language.compositions import Networks
from specdsl.language.constants import entries
from specdsl.language.evaluation import evaluate
from specdsl.language.printing.printer import print_expression
from specdsl.language.schemas import Option, Schema, Table
from specdsl.language.spec import Spec
from specdsl.language.syntax.walk import names_in
from specdsl.language.training_schemas import SCHEDULES
from specdsl.source import Span
from specdsl.training.plan.clock import extremes
from specdsl.training.plan.plan import (
    Argument,
    Arithmetic,
    Call,
    ClaimUse,
    Constant,
    Fixed,
    NetworkUse,
    Number,
    Ramp,
    Schedule,
    Scheduled,
    Steps,
)

_Written = syntax.Expr | syntax.NamedArgument | syntax.Comprehension


def one_line(expression: syntax.Expr) -> str:
    """An expression as the printer writes it, on one line."""
    text = " ".join(print_expression(expression).split())
    for bracket in "([":
        text = text.replace(f"{bracket} ", bracket)
    for bracket in ")]":
        text = text.replace(f" {bracket}", bracket)
    return text


@dataclass(slots=True, eq=False)
class Words:
    """What the words of one block are resolved with; filled as its `let` lines are read.

    `network`: the one that is trained, made of those in `chain`. `claim`: what a regulariser
    without a property is about. `networks`: all of the spec, with the codes of the block.
    """

    spec: Spec
    network: str
    epochs: int
    schedules: dict[str, Schedule] = field(default_factory=dict[str, Schedule])
    attacks: dict[str, Call] = field(default_factory=dict[str, Call])
    claim: ClaimUse | None = None
    taken: frozenset[str] = frozenset()
    chain: tuple[str, ...] = ()
    networks: Networks = field(init=False)

    def __post_init__(self) -> None:
        self.networks = Networks(self.spec.networks, self.spec.functions)

    # --- numbers ----------------------------------------------------------------------------------

    def number(self, expression: syntax.Expr) -> Number:
        """A number that is a constant, exact, or follows schedules of the block."""
        if not any(name.name in self.schedules for name in names_in(expression)):
            return Constant(self.constant(expression))
        match expression:
            case syntax.Name(name=name):
                return Scheduled(name)
            case syntax.Unary(operand=operand):
                return folded("-", Constant(Fraction(0)), self.number(operand))
            case syntax.Binary(operator="+" | "-" | "*" | "/" | "^" as operator):
                left, right = self.number(expression.left), self.number(expression.right)
                return folded(operator, left, right)
            case _:
                message = "schedules are joined by `+ - * / ^` alone"
                raise SpecError.of("E0712", message, expression.span)

    def constant(self, expression: syntax.Expr) -> Fraction:
        """A constant that is one number."""
        value = evaluate(expression, self.spec.values, self.spec.functions)
        return entries(value)[0] if not isinstance(value, Fraction) else value

    def ranged(self, name: str, option: Option, number: Number, span: Span) -> Number:
        """The number; E0402 where its schedules leave the range of the option."""
        if isinstance(number, Constant):
            return number  # the checker has looked
        low, high = self.extremes(number, span)
        least = 0 if option.positive else option.minimum
        if least is not None and low[0] < least:
            wanted, (value, time) = f"at least {least}", low
        elif option.maximum is not None and high[0] > option.maximum:
            wanted, (value, time) = f"at most {option.maximum}", high
        else:
            return number
        at = f"{float(value):.4g} in epoch {min(int(time), self.epochs - 1)}"
        raise SpecError.of("E0402", f"{name} must be {wanted}, but is {at}", span)

    def extremes(
        self, number: Number, span: Span
    ) -> tuple[tuple[Fraction, Fraction], tuple[Fraction, Fraction]]:
        """The least and the greatest value, with their times; E0404 where there is none."""
        try:
            return extremes(number, self.schedules, self.epochs)
        except SpecError as error:
            raise error.at(span) from error

    # --- schedules --------------------------------------------------------------------------------

    def curve(self, expression: syntax.Expr) -> Ramp | Steps | None:
        """`ramp(...)` or `steps(...)`; None for anything else."""
        match expression:
            case syntax.Call(function=syntax.Name(name=name)) if name in SCHEDULES.schemas:
                schema = SCHEDULES.schemas[name]
                given = placed(schema, expression.arguments)
                return self._ramp(schema, given) if name == "ramp" else self._steps(expression)
            case _:
                return None

    def _ramp(self, schema: Schema, given: Mapping[str, syntax.Expr]) -> Ramp:
        span = cast(syntax.Range, given["epochs"])
        shape = given.get("shape")
        numbers: dict[str, Fraction] = {}
        for name in ("middle", "exponent"):
            option = cast(Option, schema.option(name))
            written = given.get(name)
            default = Fraction(str(option.default))
            numbers[name] = default if written is None else self.constant(written)
        return Ramp(
            Constant(self.constant(given["first"])),
            Constant(self.constant(given["last"])),
            self.constant(span.first),
            self.constant(span.last),
            cast(
                Literal["linear", "smooth"],
                shape.name if isinstance(shape, syntax.Name) else "linear",
            ),
            **numbers,
        )

    def _steps(self, expression: syntax.Call) -> Steps:
        later: list[tuple[int, int, Fraction]] = []
        for argument in expression.arguments:
            if isinstance(argument, syntax.Comprehension):
                span = cast(syntax.Range, argument.binders[0].set)
                ends = (int(self.constant(end)) for end in (span.first, span.last))
                later.append((*ends, self.constant(argument.body)))  # type: ignore[arg-type]
        first = placed(SCHEDULES.schemas["steps"], expression.arguments)["first"]
        return Steps(self.constant(first), tuple(later))

    def _rate(self, expression: syntax.Expr) -> Number:
        """A learning rate; one that is written out becomes a schedule with a free name."""
        curve = self.curve(expression)
        if curve is None:
            return self.number(expression)
        name, number = "lr", 1
        while name in self.schedules or name in self.taken:
            number += 1
            name = f"lr_{number}"
        self.schedules[name] = Schedule(name, curve, one_line(expression), expression.span)
        return Scheduled(name)

    # --- words ------------------------------------------------------------------------------------

    def call(self, expression: syntax.Expr, table: Table) -> Call:
        """A word of `table`, or the attack that a name stands for."""
        function = expression.function if isinstance(expression, syntax.Call) else expression
        written = expression.arguments if isinstance(expression, syntax.Call) else ()
        name = cast(syntax.Name, function).name
        if name in self.attacks and not written and table.noun == "attack":
            return self.attacks[name]
        schema = table.schemas[name]
        text = one_line(expression)
        claim = self._claim_of(schema, written)
        first = written[0] if written else None
        own = [a for a in written if claim is None or not _of_claim(a, claim, first)]
        given = placed(_own(schema, claim), own)
        arguments: dict[str, Argument] = {}
        for option in schema.options:
            if option.kind == "property":
                arguments[option.name] = claim if claim is not None else self.claim
                if arguments[option.name] is None:
                    self._no_claim(name, expression.span)
            elif option.name in given:
                arguments[option.name] = self._argument(name, option, given[option.name])
            else:
                arguments[option.name] = self._default(option, expression.span)
        if schema.rest is not None:
            rest = [
                cast(syntax.Expr, a) for a in written if not isinstance(a, syntax.NamedArgument)
            ]
            inner = cast(Table, schema.rest.table)
            arguments[schema.rest.name] = tuple(self.call(each, inner) for each in rest)
        return Call(name, MappingProxyType(arguments), text, expression.span)

    def _no_claim(self, name: str, span: Span) -> None:
        message = f"`{name}` needs a property, and no loss of the block names one"
        help = f"name it: `{name}(robust, r = 1/10)`"
        raise SpecError.of("E0805", message, span, help=help)

    def _argument(self, word: str, option: Option, expression: syntax.Expr) -> Argument:
        match option.kind:
            case "method" | "loss":
                return self.call(expression, cast(Table, option.table))
            case "weight":
                what = f"`{option.name}` of `{word}`"
                return self.ranged(what, option, self.number(expression), expression.span)
            case "rate":
                what = f"`{option.name}` of `{word}`"
                return self.ranged(what, option, self._rate(expression), expression.span)
            case "word":
                return cast(syntax.Name, expression).name
            case "network":
                return NetworkUse(cast(syntax.Name, expression).name)
            case "composition":
                found = self.networks.composition(expression)
                assert found is not None, "checked with the block"
                return found
            case "layer":
                return self._layer(expression)
            case "counts":
                value = evaluate(expression, self.spec.values, self.spec.functions)
                return tuple(int(entry) for entry in entries(value))
            case "bool":
                value = evaluate(expression, self.spec.values, self.spec.functions)
                return Constant(Fraction(value is True))
            case "string":
                return str(evaluate(expression, self.spec.values, self.spec.functions))
            case _:
                return Constant(self.constant(expression))

    def _default(self, option: Option, span: Span) -> Argument:
        if option.default is None:
            return None
        if option.table is not None:
            return self.call(syntax.Name(str(option.default), span=span), option.table)
        if option.kind == "bool":
            return Constant(Fraction(option.default == "true"))
        if option.kind in ("real", "int", "weight", "rate"):
            return Constant(Fraction(str(option.default)))
        return str(option.default)

    def _layer(self, expression: syntax.Expr) -> str:
        """The name of a layer that the trained network has; E0620 where it has none such."""
        if isinstance(expression, syntax.String):
            return expression.value
        name = cast(syntax.Name, expression).name
        layers = [layer for part in self.chain for layer in self.spec.networks[part].layers]
        known = [layer.name for layer in layers if isinstance(layer, syntax.Layer) and layer.name]
        if known.count(name) > 1:
            message = f"several networks of `{self.network}` have a layer `{name}`"
            help = f'say which: `"{self.chain[0]}.{name}"`'
            raise SpecError.of("E0620", message, expression.span, help=help)
        if name in known:
            return name
        message = f"no layer of `{self.network}` is called `{name}`"
        help = (
            "named layers: " + ", ".join(f"`{k}`" for k in known)
            if known
            else ('write the name of a node of its file in quotes: `after = "relu_3"`')
        )
        raise SpecError.of("E0620", message, expression.span, help=help)

    # --- properties -------------------------------------------------------------------------------

    def _claim_of(self, schema: Schema, written: Sequence[_Written]) -> ClaimUse | None:
        """The property that comes first among the arguments, with those that are its own."""
        first = written[0] if written else None
        wants = any(option.kind == "property" for option in schema.options)
        if not wants or not isinstance(first, syntax.Name):
            return None
        declared = self.spec.properties[first.name]
        names = {p.name for p in declared.parameters or ()}
        given = [a for a in written if isinstance(a, syntax.NamedArgument) and a.name in names]
        arguments = {a.name: self._parameter(a.value) for a in given}
        inside = ", ".join(f"{a.name} = {one_line(a.value)}" for a in given)
        text = f"{first.name}({inside})" if given else first.name
        return ClaimUse(first.name, MappingProxyType(arguments), text)

    def _parameter(self, expression: syntax.Expr) -> Number | Fixed:
        if any(name.name in self.schedules for name in names_in(expression)):
            number = self.number(expression)
            self.extremes(number, expression.span)
            return number
        value = evaluate(expression, self.spec.values, self.spec.functions)
        return Constant(value) if isinstance(value, Fraction) else Fixed(value)


def _own(schema: Schema, claim: ClaimUse | None) -> Schema:
    """The schema without the property, and without options that are parameters of it."""
    names = set(claim.arguments) if claim is not None else set[str]()
    options = tuple(o for o in schema.options if o.kind != "property" and o.name not in names)
    less = any(o.kind == "property" for o in schema.options)
    positional = max(0, schema.positional - less)
    return Schema(schema.name, schema.doc, options, positional, rest=schema.rest)


def _of_claim(argument: _Written, claim: ClaimUse, first: _Written | None) -> bool:
    """Whether an argument is the property or one of its own."""
    named = isinstance(argument, syntax.NamedArgument)
    return argument is first or (named and argument.name in claim.arguments)


def placed(schema: Schema, written: Sequence[_Written]) -> Mapping[str, syntax.Expr]:
    """The arguments of a word by the names of its options."""
    given: dict[str, syntax.Expr] = {}
    for index, argument in enumerate(written):
        if isinstance(argument, syntax.NamedArgument):
            given[argument.name] = argument.value
        elif not isinstance(argument, syntax.Comprehension) and index < schema.positional:
            given[schema.options[index].name] = argument
    return given


def folded(operator: Literal["+", "-", "*", "/", "^"], left: Number, right: Number) -> Number:
    """`left operator right`, without factors of 1 and terms of 0."""
    one, zero = Constant(Fraction(1)), Constant(Fraction(0))
    if operator == "*" and left == one:
        return right
    if operator in "*/" and right == one:
        return left
    if operator == "+" and left == zero:
        return right
    if operator == "+" and right == zero:
        return left
    if not (isinstance(left, Constant) and isinstance(right, Constant)):
        return Arithmetic(operator, left, right)
    if operator == "*":
        return Constant(left.value * right.value)
    if operator == "+":
        return Constant(left.value + right.value)
    if operator == "/" and right.value != 0:
        return Constant(left.value / right.value)
    return Arithmetic(operator, left, right)


def number_text(number: Number, *, tight: bool = False) -> str:
    """A number as it would be written; in parentheses where it is a factor (`tight`) and a sum."""
    match number:
        case Constant(value=value):
            text = str(value)
            return f"({text})" if tight and value < 0 else text
        case Scheduled(name=name):
            return name
        case Arithmetic(operator=operator, left=left, right=right):
            if operator == "-" and left == Constant(Fraction(0)):
                return f"(-{number_text(right, tight=True)})"
            inner = operator in "*/^"
            # Of `a - (b - c)` and `a / (b * c)` the right side needs its parentheses.
            first = number_text(left, tight=inner)
            second = number_text(right, tight=inner or operator == "-")
            if isinstance(right, Arithmetic) and operator in "/^" and not second.startswith("("):
                second = f"({second})"
            if isinstance(left, Arithmetic) and operator == "^" and not first.startswith("("):
                first = f"({first})"
            text = f"{first} {operator} {second}"
            return f"({text})" if tight and operator in "+-" else text
