"""Scripts that were edited since they were written: the next one must not take their place unasked.

A script says a hash of its own text, so that an edit shows without what it was made from.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from hashlib import sha256
from pathlib import Path

from specdsl.diagnostics import SpecError
from specdsl.source import Source, Span

# As many digits of a SHA-256 as tell an edit from none.
DIGITS = 12
UNSEALED = f"text:{'0' * DIGITS}"
"""Where the hash will stand; no space, so that no line breaks in it."""
_SEAL = re.compile(rf"\btext:[0-9a-f]{{{DIGITS}}}\b")
# Lines that are named one by one; more are counted.
NAMED = 6


def sealed(text: str) -> str:
    """A script with the hash of its text in the place of `UNSEALED`, which the hash is of."""
    return text.replace(UNSEALED, _seal(text), 1)


def is_edited(text: str) -> bool:
    """Whether a text is not as `sealed` gave it: changed since, or never sealed."""
    found = _SEAL.search(text)
    if found is None:
        return True
    original = f"{text[: found.start()]}{UNSEALED}{text[found.end() :]}"
    return _seal(original) != found.group()


def require_unedited(path: Path, text: str, help: str) -> None:
    """Before `text` takes the place of a script: raises SpecError E0862, with the lines that would
    be lost, where that was edited. A file that is not there or empty holds nothing.
    """
    if not path.is_file():
        return
    old = path.read_text(encoding="utf-8", errors="replace")
    if not old.strip() or not is_edited(old):
        return
    lost = _lost(old.splitlines(), text.splitlines())
    # Without any, lines were taken away.
    what = f"{_listed(lost)} would be lost" if lost else "lines would come back"
    known = _SEAL.search(old) is not None
    why = "was edited since it was written" if known else "was not written by `specdsl`"
    message = f"`{path}` {why}: {what}"
    raise SpecError.of("E0862", message, _line(path, old, lost), help=help)


def _seal(text: str) -> str:
    # Editors may write other ends of lines.
    lines = "\n".join(text.splitlines())
    return f"text:{sha256(lines.encode()).hexdigest()[:DIGITS]}"


def _lost(old: Sequence[str], new: Sequence[str]) -> list[int]:
    """Numbers of the lines, from 1, that a new text does not have; not the one with the hash."""
    found: list[int] = []
    for kind, first, stop, _, _ in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind in {"replace", "delete"}:
            found += [i + 1 for i in range(first, stop) if _SEAL.search(old[i]) is None]
    return found


def _listed(numbers: Sequence[int]) -> str:
    """`line 12`, `lines 3, 40-42`, with a count of what is too much to name."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    named = [str(a) if a == b else f"{a}-{b}" for a, b in spans]
    more = f" and {len(named) - NAMED} more places" if len(named) > NAMED else ""
    word = "line" if len(numbers) == 1 else "lines"
    return f"{word} {', '.join(named[:NAMED])}{more}"


def _line(path: Path, text: str, numbers: Sequence[int]) -> Span | None:
    """The first of the lines."""
    if not numbers:
        return None
    lines = text.splitlines(keepends=True)
    start = sum(len(line) for line in lines[: numbers[0] - 1])
    return Span(Source(str(path), text), start, start + len(lines[numbers[0] - 1].rstrip("\r\n")))
