"""What a piece of the tree mentions, without following names to what they stand for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import cast

from specdsl.language.syntax.expressions import Name, Node


def names_in(node: Node) -> list[Name]:
    """Every use of a name, as often as it is used, in the order of the text."""
    found = [each for each in _nodes(node) if isinstance(each, Name)]
    return sorted(found, key=lambda name: name.span.start)


def _nodes(node: Node) -> Iterator[Node]:
    """The node and all below it, with a stack of our own: trees may be deep."""
    pending = [node]
    while pending:
        current = pending.pop()
        yield current
        for each in fields(current):
            value: object = getattr(current, each.name)
            if isinstance(value, Node):
                pending.append(value)
            elif isinstance(value, tuple):
                parts = cast(tuple[object, ...], value)
                pending.extend(part for part in parts if isinstance(part, Node))
