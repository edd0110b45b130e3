"""The text of a training with its preset expanded, and a hash of all that the text says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import cast

from specdsl.language import syntax
from specdsl.language.printing.printer import print_statement
from specdsl.language.spec import Spec, TrainDeclaration

KEY = "specdsl.recipe"
"""What the hash is called in the file of a network."""
# Part of what is hashed: a change in what the same words mean gets another number.
VERSION = "recipe 1"


def expanded(declared: TrainDeclaration) -> syntax.Train:
    """The block as if its preset had been written out."""
    span = declared.span
    network = syntax.Name(declared.network, span=span)
    data = declared.data if declared.data is not None else syntax.Name(declared.dataset, span=span)
    return syntax.Train(network, data, declared.items, declared.others, span=span)


def expanded_text(declared: TrainDeclaration) -> str:
    """The block as if its preset had been written out, as the printer writes it."""
    return print_statement(expanded(declared))


def recipe_of(declared: TrainDeclaration, spec: Spec) -> str:
    """SHA-256, in hexadecimal, of the text and of the declarations it names, with all they name.

    What is certified afterwards changes no weight, and is left out.
    Parameters count with the values they have, wherever these come from. Files count by their
    names, wherever they lie: what is in them is data.
    """
    trains = tuple(line for line in declared.items if not isinstance(line, syntax.Certify))
    block = expanded(replace(declared, items=trains))
    parts = [VERSION, print_statement(block)]
    for name, item in _named(block, spec).items():
        value = spec.values.get(name)
        is_value = isinstance(item, syntax.Param | syntax.Const) and value is not None
        shown = Path(value).name if isinstance(value, str) else value
        parts.append(f"{name} = {shown}" if is_value else print_statement(item))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _named(train: syntax.Train, spec: Spec) -> Mapping[str, syntax.Item]:
    """What a block names, and what that names, in the order of the file."""
    declared = _declared(spec)
    wanted: set[str] = set()
    pending: list[syntax.Node] = [train]
    while pending:
        for name in _names(pending.pop()):
            if name in declared and name not in wanted:
                wanted.add(name)
                pending.append(declared[name])
    return {name: item for name, item in declared.items() if name in wanted}


def _declared(spec: Spec) -> Mapping[str, syntax.Item]:
    found: dict[str, syntax.Item] = {}
    for item in spec.program.items:
        if isinstance(item, syntax.Declaration):
            found[item.name] = item
        elif isinstance(item, syntax.Let):
            found |= dict.fromkeys(item.names, item)
    return found


def _names(node: syntax.Node) -> Iterator[str]:
    """Every name of a value or type in a statement."""
    pending: list[object] = [node]
    while pending:
        current = pending.pop()
        if isinstance(current, tuple):
            pending += cast(tuple[object, ...], current)
        elif isinstance(current, syntax.Node):
            if isinstance(current, syntax.Name | syntax.TypeName):
                yield current.name
            pending += [getattr(current, f.name) for f in fields(current) if f.name != "span"]
