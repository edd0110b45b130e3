"""Python code as nested groups, laid out as `ruff format` would."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 100
INDENT = 4


@dataclass(frozen=True, slots=True)
class Group:
    """`opening items closing`: a call, or a tuple, list or dict where `opening` is one bracket."""

    opening: str
    items: tuple[Node, ...]
    closing: str

    @property
    def single(self) -> bool:
        """Whether it is a tuple of one, which keeps its comma."""
        return self.opening == "(" and len(self.items) == 1

    @property
    def is_call(self) -> bool:
        """Arguments may share a line of their own; members of a collection may not."""
        return len(self.opening) > 1


Node = str | Group


def call(name: str, *arguments: Node) -> Group:
    """`name(arguments)`."""
    return Group(f"{name}(", arguments, ")")


def several(*items: Node) -> Group:
    """A tuple."""
    return Group("(", items, ")")


def tensor(like: str, *rows: Node) -> Group:
    """A literal (rows, entries) of the dtype and device of `like`."""
    return call(f"{like}.new_tensor", Group("[", rows, "]"))


def flat(node: Node) -> str:
    """On one line."""
    if isinstance(node, str):
        return node
    inside = ", ".join(flat(item) for item in node.items)
    return node.opening + inside + ("," if node.single else "") + node.closing


def lines(lead: str, node: Node, tail: str = "", indent: int = INDENT) -> list[str]:
    """`lead node tail`, broken where it is too long; `lead` begins with its indentation."""
    whole = lead + flat(node) + tail
    if len(whole) <= WIDTH or isinstance(node, str) or not node.items:
        return [whole]
    inner = " " * (indent + INDENT)
    body = inner + ", ".join(flat(item) for item in node.items)
    end = " " * indent + node.closing + tail
    if node.is_call and len(body) <= WIDTH:
        return [lead + node.opening, body, end]
    comma = "" if node.is_call and len(node.items) == 1 else ","
    broken = [line for item in node.items for line in lines(inner, item, comma, indent + INDENT)]
    return [lead + node.opening, *broken, end]


def docstring(text: str) -> list[str]:
    """A docstring, indented, in as many lines as it takes."""
    safe = text.replace("\\", "\\\\").replace('"', "'")
    pad = " " * INDENT
    # Six quotes: a text that just fails to fit in one line must not end with one, or it is joined.
    first, *rest = textwrap.wrap(safe, WIDTH - INDENT - 6, break_on_hyphens=False)
    if not rest:
        return [f'{pad}"""{first}"""']
    return [f'{pad}"""{first}', *(pad + line for line in rest), f'{pad}"""']


def signature(name: str, parameters: Sequence[str], result: str) -> list[str]:
    """`def name(parameters) -> result:`."""
    return lines("", Group(f"def {name}(", tuple(parameters), ")"), f" -> {result}:", 0)


def number(value: object) -> str:
    """A number as a literal of Python: the nearest float."""
    return repr(float(value))  # type: ignore[arg-type]
