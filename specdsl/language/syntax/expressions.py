"""Nodes of expressions and types. Numbers are exact rationals."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from specdsl.source import Span


@dataclass(frozen=True, slots=True)
class Node:
    """Anything that was written at `span`."""

    span: Span = field(compare=False, repr=False, kw_only=True)


# --- expressions ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Number(Node):
    """A literal, exact; `text` as written (`1_000`, `2.50`), `unit` without its backticks."""

    value: Fraction
    text: str
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class String(Node):
    """A literal with its escapes resolved."""

    value: str


@dataclass(frozen=True, slots=True)
class Boolean(Node):
    """`true` or `false`."""

    value: bool


@dataclass(frozen=True, slots=True)
class Name(Node):
    """A name in an expression."""

    name: str


@dataclass(frozen=True, slots=True)
class Attribute(Node):
    """`base.name`."""

    base: Expr
    name: str
    name_span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Slice(Node):
    """`start:stop` inside brackets; the end is excluded; either may be missing."""

    start: Expr | None
    stop: Expr | None


@dataclass(frozen=True, slots=True)
class Index(Node):
    """`base[item, ...]`."""

    base: Expr
    items: tuple[Expr | Slice, ...]


@dataclass(frozen=True, slots=True)
class NamedArgument(Node):
    """`name = value` in a call."""

    name: str
    value: Expr


@dataclass(frozen=True, slots=True)
class Comprehension(Node):
    """`body for binders where condition`, an argument of a call."""

    body: Expr
    binders: tuple[Binder, ...]
    where: Expr | None


@dataclass(frozen=True, slots=True)
class Call(Node):
    """`function(arguments)`."""

    function: Expr
    arguments: tuple[Expr | NamedArgument | Comprehension, ...]


@dataclass(frozen=True, slots=True)
class Unary(Node):
    """`operator` is `-` or `not`."""

    operator: str
    operand: Expr


@dataclass(frozen=True, slots=True)
class Binary(Node):
    """`operator` is one of `+ - * / @ >> & ^ and or =>`; `&` intersects sets."""

    operator: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Comparison(Node):
    """A chain `a <= b < c`: one operator fewer than operands; each of `<= >= == != < >`."""

    operands: tuple[Expr, ...]
    operators: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Membership(Node):
    """`element in set`, or `element not in set` when `negated`."""

    element: Expr
    set: Expr
    negated: bool


@dataclass(frozen=True, slots=True)
class Range(Node):
    """`first..last`, both ends included."""

    first: Expr
    last: Expr


@dataclass(frozen=True, slots=True)
class IfThenElse(Node):
    """`if condition then yes else no`."""

    condition: Expr
    yes: Expr
    no: Expr


@dataclass(frozen=True, slots=True)
class Binder(Node):
    """`names in set`; several names destructure a tuple."""

    names: tuple[str, ...]
    set: Expr


@dataclass(frozen=True, slots=True)
class Quantifier(Node):
    """`kind` is `forall` or `exists`; `where` restricts, `body` is what is claimed."""

    kind: str
    binders: tuple[Binder, ...]
    where: Expr | None
    body: Expr


@dataclass(frozen=True, slots=True)
class Tuple(Node):
    """`(a, b)`: two or more; a single expression in parentheses leaves no node."""

    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class List(Node):
    """`[a, b]`."""

    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Absolute(Node):
    """`|operand|`."""

    operand: Expr


@dataclass(frozen=True, slots=True)
class SetOf(Node):
    """`{ body for binders where condition }`."""

    body: Expr
    binders: tuple[Binder, ...]
    where: Expr | None


@dataclass(frozen=True, slots=True)
class Subset(Node):
    """`{ element in set where condition }`."""

    member: Expr
    condition: Expr


Expr = (
    Number
    | String
    | Boolean
    | Name
    | Attribute
    | Index
    | Call
    | Unary
    | Binary
    | Comparison
    | Membership
    | Range
    | IfThenElse
    | Quantifier
    | Tuple
    | List
    | Absolute
    | SetOf
    | Subset
)


# --- types ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TypeName(Node):
    """`real`, `int`, `norm`, a space or enum name, `m.Space`; with arguments `real[1, 28, 28]`."""

    name: str
    arguments: tuple[Expr, ...] | None = None
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class TypeSlot(Node):
    """One entry of a tuple type, named or not."""

    name: str | None
    type: TypeExpr


@dataclass(frozen=True, slots=True)
class TypeTuple(Node):
    """`(image: Camera, speed: Speed)`."""

    slots: tuple[TypeSlot, ...]


TypeExpr = TypeName | TypeTuple
