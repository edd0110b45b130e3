"""`Spec`: a checked specification. Names are resolved, types agree, constants are exact values.

What can only be known with files at hand (weights, samples) is not here: elaboration adds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import prod
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from specdsl.diagnostics import Diagnostic
from specdsl.language import syntax
from specdsl.language.types import EnumType, RecordType, TensorType, Type
from specdsl.source import Source, Span

ExactArray = npt.NDArray[np.object_]
"""An array of `Fraction` (dtype object)."""

Value = Fraction | bool | str | ExactArray | tuple["Value", ...]
"""A constant: number, truth value, text (also a norm's name), tensor, tuple.

Enum labels and class labels are integers (`Fraction`).
"""


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """One field of a space. Bounds and normalisation are exact and in the field's unit.

    The network sees `(x - mean) / range`. `lower`, `upper`: scalars that hold for every entry, or
    None where the field is unbounded. Fields of kind `int` and `category` hold whole numbers; a
    category with `encode` `one_hot` is packed as one entry of 0 or 1 for each class, in order.
    """

    name: str
    kind: Literal["real", "int", "category"]
    type: TensorType
    lower: Fraction | None
    upper: Fraction | None
    mean: Fraction
    range: Fraction
    span: Span
    encode: Literal["ordinal", "one_hot"] = "ordinal"

    @property
    def width(self) -> int:
        """Number of entries of the packed vector that the field takes."""
        if self.encode == "one_hot" and self.lower is not None and self.upper is not None:
            return int(self.upper - self.lower) + 1
        return prod(self.type.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """Named inputs, packed in declaration order."""

    name: str
    fields: tuple[Field, ...]
    type: RecordType
    span: Span

    @property
    def width(self) -> int:
        """Number of entries of the packed vector."""
        return sum(field.width for field in self.fields)


@dataclass(frozen=True, slots=True, eq=False)
class OnnxFile:
    """`onnx(path, denormalize = affine(scale, shift))`: outputs become `scale * y + shift`.

    `path` is resolved: relative to the spec file, or to the working directory if it came by `-D`.
    """

    path: Path
    scale: Fraction
    shift: Fraction
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class WeightFile:
    """`weights = safetensors(path, prefix)` among layers: where weights not written out lie."""

    path: Path
    prefix: str
    span: Span


@dataclass(frozen=True, slots=True)
class GivenNetwork:
    """A network that is handed over in Python; outputs are `scale * y + shift`."""

    scale: Fraction
    shift: Fraction


@dataclass(frozen=True, slots=True, eq=False)
class NetworkDeclaration:
    """A network from a file (`onnx`), from inline `layers`, an expression of other networks
    (`value`, for example `encoder >> head`), or one that is handed over (`given`): exactly one of
    them. `weights`: a file with those of `layers`.

    `input` and `output` are tensors, records (spaces), or tuples of these, each with its name.
    """

    name: str
    input: Type
    output: Type
    onnx: OnnxFile | None
    layers: tuple[syntax.Layer | syntax.Skip | syntax.Setting, ...]
    span: Span
    value: syntax.Expr | None = None
    given: GivenNetwork | None = None
    weights: WeightFile | None = None


@dataclass(frozen=True, slots=True, eq=False)
class DatasetDeclaration:
    """`reader` is one of `idx`, `npz`, `csv`, `sklearn`; its arguments are constants.

    `settings` (for example `scale`) are constants too; `paths` are resolved like those of networks.
    `words`: the arguments of settings that are words with arguments: `{"augment": {"pixels": 2}}`.
    """

    name: str
    element: tuple[Type, ...]
    reader: str
    paths: tuple[Path, ...]
    arguments: Mapping[str, Value]
    settings: Mapping[str, Value]
    span: Span
    words: Mapping[str, Mapping[str, Value]] = field(default_factory=dict[str, Mapping[str, Value]])


@dataclass(frozen=True, slots=True, eq=False)
class BackendChoice:
    """`using name(option = value, ...)`; options are checked against the schema of the backend."""

    name: str
    options: Mapping[str, Value]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class ReportRequest:
    """`report name(arguments)`."""

    name: str
    arguments: tuple[Value, ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class CheckDeclaration:
    """A `check`: what to decide, with what, what to print, what to insist on."""

    name: str | None
    properties: tuple[syntax.Expr, ...]
    backend: BackendChoice | None
    reports: tuple[ReportRequest, ...]
    expects: tuple[syntax.Expr, ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class OptimizeDeclaration:
    """`maximize` or `minimize` (`kind`) an expression over variables: proven bounds of its optimum.

    `per` quantifies over finite sets: one optimum for each member.
    """

    kind: Literal["maximize", "minimize"]
    name: str | None
    objective: syntax.Expr
    binders: tuple[syntax.Binder, ...]
    where: syntax.Expr | None
    per: tuple[syntax.Binder, ...]
    backend: BackendChoice | None
    reports: tuple[ReportRequest, ...]
    expects: tuple[syntax.Expr, ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class SearchDeclaration:
    """`largest` or `smallest` (`kind`) value of `variable` in [lower, upper] such that a claim
    holds, to within `tolerance` (exact; in the unit of the ends).

    The claim is taken to hold on one side of the value: below the largest, above the smallest.
    """

    kind: Literal["largest", "smallest"]
    name: str | None
    variable: str
    lower: Fraction
    upper: Fraction
    tolerance: Fraction
    claim: syntax.Expr
    per: tuple[syntax.Binder, ...]
    backend: BackendChoice | None
    reports: tuple[ReportRequest, ...]
    expects: tuple[syntax.Expr, ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class TrainDeclaration:
    """`train network on data { ... }`: names and types are checked; `items` keep their syntax.

    The lines of a preset stand in `items` as if they had been written, in place of the setting
    `method`. Samples from `start` up to `stop` of the dataset are used; None: up to its ends.
    `data` is that as written. `saved`: the files that the trained network is written to.

    `others`: further networks that are trained, as written. `chain`: the declared networks that
    `network` is made of, in order; `parts`: all declared networks that are trained.
    """

    network: str
    dataset: str
    items: tuple[syntax.TrainLine, ...]
    span: Span
    start: int | None = None
    stop: int | None = None
    data: syntax.Expr | None = None
    saved: tuple[Path, ...] = ()
    others: tuple[syntax.Expr, ...] = ()
    chain: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Spec:
    """A whole checked file. Names of imported modules stand in its maps as `module.name`.

    `arrays`: the file that the argument of an `npy(...)` names, by its place and its text.

    `values` holds parameters (overrides applied), constants, enum labels, and `let`s that need no
    file. `functions` holds the other `let`s under each name they declare: functions, and values
    (parameters None) that need a sample or a network. `regions`, `functions`, `properties` keep
    their syntax: they are instantiated where used.
    """

    source: Source
    program: syntax.Program
    values: Mapping[str, Value]
    parameters: Mapping[str, Value]
    enums: Mapping[str, EnumType]
    spaces: Mapping[str, Space]
    networks: Mapping[str, NetworkDeclaration]
    datasets: Mapping[str, DatasetDeclaration]
    regions: Mapping[str, syntax.Region]
    functions: Mapping[str, syntax.Let]
    properties: Mapping[str, syntax.Property]
    checks: tuple[CheckDeclaration, ...]
    warnings: tuple[Diagnostic, ...]
    queries: tuple[OptimizeDeclaration | SearchDeclaration, ...] = ()
    systems: Mapping[str, syntax.System] = field(default_factory=dict[str, syntax.System])
    trainings: tuple[TrainDeclaration, ...] = ()
    arrays: Mapping[tuple[Span, str], Path] = field(default_factory=dict[tuple[Span, str], Path])
