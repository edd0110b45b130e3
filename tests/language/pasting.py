"""What a help line says to write, pasted into the text it is about."""

from __future__ import annotations

import re
from collections.abc import Iterator

from specdsl.diagnostics import Diagnostic

_WRITE = re.compile(r"(?:write|did you mean) `([^`]+)`\??(?::.*)?")


def pasted(item: Diagnostic) -> Iterator[str]:
    """The text with the replacement at the place, in front of it, and as the whole line.

    Nothing where neither help nor label is a replacement and nothing else.
    """
    if item.primary is None:
        return
    span = item.primary.span
    text = span.source.text
    for advice in filter(None, (item.help, item.primary.text)):
        found = _WRITE.fullmatch(advice)
        if found is None:
            continue
        start = text.rfind("\n", 0, span.start) + 1
        end = len(text) if "\n" not in text[start:] else text.index("\n", start)
        for first, last in ((span.start, span.end), (span.start, span.start), (start, end)):
            yield text[:first] + found[1] + text[last:]
