"""From the rules of a text to a document, word by word: no word is added, left out or moved.

The parser hands over each rule of the grammar, the innermost first, with the places of its
children. What lies between those are the rule's own words.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from specdsl.language.parsing.parts import Part
from specdsl.language.parsing.scan import CLOSERS, Scan
from specdsl.language.printing.gaps import gaps_of
from specdsl.language.printing.layout import (
    BLANK_LINE,
    LINE,
    SPACE,
    Break,
    Concat,
    Doc,
    Group,
    Nest,
    Remark,
    Tab,
)
from specdsl.language.printing.styles import (
    APART,
    ATOMS,
    BRACKETS,
    CHAINS,
    OPTIONS,
    PLAIN,
    SPREAD,
    STYLES,
    Brackets,
    Style,
)
from specdsl.source import Source, Span

WORD = ""
"""The rule of a piece that is a single word."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The words `first` to `last` as a document; `pieces` are what a rule is made of.

    `text` is that of a single word. `flush`: it touches what precedes it.
    """

    rule: str
    doc: Doc
    first: int
    last: int
    text: str = ""
    pieces: tuple[Piece, ...] = ()
    flush: bool = False


class Phrases:
    """A builder, as the parser takes it, whose parts are documents."""

    def __init__(self, source: Source) -> None:
        self.source = source
        scan = Scan(source.text)
        self.words = scan.words
        self.index = scan.index
        self.gaps = gaps_of(source.text, self.words)

    def word(self, text: str, start: int, end: int) -> Part:
        """A token at these offsets."""
        index = self.index(start)
        return Part(self._word(index), self.span(start, end), 0)

    def span(self, start: int, end: int) -> Span:
        """These offsets as a span of the source."""
        return Span(self.source, start, end)

    def rule(self, name: str, children: Sequence[Part | None], span: Span) -> Part:
        """The document of a rule; nothing for one that matched no words."""
        inner = [cast(Piece, child.value) for child in children if child and child.value]
        first, stop = self.index(span.start), self.index(span.end)
        if first >= stop:
            return Part(None, span, 0)
        pieces = self._spread(name, self._with_own_words(inner, first, stop))
        style = STYLES.get(name, PLAIN)
        content = self._fold(BRACKETS[name], pieces) if name in BRACKETS else pieces
        special = _SPECIAL.get(name)
        doc = special(self, content) if special else self.line(content, style)
        flush = len(content) == 1 and content[0].flush
        piece = Piece(name, doc, first, stop - 1, pieces=tuple(pieces), flush=flush)
        return Part(piece, span, 0)

    def program(self, items: Sequence[Part]) -> Doc:
        """Statements below one another, with the comments around them."""
        parts: list[Doc] = []
        for item in items:
            piece = cast(Piece, item.value)
            parts += self._remarks(piece.first)
            parts += [BLANK_LINE if self.gaps[piece.first].blank else LINE, piece.doc]
        parts += self._remarks(len(self.words))
        return Concat(tuple(parts[1:]))  # the first line is there already

    # --- pieces -----------------------------------------------------------------------------------

    def _word(self, index: int) -> Piece:
        text = self.words[index].text
        return Piece(WORD, text, index, index, text)

    def _with_own_words(self, inner: Sequence[Piece], first: int, stop: int) -> list[Piece]:
        pieces: list[Piece] = []
        for child in inner:
            pieces += map(self._word, range(first, child.first))
            pieces.append(child)
            first = child.last + 1
        return pieces + [self._word(index) for index in range(first, stop)]

    def _spread(self, name: str, pieces: Sequence[Piece]) -> list[Piece]:
        spread: list[Piece] = []
        for piece in pieces:
            same = piece.rule == name and name in CHAINS
            spread += piece.pieces if same or piece.rule in SPREAD else [piece]
        return spread

    def _fold(self, brackets: Brackets, pieces: Sequence[Piece]) -> list[Piece]:
        """The pieces with those from one bracket to its partner made one."""
        own = [i for i, p in enumerate(pieces) if p.rule == WORD and p.text in _ENDS]
        if not own:
            return list(pieces)
        start, end = own[0], own[-1]
        doc = self._bracketed(brackets, pieces[start : end + 1])
        first, last = pieces[start].first, pieces[end].last
        folded = Piece(_FOLDED, doc, first, last, flush=brackets.flush)
        return [*pieces[:start], folded, *pieces[end + 1 :]]

    def _bracketed(self, brackets: Brackets, pieces: Sequence[Piece]) -> Doc:
        opening, closing, inside = pieces[0], pieces[-1], pieces[1:-1]
        remarks = self._remarks(closing.first, tight=not inside)
        if not inside and not remarks:
            return opening.text + closing.text
        edge = Break(brackets.pad if inside else "", always=bool(remarks))
        parts: list[Doc] = []
        if inside:
            parts.append(self.joint(inside[0].first, Break(brackets.pad), tight=True))
            parts.append(self._inside(brackets, inside))
        content = Nest(Concat((*parts, *remarks)))
        broken = self._breaks(brackets, inside)
        return Group(Concat((opening.text, content, edge, closing.text)), broken)

    def _breaks(self, brackets: Brackets, inside: Sequence[Piece]) -> bool:
        """Whether the content of brackets begins a line in the text, or says that it wants to."""
        if not inside:
            return False
        if brackets.kind == "block":
            return any(self.gaps[piece.first].newline for piece in inside)
        return self.gaps[inside[0].first].newline or inside[-1].text == ","

    def _inside(self, brackets: Brackets, pieces: Sequence[Piece]) -> Doc:
        if brackets.kind == "block":
            return self._block(brackets.gap, pieces)
        if brackets.fill and all(piece.rule in ATOMS for piece in pieces):
            return self._filled(pieces)
        return self.flat(pieces, brackets.inside)

    def _block(self, gap: str, pieces: Sequence[Piece]) -> Doc:
        parts: list[Doc] = [pieces[0].doc]
        for left, right in itertools.pairwise(pieces):
            separator: str | Break = ""
            if right.text != ",":
                comma = self.words[left.last].text == ","
                blank = self.gaps[right.first].blank
                separator = Break(" " if comma else gap, blank=blank)
            parts += [self.joint(right.first, separator), right.doc]
        return Concat(tuple(parts))

    def _filled(self, pieces: Sequence[Piece]) -> Doc:
        """Numbers and names, as many on each line as fit."""
        parts: list[Doc] = [pieces[0].doc]
        for piece in pieces[1:]:
            if piece.text == ",":
                parts += [self.joint(piece.first, ""), piece.doc]
            else:
                parts.append(Group(Concat((self.joint(piece.first, SPACE), piece.doc))))
        return Concat(tuple(parts))

    # --- lines ------------------------------------------------------------------------------------

    def line(self, pieces: Sequence[Piece], style: Style) -> Doc:
        """The pieces on one line, or broken at every place where `style` allows it."""
        separators = [_separator(style, *pair) for pair in itertools.pairwise(pieces)]
        soft = [i for i, separator in enumerate(separators) if isinstance(separator, Break)]
        assigned = self._assigned_on_own_line(pieces) if style.own_line else None
        if assigned is not None:
            head, value = pieces[:assigned], pieces[assigned:]
            below = Concat((self.joint(value[0].first, LINE), self.flat(value, style)))
            return Concat((self.flat(head, style), Nest(below)))
        if not soft:
            return self.flat(pieces, style)
        # What stands in front of the first break is not indented further.
        head, tail = pieces[: soft[0] + 1], pieces[soft[0] :]
        rest = self.flat(tail, style, skip_first=True)
        return Group(Concat((self.flat(head, style), Nest(rest))), self._broken(pieces, soft))

    def flat(self, pieces: Sequence[Piece], style: Style, skip_first: bool = False) -> Doc:
        """The pieces with what stands between them, in no group of their own."""
        parts: list[Doc] = [] if skip_first else [pieces[0].doc]
        for left, right in itertools.pairwise(pieces):
            parts += [self.joint(right.first, _separator(style, left, right)), right.doc]
        return Concat(tuple(parts))

    def joint(self, index: int, separator: str | Break | Tab, tight: bool = False) -> Doc:
        """`separator`, or the comments in front of a word and the line end that they need."""
        remarks = self._remarks(index, tight)
        if not remarks:
            return separator
        breaks = isinstance(separator, Break)
        doc = Concat((*remarks, BLANK_LINE if breaks and separator.blank else LINE))
        return doc if breaks else Nest(doc)

    def _remarks(self, index: int, tight: bool = False) -> list[Doc]:
        """The comments in front of a word, each that does not trail behind a line end.

        `tight`: no empty line stands above the first of them.
        """
        parts: list[Doc] = []
        for comment in self.gaps[index].comments:
            if not comment.trailing:
                blank = comment.blank and (bool(parts) or not tight)
                parts.append(BLANK_LINE if blank else LINE)
            parts.append(Remark(comment.text, comment.trailing))
        return parts

    def _assigned_on_own_line(self, pieces: Sequence[Piece]) -> int | None:
        """The index of the value behind `=`, where a line end was written in front of it."""
        for i, piece in enumerate(pieces[:-1]):
            if piece.text == "=":
                return i + 1 if self.gaps[pieces[i + 1].first].newline else None
        return None

    def _broken(self, pieces: Sequence[Piece], soft: Sequence[int]) -> bool:
        """Whether a line ends in the text at one of these places, or behind an operator there."""
        behind = [i + 1 for i in soft if i + 2 < len(pieces) and pieces[i + 1].rule == WORD]
        return any(self.gaps[pieces[i + 1].first].newline for i in (*soft, *behind))


_FOLDED = "brackets"
_ENDS = frozenset({"|", *CLOSERS, *CLOSERS.values()})


def _separator(style: Style, left: Piece, right: Piece) -> str | Break | Tab:
    if right.flush and left.text not in APART:
        return ""
    if left.text in style.glued or right.text in style.glued:
        return ""
    if right.text in style.no_blank_before:
        return ""
    if right.text in style.before or right.rule in style.before_rules:
        return Break(" ", column=right.text) if right.text in style.columns else SPACE
    if left.text in style.after:
        return SPACE
    return Tab(left.text) if left.text in style.columns - style.before else " "


def _product(phrases: Phrases, pieces: Sequence[Piece]) -> Doc:
    """`2/255 * x`: a fraction of two plain numbers in front is written without blanks."""
    style = STYLES["product"]
    if len(pieces) < 3 or pieces[1].text != "/" or not all(map(_is_number, pieces[0:3:2])):
        return phrases.line(pieces, style)
    dense = Style(glued=frozenset({"/"}))
    fraction = Piece("number", phrases.flat(pieces[:3], dense), pieces[0].first, pieces[2].last)
    return phrases.line([fraction, *pieces[3:]], style)


def _is_number(piece: Piece) -> bool:
    """Whether this is a number without a unit, perhaps with a sign."""
    words = piece.pieces[1:] if piece.rule == "negative" else (piece,)
    return all(word.rule == "number" and word.first == word.last for word in words)


def _slice(phrases: Phrases, pieces: Sequence[Piece]) -> Doc:
    """`a:b`, but `first : first + count`."""
    dense = all(piece.rule in ATOMS for piece in pieces)
    style = Style(glued=frozenset({":"})) if dense else Style(no_blank_before=frozenset())
    return phrases.flat(pieces, style)


def _check(phrases: Phrases, pieces: Sequence[Piece]) -> Doc:
    """The options break together, the properties in front of them by themselves."""
    count = next((i for i, p in enumerate(pieces) if p.rule in OPTIONS), len(pieces))
    head = phrases.line(pieces[:count], PLAIN)
    properties = Piece("properties", head, pieces[0].first, pieces[count - 1].last)
    return phrases.line([properties, *pieces[count:]], STYLES["check"])


_SPECIAL: Mapping[str, Callable[[Phrases, Sequence[Piece]], Doc]] = {
    "check": _check,
    "product": _product,
    "slice": _slice,
}
