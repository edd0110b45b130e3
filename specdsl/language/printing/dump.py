"""The syntax tree and the checked specification as indented text, for `specdsl compile`.

The text is stable and holds no places and no absolute paths, so that it can be compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np

from specdsl.language import syntax
from specdsl.language.printing.print_expressions import quoted
from specdsl.language.printing.printer import print_expression, print_statement
from specdsl.language.spec import Spec
from specdsl.language.types import Type
from specdsl.source import Span

# What a reader of the dump already has, or does not want.
_OMITTED = frozenset({"span", "name_span", "source", "program", "warnings"})
_STATEMENTS = (
    syntax.Region,
    syntax.Let,
    syntax.Property,
    syntax.Layer,
    syntax.Skip,
    syntax.Setting,
    syntax.System,
    syntax.TrainItem,
    syntax.Keep,
    syntax.Certify,
    syntax.Stage,
)


def dump_tree(program: syntax.Program) -> str:
    """A line for each node: its field, its kind, its plain values; its nodes below, indented."""
    lines: list[str] = []
    pending: list[tuple[int, str, syntax.Node]] = [(0, "", program)]
    while pending:
        depth, label, node = pending.pop()
        plain, below = _contents(node)
        lines.append("  " * depth + " ".join([*filter(None, [label]), type(node).__name__, *plain]))
        pending.extend((depth + 1, name, child) for name, child in reversed(below))
    return "\n".join(lines) + "\n"


def _contents(node: syntax.Node) -> tuple[list[str], list[tuple[str, syntax.Node]]]:
    """Plain values as ``name=value``, and nodes with the names they go under; None is left out."""
    plain: list[str] = []
    below: list[tuple[str, syntax.Node]] = []
    for name, value in _fields(node):
        if isinstance(value, syntax.Node):
            below.append((f"{name}:", value))
        elif isinstance(value, tuple) and any(isinstance(entry, syntax.Node) for entry in value):
            below += [(f"{name}[{i}]:", entry) for i, entry in enumerate(value)]
        elif isinstance(value, tuple):
            plain.append(f"{name}=({', '.join(map(str, value))})")
        elif value is not None:
            plain.append(f"{name}={_quoted(value)}")
    return plain, below


def dump_spec(spec: Spec) -> str:
    """What checking found: names with their values, types, settings; expressions as written."""
    folder = Path(spec.source.name).resolve().parent
    return "\n".join(_entry("spec", spec, 0, folder)) + "\n"


def _entry(label: str, value: object, depth: int, folder: Path) -> Iterator[str]:
    """One line for a plain value; for others a line with the label and their parts below."""
    start = "  " * depth + label
    if isinstance(value, Mapping):
        parts = [(_key(name), entry) for name, entry in value.items()]
    elif isinstance(value, syntax.Node) or not (is_dataclass(value) or isinstance(value, tuple)):
        yield f"{start}: {_text(value, folder)}".replace("\n", "\n  " + "  " * depth)
        return
    elif isinstance(value, tuple):
        parts = [(f"[{i}]", entry) for i, entry in enumerate(value)]
    elif isinstance(value, Type):
        yield f"{start}: {value}"
        return
    else:
        parts = list(_fields(value))
    yield f"{start}:" if parts else f"{start}: none"
    for name, part in parts:
        yield from _entry(name, part, depth + 1, folder)


def _key(name: object) -> str:
    """The key of a mapping; of what belongs to a place in the file, the text there."""
    return name[0].text if isinstance(name, tuple) and isinstance(name[0], Span) else str(name)


def _fields(value: object) -> Iterator[tuple[str, object]]:
    if is_dataclass(value):
        for each in fields(value):
            if each.name not in _OMITTED:
                yield each.name, getattr(value, each.name)


def _text(value: object, folder: Path) -> str:
    if isinstance(value, _STATEMENTS):
        return print_statement(value)
    if isinstance(value, syntax.Expr):
        return print_expression(value)
    if isinstance(value, syntax.Binder):
        names = ", ".join(value.names)
        names = f"({names})" if len(value.names) > 1 else names
        return f"{names} in {print_expression(value.set)}"
    if value is None:
        return "none"
    if isinstance(value, np.ndarray):
        entries = ", ".join(map(str, value.flat))
        return f"array {list(value.shape)}: {entries}"
    if isinstance(value, Path):
        return str(value.relative_to(folder) if value.is_relative_to(folder) else value)
    return _quoted(value)


def _quoted(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return quoted(value) if isinstance(value, str) else str(value)
