"""From a dataset declaration to a `Dataset` that agrees with its declared type."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import prod

from specdsl.data.cifar import read_cifar
from specdsl.data.csv_table import read_csv
from specdsl.data.dataset import Dataset
from specdsl.data.idx import read_idx
from specdsl.data.npz import read_npy_pair, read_npz
from specdsl.data.sklearn_sets import read_sklearn
from specdsl.diagnostics import SpecError
from specdsl.language.spec import DatasetDeclaration, Value
from specdsl.language.types import LabelType, RecordType, TensorType, Type


def read_dataset(declaration: DatasetDeclaration) -> Dataset:
    """Read the files of a declaration and check them against its type.

    Raises SpecError placed at the declaration: E0501 to E0520 as the readers, E0521 inputs of
    another shape than declared, E0522 labels that are missing or out of range.
    """
    try:
        return conform(_read(declaration), declaration)
    except SpecError as error:
        raise error.at(declaration.span, f"`{declaration.name}` is read here") from error


def conform(data: Dataset, declaration: DatasetDeclaration) -> Dataset:
    """The dataset with the declared scale and shift, once shape and labels agree with the type.

    Raises SpecError E0521, E0522 (no span).
    """
    _check_inputs(data, declaration)
    _check_labels(data, declaration)
    scale, shift = (declaration.settings.get(name) for name in ("scale", "shift"))
    return replace(
        data,
        scale=scale if isinstance(scale, Fraction) else data.scale,
        shift=shift if isinstance(shift, Fraction) else data.shift,
    )


def _read(declaration: DatasetDeclaration) -> Dataset:
    labelled = len(declaration.element) > 1
    numbers = labelled and isinstance(declaration.element[1], TensorType)
    arguments, paths = declaration.arguments, declaration.paths
    match declaration.reader:
        case "idx":
            return read_idx(paths[0], paths[1] if len(paths) > 1 else None, numbers=numbers)
        case "npy":
            return read_npy_pair(paths[0], paths[1] if len(paths) > 1 else None, numbers=numbers)
        case "cifar_binary":
            return read_cifar(paths[0], _whole(arguments.get("classes"), 10))
        case "npz":
            labels = _text(arguments.get("labels"), "y") if labelled else None
            inputs = _text(arguments.get("inputs"), "x")
            return read_npz(paths[0], inputs, labels, numbers=numbers)
        case "csv":
            column = _column(arguments.get("label"))
            return read_csv(paths[0], column, labelled=labelled, numbers=numbers)
        case "sklearn":
            return read_sklearn(_text(arguments.get("name"), ""))
        case reader:
            raise SpecError.of("E0901", f"the dataset reader `{reader}` is not supported yet")


def _text(value: Value | None, default: str) -> str:
    return value if isinstance(value, str) else default


def _whole(value: Value | None, default: int) -> int:
    return int(value) if isinstance(value, Fraction) else default


def _column(value: Value | None) -> str | int | None:
    return int(value) if isinstance(value, Fraction) else value if isinstance(value, str) else None


def _check_inputs(data: Dataset, declaration: DatasetDeclaration) -> None:
    declared = declaration.element[0]
    size = entries(declared)
    if size is None or size == prod(data.shape):
        return
    found = f"{prod(data.shape)} entries {list(data.shape)}"
    message = f"`{declared}` has {size} entries, but each input of `{declaration.name}` has {found}"
    raise SpecError.of("E0521", message)


def _check_labels(data: Dataset, declaration: DatasetDeclaration) -> None:
    if len(declaration.element) < 2:
        return
    name, declared = declaration.name, declaration.element[1]
    if data.labels is None:
        raise SpecError.of("E0522", f"`{name}` is declared with labels, but its file has none")
    if not isinstance(declared, LabelType) or not len(data):
        return
    lowest, highest = int(data.labels.min()), int(data.labels.max())
    if lowest < 0 or highest >= declared.count:
        wrong = lowest if lowest < 0 else highest
        message = f"`{name}` holds the label {wrong}, which is not one of {declared.count} classes"
        help_ = None if lowest < 0 else f"declare `label[{highest + 1}]`"
        raise SpecError.of("E0522", message, help=help_)


def entries(kind: Type) -> int | None:
    """Number of entries of a tensor or record type; None for every other type."""
    if isinstance(kind, RecordType):
        return kind.size
    return prod(kind.shape) if isinstance(kind, TensorType) else None
