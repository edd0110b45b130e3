"""Names in texts for people: as the file at hand has them, or as the whole program does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace

from specdsl.diagnostics import Annotation, Diagnostic
from specdsl.language import syntax
from specdsl.language.modules.namespaces import Namespace

# A name with dots that is no part of a longer one, nor the argument of `-D`.
_DOTTED = re.compile(r"(?<![\w.])(?<!-D )[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")


def full_text(expression: syntax.Expr) -> str:
    """The user's text on one line, each name as the whole program has it: `m.robust(x, m.eps)`."""
    span = expression.span
    text, end = "", span.start
    for name in sorted(_names(expression), key=lambda name: name.span.start):
        if name.span.source is span.source and name.span.start >= end:
            text += span.source.text[end : name.span.start] + name.name
            end = name.span.end
    return " ".join((text + span.source.text[end : span.end]).split())


def _names(root: syntax.Node) -> Iterator[syntax.Name]:
    pending: list[object] = [root]
    while pending:
        node = pending.pop()
        if isinstance(node, syntax.Name):
            yield node
        elif isinstance(node, syntax.Node):
            pending += [getattr(node, field.name) for field in fields(node)]
        elif isinstance(node, tuple):
            pending += node  # type: ignore[arg-type]


def in_its_own_words(found: Diagnostic, spaces: Mapping[str, Sequence[Namespace]]) -> Diagnostic:
    """The finding with names as the file has them where it stands: in `lib.spec`, `eps` and not
    `m.eps`. `spaces`: the namespaces of each file, by the name of its source.
    """
    if found.primary is None:
        return found
    here = spaces.get(found.primary.span.source.name, ())
    secondary = (
        replace(note, text=_local(note.text, spaces.get(note.span.source.name, ())))
        for note in found.secondary
    )
    return replace(
        found,
        message=_local(found.message, here),
        primary=Annotation(found.primary.span, _local(found.primary.text, here)),
        secondary=tuple(secondary),
        help=None if found.help is None else _local(found.help, here),
    )


def _local(text: str, spaces: Sequence[Namespace]) -> str:
    def shorten(match: re.Match[str]) -> str:
        for space in spaces:
            rest = match[0].removeprefix(space.prefix)
            if rest != match[0] and rest.partition(".")[0] in {*space.names, *space.modules}:
                return rest
        return match[0]

    return _DOTTED.sub(shorten, text) if spaces else text
