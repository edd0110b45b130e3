"""The tables of docs/ops.md: asked of the code, op by op and backend by backend."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from specdsl.backends.registry import CLASSES
from specdsl.graph import ops
from specdsl.graph.onnx_import.rules import RULES as ONNX_RULES
from specdsl.graph.torch_import.rules import RULES as TORCH_RULES
from specdsl.run.support import has_exact_values, has_onnx_form, kind_of, samples, with_rule


def backends() -> str:
    """A row for each op, a column for each backend."""
    header = ("op", "kind", *(f"`{name}`" for name in CLASSES), "exact", "to ONNX")
    classes = tuple(samples())
    known = [with_rule(name, classes) for name in CLASSES]
    return _table(header, (_row(op, [op in taken for taken in known]) for op in classes))


def _row(op: type[ops.Op], found: Iterable[bool]) -> tuple[str, ...]:
    marks = ("yes" if has else "" for has in (*found, has_exact_values(op), has_onnx_form(op)))
    return (f"`{op.__name__}`", kind_of(op), *marks)


def onnx_operators() -> str:
    """Names of the ONNX operators that the importer has rules for."""
    return _names(ONNX_RULES)


def torch_functions() -> str:
    """Names of the ATen functions that the importer has rules for."""
    return _names(TORCH_RULES)


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    return "\n".join(_lines(tuple(header), rows))


def _lines(header: tuple[str, ...], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield f"| {' | '.join(row)} |"
