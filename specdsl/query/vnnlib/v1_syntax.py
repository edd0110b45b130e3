"""VNN-LIB 1.0 as text: its tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator

from specdsl.query.vnnlib.forms import Form, PlainComparison, nested
from specdsl.source import Source

_WORD = r"[^\s();|\"]+"
_TOKEN = re.compile(
    rf"\(\s*(<=|>=|<|>|=)\s+({_WORD})\s+(?P<comparison>{_WORD})\s*\)"
    r"|(?P<open>\()"
    r"|(?P<close>\))"
    r"|;[^\n]*"
    rf"|(?P<word>\"[^\"]*\"|\|[^|]*\||{_WORD})"
    r"|(?P<stray>[|\"])"
)


def commands(source: Source) -> Iterator[PlainComparison | Form]:
    """The top-level forms of a file, in order. Raises SpecError: E1000, E1001."""
    return nested(source, _TOKEN, "a quote that is never closed")
