"""Nodes of declarations: everything a spec file is made of, statement by statement."""

from __future__ import annotations

from dataclasses import dataclass, field

from specdsl.language.syntax.expressions import (
    Binder,
    Comprehension,
    Expr,
    NamedArgument,
    Node,
    String,
    TypeExpr,
)
from specdsl.source import Span


@dataclass(frozen=True, slots=True)
class Setting(Node):
    """`name = value` in a block."""

    name: str
    value: Expr


@dataclass(frozen=True, slots=True)
class Interval(Node):
    """`[lower, upper]` after `in`, closed."""

    lower: Expr
    upper: Expr


@dataclass(frozen=True, slots=True)
class Parameter(Node):
    """A formal parameter of a function, region or property."""

    name: str
    type: TypeExpr | None


@dataclass(frozen=True, slots=True)
class Declaration(Node):
    """A declaration with a name; `name_span` is where errors about the name point."""

    name: str
    name_span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Import(Node):
    """`import "f.spec" as m with { ... }`."""

    path: String
    alias: str | None
    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True)
class Param(Declaration):
    """`param name: type = default in [lower, upper]`."""

    type: TypeExpr | None
    default: Expr | None
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Const(Declaration):
    """`const name: type = value`."""

    type: TypeExpr | None
    value: Expr


@dataclass(frozen=True, slots=True)
class Enum(Declaration):
    """`enum name { labels }`."""

    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SpaceField(Declaration):
    """One field of a space; `normalize` holds the arguments of `normalize (...)`."""

    type: TypeExpr
    interval: Interval | None
    normalize: tuple[Expr | NamedArgument | Comprehension, ...] | None
    encode: Expr | None


@dataclass(frozen=True, slots=True)
class Space(Declaration):
    """`space name { fields }`, packed in declaration order."""

    fields: tuple[SpaceField, ...]


@dataclass(frozen=True, slots=True)
class Layer(Node):
    """`layer name = expression`, the name optional."""

    name: str | None
    value: Expr


@dataclass(frozen=True, slots=True)
class Skip(Node):
    """`skip add(from = ..., by = ...)`."""

    value: Expr


@dataclass(frozen=True, slots=True)
class Network(Declaration):
    """Either `= value` (a reader) or a block of `layers` (and settings)."""

    input_type: TypeExpr
    output_type: TypeExpr
    value: Expr | None
    layers: tuple[Layer | Skip | Setting, ...]


@dataclass(frozen=True, slots=True)
class Dataset(Declaration):
    """`dataset name: type = reader(...) { settings }`."""

    type: TypeExpr
    value: Expr
    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True)
class Region(Declaration):
    """`region name(parameters) = value`; `parameters` is None without parentheses."""

    parameters: tuple[Parameter, ...] | None
    value: Expr


@dataclass(frozen=True, slots=True)
class Let(Node):
    """`let name(parameters): type = value`, or `let (a, b) = value`."""

    names: tuple[str, ...]
    parameters: tuple[Parameter, ...] | None
    type: TypeExpr | None
    value: Expr


@dataclass(frozen=True, slots=True)
class QuantifierClause(Node):
    """`forall binders` or `exists binders` in a property block."""

    kind: str
    binders: tuple[Binder, ...]


@dataclass(frozen=True, slots=True)
class WhereClause(Node):
    """`where condition` in a property block."""

    condition: Expr


@dataclass(frozen=True, slots=True)
class ShowClause(Node):
    """`show claim` in a property block."""

    claim: Expr


Clause = QuantifierClause | WhereClause | ShowClause | Let


@dataclass(frozen=True, slots=True)
class Property(Declaration):
    """Either `= value` or a block of clauses; `parameters` is None without parentheses."""

    parameters: tuple[Parameter, ...] | None
    value: Expr | None
    clauses: tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class SystemItem(Node):
    """A line of a `system`: `kind` is state, action, noise or next."""

    kind: str
    name: str
    type: TypeExpr | None
    value: Expr | None


@dataclass(frozen=True, slots=True)
class System(Declaration):
    """`system name { ... }`."""

    items: tuple[SystemItem, ...]


@dataclass(frozen=True, slots=True)
class TrainItem(Node):
    """A line of a `train`: `kind` is minimize, regularize, constrain, prune, save or let."""

    kind: str
    value: Expr
    name: str | None = None
    by: Expr | None = None


@dataclass(frozen=True, slots=True)
class Keep(Node):
    """`keep best by measure on part where condition`."""

    measure: Expr
    part: Expr
    condition: Expr | None


@dataclass(frozen=True, slots=True)
class Certify(Node):
    """`certify claim on part by stages`: what is asked of the trained network; stages may lack."""

    claim: Expr
    part: Expr
    stages: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Stage(Node):
    """`stage name { ... }` of a training: some of its epochs, with lines of their own."""

    name: str
    items: tuple[TrainItem | Setting, ...]


TrainLine = TrainItem | Keep | Certify | Stage | Setting


@dataclass(frozen=True, slots=True)
class Train(Node):
    """`train network, others on data { ... }`."""

    network: Expr
    data: Expr
    items: tuple[TrainLine, ...]
    others: tuple[Expr, ...] = ()


@dataclass(frozen=True, slots=True)
class Options(Node):
    """What follows a check or a query, in any order."""

    name: str | None = None
    using: Expr | None = None
    reports: tuple[Expr, ...] = ()
    expects: tuple[Expr, ...] = ()


@dataclass(frozen=True, slots=True)
class Check(Node):
    """`check properties options`."""

    properties: tuple[Expr, ...]
    options: Options


@dataclass(frozen=True, slots=True)
class Optimize(Node):
    """`maximize` or `minimize` (`kind`) `objective over binders where condition for per`."""

    kind: str
    objective: Expr
    binders: tuple[Binder, ...]
    where: Expr | None
    per: tuple[Binder, ...]
    options: Options


@dataclass(frozen=True, slots=True)
class Search(Node):
    """`largest` or `smallest` (`kind`) `name in interval tol tolerance such that condition`."""

    kind: str
    name: str
    interval: Interval
    tolerance: Expr | None
    condition: Expr
    per: tuple[Binder, ...]
    options: Options


Item = (
    Import
    | Param
    | Const
    | Enum
    | Space
    | Network
    | Dataset
    | Region
    | Let
    | Property
    | System
    | Train
    | Check
    | Optimize
    | Search
)


@dataclass(frozen=True, slots=True)
class Program(Node):
    """A whole file; `version` is None where the `spec 1.0` line is missing."""

    version: str | None
    items: tuple[Item, ...]
