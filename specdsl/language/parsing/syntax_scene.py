"""The words around a syntax error, and how to name what could stand there."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from specdsl.language.parsing.scan import STATEMENTS, Lexeme, Scan
from specdsl.source import Source, Span

END = "$END"

OPERAND_STARTS = frozenset(
    {"NAME", "NUMBER", "STRING", "true", "false", "(", "[", "{", "|", "-"}
    | {"not", "forall", "exists", "if"}
)
"""What an expression may begin with."""

OPERATORS = frozenset(
    {"CMP", "ADD", "MUL", "UNIT", "^", "..", "and", "or", "=>", "in", "not", ".", "(", "["}
    | {"=", "for"}
)
"""What may follow an operand; the last two in a call."""
CLASSES: Mapping[str, str] = {
    "NAME": "a name",
    "NUMBER": "a number",
    "STRING": "a text in quotes",
    "UNIT": "a unit in backticks",
    "VERSION": "a version such as `1.0`",
    "CMP": "a comparison",
    "ADD": "an operator",
    "MUL": "an operator",
    END: "the end of the file",
}
"""The grammar's classes of words in the user's terms."""

# More would be a table of contents.
MAX_SHOWN = 6
MAX_LINE = 100


@dataclass(frozen=True, slots=True)
class Stuck:
    """Where the parser stopped.

    `start` is the offset of what cannot stand there; `expected` what could, words as they are
    written and classes of words by their name in the grammar; `item` where the statement begins.
    """

    start: int
    expected: frozenset[str]
    item: int


class Scene:
    """The words around an error. A word that is missing has the text ``""``."""

    def __init__(self, stuck: Stuck, source: Source, scan: Scan) -> None:
        self.expected = stuck.expected
        self.item = stuck.item
        self.source = source
        self.scan = scan
        covering = scan.covering(stuck.start)
        self.index = scan.index(covering.start if covering else stuck.start)
        self.first = self.word(scan.index(stuck.item))

    def word(self, index: int) -> Lexeme:
        """The word at `index`; behind the last one, an empty word where the text ends."""
        found = self.scan.at(index)
        if found is not None:
            return found
        end = self.scan.words[-1].end if index >= 0 and self.scan.words else 0
        return Lexeme("symbol", "", end, end)

    @property
    def here(self) -> Lexeme:
        """The word that cannot stand where it stands."""
        return self.word(self.index)

    @property
    def before(self) -> Lexeme:
        """The word in front of it."""
        return self.word(self.index - 1)

    @property
    def after(self) -> Lexeme:
        """The word behind it."""
        return self.word(self.index + 1)

    @property
    def place(self) -> Span:
        """Where to point."""
        return self.span(self.here)

    @property
    def at_boundary(self) -> bool:
        """Whether the text ends here or another statement begins."""
        return not self.here.text or self.here.start in self.scan.statements

    @property
    def takes_operand(self) -> bool:
        """Whether an expression could begin here."""
        return {"NAME", "NUMBER", "STRING"} <= self.expected

    @property
    def takes_operator(self) -> bool:
        """Whether an expression could go on here."""
        return "ADD" in self.expected

    @property
    def found(self) -> str:
        """The word here, for a message."""
        return _quoted(self.here)

    @property
    def wanted(self) -> str:
        """What could stand here, for a message."""
        shown = any(word.text == "show" for word in self.words)
        return expectation(self.expected - {"show"} if shown else self.expected)

    def span(self, first: Lexeme, last: Lexeme | None = None) -> Span:
        """From the first to the last of these words."""
        return Span(self.source, first.start, (last or first).end)

    def glued(self, *texts: str) -> bool:
        """Whether the words before and here have these texts, without a blank between."""
        pair = (self.before.text, self.here.text)
        return pair == texts and self.before.end == self.here.start

    def mended(self, span: Span, replacement: str) -> str:
        """What to write: the line with `replacement` at `span`, or `replacement` for long lines."""
        text = self.source.text
        start = text.rfind("\n", 0, span.start) + 1
        line = text[start : span.start] + replacement + text[span.end :].split("\n", 1)[0]
        line = line.split("#", 1)[0].strip()
        return f"write `{line if len(line) <= MAX_LINE else replacement}`"

    @cached_property
    def open(self) -> Sequence[Lexeme]:
        """The brackets of this statement that are open here, outermost first."""
        return self.scan.open_brackets(self.item, self.here.start)

    @cached_property
    def words(self) -> Sequence[Lexeme]:
        """The words of this statement before the error."""
        return self.scan.words[self.scan.index(self.item) : self.index]


def expectation(expected: Collection[str]) -> str:
    """``an expression``, ``a name``, `` `)` or `,` ``: what could stand at one place."""
    rest = set(expected)
    out: list[str] = []
    if {"NAME", "NUMBER", "STRING"} <= rest:
        out.append("an expression")
        rest -= OPERAND_STARTS
    if "ADD" in rest:
        rest -= OPERATORS
        out += ["an operator"] if END in rest or not rest else []
    if {"NAME", "import"} <= rest:  # the name of a setting or field, which may be a keyword
        out.append("a name")
        rest = {word for word in rest if not word.isidentifier()}
    if "where" in rest and "}" in rest:  # in the block of a property
        rest -= {"forall", "exists", "let", "where"}
    if END in rest and rest & STATEMENTS:
        out.append("the next statement")
        rest -= {END, "spec"} | STATEMENTS
    classes = sorted(CLASSES[word] for word in rest & CLASSES.keys())
    signs = sorted(word for word in rest - CLASSES.keys() if not word.isalpha())
    words = sorted(word for word in rest - CLASSES.keys() if word.isalpha())
    out += [*classes, *(f"`{word}`" for word in [*signs, *words])]
    out = out[:MAX_SHOWN]
    return " or ".join([", ".join(out[:-1]), out[-1]]) if len(out) > 1 else "".join(out)


def _quoted(word: Lexeme) -> str:
    if not word.text:
        return "end of file"
    inner = word.text.strip("`") if word.kind == "unit" else word.text
    return f"`{inner if len(inner) <= 24 else inner[:20] + '...'}`"
