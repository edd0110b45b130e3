"""Diagnostics as data: what is wrong, where, and the way out.

A stage collects all it finds in a `Diagnostics` and raises one `SpecError`. Rendering is apart, in
`render`, so that a terminal, JSON and an editor show the same thing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Literal

from specdsl.codes import CODES
from specdsl.source import Source, Span

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Annotation:
    """A span and what to say of it (may be empty)."""

    span: Span
    text: str = ""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding.

    `message` is lower case without a full stop, names in backticks are the user's own. `primary`
    is None for what concerns a whole file or the command line. `help` can be pasted where possible.
    """

    code: str
    message: str
    primary: Annotation | None = None
    secondary: tuple[Annotation, ...] = ()
    help: str | None = None
    severity: Severity = "error"

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise KeyError(f"diagnostic code {self.code} is not listed in specdsl/codes.py")

    def at(self, span: Span, text: str = "") -> Diagnostic:
        """The same finding, placed at `span` unless it already has a place."""
        return self if self.primary else replace(self, primary=Annotation(span, text))


class SpecError(Exception):
    """What the user can mend: one or more diagnostics."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = tuple(diagnostics)
        super().__init__("\n".join(f"{d.code}: {d.message}" for d in self.diagnostics))

    @classmethod
    def of(cls, code: str, message: str, span: Span | None = None, **details: object) -> SpecError:
        """A `SpecError` with one diagnostic; `details` as for `diagnostic`."""
        return cls([diagnostic(code, message, span, **details)])  # type: ignore[arg-type]

    def at(self, span: Span, text: str = "") -> SpecError:
        """The same error with `span` given to every diagnostic that has no place yet."""
        return SpecError(d.at(span, text) for d in self.diagnostics)


def diagnostic(
    code: str,
    message: str,
    span: Span | None = None,
    *,
    label: str = "",
    secondary: Sequence[tuple[Span, str]] = (),
    help: str | None = None,
) -> Diagnostic:
    """A diagnostic in short form. Codes that begin with W are warnings."""
    return Diagnostic(
        code=code,
        message=message,
        primary=Annotation(span, label) if span else None,
        secondary=tuple(Annotation(s, text) for s, text in secondary),
        help=help,
        severity="warning" if code.startswith("W") else "error",
    )


@dataclass(slots=True)
class Diagnostics:
    """A collector that one stage fills and closes."""

    found: list[Diagnostic] = field(default_factory=list)

    def add(self, item: Diagnostic) -> None:
        """Record `item` once."""
        if item not in self.found:
            self.found.append(item)

    def extend(self, error: SpecError) -> None:
        """Record everything that `error` holds."""
        for item in error.diagnostics:
            self.add(item)

    @property
    def errors(self) -> list[Diagnostic]:
        """What stops the next stage."""
        return [d for d in self.found if d.severity == "error"]

    @property
    def warnings(self) -> list[Diagnostic]:
        """What does not."""
        return [d for d in self.found if d.severity == "warning"]

    def raise_errors(self) -> None:
        """Raise one `SpecError` with all errors, in order of their place, if there are any."""
        if self.errors:
            raise SpecError(sorted(self.errors, key=_place))


def _place(item: Diagnostic) -> tuple[str, int]:
    if item.primary is None:
        return ("", -1)
    return (item.primary.span.source.name, item.primary.span.start)


def suggestion(word: str, known: Iterable[str]) -> str | None:
    """``did you mean `x`?`` for the closest of `known`, or None when nothing is close."""
    folded = {k.lower(): k for k in known}
    close = get_close_matches(word.lower(), list(folded), n=1, cutoff=0.6)
    return f"did you mean `{folded[close[0]]}`?" if close else None


# A line up to this length is shown whole, a longer one as a window of this length.
MAX_SHOWN_LINE = 120
# How much of a long line is shown in front of the place that is meant.
SHOWN_BEFORE = 40
_CUT = "..."
# Of a message or a help: what is longer repeats something of the user's at length.
MAX_SHOWN_TEXT = 900
# Longer runs without a blank are names or paths that nobody reads to the end.
_LONG_WORD = re.compile(r"[^\s]{160,}")


def render(item: Diagnostic) -> str:
    """Plain text as a compiler prints it, with source lines and carets.

    A multi-line span is underlined on its first line only, and of a long line only the
    surroundings of the place are shown. Tabs and what cannot be printed count as one column and are
    shown as one character, so that carets stay under theirs and no text steers the terminal.
    """
    return printable("\n".join(_rendered(item)))


def printable(text: str) -> str:
    """The text with U+FFFD for what would steer a terminal or cannot be encoded; lines stay."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _shortened(text: str) -> str:
    """The text with long words cut in their middle, and itself where it is still too long."""
    text = _LONG_WORD.sub(lambda match: f"{match[0][:80]}{_CUT}{match[0][-40:]}", text)
    if len(text) <= MAX_SHOWN_TEXT:
        return text
    return text[: MAX_SHOWN_TEXT - 100] + _CUT + text[-100:]


def _rendered(item: Diagnostic) -> list[str]:
    head = _shortened(f"{item.severity}[{item.code}]: {item.message}")
    help = _shortened(item.help or "")
    if item.primary is None:
        return [head, f"  = help: {help}"] if help else [head]
    source = item.primary.span.source
    here = [item.primary, *(a for a in item.secondary if a.span.source is source)]
    width = max(len(str(a.span.line)) for a in here)
    margin = " " * width
    lines = [head, f"{margin}--> {source.name}:{item.primary.span.line}:{item.primary.span.column}"]
    lines.append(f"{margin} |")
    lines += _excerpts(source, item.primary, here, width)
    for other in item.secondary:
        if other.span.source is not source:
            place = f"{other.span.source.name}:{other.span.line}:{other.span.column}"
            lines.append(f"{margin} ::: {place}: {_shortened(other.text)}")
    if help:
        lines += [f"{margin} |", f"{margin} = help: {help}"]
    return lines


def _excerpts(
    source: Source, primary: Annotation, annotations: list[Annotation], width: int
) -> list[str]:
    lines: list[str] = []
    previous = 0
    for number in sorted({a.span.line for a in annotations}):
        if previous and number > previous + 1:
            lines.append("...")
        previous = number
        on_line = [a for a in annotations if a.span.line == number]
        text = source.line(number).replace("\t", " ")
        by_column = sorted(on_line, key=lambda a: a.span.start)
        shown = by_column if len(text) > MAX_SHOWN_LINE else [None]
        for window in shown:
            cut = 0 if window is None else max(0, window.span.column - 1 - SHOWN_BEFORE)
            lines.append(f"{number:>{width}} | {_window(text, cut)}".rstrip())
            for a in on_line if window is None else [window]:
                lines.append(f"{' ' * width} | {_underline(a, text, cut, a is primary)}".rstrip())
    return lines


def _window(text: str, cut: int) -> str:
    """What is shown of a line from `cut` on; three dots take the place of what is left out."""
    if len(text) <= MAX_SHOWN_LINE:
        return text
    end = cut + MAX_SHOWN_LINE
    shown = text[cut:end]
    if cut:
        shown = _CUT + shown[len(_CUT) :]
    return shown[: -len(_CUT)] + _CUT if end < len(text) else shown


def _underline(annotation: Annotation, text: str, cut: int, primary: bool) -> str:
    column = annotation.span.column - cut
    length = min(annotation.span.end - annotation.span.start, len(text) - cut - column + 1)
    if len(text) > MAX_SHOWN_LINE:
        length = min(length, MAX_SHOWN_LINE - column + 1)
    mark = ("^" if primary else "-") * max(1, length)
    return (
        " " * (column - 1) + mark + (f" {_shortened(annotation.text)}" if annotation.text else "")
    )
