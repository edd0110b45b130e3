"""The types of the language: shapes, element kinds, units, labels, records, sets, functions.

Types are erased before the graph; they exist so that errors come before any solver starts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

MAX_AXES = 16
"""Of a tensor, as of those in network files. NumPy has arrays of 64."""


@dataclass(frozen=True, slots=True)
class EnumType:
    """A declared enumeration; its labels index outputs in order."""

    name: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TensorType:
    """Numbers in a fixed shape; `()` is a scalar. `labels` names the entries of a vector.

    `element` is `real` or `int`. A unit belongs to every entry. `real[1]` and `real` convert
    freely into each other.
    """

    shape: tuple[int, ...] = ()
    element: str = "real"
    unit: str | None = None
    labels: EnumType | None = None

    def __str__(self) -> str:
        inside = self.labels.name if self.labels else ", ".join(map(str, self.shape))
        brackets = f"[{inside}]" if self.shape else ""
        return f"{self.element}{brackets}" + (f" `{self.unit}`" if self.unit else "")


@dataclass(frozen=True, slots=True)
class BoolType:
    """A truth value that may depend on quantified variables.

    A tensor of truth values (a `shape`) comes from comparing tensors; `all` and `any` reduce it.
    """

    shape: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"bool[{', '.join(map(str, self.shape))}]" if self.shape else "bool"


@dataclass(frozen=True, slots=True)
class LabelType:
    """A class index: one of `count` classes, or of the labels of an enum.

    `argmax(v)` and dataset labels have it; it compares with integers below `count`.
    """

    count: int
    labels: EnumType | None = None

    def __str__(self) -> str:
        return self.labels.name if self.labels else f"label[{self.count}]"


@dataclass(frozen=True, slots=True)
class StringType:
    """Text: paths and names of reports."""

    def __str__(self) -> str:
        return "string"


@dataclass(frozen=True, slots=True)
class NormType:
    """One of `l1`, `l2`, `linf`."""

    def __str__(self) -> str:
        return "norm"


@dataclass(frozen=True, slots=True)
class RecordType:
    """A value of a space, or the state of a system. `fields` holds name and type in packing order.

    A space with one field is also a tensor of that field's shape. `packed`: entries of the packed
    vector, where one-hot categories give it more than the fields have.
    """

    name: str
    fields: tuple[tuple[str, TensorType], ...]
    packed: int | None = None

    def field(self, name: str) -> TensorType | None:
        """The type of a field, or None when there is no such field."""
        return dict(self.fields).get(name)

    @property
    def size(self) -> int:
        """Number of entries when packed into one vector."""
        if self.packed is not None:
            return self.packed
        return sum(_product(kind.shape) for _, kind in self.fields)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class FieldType:
    """The name of a field of a record, as a value: what `fields(S)` holds."""

    record: RecordType

    def __str__(self) -> str:
        return f"a field of {self.record.name}"


@dataclass(frozen=True, slots=True)
class TupleType:
    """Several values, each with a name or None."""

    items: tuple[tuple[str | None, Type], ...]

    def __str__(self) -> str:
        return "(" + ", ".join(f"{n}: {t}" if n else str(t) for n, t in self.items) + ")"


@dataclass(frozen=True, slots=True)
class SetType:
    """A set of values of `element`. `finite` sets unroll; `element` None takes any shape."""

    element: Type | None
    finite: bool = False

    def __str__(self) -> str:
        return f"set of {self.element}" if self.element else "set"


@dataclass(frozen=True, slots=True)
class NetworkType:
    """A function with weights."""

    input: Type
    output: Type

    def __str__(self) -> str:
        return f"{self.input} -> {self.output}"


@dataclass(frozen=True, slots=True)
class VotesType:
    """What a smoothed classifier gives: how often noise leads to which class. `argmax` of it is a
    class; the shares themselves are not known.
    """

    count: int
    labels: EnumType | None = None

    def __str__(self) -> str:
        return f"votes for {self.labels.name if self.labels else f'{self.count} classes'}"


@dataclass(frozen=True, slots=True)
class FunctionType:
    """A user's `let`, `region` or `property` with parameters, or a built-in: typed at each call."""

    kind: str
    name: str
    parameters: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind} `{self.name}`"


@dataclass(frozen=True, slots=True)
class UnknownType:
    """The type of what has already been reported, or of an uncalled function's parameter.

    It is accepted everywhere, so that one mistake gives one diagnostic. A `reason` says that
    nothing was reported: only files know the type.
    """

    reason: str = field(default="", compare=False)

    def __str__(self) -> str:
        return "unknown"


Type = (
    TensorType
    | BoolType
    | LabelType
    | EnumType
    | StringType
    | NormType
    | RecordType
    | FieldType
    | TupleType
    | SetType
    | NetworkType
    | VotesType
    | FunctionType
    | UnknownType
)

REAL = TensorType()
INT = TensorType(element="int")
BOOL = BoolType()
STRING = StringType()
NORM = NormType()
UNKNOWN = UnknownType()
UNREAD = UnknownType("known once its file is read")
"""A hidden value of a network, or an array in a file."""


def _product(shape: tuple[int, ...]) -> int:
    size = 1
    for extent in shape:
        size *= extent
    return size
